"""What every server shares: errors, their status codes, interceptors, health, logging and the run loop."""
