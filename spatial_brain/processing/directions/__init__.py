"""Directions over time from any array of microphones."""
