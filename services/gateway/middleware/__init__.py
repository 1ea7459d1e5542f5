"""What lies around every HTTP request: its id, log, limits, headers, and which pages may ask."""
