"""HTTP/JSON for browsers: the API of checkout pages, the element that they drop in, and the storefront."""
