"""An index: a catalogue that grows, with embeddings, candidates and groups that stay."""
