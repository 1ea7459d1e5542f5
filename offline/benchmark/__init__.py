"""Measures the product beside its floor, and beside what people would use instead."""
