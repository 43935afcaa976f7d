"""The LightGBM models that score candidate pairs."""
