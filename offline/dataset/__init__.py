"""Data sets in Kaggle's layout: reading, repairing, and splitting them."""
