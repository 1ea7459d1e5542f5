"""Clients of the services and of Redis, most of which fulfil a Protocol of `services.contract`."""
