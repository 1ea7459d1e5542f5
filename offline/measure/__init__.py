"""What is measured of results: one definition for training and for evaluation."""
