"""Writes to the catalogue: embedding photographs, committing, and keeping the index up with it."""
