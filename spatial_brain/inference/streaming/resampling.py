"""Another sampling rate of live sound."""

import torch

from spatial_brain.dataio.audio import resample_audio, resampling_span


class ResampleStream:
    """Converts a recording that comes chunk by chunk.

    Together the outputs are ``resample_audio`` of the whole, whatever the
    chunks. A sample comes out when the filter has all it needs: some samples
    of the lower rate later.

    Arguments
    ---------
    old_fs, fs : int
        Rates, hertz.

    Example
    -------
    >>> sound = torch.rand(4800, 2)
    >>> stream = ResampleStream(48000, 16000)
    >>> parts = [stream.push(chunk) for chunk in sound.split(700)]
    >>> found = torch.cat([*parts, stream.flush()])
    >>> torch.allclose(found, resample_audio(sound, 48000, 16000), atol=1e-6)
    True
    """

    def __init__(self, old_fs, fs):
        self.old_fs, self.fs = old_fs, fs
        self._channels = 0
        self._begin()

    def _begin(self):
        """Nothing was pushed yet."""
        self._chunks = []
        # First sample of those kept, samples taken, and samples given.
        self._start = self._taken = self._given = 0

    def push(self, chunk):
        """Take a chunk, give the samples that are final.

        Arguments
        ---------
        chunk : torch.Tensor
            [time, channel], float32.

        Returns
        -------
        torch.Tensor
            [time, channel] at the new rate, perhaps of no samples.
        """
        self._channels = chunk.shape[1]
        if self.old_fs == self.fs:
            return chunk
        self._chunks.append(chunk)
        self._taken += len(chunk)
        total = self._taken * self.fs // self.old_fs
        # What the filter reaches beyond the last sample.
        _, last, _ = self._span(0, total, 2**62)
        beyond = -(-(last - self._taken) * self.fs // self.old_fs)
        return self._give(total - max(0, beyond), 2**62)

    def flush(self):
        """Give the rest, and begin a new recording.

        Returns
        -------
        torch.Tensor
            As ``push``.
        """
        if not self._chunks:
            return torch.zeros(0, self._channels)
        total = -(-self._taken * self.fs // self.old_fs)
        found = self._give(total, self._taken)
        self._begin()
        return found

    def _span(self, start, count, total):
        """What is needed for some samples, see ``resampling_span``."""
        return resampling_span(start, count, self.fs, self.old_fs, total)

    def _give(self, stop, total):
        """Samples before one that were not given yet."""
        count = stop - self._given
        if count <= 0:
            return self._chunks[0][:0]
        first, last, offset = self._span(self._given, count, total)
        samples = torch.cat(self._chunks)
        part = samples[first - self._start : last - self._start]
        found = resample_audio(part, self.old_fs, self.fs)
        self._given = stop
        start, _, _ = self._span(stop, 1, total)
        self._chunks = [samples[max(0, start - self._start) :]]
        self._start = max(start, self._start)
        return found[offset : offset + count]
