"""The commands of `fashion`, one module each."""
