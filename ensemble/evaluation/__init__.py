"""The metrics of a run, and its summary."""
