"""Sound from a direction: weights of beamformers of any array."""
