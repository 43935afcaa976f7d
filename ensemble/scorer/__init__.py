"""The scorer: trained LightGBM models, and how they are trained."""
