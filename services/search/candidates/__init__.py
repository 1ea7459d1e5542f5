"""Candidates: computed from the catalogue, stored between starts, published for the classifier."""
