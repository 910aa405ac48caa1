"""Trained models: those that are shipped, converted and published ones."""
