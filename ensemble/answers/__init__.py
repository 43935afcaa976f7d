"""People's answers about pairs of listings: one append-only file, honored by every decision ever after."""
