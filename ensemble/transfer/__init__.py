"""Measures how the system of a run fares on catalogs of another kind."""
