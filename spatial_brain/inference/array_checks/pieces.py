"""The pieces of a recording that show most, in bounded memory."""

import numpy as np
import torch

# Seconds of a piece, and pieces of a recording.
PIECE, _COUNT = 2.0, 20
# Numbers of all pieces together.
_MOST = 2**24


class PieceFinder:
    """Finds loud pieces, spread over the recording, from its levels.

    Arguments
    ---------
    fs : int
        Sampling rate, hertz.
    num_channels : int
        Channels that are used.

    Example
    -------
    >>> finder = PieceFinder(10, 1)
    >>> finder.add(np.repeat([0.0, 1.0, 0.0], 20)[:, None])
    >>> finder.starts()
    [0, 20, 40]
    """

    def __init__(self, fs, num_channels):
        self.length = round(PIECE * fs)
        longest = _MOST // (num_channels * self.length)
        self.count = max(4, min(_COUNT, longest))
        self._rest = np.zeros(0)
        self._powers = []

    def add(self, samples):
        """Add what follows, [time, channel]."""
        power = np.square(samples, dtype=np.float32).mean(1)
        power = np.concatenate((self._rest, power))
        whole = len(power) // self.length * self.length
        self._powers += power[:whole].reshape(-1, self.length).mean(1).tolist()
        self._rest = power[whole:]

    def starts(self):
        """First samples of the pieces.

        Returns
        -------
        list of int
            In order; a recording shorter than a piece is one.
        """
        if not self._powers:
            return [0]
        bins = np.array_split(
            np.arange(len(self._powers)), min(self.count, len(self._powers))
        )
        powers = np.asarray(self._powers)
        return [int(b[powers[b].argmax()]) * self.length for b in bins]


def read_pieces(file, finder, channels):
    """Read the pieces one after the other.

    Arguments
    ---------
    file : soundfile.SoundFile
        Open for reading.
    finder : PieceFinder
        That has seen the whole recording.
    channels : sequence of int
        To be used.

    Yields
    ------
    tuple
        When the piece begins, seconds; and torch.Tensor [time, channel].
    """
    for start in finder.starts():
        file.seek(start)
        piece = file.read(finder.length, dtype="float32", always_2d=True)
        yield start / file.samplerate, torch.from_numpy(piece[:, channels])
