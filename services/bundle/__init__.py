"""A model's folder, and the files of arrays that derived data is kept in."""
