"""Measuring what users are served: the report's protocol for retrieval and classification, on any data set."""
