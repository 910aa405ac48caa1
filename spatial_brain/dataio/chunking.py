"""Cutting long recordings into chunks of one length.

The rules are those of PSELDNets: a tail is padded with zeros, or, when less
than half a chunk is left in training, the last chunk is moved back.
"""

from typing import NamedTuple


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
            Samples a label frame, 2400 at 24 kHz.

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
    """Where to cut a recording.

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
