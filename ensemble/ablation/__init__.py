"""Measures what each part of the system is worth."""
