"""Listings whose titles mean the same product, by a title transformer trained with cross-batch memory."""
