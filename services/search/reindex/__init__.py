"""A new model without a pause: the next generation is built beside the live one, compared, and switched to."""
