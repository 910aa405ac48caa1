"""Levels of the channels: silent, dead, doubled, clipped, uneven."""

import numpy as np

from spatial_brain.inference.array_checks.finding import Finding, name_channels
from spatial_brain.inference.recordings import FULL_SCALE, SILENCE_DBFS

# Two channels whose sample-to-sample steps correlate more than this are one
# signal: microphones even 5 mm apart differ more at 100 Hz.
_SAME = 1 - 1e-6
# Decibels below the median channel from where on a channel is dead, and off
# it from where on its gain is named.
_DEAD, _UNEVEN = 26.0, 6.0
# Mean relative to the level about it.
_OFFSET = 0.1
# Samples cut off, of all, that are worth a word.
_CLIPPED = 1e-5


class ChannelLevels:
    """Sums over a recording, piece by piece.

    Arguments
    ---------
    num_channels : int
        Channels of each piece.

    Example
    -------
    >>> levels = ChannelLevels(2)
    >>> levels.add(np.tile([[0.1, 0.2], [-0.1, -0.2]], (50, 1)))
    >>> levels.decibels.round().tolist()
    [-20.0, -14.0]
    """

    def __init__(self, num_channels):
        self.num_samples = 0
        self._sum = np.zeros(num_channels)
        self._square = np.zeros(num_channels)
        self._steps = np.zeros((num_channels, num_channels))
        self._clipped = np.zeros(num_channels)

    def add(self, piece):
        """Add a piece.

        Arguments
        ---------
        piece : numpy.ndarray
            Samples, [time, channel].
        """
        self.num_samples += len(piece)
        self._sum += piece.sum(0, dtype=float)
        self._square += np.square(piece, dtype=float).sum(0)
        steps = np.diff(piece, axis=0).astype(float)
        self._steps += steps.T @ steps
        flat = steps == 0
        full = np.abs(piece[2:]) >= FULL_SCALE
        self._clipped += (full & flat[1:] & flat[:-1]).sum(0)

    @property
    def means(self):
        """Of each channel, [channel]."""
        return self._sum / max(1, self.num_samples)

    @property
    def decibels(self):
        """Level of each channel about its mean, dBFS, [channel]."""
        power = self._square / max(1, self.num_samples) - self.means**2
        return 10 * np.log10(power.clip(min=0) + 1e-20)

    @property
    def clipped(self):
        """Share of the samples of each channel that are cut off."""
        return self._clipped / max(1, self.num_samples)

    @property
    def likeness(self):
        """Correlation of the steps of each two channels, [channel, channel]."""
        power = self._steps.diagonal()
        floor = np.sqrt(power[:, None] * power)
        return self._steps / np.where(floor > 0, floor, 1.0)


def level_findings(levels, channels):
    """Findings on levels.

    Arguments
    ---------
    levels : ChannelLevels
        Of the whole recording.
    channels : sequence of int
        Number in the file of each of its channels.

    Returns
    -------
    list of Finding

    Example
    -------
    >>> levels = ChannelLevels(2)
    >>> levels.add(np.zeros((100, 2)))
    >>> level_findings(levels, [0, 1])[0].kind
    'silent'
    """
    decibels = levels.decibels
    silent = decibels < SILENCE_DBFS
    if silent.all():
        return [
            Finding(
                "silent",
                "error",
                (),
                f"all channels are silent (below {SILENCE_DBFS:.0f} dBFS); "
                "check the recording or raise its level",
                float(decibels.max()),
            )
        ]
    dead = ~silent & (decibels < np.median(decibels[~silent]) - _DEAD)
    found = [
        *_each(silent, channels, _silent, decibels),
        *_each(dead, channels, _dead, decibels - np.median(decibels)),
        *_doubled(levels.likeness, silent, channels),
        *_each(levels.clipped > _CLIPPED, channels, _clipped, levels.clipped),
    ]
    usable = ~silent & ~dead
    off = decibels - np.median(decibels[usable])
    found += _each(usable & (abs(off) > _UNEVEN), channels, _uneven, off)
    offset = levels.means / 10 ** (decibels / 20)
    found += _each(~silent & (abs(offset) > _OFFSET), channels, _dc, offset)
    return found


def _each(chosen, channels, make, values):
    """A finding for each chosen channel."""
    return [
        make(channels[index], float(values[index]))
        for index in np.flatnonzero(chosen)
    ]


def _silent(channel, value):
    """A channel without sound."""
    return Finding(
        "silent",
        "warning",
        (channel,),
        f"channel {channel} is silent ({max(value, -200):.0f} dBFS); check "
        "that microphone, or leave it out",
        value,
    )


def _dead(channel, value):
    """A channel that is far below the others."""
    return Finding(
        "dead_channel",
        "warning",
        (channel,),
        f"channel {channel} is {-value:.0f} dB below the others; its "
        "microphone seems dead: check it, or leave it out",
        value,
    )


def _clipped(channel, value):
    """A channel that is cut off at full scale."""
    return Finding(
        "clipped",
        "warning",
        (channel,),
        f"channel {channel} is cut off at full scale in {100 * value:.3f} % "
        "of its samples; record at a lower level",
        value,
    )


def _uneven(channel, value):
    """A channel whose gain is not that of the others."""
    return Finding(
        "level_difference",
        "note",
        (channel,),
        f"channel {channel} is {abs(value):.0f} dB "
        f"{'above' if value > 0 else 'below'} the others; if the microphones "
        "are of one kind, check its gain",
        value,
    )


def _dc(channel, value):
    """A channel with an offset."""
    return Finding(
        "dc_offset",
        "note",
        (channel,),
        f"channel {channel} has an offset of {100 * value:.0f} % of its "
        "level; directions do not use it, its electronics may be at fault",
        value,
    )


def _doubled(likeness, silent, channels):
    """Groups of channels that are one signal, perhaps scaled or inverted."""
    same = abs(likeness) > _SAME
    same &= ~silent[:, None] & ~silent
    found, left = [], set(range(len(channels)))
    for index in range(len(channels)):
        group = [i for i in np.flatnonzero(same[index]) if i in left]
        left -= set(group)
        if len(group) < 2:
            continue
        numbers = tuple(channels[i] for i in group)
        everyone = len(group) == len(channels)
        found.append(
            Finding(
                "doubled_channel",
                "error" if everyone else "warning",
                numbers,
                f"{name_channels(numbers)} are one signal"
                + (
                    " (a mono recording?); record with a channel a microphone"
                    if everyone
                    else "; check the wiring and the channels of the driver"
                ),
                float(likeness[group[0], group[1]]),
            )
        )
    return found
