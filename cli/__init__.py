"""The command line `fashion`."""
