"""Segments of the clips of a manifest, from disk or from memory."""

import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from spatial_brain.dataio.audio import audio_info, read_audio
from spatial_brain.dataio.progress import progress

logger = logging.getLogger(__name__)


class ClipReader:
    """Segments of the clips of a manifest, from disk or from memory.

    Arguments
    ---------
    entries : dict
        Entries of the manifest.
    keep_in_memory : bool
        Decode all clips now and keep them: as 16-bit integers where the
        files are, so that nothing is lost, else as floats. Workers that are
        forked (the default on Linux) share this memory.
    num_workers : int
        Threads that decode.

    Example
    -------
    >>> from spatial_brain.dataio.audio import write_audio
    >>> path = getfixture("tmp_path") / "a.wav"
    >>> write_audio(path, torch.full((10, 4), 0.5), 24000)
    >>> reader = ClipReader({"a": {"wav": path, "fs": 24000}})
    >>> reader.read("a", 8, 2, 4)[:, 0]
    tensor([0.5000, 0.5000, 0.0000, 0.0000])
    """

    def __init__(self, entries, keep_in_memory=False, num_workers=8):
        self.entries = entries
        self.memory = {}
        if keep_in_memory:
            with ThreadPoolExecutor(num_workers) as pool:
                clips = progress(
                    pool.map(self._decode, entries),
                    total=len(entries),
                    description="reading clips into memory",
                    unit="file",
                )
                self.memory = dict(zip(entries, clips, strict=True))
            size = sum(array.nbytes for array in self.memory.values())
            logger.info(
                "%d clips take %.2f GB of memory", len(entries), size / 1e9
            )

    def _decode(self, clip):
        """All samples of a clip, [time, channel]."""
        entry = self.entries[clip]
        samples = _read(entry).numpy()
        if audio_info(entry["wav"]).subtype != "PCM_16":
            return samples
        scaled = np.rint(samples * 32768)
        return np.clip(scaled, -32768, 32767).astype(np.int16)

    def read(self, clip, start, num_samples, length):
        """Read a segment.

        Arguments
        ---------
        clip : str
            Id.
        start, num_samples : int
            The segment, samples.
        length : int
            Zeros are appended up to this length.

        Returns
        -------
        torch.Tensor
            Shape [length, 4], float32; channels in the order of the entry's
            ``channels``, where there is one.

        Raises
        ------
        AudioFileError
            (a ValueError) If the file is damaged or shorter than its entry.
        """
        if clip in self.memory:
            array = self.memory[clip][start : start + num_samples]
            waveform = torch.from_numpy(array.astype(np.float32))
            if array.dtype == np.int16:
                waveform /= 32768
        else:
            waveform = _read(self.entries[clip], start, num_samples)
        missing = length - len(waveform)
        return torch.nn.functional.pad(waveform, (0, 0, 0, missing))


def _read(entry, start=0, num_samples=None):
    """Samples of a file in the order of channels that the entry tells."""
    waveform, _ = read_audio(
        entry["wav"],
        start,
        entry.get("num_samples") if num_samples is None else num_samples,
        fs=entry["fs"],
        num_channels=4,
    )
    if "channels" in entry:
        waveform = waveform[:, entry["channels"]]
    if "channel_signs" in entry:
        waveform = waveform * torch.tensor(entry["channel_signs"]).float()
    return waveform
