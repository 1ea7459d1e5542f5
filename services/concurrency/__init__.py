"""Threads, deadlines and background tasks: what any service waits with."""
