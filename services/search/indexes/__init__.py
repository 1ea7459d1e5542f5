"""Where embeddings are searched: the Protocol of an index, and its implementations."""
