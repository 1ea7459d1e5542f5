"""HTTP/JSON for browsers: the API of checkout pages, the element for such pages, and the storefront."""
