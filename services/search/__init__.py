"""Search: the one entrance for recommendations, and the keeper of the catalogue."""
