"""Readers of corpora of impulse responses measured with arrays."""
