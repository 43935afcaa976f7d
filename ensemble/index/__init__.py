"""An index: a catalog that grows, with embeddings, candidates and groups that stay."""
