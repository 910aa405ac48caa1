"""Readers of corpora of recordings with arrays."""
