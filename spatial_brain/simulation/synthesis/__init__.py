"""Synthetic speech and sound events."""
