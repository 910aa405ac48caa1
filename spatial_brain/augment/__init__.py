"""Multichannel augmentation."""
