"""The classifier: what kind of product an embedding shows."""
