"""Exact nearest neighbors by cosine."""
