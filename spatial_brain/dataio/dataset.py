"""Data sets with seeded random choices; chunks of long recordings."""

from typing import NamedTuple

import numpy as np
import torch
from speechbrain.dataio.dataset import DynamicItemDataset


class EpochDataset(torch.utils.data.Dataset):
    """A data set whose items depend on the epoch, if it is set.

    Example
    -------
    >>> data = EpochDataset()
    >>> data.set_epoch(3)
    >>> data.epoch
    3
    """

    def __init__(self):
        # Shared memory: workers which outlive an epoch see the change too.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    @property
    def epoch(self):
        """Epoch that was set last."""
        return int(self._epoch)

    def set_epoch(self, epoch):
        """Choose the epoch which the random choices belong to.

        Arguments
        ---------
        epoch : int
            At least 0; data sets for validation and test stay at 0.
        """
        self._epoch[0] = int(epoch)


class SeededDataset(DynamicItemDataset):
    """A dynamic-item data set which offers its pipelines a generator.

    Pipelines may take the key ``rng``: a NumPy generator seeded by
    ``(seed, epoch, position of the item)``. What is drawn from it is
    therefore the same for any number of workers or ranks and after a resume;
    it changes with the epoch, which the training loop sets.

    Arguments
    ---------
    data : dict
        Manifest: id to a dictionary of static items.
    seed : int
        Seed of all random choices.
    **kwargs
        Those of ``DynamicItemDataset``.

    Example
    -------
    >>> data = SeededDataset({"a": {}, "b": {}}, seed=1)
    >>> data.add_dynamic_item(lambda rng: rng.random(), "rng", "gain")
    >>> data.set_output_keys(["gain"])
    >>> first = data[0]["gain"]
    >>> data[0]["gain"] == first, data[1]["gain"] == first
    (True, False)
    >>> data.set_epoch(2)
    >>> data[0]["gain"] == first
    False
    """

    def __init__(self, data, seed, **kwargs):
        output_keys = kwargs.pop("output_keys", [])
        super().__init__(data, **kwargs)
        self.pipeline.add_static_keys(["rng"])
        self.set_output_keys(output_keys)
        self.seed = int(seed)
        # Shared memory: workers which outlive an epoch see the change too.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch):
        """Choose the epoch which the random choices belong to.

        Arguments
        ---------
        epoch : int
            At least 0; data sets for validation and test stay at 0.
        """
        self._epoch[0] = int(epoch)

    def __getitem__(self, index):
        data_id = self.data_ids[index]
        rng = np.random.default_rng([self.seed, int(self._epoch), int(index)])
        return self.pipeline.compute_outputs(
            {"id": data_id, "rng": rng, **self.data[data_id]}
        )


class Chunk(NamedTuple):
    """A stretch of a recording.

    Arguments
    ---------
    start, stop : int
        First sample, and the sample after the last.
    pad : int
        Zeros to add at the end, samples.
    """

    start: int
    stop: int
    pad: int = 0

    def frames(self, samples_per_frame):
        """The label frames of the chunk.

        Arguments
        ---------
        samples_per_frame : int
            Samples per label frame, 2400 at 24 kHz.

        Returns
        -------
        tuple of int
            First frame, and the frame after the last: those that end within
            the chunk, as far as the recording goes.

        Example
        -------
        >>> Chunk(7200, 8500, 1100).frames(100)
        (72, 85)
        """
        return self.start // samples_per_frame, self.stop // samples_per_frame


def chunk_bounds(num_samples, chunk, hop, *, tail="pad", grid=1):
    """Where to cut a recording into chunks, by the rules of PSELDNets.

    Arguments
    ---------
    num_samples : int
        Length of the recording.
    chunk : int
        Length of a chunk, samples.
    hop : int
        From the start of one chunk to that of the next, samples, at most
        ``chunk``.
    tail : str
        What becomes of the samples after the last whole chunk. ``"pad"``
        (validation and test): one more chunk, padded. ``"half"`` (training):
        the same if they fill at least half a chunk, else a chunk that ends
        with the recording and overlaps the one before.
    grid : int
        A chunk moved back starts at a multiple of this number of samples, so
        that its label frames are those of the recording. It may then end up
        to ``grid - 1`` samples before the recording does, and is left out
        where it would repeat the chunk before. 1: PSELDNets, whose labels
        are off by up to one frame there.

    Returns
    -------
    list of Chunk
        With ``stop - start + pad == chunk``; the starts of all but a chunk
        moved back are multiples of ``hop``.

    Raises
    ------
    ValueError
        If a length is not positive, the hop exceeds the chunk, or ``tail`` is
        not known.

    Example
    -------
    >>> [tuple(c) for c in chunk_bounds(8500, 2400, 2400)][-1]
    (7200, 8500, 1100)
    >>> chunk_bounds(8200, 2400, 2400, tail="half")[-1]
    Chunk(start=5800, stop=8200, pad=0)
    >>> chunk_bounds(8250, 2400, 2400, tail="half", grid=100)[-1]
    Chunk(start=5800, stop=8200, pad=0)
    """
    for name, value in (
        ("num_samples", num_samples),
        ("chunk", chunk),
        ("hop", hop),
        ("grid", grid),
    ):
        if value != int(value) or value < 1:
            raise ValueError(f"{name} is {value}, expected a whole number >= 1")
    if hop > chunk:
        raise ValueError(
            f"hop {hop} exceeds chunk {chunk}: samples between chunks would "
            "be lost"
        )
    if tail not in ("pad", "half"):
        raise ValueError(f"tail is {tail!r}, expected 'pad' or 'half'")
    if num_samples < chunk:
        return [Chunk(0, num_samples, chunk - num_samples)]
    number = 1 + (num_samples - chunk) // hop
    chunks = [Chunk(n * hop, n * hop + chunk) for n in range(number)]
    if chunks[-1].stop == num_samples:
        return chunks
    start = number * hop
    rest = num_samples - start
    if tail == "pad" or rest >= chunk // 2:
        return [*chunks, Chunk(start, num_samples, chunk - rest)]
    start = (num_samples - chunk) // grid * grid
    if start > chunks[-1].start:
        chunks.append(Chunk(start, start + chunk))
    return chunks
