"""The command ``spatial-brain``, one file a sub-command."""
