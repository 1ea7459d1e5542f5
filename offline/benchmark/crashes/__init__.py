"""Kills a stack while it is written to, and compares all that it has afterwards with what it acknowledged."""
