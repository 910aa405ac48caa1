"""Corpora of dry speech."""
