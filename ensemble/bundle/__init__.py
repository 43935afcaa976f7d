"""A bundle: the parts of a run that matching needs, in one folder."""
