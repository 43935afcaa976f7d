"""The lists of several invented shops: goods with model numbers and specifications, most listed once or twice."""
