"""What the services say to one another, free of any transport: values, Protocols, and the errors that they raise."""
