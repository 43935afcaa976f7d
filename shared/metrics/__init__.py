"""Measures of matches and of embeddings."""
