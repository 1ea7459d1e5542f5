"""Holds every answer of a running stack to a comparison with every product, beside writes."""
