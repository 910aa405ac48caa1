"""Disk to tensors and back: formats, not data sets."""
