"""Writes to the catalogue: embed the photographs, commit, bring the index up to date."""
