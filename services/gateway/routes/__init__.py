"""The HTTP routes: similar products, products, users, and the pages."""
