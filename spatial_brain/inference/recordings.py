"""What those who listen to recordings have in common."""


class RecordingWarning(UserWarning):
    """A recording can be read, but its directions cannot be trusted."""
