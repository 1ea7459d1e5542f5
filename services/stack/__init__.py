"""All services in one process on one port, with an embedded Redis by default."""
