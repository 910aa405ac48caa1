"""Binaural-WSJ0Mix: mixtures of speech at both ears of a listener."""
