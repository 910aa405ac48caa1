"""Directions from an array of known geometry, without training."""
