"""Mixtures of speakers in simulated rooms at a microphone pair."""
