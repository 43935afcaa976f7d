"""What every stage stands on: schema, catalogues, splits, neighbours, metric learning, run folder, settings."""
