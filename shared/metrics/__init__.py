"""Metrics of matches and of embeddings."""
