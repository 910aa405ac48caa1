"""WSJ0-Simu: speech in simulated rooms at two microphones."""
