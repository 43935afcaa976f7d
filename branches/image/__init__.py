"""Listings whose images show the same product, by a convolutional network trained with cross-batch memory."""
