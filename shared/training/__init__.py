"""The metric-learning loop: trainer, losses, cross-batch memory, sampler, encoder, checkpoint."""
