"""All services in one process on one port, with a Redis of their own: the embedded default."""
