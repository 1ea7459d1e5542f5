"""The values, Protocols and errors that the services share, free of any transport."""
