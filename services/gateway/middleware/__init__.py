"""The middleware of every HTTP request: id, log, limits, headers, and cross-origin rules."""
