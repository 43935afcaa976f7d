"""The second half of the pipeline, a file a step: candidates, features, train, tune, match, evaluate, report."""
