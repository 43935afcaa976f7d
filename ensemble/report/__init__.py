"""The report: one HTML file that shows what was matched, how good it is, and why."""
