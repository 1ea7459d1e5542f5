"""The catalogues of shops as they export them: feeds of Google Merchant, Shopify, WooCommerce, and any table."""
