"""Conversion between messages of fashion.v1.SearchService and the values of the domain."""
