"""A trained network as a method that finds directions of an array."""

import torch

from spatial_brain.geometry import azel_to_unit
from spatial_brain.inference.streaming.resampling import ResampleStream
from spatial_brain.processing.directions.map_decoder import (
    MapDecoder,
    pool_windows,
)

# Samples read at once.
_PIECE = 2**17


class NetworkMaps:
    """Maps over azimuth of the windows of a recording, by a network.

    Has what a finder needs of a method: ``stream``, ``maps`` and ``pick``.

    Arguments
    ---------
    network : torch.nn.Module
        With ``stream(positions)``, whose ``push(chunk [time, microphone])``
        gives logits [frame, direction] of the frames that are complete.
    positions : torch.Tensor
        Metres, [M, 3].
    fs : int
        Sampling rate of recordings, hertz.
    grid : DirectionGrid
        Circle of azimuths of what ``maps`` gives.
    window, hop : int
        Frames.
    sample_rate : int
        Of the network, hertz.
    frame_length : int
        Samples of a frame at that rate.
    num_directions : int
        Of the network.

    Example
    -------
    >>> from spatial_brain.geometry import circular_array
    >>> from spatial_brain.models.any_array import AnyArrayNetwork
    >>> from spatial_brain.processing.directions.grid import DirectionGrid
    >>> maps = NetworkMaps(
    ...     AnyArrayNetwork(channels=8, dilations=(1,)).eval(),
    ...     circular_array(4, 0.05), 16000, DirectionGrid.circle(2.0),
    ...     window=8, hop=4, sample_rate=16000, frame_length=1024,
    ...     num_directions=72)
    >>> sound = torch.randn(1, 16000, 4)
    >>> [(times, evidence)] = maps.stream(lambda a, b: sound[:, a:b], 16000)
    >>> evidence.shape, maps.maps(evidence).shape
    (torch.Size([1, 3, 72]), torch.Size([1, 3, 180]))
    """

    def __init__(
        self,
        network,
        positions,
        fs,
        grid,
        *,
        window,
        hop,
        sample_rate,
        frame_length,
        num_directions,
    ):
        self.network, self.microphones = network, positions
        self.fs, self.grid, self.sample_rate = fs, grid, sample_rate
        self.window, self.hop = window, hop
        self.frame_length, self.num_directions = frame_length, num_directions
        self.decoder = MapDecoder(positions, num_directions)

    @property
    def block_length(self):
        """Of a window, samples of the recording."""
        return round(
            self.window * self.frame_length * self.fs / self.sample_rate
        )

    def stream(self, read, num_samples):
        """Evidence of a recording that is read piece by piece.

        Arguments
        ---------
        read : callable
            Takes the first sample of a piece and the one after its last;
            gives [1, time, microphone].
        num_samples : int
            Length of the recording.

        Yields
        ------
        tuple of torch.Tensor
            Centres of windows, seconds, [window]; and the probabilities of
            their frames pooled, [1, window, direction].

        Raises
        ------
        ValueError
            If there are no samples.
        """
        if not num_samples:
            raise ValueError("the recording holds no samples")
        stream = NetworkBlockStream(self)
        for start in range(0, num_samples, _PIECE):
            stop = min(start + _PIECE, num_samples)
            found = stream.push(read(start, stop)[0])
            if stop == num_samples:
                found += stream.flush()
            if found:
                times, evidence = zip(*found, strict=True)
                times = torch.tensor(times, dtype=torch.float64)
                yield times, torch.cat(evidence, dim=1)

    def maps(self, evidence):
        """Maps at the directions of the grid.

        Arguments
        ---------
        evidence : torch.Tensor
            [1, window, direction].

        Returns
        -------
        torch.Tensor
            [1, window, direction of the grid].
        """
        place = (self.grid.azimuth + 180) / (360 / self.num_directions)
        low, count = place.floor().long(), self.num_directions
        folded = self.decoder.fold(evidence)
        return torch.lerp(
            folded[..., low % count],
            folded[..., (low + 1) % count],
            place - low,
        )

    def pick(self, evidence, num_peaks=1, min_separation=15.0):
        """Directions of windows from their evidence.

        Arguments
        ---------
        evidence : torch.Tensor
            [1, window, direction].
        num_peaks : int
            Directions wanted of a window.
        min_separation : float
            Smallest angle between two of them, degrees.

        Returns
        -------
        tuple of torch.Tensor
            Unit vectors, [1, window, num_peaks, 3], NaN where there are fewer;
            and heights, [1, window, num_peaks].
        """
        azimuth, height = self.decoder.pick(evidence, num_peaks, min_separation)
        return azel_to_unit(azimuth, torch.zeros(())), height


class NetworkBlockStream:
    """Evidence of the windows of live sound, from a network with its state.

    Arguments
    ---------
    maps : NetworkMaps
        The network and its windows.
    """

    def __init__(self, maps):
        self.maps = maps
        self.reset()

    def reset(self):
        """Forget all input; the next chunk begins a recording."""
        maps = self.maps
        self._resample = ResampleStream(maps.fs, maps.sample_rate)
        self._stream = maps.network.stream(maps.microphones)
        self._frames = torch.zeros(0, maps.num_directions)
        # Windows given, and samples taken, at the network's rate.
        self._given = self._taken = 0

    def push(self, chunk):
        """Take a chunk, give the windows that it completes.

        Arguments
        ---------
        chunk : torch.Tensor
            [time, microphone], of any length.

        Returns
        -------
        list of tuple
            Of each window its centre, seconds, and its evidence
            [1, 1, direction].
        """
        return self._push(self._resample.push(chunk.float()))

    def flush(self):
        """Give the window that the end of the recording is in.

        Returns
        -------
        list of tuple
            As of ``push``; the recording is then forgotten. Behind its end
            there is silence.
        """
        rest = self._resample.flush()
        found = self._push(rest) if rest.numel() else []
        step = self.maps.hop * self.maps.frame_length
        length = self.maps.window * self.maps.frame_length
        covered = length + (self._given - 1) * step if self._given else 0
        if self._taken > covered:
            missing = self._given * step + length - self._taken
            silence = torch.zeros(missing, len(self.maps.microphones))
            found += self._push(silence)
        self.reset()
        return found

    def _push(self, chunk):
        """Take samples of the network's rate."""
        self._taken += len(chunk)
        logits = self._stream.push(chunk)
        self._frames = torch.cat((self._frames, logits.cpu()))
        found, maps = [], self.maps
        while len(self._frames) >= maps.window:
            window = self._frames[: maps.window]
            [pooled] = pool_windows(window, maps.window, maps.hop)
            centre = self._given * maps.hop + maps.window / 2
            time = centre * maps.frame_length / maps.sample_rate
            found.append((time, pooled[None, None]))
            self._frames = self._frames[maps.hop :]
            self._given += 1
        return found
