"""Blocks of live sound: the evidence of each as soon as it is complete."""

import torch


class BlockStream:
    """Evidence of the blocks of a recording that comes chunk by chunk.

    Together these are the blocks of :meth:`BlockMaps.stream`, whatever the
    chunks: nothing is done twice for blocks that overlap, and nothing waits
    but for the end of a block.

    Arguments
    ---------
    maps : BlockMaps
        The estimator.

    Raises
    ------
    ValueError
        If blocks do not overlap or touch.

    Example
    -------
    >>> from spatial_brain.geometry import circular_array
    >>> from spatial_brain.processing.directions.srp_phat import SRPPhat
    >>> stream = BlockStream(SRPPhat(circular_array(4, 0.05), 16000))
    >>> [len(stream.push(torch.randn(n, 4))) for n in (7000, 2000, 1500)]
    [0, 1, 1]
    >>> len(stream.flush())
    1
    """

    def __init__(self, maps):
        if maps.step_frames > maps.block_frames:
            raise ValueError("a stream needs a hop of at most a block")
        self.maps = maps
        self._units = 1 + (
            (maps.block_frames - maps.unit_frames) // maps.unit_step
        )
        self._step_units = maps.step_frames // maps.unit_step
        self.step = maps.step_frames * maps.hop_length
        self.reset()

    def reset(self):
        """Forget all input; the next chunk begins a recording."""
        self._chunks, self._waiting = [], 0
        # Samples before those that wait, and what was made of the past.
        self._before, self._kept = 0, None
        self._given = self._taken = 0

    def push(self, chunk):
        """Take a chunk, give the blocks that it completes.

        Arguments
        ---------
        chunk : torch.Tensor
            [time, microphone], of any length.

        Returns
        -------
        list of tuple
            Of each block its centre, seconds, and its evidence
            (``BlockMaps.evidence``) [1, ...].

        Raises
        ------
        ValueError
            If it has not the array's channels.
        """
        self.maps.check_waveform(chunk[None])
        found = []
        # In steps, so that a long chunk needs no more memory than a block.
        for part in chunk.split(self.step):
            self._chunks.append(part)
            self._waiting += len(part)
            self._taken += len(part)
            while self._before + self._waiting >= self._end():
                found.append(self._finish())
        return found

    def flush(self):
        """Give the block that the end of the recording is in.

        Returns
        -------
        list of tuple
            As of ``push``, of one block or none; the recording is then
            forgotten. Behind its end there is silence.
        """
        found, length = [], self.maps.block_length
        covered = length + (self._given - 1) * self.step if self._given else 0
        if self._taken > covered:
            missing = self._end() - self._before - self._waiting
            silence = torch.zeros(missing, len(self.maps.microphones))
            self._chunks.append(silence)
            self._waiting += missing
            found.append(self._finish())
        self.reset()
        return found

    def _end(self):
        """Where the next block ends, samples."""
        return self._given * self.step + self.maps.block_length

    @torch.no_grad()
    def _finish(self):
        """The next block, whose samples are all there."""
        maps = self.maps
        samples = torch.cat(self._chunks)
        used = samples[: self._end() - self._before]
        units = maps.units(maps.spectra(used[None]))
        if self._kept is not None:
            units = torch.cat((self._kept, units), dim=1)
        self._kept = units[:, self._step_units :]
        start = self._given * self.step
        # The first sample that units not made yet need.
        behind = max(self._units, self._step_units)
        behind = start + behind * maps.unit_step * maps.hop_length
        self._chunks = [samples[behind - self._before :]]
        self._waiting = len(self._chunks[0])
        self._before = behind
        self._given += 1
        time = (start + maps.block_length / 2) / maps.fs
        return time, maps.combine(units)
