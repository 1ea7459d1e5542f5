"""The catalogue on disk: products and embeddings in SQLite, photographs beside it."""
