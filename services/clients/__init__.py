"""The services, as seen by those who call them: what fulfils a Protocol of `services.contract` from elsewhere."""
