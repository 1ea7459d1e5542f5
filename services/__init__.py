"""The services of the recommender, and what they share."""
