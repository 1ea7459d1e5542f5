"""Shared by all servers: status codes of errors, interceptors, health, settings, logging and the run loop."""
