"""A model's folder: reading it, and the tensor files that it and derived data are kept in."""
