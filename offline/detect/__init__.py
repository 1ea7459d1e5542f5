"""Training of a bundle's garment heads: which way up a photograph is, and where its garments are."""
