"""Noise of two-ear mixtures, out of recordings."""

import math
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from spatial_brain.dataio.audio import audio_info, read_audio

# Rate at which positions in a ``BinauralMixture`` are counted, Hz.
METADATA_FS = 16000


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
    >>> from spatial_brain.datasets.binaural_mixtures import BinauralMixture
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
        """Noise of a mixture, before its gain.

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
        samples = read_audio(path, start, length)[0][:, 0].numpy()
        if rate != fs:
            divisor = math.gcd(rate, fs)
            # In 32 bits, as the original does.
            samples = resample_poly(samples, fs // divisor, rate // divisor)
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
