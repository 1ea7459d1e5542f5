"""Whose token opens whose colours."""
