"""Access to the data of users, by tokens."""
