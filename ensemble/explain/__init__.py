"""Why a pair matched: what each family of features added to its score, and how its titles differ."""
