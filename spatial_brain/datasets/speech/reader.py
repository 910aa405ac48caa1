"""Utterances of dry speech at one sampling rate, read again and again.

A training set that is made on the fly takes every utterance in every epoch,
in many workers; decoded and resampled once, it lies in memory that forked
workers share.
"""

import os
from collections import OrderedDict

from scipy.signal import resample_poly

from spatial_brain.dataio.audio import read_audio
from spatial_brain.dataio.parallel import progress


class SpeechReader:
    """Reads utterances and parts of them at one sampling rate.

    A part is cut from the resampled utterance, so that it does not matter
    what is in memory.

    Arguments
    ---------
    fs : int
        Wanted rate, Hz.
    root : str or Path
        Where relative paths begin.
    remember : int
        How many utterances that were read last stay in memory.
    dtype : str
        "float32" or "float64": precision of resampled utterances. Samples of
        files, of 24 bits at most, are exact in both.

    Example
    -------
    >>> import torch
    >>> from spatial_brain.dataio.audio import write_audio
    >>> folder = getfixture("tmp_path")
    >>> write_audio(folder / "a.wav", torch.rand(4000), 16000)
    >>> reader = SpeechReader(8000, folder)
    >>> len(reader.read("a.wav")), len(reader.read("a.wav", 1500, 1000))
    (2000, 500)
    """

    def __init__(self, fs, root="", *, remember=0, dtype="float32"):
        self.fs, self.root = int(fs), root
        self.remember, self.dtype = remember, dtype
        self._kept, self._recent = {}, OrderedDict()

    def keep_in_memory(self, names):
        """Read utterances once and for all.

        Arguments
        ---------
        names : iterable of str
            Files.

        Raises
        ------
        FileNotFoundError
            If a file is missing.
        ValueError
            If one is damaged.
        """
        wanted = sorted(set(names) - set(self._kept))
        for name in progress(wanted, description="reading speech", unit="file"):
            self._kept[name] = self._resampled(name)

    def read(self, name, start=0, num_samples=None):
        """Read an utterance or a part of it.

        Arguments
        ---------
        name : str
            File; the first of its channels is read.
        start : int
            First sample, counted at ``fs``.
        num_samples : int
            Length at most, counted at ``fs``; None: to the end.

        Returns
        -------
        numpy.ndarray
            float64 [time], full scale 1.

        Raises
        ------
        FileNotFoundError
            If the file is missing.
        ValueError
            If it is damaged, or ends before ``start``.
        """
        signal = self._kept.get(name)
        if signal is None:
            signal = self._recent.pop(name, None)
            signal = self._resampled(name) if signal is None else signal
            self._recent[name] = signal
            if len(self._recent) > self.remember:
                self._recent.popitem(last=False)
        if start >= len(signal):
            raise ValueError(
                f"{os.path.join(self.root, name)}: has {len(signal)} samples "
                f"at {self.fs} Hz, sample {start} is wanted; make the "
                "manifests again"
            )
        return signal[start:][:num_samples].astype("float64")

    def _resampled(self, name):
        """All of an utterance, of the wanted rate and precision."""
        samples, rate = read_audio(os.path.join(self.root, name))
        signal = samples[:, 0].double().numpy()
        return resample_poly(signal, self.fs, rate).astype(self.dtype)
