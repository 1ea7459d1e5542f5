"""Candidates: computed from the catalogue, kept between starts, published for the classifier."""
