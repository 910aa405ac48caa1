"""What a check of a recording found."""

from dataclasses import asdict, dataclass

SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that is suspicious in a recording, with its remedy.

    Arguments
    ---------
    kind : str
        Slug, such as ``"dead_channel"``.
    severity : str
        ``"error"``: directions will be wrong; ``"warning"``: they may be;
        ``"note"``: good to know.
    channels : tuple of int
        Of the file, from 0; empty if it concerns all.
    message : str
        One line.
    value : float, optional
        What was measured, in the unit of the message.

    Example
    -------
    >>> finding = Finding("silent", "error", (), "is silent", -90.0)
    >>> finding.to_dict()["channels"]
    []
    """

    kind: str
    severity: str
    channels: tuple[int, ...]
    message: str
    value: float | None = None

    def to_dict(self):
        """For JSON.

        Returns
        -------
        dict
            All fields; channels as a list.
        """
        return {**asdict(self), "channels": list(self.channels)}


def name_channels(channels):
    """Subject of a sentence on some channels.

    Arguments
    ---------
    channels : sequence of int
        At least one.

    Returns
    -------
    str

    Example
    -------
    >>> name_channels([3]), name_channels([0, 2, 5])
    ('channel 3', 'channels 0, 2 and 5')
    """
    numbers = [str(channel) for channel in channels]
    if len(numbers) == 1:
        return f"channel {numbers[0]}"
    return f"channels {', '.join(numbers[:-1])} and {numbers[-1]}"
