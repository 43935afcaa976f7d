"""What a run is measured by, and its summary."""
