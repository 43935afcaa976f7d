"""The perceptual-hash branch: near-identical pictures, without a trained model."""
