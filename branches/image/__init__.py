"""Listings whose pictures show the same product, by a convolutional network trained with cross-batch memory."""
