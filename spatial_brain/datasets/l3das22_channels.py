"""Which channel of an Ambisonic recording is which, found out on the data.

Where one source sounds alone, the mean active intensity ``W * channel``
points to the source (F. J. Fahy, "Sound Intensity", 2nd ed. 1995, chapter 4).
So the right axes and signs of the channels are those which bring it closest
to the direction vectors of the labels: a regression on the 48 ways to permute
and to mirror the axes.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from spatial_brain.dataio.audio import read_audio
from spatial_brain.dataio.progress import progress
from spatial_brain.datasets.seld_clips import read_clip_events

# Axes of the channels Y, Z, X in a direction vector (x, y, z).
_AXES = (1, 2, 0)
_LETTERS = "XYZ"
# Frames this much below the loudest one of the clip are left out.
_QUIET = 0.01
_FEWEST_FRAMES = 30
# Least mean cosine between intensity and labels, and its least lead over the
# next best order. In a simulated room of T60 0.8 s, 6 dB over the noise, they
# are 0.68 and 0.07; the sign of Z leads least, as elevations are small.
_CLEAR, _LEAD = 0.4, 0.03


@dataclass(frozen=True)
class ChannelOrder:
    """Order of the channels of a recording.

    Arguments
    ---------
    channels : tuple of int
        Indices to read to get W, Y, Z, X.
    signs : tuple of int
        1, or -1 where that channel points the other way.
    cosine : float
        Mean cosine between the intensity and the labels.
    lead : float
        How much less it is with the next best order.
    num_frames : int
        Frames it was found from.

    Example
    -------
    >>> ChannelOrder((0, 2, 1, 3), (1, 1, 1, 1), 0.9, 0.3, 500).name
    'WZYX'
    """

    channels: tuple
    signs: tuple
    cosine: float
    lead: float
    num_frames: int

    @property
    def name(self):
        """Letters of the channels as they lie in the file."""
        letters = dict(zip(self.channels, "WYZX", strict=True))
        return "".join(letters[index] for index in range(4))


def estimate_channel_order(entries, *, max_clips=60):
    """Find the order of the channels from clips with single sources.

    The first channel is taken to be W.

    Arguments
    ---------
    entries : dict
        Id to entry of a manifest (see ``spatial_brain.datasets.
        seld_checks``); ``channels`` in them is of no account.
    max_clips : int
        So many of them are read, spread over all.

    Returns
    -------
    ChannelOrder
        The order.

    Raises
    ------
    ValueError
        If there are too few frames with one source, or they do not tell.

    Example
    -------
    >>> estimate_channel_order({})
    Traceback (most recent call last):
    ValueError: the channel order cannot be found: 0 frames with one source...
    """
    names = sorted(entries)
    step = max(1, len(names) / max_clips)
    chosen = [names[int(i * step)] for i in range(int(len(names) / step))]
    rows = [
        _single_source_frames(name, entries[name])
        for name in progress(
            chosen, description="looking for the channel order", unit="clip"
        )
    ]
    directions = np.concatenate([r[0] for r in rows] or [np.zeros((0, 3))])
    intensity = np.concatenate([r[1] for r in rows] or [np.zeros((0, 3))])
    remedy = 'pass channel_order="WYZX" (or "WZYX") instead of "auto"'
    if len(directions) < _FEWEST_FRAMES:
        raise ValueError(
            f"the channel order cannot be found: {len(directions)} frames with "
            f"one source in {len(chosen)} clips, at least {_FEWEST_FRAMES} "
            f"are needed; {remedy}"
        )
    (cosine, axes, signs), (second, *_) = _best_orders(directions, intensity)
    if cosine < _CLEAR or cosine - second < _LEAD:
        raise ValueError(
            "the channel order cannot be found: the intensity of single "
            f"sources does not follow their labels (mean cosine {cosine:.2f}, "
            f"with another order {second:.2f}); check that annotations and "
            f"audio belong together, or {remedy}"
        )
    index = [axes.index(axis) for axis in _AXES]
    return ChannelOrder(
        (0, *(channel + 1 for channel in index)),
        (1, *(signs[channel] for channel in index)),
        cosine,
        cosine - second,
        len(directions),
    )


def _best_orders(directions, intensity):
    """The two best of all orders: mean cosine, axis and sign of channels."""
    # moment[channel, axis]: a sum of three of these is a mean cosine.
    moment = intensity.T @ directions / len(directions)
    orders = [
        (
            float(sum(s * moment[c, a] for c, (a, s) in enumerate(pairs))),
            axes,
            signs,
        )
        for axes in itertools.permutations(range(3))
        for signs in itertools.product((1, -1), repeat=3)
        for pairs in [list(zip(axes, signs, strict=True))]
    ]
    return sorted(orders, reverse=True)[:2]


def _single_source_frames(name, entry):
    """Directions of label and of intensity where one source is, [N, 3]."""
    events = read_clip_events(name, entry)
    size = entry["fs"] // 10
    number = entry["num_samples"] // size
    waveform, _ = read_audio(entry["wav"], 0, number * size, num_channels=4)
    # Low frequencies carry most of the noise and of the room's modes.
    waveform = np.diff(waveform.numpy(), axis=0, prepend=0)
    frames = waveform.reshape(number, size, 4)
    power = (frames[..., 0] ** 2).mean(axis=1)
    intensity = (frames[..., :1] * frames[..., 1:]).mean(axis=1)
    length = np.linalg.norm(intensity, axis=1, keepdims=True)
    intensity /= np.maximum(length, np.finfo(np.float32).tiny)
    events = events.select(events.frame < number)
    alone = events.overlap(number)[events.frame] == 1
    loud = power[events.frame] > _QUIET * power.max(initial=0)
    rows = alone & loud
    return events.directions[rows], intensity[events.frame[rows]]
