"""The perceptual-hash branch: near-identical images, without a trained model."""
