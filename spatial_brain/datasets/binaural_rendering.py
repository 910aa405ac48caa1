"""From descriptions of two-ear mixtures to waveforms.

The construction is that of Binaural-WSJ0Mix: every talker is filtered with
the two impulse responses of a direction, scaled so that the energy at both
ears together is twice that of the dry signal, and summed. Three things are
done otherwise, unless ``compat`` asks for what the original generator does:

* ``same_convolution``: it keeps the middle of the convolution, which shifts
  the signal by half a response (with a room response, the beginning of the
  utterance is lost). Here the direct sound stays where the dry signal is.
* ``wrap_int16``: its samples beyond full scale wrap round, and mixture and
  talkers are truncated to integers each on its own. Here one gain for all
  signals of a mixture avoids overflow, and the mixture is the sum.
* ``legacy_2d_conv``: it convolves room responses in two dimensions, so that
  the right ear hears the sum of both. Here every ear has its own.

A fourth, ``scipy_resampling``, concerns how responses come to the sampling
rate and belongs to those who load them (``load_hrtfs(..., compat=True)``).
"""

import math
from pathlib import Path

import numpy as np
import torch
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import fftconvolve, oaconvolve, resample_poly

from spatial_brain.dataio.audio import audio_info, read_audio
from spatial_brain.datasets.binaural_noise import METADATA_FS, FolderNoise
from spatial_brain.datasets.binaural_responses import (
    HeadResponses,
    direct_onset,
)
from spatial_brain.simulation.hrtf_grid import HrtfSet

COMPAT = (
    "same_convolution",
    "wrap_int16",
    "legacy_2d_conv",
    "scipy_resampling",
)
MODES = ("min", "max")
# Largest sample; rounding to 16 bits and summing must stay below full scale.
_PEAK = 0.9998


def compat_behaviours(compat):
    """Which behaviours of the original generator are wanted.

    Arguments
    ---------
    compat : bool or sequence of str
        True: all of ``COMPAT``; False or None: none; or their names.

    Returns
    -------
    frozenset of str
        Names.

    Raises
    ------
    ValueError
        If a name is unknown.

    Example
    -------
    >>> sorted(compat_behaviours(["wrap_int16"])), compat_behaviours(False)
    (['wrap_int16'], frozenset())
    """
    if isinstance(compat, bool) or compat is None:
        return frozenset(COMPAT if compat else ())
    names = frozenset([compat] if isinstance(compat, str) else compat)
    if not names <= set(COMPAT):
        raise ValueError(
            f"compat must be True, False or names out of {COMPAT}, got "
            f"{sorted(names - set(COMPAT))}"
        )
    return names


class MixtureRenderer:
    """Makes waveforms of ``BinauralMixture`` descriptions.

    It holds no random state and changes nothing: the same description gives
    the same samples, in any process and order.

    Arguments
    ---------
    speech_root : str or Path
        Folder that relative paths of utterances begin at.
    heads : HrtfSet or object
        Responses at ``fs``. Either heads (``load_hrtfs``), which are all in
        memory; or any object with ``fs`` (Hz) and
        ``responses(mixture) -> [C, 2, L]`` (float64 array, ear 0 left), as
        the room responses of ``binaural_responses``.
    fs : int
        Sampling rate of the result, Hz.
    mode : str
        ``"min"`` cuts all talkers to the shortest; ``"max"`` pads them to
        the longest and keeps all of the noise.
    compat : bool or sequence of str
        Behaviours of the original generator, see ``COMPAT``.
    noise : str, Path or object, optional
        Folder that relative paths of noise files begin at; or any object
        with ``excerpt(mixture, fs, num_samples) -> [N, 2]`` (float64 array
        before ``noise_gain``, at least ``speech_start`` at ``fs`` and
        ``num_samples`` more long).

    Raises
    ------
    ValueError
        If the mode is unknown or the responses have another rate.

    Example
    -------
    >>> from spatial_brain.dataio.audio import write_audio
    >>> from spatial_brain.datasets.binaural_mixtures import BinauralMixture
    >>> from spatial_brain.simulation.hrtf import spherical_head_hrtfs
    >>> folder = getfixture("tmp_path")
    >>> write_audio(folder / "a.wav", 0.1 * torch.rand(4000), 16000)
    >>> write_audio(folder / "b.wav", 0.1 * torch.rand(3000), 16000)
    >>> heads = spherical_head_hrtfs(8000, 1)
    >>> mixture = BinauralMixture(
    ...     "a_b",
    ...     ("a.wav", "b.wav"),
    ...     ("a", "b"),
    ...     (1.0, 0.5),
    ...     (-45.0, 30.0),
    ...     head=heads.subjects[0],
    ... )
    >>> signals = MixtureRenderer(folder, heads, 8000).render(mixture)
    >>> signals["mix"].shape, signals["sources"].shape, signals["noise"]
    (torch.Size([1500, 2]), torch.Size([1500, 2, 2]), None)
    """

    def __init__(
        self, speech_root, heads, fs, mode="min", compat=False, noise=None
    ):
        if mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, got {mode!r}")
        self.speech_root = Path(speech_root)
        self.heads = (
            HeadResponses(heads) if isinstance(heads, HrtfSet) else heads
        )
        self.fs = int(fs)
        self.mode = mode
        self.compat = compat_behaviours(compat)
        self.noise = (
            FolderNoise(noise) if isinstance(noise, str | Path) else noise
        )
        if self.heads.fs != self.fs:
            raise ValueError(
                f"responses have {self.heads.fs} Hz, mixtures {self.fs} Hz; "
                "load the responses at the rate of the mixtures"
            )

    def render(self, mixture):
        """Waveforms of a mixture.

        Arguments
        ---------
        mixture : BinauralMixture
            What to render.

        Returns
        -------
        dict
            ``mix`` [T, 2], ``sources`` [T, 2, C] (as they are in the
            mixture), ``noise`` [T, 2] or None: float32, full scale 1, ear 0
            left; ``gain``: the factor on all of them that keeps them below
            full scale, mostly 1. ``mix`` is the sum of sources and noise to
            the last bit, unless ``wrap_int16`` is wanted: then all are the
            integers in the original's files, divided by 32768 (with noise,
            its 32-bit floats, and ``mix_clean`` and ``mix_single``, without
            noise and with the first talker only, as well).

        Raises
        ------
        FileNotFoundError
            If a file of the mixture is missing.
        ValueError
            If one is damaged, silent, or too short, or there is no response
            for a direction.
        """
        dry = self._equal_lengths(mixture)
        responses = self.heads.responses(mixture)
        images = [
            self._image(mixture, index, signal, responses[index])
            for index, signal in enumerate(dry)
        ]
        noise = None
        if mixture.noise:
            images, noise = self._with_noise(mixture, images)
        if "wrap_int16" in self.compat:
            return _as_in_files(images, noise)
        return _below_full_scale(images, noise)

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
            If one is damaged or shorter than where it should begin.
        """
        signals = []
        for index, name in enumerate(mixture.utterances):
            signal, rate = self._read(mixture, index, self.speech_root / name)
            if rate != self.fs:
                divisor = math.gcd(rate, self.fs)
                signal = resample_poly(
                    signal, self.fs // divisor, rate // divisor
                )
            signal = signal * mixture.gains[index]
            # Two steps, as in the original: the product is rounded twice.
            signals.append(signal * mixture.speech_gain)
        return signals

    @staticmethod
    def _read(mixture, index, path):
        """What a mixture takes of an utterance, float64, and its rate."""
        if not mixture.starts and mixture.num_samples is None:
            samples, rate = read_audio(path)
            return samples[:, 0].double().numpy(), rate
        info = audio_info(path)
        start, count = (
            None if value is None else math.ceil(value * info.fs / METADATA_FS)
            for value in (
                mixture.starts[index] if mixture.starts else 0,
                mixture.num_samples,
            )
        )
        # Past the end is for ``read_audio`` to refuse.
        left = max(1, info.num_samples - start)
        count = left if count is None else min(count, left)
        samples, rate = read_audio(path, start, count)
        return samples[:, 0].double().numpy(), rate

    def _equal_lengths(self, mixture):
        """Dry signals cut to the shortest or padded to the longest."""
        signals = self.dry(mixture)
        lengths = [len(signal) for signal in signals]
        if self.mode == "min":
            return [signal[: min(lengths)] for signal in signals]
        longest = max(lengths)
        return [
            np.append(signal, np.zeros(longest - len(signal)))
            for signal in signals
        ]

    def _image(self, mixture, index, dry, response):
        """A talker at both ears, [T, 2], twice its dry energy."""
        energy = np.sum(dry**2) * 2
        if not energy > 0:
            raise ValueError(
                f"{self.speech_root / mixture.utterances[index]}: is silent "
                f"where mixture {mixture.name} takes it; leave it out"
            )
        if mixture.room and "legacy_2d_conv" in self.compat:
            both = np.stack((dry, dry), 1)
            energy = np.sum(both**2)
            image = fftconvolve(both, response.T, mode="same")
        elif "same_convolution" in self.compat:
            image = _middle_of_convolution(dry, response)
        else:
            onset = direct_onset(response)
            whole = oaconvolve(dry[None], response, axes=-1)
            image = whole[:, onset : onset + len(dry)].T
        heard = np.sum(image**2)
        if not heard > 0:
            raise ValueError(
                f"mixture {mixture.name}: nothing is heard of talker "
                f"{index + 1}; its impulse responses are silent"
            )
        return image * np.sqrt(energy / heard)

    def _with_noise(self, mixture, images):
        """Images and noise of one length."""
        if self.noise is None:
            raise ValueError(
                f"mixture {mixture.name} has noise ({mixture.noise}), but the "
                "renderer was given no folder of noise"
            )
        length = len(images[0])
        noise = self.noise.excerpt(mixture, self.fs, length)
        noise = noise * mixture.noise_gain
        begin = mixture.speech_start * self.fs // METADATA_FS
        if len(noise) < begin + length:
            raise ValueError(
                f"mixture {mixture.name}: {len(noise)} samples of noise at "
                f"{self.fs} Hz, {begin + length} are needed; {mixture.noise} "
                "or the utterances are not the ones the list was made for"
            )
        if self.mode == "min":
            return images, noise[begin : begin + length]
        pads = ((begin, len(noise) - begin - length), (0, 0))
        return [np.pad(image, pads) for image in images], noise


def _middle_of_convolution(dry, response):
    """Image [T, 2], as by ``fftconvolve`` in mode "same", ear by ear.

    Equal to it in every bit, with one transform of the dry signal.
    """
    length = next_fast_len(len(dry) + response.shape[-1] - 1, real=True)
    spectrum = rfft(dry, length)
    start = (response.shape[-1] - 1) // 2
    image = np.empty((len(dry), 2))
    for ear in range(2):
        whole = irfft(spectrum * rfft(response[ear], length), length)
        image[:, ear] = whole[start : start + len(dry)]
    return image


def _as_in_files(images, noise):
    """Signals as the original generator writes them."""
    # Sums from the left, as there.
    signals = {"mix": sum(images[1:], images[0])}
    quantise = _wrapped
    if noise is not None:
        quantise = np.float32
        signals |= {"mix_clean": signals["mix"], "noise": noise}
        signals["mix_single"] = noise + images[0]
        signals["mix"] = sum(images[1:], signals["mix_single"])
    signals["sources"] = np.stack(images, -1)
    signals = {
        name: torch.from_numpy(quantise(signal))
        for name, signal in signals.items()
    }
    return {"noise": None, **signals, "gain": 1.0}


def _wrapped(samples):
    """Truncate to 16 bits; what is beyond wraps round. Full scale 1."""
    integers = np.trunc(samples * 32768.0).astype(np.int64)
    return integers.astype(np.int16).astype(np.float32) / 32768.0


def _below_full_scale(images, noise):
    """Signals whose sum is the mixture, with one gain for all of them."""
    parts = images if noise is None else [*images, noise]
    mix = sum(parts[1:], parts[0])
    peak = max(max(part.max(), -part.min()) for part in (mix, *parts))
    gain = min(1.0, _PEAK / peak)
    parts = [(part * gain).astype(np.float32) for part in parts]
    count = len(images)
    return {
        "mix": torch.from_numpy(sum(parts[1:], parts[0])),
        "sources": torch.from_numpy(np.stack(parts[:count], -1)),
        "noise": None if noise is None else torch.from_numpy(parts[count]),
        "gain": float(gain),
    }
