"""Noise of binaural mixtures: which recordings, and what is at the ears.

The noise of the published lists is the same at both ears, see ``FolderNoise``.
That of drawn mixtures is diffuse, see ``DiffuseNoise``: a recording has one
channel, or channels of microphones which are no ears; two stretches of it
that do not overlap are as good as independent, and become what noise from
everywhere is at the ears of the mixture's head.
"""

import math
from pathlib import Path

import numpy as np
import torch
from scipy.signal import resample_poly

from spatial_brain.dataio.audio import audio_info, read_audio
from spatial_brain.folders import find_files
from spatial_brain.simulation.hrtf.rooms import (
    diffuse_at_ears,
    direction_weights,
    ear_mixing,
)
from spatial_brain.simulation.hrtf.sphere import spherical_head_hrtfs

# Rate at which positions in a ``BinauralMixture`` are counted, Hz.
METADATA_FS = 16000
# Level of the first source over the noise, as in Binaural-WSJ0Mix, dB.
SNR_RANGE = (-2.5, 15.0)
# Environments of DEMAND in each set, as published.
DEMAND_SPLITS = {
    "train": "DWASHING DKITCHEN NFIELD NPARK OOFFICE OMEETING".split(),
    "valid": "DLIVING NRIVER OHALLWAY PCAFETER SPSQUARE TBUS".split(),
    "test": "PSTATION PRESTO STRAFFIC SCAFE TMETRO TCAR".split(),
}
_SUFFIXES = (".wav", ".flac")
# Share of the files of any other folder for validation, and for the test.
_SHARE = 0.2


class FolderNoise:
    """Excerpts of noise files, the same at both ears.

    Arguments
    ---------
    folder : str or Path
        Where relative paths of noise files begin: for the published lists,
        the folder with ``demand/`` in it, or DEMAND's own.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.

    Example
    -------
    >>> import torch
    >>> from spatial_brain.dataio.audio import write_audio
    >>> from spatial_brain.datasets.binaural_wsj0mix.rendering import (
    ...     BinauralMixture,
    ... )
    >>> folder = getfixture("tmp_path")
    >>> write_audio(folder / "n.wav", torch.linspace(0, 0.9, 1000), 16000)
    >>> mixture = BinauralMixture(
    ...     "x", ("a.wav",), ("a",), (1.0,), (0.0,), noise="n.wav",
    ...     noise_start=100, noise_length=500,
    ... )
    >>> FolderNoise(folder).excerpt(mixture, 8000, 200).shape
    (250, 2)
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise FileNotFoundError(
                f"{self.folder}: no such folder of noise. Give the folder of "
                "DEMAND (https://zenodo.org/records/1227121, the 16 kHz "
                "version) or of other noise"
            )

    def excerpt(self, mixture, fs, num_samples):
        """Noise of a mixture at both ears, before its gain.

        Arguments
        ---------
        mixture : BinauralMixture
            Its ``noise``, ``noise_start``, ``noise_length`` and
            ``speech_start`` are looked at.
        fs : int
            Wanted rate, Hz.
        num_samples : int
            Length of the speech at ``fs``.

        Returns
        -------
        numpy.ndarray
            Shape [N, 2], full scale 1.

        Raises
        ------
        FileNotFoundError
            If the file is missing.
        ValueError
            If it is damaged or too short.
        """
        path = self.path(mixture.noise)
        rate = audio_info(path).fs
        start, length, lead = (
            None if value is None else math.ceil(value * rate / METADATA_FS)
            for value in (
                mixture.noise_start,
                mixture.noise_length,
                mixture.speech_start,
            )
        )
        if length is None:
            length = lead + math.ceil(num_samples * rate / fs)
        # Resampled in 32 bits, as the original does.
        samples = resample_poly(_first_channel(path, start, length), fs, rate)
        return np.stack((samples, samples), 1).astype(np.float64)

    def path(self, name):
        """File of a name, which may begin with the folder's own name.

        Arguments
        ---------
        name : str
            As in the lists: ``demand/DWASHING/ch01.wav``.

        Returns
        -------
        Path
            It need not exist.
        """
        path = self.folder / name
        inner = self.folder / Path(*Path(name).parts[1:])
        if not path.is_file() and inner.is_file():
            return inner
        return path


class DiffuseNoise(FolderNoise):
    """Excerpts of noise files, as at the ears of a head in a diffuse field.

    Arguments
    ---------
    folder : str or Path
        Where relative paths of noise files begin.
    hrtfs : HrtfSet, optional
        Heads of the mixtures. For mixtures in rooms, and without it, the
        noise is that at the ears of a mean spherical head.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.

    Example
    -------
    >>> from spatial_brain.dataio.audio import write_audio
    >>> from spatial_brain.datasets.binaural_wsj0mix.rendering import (
    ...     BinauralMixture,
    ... )
    >>> folder = getfixture("tmp_path")
    >>> write_audio(folder / "n.wav", 0.1 * torch.randn(16000), 16000)
    >>> mixture = BinauralMixture(
    ...     "x", ("a.wav",), ("a",), (1.0,), (0.0,), noise="n.wav"
    ... )
    >>> noise = DiffuseNoise(folder).excerpt(mixture, 8000, 2000)
    >>> noise.shape, bool((noise[:, 0] == noise[:, 1]).any())
    ((2000, 2), False)
    """

    def __init__(self, folder, hrtfs=None):
        super().__init__(folder)
        self.hrtfs, self._mixing = hrtfs, {}

    def excerpt(self, mixture, fs, num_samples):
        """Noise of a mixture at both ears, before its gain.

        Arguments
        ---------
        mixture : BinauralMixture
            Its ``head`` is looked at, and what ``FolderNoise`` looks at.
        fs : int
            Wanted rate, Hz.
        num_samples : int
            Length of the speech at ``fs``.

        Returns
        -------
        numpy.ndarray
            Shape [N, 2], full scale 1.

        Raises
        ------
        FileNotFoundError
            If the file is missing.
        ValueError
            If it is damaged, silent, or too short for two excerpts.
        """
        path = self.path(mixture.noise)
        info = audio_info(path)
        if mixture.noise_length is None:
            lead = mixture.speech_start * fs // METADATA_FS
            length = lead + num_samples
        else:
            length = math.ceil(mixture.noise_length * fs / METADATA_FS)
        count = math.ceil(length * info.fs / fs)
        if info.num_samples < 2 * count:
            raise ValueError(
                f"{path}: has {info.num_samples} samples; two excerpts of "
                f"{count} samples are needed to make the noise diffuse. Give "
                "longer recordings of noise"
            )
        start = math.ceil(mixture.noise_start * info.fs / METADATA_FS)
        # As far from each other as the file allows, in a circle.
        signals = [
            self._part(path, info, begin % info.num_samples, count, fs, length)
            for begin in (start, start + info.num_samples // 2)
        ]
        signals = torch.from_numpy(np.stack(signals))
        power = signals.square().mean(-1, keepdim=True)
        if not bool((power > 0).all()):
            raise ValueError(
                f"{path}: is silent where mixture {mixture.name} takes it"
            )
        signals = signals * (power.mean() / power).sqrt()
        noise = diffuse_at_ears(signals, self._mixing_of(mixture.head, fs))
        return noise.double().numpy()

    @staticmethod
    def _part(path, info, start, count, fs, length):
        """Stretch of a file, which goes on at its beginning."""
        first = min(count, info.num_samples - start)
        parts = [_first_channel(path, start, first)]
        if first < count:
            parts.append(_first_channel(path, 0, count - first))
        signal = np.concatenate(parts).astype(np.float64)
        return resample_poly(signal, fs, info.fs)[:length]

    def _mixing_of(self, head, fs):
        """Mixing of a head, made once."""
        if (head, fs) not in self._mixing:
            hrtfs, subject = self.hrtfs, head
            if hrtfs is None or not head:
                hrtfs, subject = spherical_head_hrtfs(fs, ["mean"]), "mean"
            self._mixing[head, fs] = ear_mixing(
                hrtfs.responses[hrtfs.index(subject)].flatten(0, 1),
                direction_weights(hrtfs).flatten(),
            )
        return self._mixing[head, fs]


def split_noise(folder, seed=0):
    """Divide the noise files of a folder among the sets.

    Arguments
    ---------
    folder : str or Path
        With DEMAND's environments in it (``DWASHING/ch01.wav``), at any
        depth: the first channel, divided as published. Otherwise all ``.wav``
        and ``.flac`` files at any depth, divided by seed.
    seed : int
        Not negative.

    Returns
    -------
    dict
        "train", "valid", "test" to a dict: file, relative to the folder, to
        its samples at ``METADATA_FS``.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no noise in it.
    ValueError
        If a set gets none, or a file is damaged.

    Example
    -------
    >>> from spatial_brain.dataio.audio import write_audio
    >>> folder = getfixture("tmp_path")
    >>> for name in "abc":
    ...     write_audio(folder / f"{name}.wav", torch.rand(160), 16000)
    >>> parts = split_noise(folder)
    >>> sorted(len(files) for files in parts.values())
    [1, 1, 1]
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: no such folder of noise; give that of DEMAND "
            "(https://zenodo.org/records/1227121) or of other recordings"
        )
    files = find_files(folder, _SUFFIXES)
    if not files:
        raise FileNotFoundError(f"{folder}: no .wav and no .flac file in it")
    parts = _demand(files) or _by_chance(files, np.random.default_rng(seed))
    empty = [split for split, paths in parts.items() if not paths]
    if empty:
        raise ValueError(
            f"{folder}: {len(files)} noise files leave none for "
            f"{' and '.join(empty)}; at least three are needed, of DEMAND at "
            "least an environment of each set"
        )
    return {
        split: {str(path.relative_to(folder)): _length(path) for path in paths}
        for split, paths in parts.items()
    }


class NoiseDrawer:
    """Draws which noise a mixture has, and how loud it is.

    Longer files are more likely, in proportion; beginnings and levels are
    uniform. An excerpt does not pass the end of its file.

    Arguments
    ---------
    files : dict
        Of one set, from ``split_noise``.
    snr_range : tuple of float
        Level of the first source over the noise, dB.

    Example
    -------
    >>> drawer = NoiseDrawer({"n.wav": 40000})
    >>> noise, snr = drawer.draw(np.random.default_rng(0), 16000)
    >>> noise["noise"], 0 <= noise["noise_start"] <= 24000, -2.5 <= snr < 15
    ('n.wav', True, True)
    """

    def __init__(self, files, snr_range=SNR_RANGE):
        self.names, self.lengths = list(files), list(files.values())
        self.share = np.array(self.lengths, float) / sum(self.lengths)
        self.snr_range = tuple(snr_range)

    def draw(self, rng, num_samples):
        """Draw a noise.

        Arguments
        ---------
        rng : numpy.random.Generator
            Source of all choices.
        num_samples : int
            How much of it is needed, counted at ``METADATA_FS``.

        Returns
        -------
        tuple
            Values of ``noise`` and ``noise_start`` of a ``BinauralMixture``,
            and the SNR in dB.

        Raises
        ------
        ValueError
            If the file is too short.
        """
        choice = int(rng.choice(len(self.names), p=self.share))
        spare = self.lengths[choice] - num_samples
        if spare < 0:
            raise ValueError(
                f"{self.names[choice]}: noise of "
                f"{self.lengths[choice] / METADATA_FS:.1f} s is too short for "
                f"a mixture of {num_samples / METADATA_FS:.1f} s; give longer "
                "recordings of noise"
            )
        start = int(rng.integers(spare + 1))
        snr = round(float(rng.uniform(*self.snr_range)), 4)
        return {"noise": self.names[choice], "noise_start": start}, snr


def _first_channel(path, start, num_samples):
    """Samples of the first channel of a file, float32."""
    return read_audio(path, start, num_samples)[0][:, 0].numpy()


def _demand(files):
    """First channels of DEMAND's environments by set, None elsewhere."""
    names = {name for part in DEMAND_SPLITS.values() for name in part}
    first = [
        path
        for path in files
        if path.parent.name in names and path.stem == "ch01"
    ]
    if not first:
        return None
    return {
        split: [path for path in first if path.parent.name in environments]
        for split, environments in DEMAND_SPLITS.items()
    }


def _by_chance(files, rng):
    """A fifth of the files each for validation and test."""
    count = max(1, round(_SHARE * len(files)))
    order = [files[index] for index in rng.permutation(len(files))]
    return {
        "train": sorted(order[2 * count :]),
        "valid": sorted(order[:count]),
        "test": sorted(order[count : 2 * count]),
    }


def _length(path):
    """Samples of a file at ``METADATA_FS``."""
    info = audio_info(path)
    return info.num_samples * METADATA_FS // info.fs
