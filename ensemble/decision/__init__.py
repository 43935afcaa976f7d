"""The decision: rules, thresholds and how they are tuned."""
