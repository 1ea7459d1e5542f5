"""The catalogue as a map: like products lie close together."""
