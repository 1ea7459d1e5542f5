"""`fashion demo`: search from end to end."""
