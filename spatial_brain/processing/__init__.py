"""Signals to features."""
