"""The talkers of binaural recordings: separated, followed, written."""
