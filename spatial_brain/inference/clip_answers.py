"""From the outputs for chunks to the events of clips."""

import torch

from spatial_brain.dataio.label_codecs import decode_outputs
from spatial_brain.processing.stitching import ChunkStitcher


class ClipAnswers:
    """Stitches and decodes the network's outputs, clip by clip.

    Chunks come in the order of the manifest; a clip is decoded as soon as
    its last chunk has been heard, so that memory holds one clip's outputs.

    Arguments
    ---------
    method : str
        Output format of the network.
    hop_frames : int
        Label frames from one chunk to the next.
    **decoding
        Further arguments of :func:`decode_outputs`.

    Attributes
    ----------
    events : dict
        Id of a clip to its EventTable.

    Example
    -------
    >>> answers = ClipAnswers("accdoa", 10, threshold=0.5)
    >>> outputs = {"accdoa": torch.ones(10, 3)}
    >>> answers.append("a", outputs, 13, last=False)
    >>> answers.append("a", outputs, 13, last=True)
    >>> len(answers.events["a"]), answers.events["a"].azimuth.round()[0].item()
    (13, 45.0)
    """

    def __init__(self, method, hop_frames, **decoding):
        self.method = method
        self.hop_frames = hop_frames
        self.decoding = decoding
        self.events = {}
        self._stitcher, self._finished = None, []

    def append(self, clip, outputs, num_frames, last):
        """Add the outputs of the next chunk.

        Arguments
        ---------
        clip : str
            Id of the clip.
        outputs : dict of torch.Tensor
            Of one chunk, [frame, ...].
        num_frames : int
            Label frames of the whole clip.
        last : bool
            Whether no chunk of this clip follows.
        """
        if self._stitcher is None:
            self._stitcher = ChunkStitcher(self.method, self.hop_frames)
        self._finished.append(self._stitcher.push(outputs))
        if not last:
            return
        self._finished.append(self._stitcher.flush(num_frames))
        stitched = {
            key: torch.cat([part[key] for part in self._finished])
            for key in outputs
        }
        self._stitcher, self._finished = None, []
        table = decode_outputs(stitched, self.method, **self.decoding)
        self.events[clip] = table.segment(0, num_frames)
