"""Scores and errors."""
