"""Conditions on products: filters, colours and their families, facets, pages."""
