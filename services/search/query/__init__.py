"""The way of a query: from what a caller asks for to the most similar products."""
