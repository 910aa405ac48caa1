"""Binaural-WSJ0Mix: talkers at two ears."""
