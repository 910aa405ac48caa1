"""Dry speech of two-ear mixtures, at their rate and maybe in memory.

A training set that is made on the fly reads every utterance again and again,
in many workers; decoded and resampled once, it lies in memory that forked
workers share.
"""

import math
import os
from collections import OrderedDict

from scipy.signal import resample_poly

from spatial_brain.dataio.audio import read_audio
from spatial_brain.dataio.progress import progress
from spatial_brain.datasets.binaural_rendering import (
    METADATA_FS,
    MixtureRenderer,
)


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

    Example
    -------
    >>> import torch
    >>> from spatial_brain.dataio.audio import write_audio
    >>> folder = getfixture("tmp_path")
    >>> write_audio(folder / "a.wav", torch.rand(4000), 16000)
    >>> reader = SpeechReader(8000, folder)
    >>> len(reader.read("a.wav")), len(reader.read("a.wav", 3000, 2000))
    (2000, 500)
    """

    def __init__(self, fs, root="", remember=0):
        self.fs, self.root, self.remember = int(fs), root, remember
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
        """An utterance or a part of it.

        Arguments
        ---------
        name : str
            File; the first of its channels is read.
        start : int
            First sample, counted at ``METADATA_FS``.
        num_samples : int
            Length at most, counted at ``METADATA_FS``; None: to the end.

        Returns
        -------
        numpy.ndarray
            float64, full scale 1.

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
        first = start * self.fs // METADATA_FS
        if first >= len(signal):
            raise ValueError(
                f"{os.path.join(self.root, name)}: ends before sample {start}, "
                "where a mixture begins; make the manifests again"
            )
        count = None
        if num_samples is not None:
            count = math.ceil(num_samples * self.fs / METADATA_FS)
        return signal[first:][:count].astype("float64")

    def _resampled(self, name):
        """All of an utterance, float32: files have no more than 24 bits."""
        samples, rate = read_audio(os.path.join(self.root, name))
        signal = samples[:, 0].numpy()
        if rate == self.fs:
            return signal.copy()
        divisor = math.gcd(rate, self.fs)
        up, down = self.fs // divisor, rate // divisor
        signal = resample_poly(signal.astype("float64"), up, down)
        return signal.astype("float32")


class SpeechRenderer(MixtureRenderer):
    """A ``MixtureRenderer`` with a memory for speech.

    Arguments
    ---------
    *args, **kwargs
        Those of ``MixtureRenderer``.

    Example
    -------
    >>> import torch
    >>> from spatial_brain.dataio.audio import write_audio
    >>> from spatial_brain.datasets.binaural_mixtures import BinauralMixture
    >>> from spatial_brain.simulation.hrtf import spherical_head_hrtfs
    >>> folder = getfixture("tmp_path")
    >>> write_audio(folder / "a.wav", 0.1 * torch.rand(4000), 16000)
    >>> heads = spherical_head_hrtfs(8000, ["subject03"])
    >>> renderer = SpeechRenderer(folder, heads, 8000)
    >>> renderer.speech.keep_in_memory(["a.wav"])
    >>> mixture = BinauralMixture(
    ...     "x", ("a.wav",), ("a",), (1.0,), (-45.0,), head="subject03"
    ... )
    >>> renderer.render(mixture)["mix"].shape
    torch.Size([2000, 2])
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.speech = SpeechReader(self.fs, self.speech_root)

    def dry(self, mixture):
        """Utterances of a mixture at the wanted rate, with their gains.

        Arguments
        ---------
        mixture : BinauralMixture
            Which ones.

        Returns
        -------
        list of numpy.ndarray
            float64, full scale 1, each of its own length.

        Raises
        ------
        FileNotFoundError
            If a file is missing.
        ValueError
            If one is damaged or ends before it should begin.
        """
        starts = mixture.starts or (0,) * mixture.num_sources
        return [
            self.speech.read(name, start, mixture.num_samples)
            * (gain * mixture.speech_gain)
            for name, start, gain in zip(
                mixture.utterances, starts, mixture.gains, strict=True
            )
        ]
