"""The catalogue's truth: products and embeddings in SQLite, photographs beside it."""
