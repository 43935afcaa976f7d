"""A bundle: what matching needs of a run, in one folder."""
