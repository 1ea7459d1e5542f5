"""The classifier service: embeddings in, kinds of products out."""
