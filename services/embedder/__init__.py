"""The embedder service: photographs in, embeddings out."""
