"""Learns from a person's answers which pairs of a catalog match, chooses what to ask, and says how good matches are."""
