"""Augmentation of multichannel signals, features and labels together."""
