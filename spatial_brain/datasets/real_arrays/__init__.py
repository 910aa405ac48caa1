"""Corpora recorded or measured with microphone arrays in real rooms."""
