"""Mixtures of talkers in simulated rooms at a microphone pair."""
