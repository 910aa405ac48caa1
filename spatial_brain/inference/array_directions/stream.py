"""Directions of live sound, window by window, without the future."""

from typing import NamedTuple

import numpy as np

from spatial_brain.inference.array_directions.confidence import REACH
from spatial_brain.inference.array_directions.sources import LiveSources


class LiveWindow(NamedTuple):
    """A window of live sound.

    Arguments
    ---------
    start, stop : float
        Seconds since the beginning.
    sources : list of LiveSource
        Those that are there, by their numbers.
    azimuth, elevation : numpy.ndarray
        What the window alone gives, degrees, [direction]; NaN where there is
        none, or it is not known.
    confidence : numpy.ndarray
        Probability that each is within 10 degrees of a source, from this
        window and those before, [direction]; NaN of a method without.
    """

    start: float
    stop: float
    sources: list
    azimuth: np.ndarray
    elevation: np.ndarray
    confidence: np.ndarray


class DirectionStream:
    """Directions of a recording that comes chunk by chunk.

    Made by ``DirectionFinder.stream``. Directions of windows are those that
    ``localize_file`` finds in the whole recording, whatever the chunks. Their
    confidence is the one that it gives to the last window of a recording
    which ends there: of the whole recording, it looks at a second after the
    window, too. Sources are linked without the future, see
    :class:`LiveSources`.

    Arguments
    ---------
    finder : DirectionFinder
        The method, its windows, and how many sources there are.
    fs : float
        Sampling rate, hertz.

    Example
    -------
    >>> import torch
    >>> from spatial_brain.inference import SoundLocalizer
    >>> finder = SoundLocalizer.from_array("circular:4x0.05", method="srp-phat")
    >>> stream = finder.stream(16000)
    >>> windows = [*stream.push(torch.randn(20000, 4)), *stream.flush()]
    >>> [round(window.start, 2) for window in windows]
    [0.0, 0.26]
    """

    def __init__(self, finder, fs):
        self._finder, self.fs = finder, fs
        self._blocks = finder.block_stream(fs)
        self.latency = self._blocks.maps.block_length / fs
        if finder.has_confidence:
            # Made now, so that no window waits for it.
            finder.noise_peaks(fs)
        self._begin()

    def _begin(self):
        """Nothing was pushed yet."""
        self._taken, self._recent = 0, []
        self._sources = LiveSources(self._finder.known_number)

    def push(self, chunk):
        """Take a chunk, give the windows that it completes.

        Arguments
        ---------
        chunk : torch.Tensor
            [time, microphone], of any length.

        Returns
        -------
        list of LiveWindow

        Raises
        ------
        ValueError
            For other channels, or samples that are not finite.
        """
        if not chunk.isfinite().all():
            raise ValueError("the sound holds NaN or infinite samples")
        self._taken += len(chunk)
        chunk = self._finder.convert(chunk)
        return [self._window(*block) for block in self._blocks.push(chunk)]

    def flush(self):
        """Give the window that the end is in, and forget the recording.

        Returns
        -------
        list of LiveWindow
            One or none.
        """
        found = [self._window(*block) for block in self._blocks.flush()]
        self._begin()
        return found

    def _window(self, time, evidence):
        """A window of its centre and evidence."""
        finder, half = self._finder, self.latency / 2
        peaks = finder.pick(self._blocks.maps, evidence)
        self._recent = [*self._recent[-REACH:], peaks]
        azimuth, elevation, height = (
            np.concatenate(part) for part in zip(*self._recent, strict=True)
        )
        sure = finder.sure(azimuth, elevation, height, self.fs)[-1]
        azimuth, elevation = azimuth[-1], elevation[-1]
        sources = self._sources.push(time, azimuth, elevation, sure)
        if not finder.has_confidence:
            sure = np.full_like(sure, np.nan)
            sources = [one._replace(confidence=np.nan) for one in sources]
        stop = min(time + half, self._taken / self.fs)
        return LiveWindow(
            max(0.0, time - half), stop, sources, azimuth, elevation, sure
        )
