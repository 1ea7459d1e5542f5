"""The index whose vectors and attributes lie in Milvus; nothing here is imported unless it is chosen."""
