"""The main query: from a request to the most similar products."""
