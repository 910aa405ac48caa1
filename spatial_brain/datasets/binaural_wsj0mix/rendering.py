"""From descriptions of binaural mixtures to waveforms.

A ``BinauralMixture`` says which utterances come from which directions at
which gains, to which head or in which room, over which noise. Descriptions
are those of the published lists or drawn ones; one ``MixtureRenderer`` makes
waveforms of either: for the files of a data set, for reading on the fly, and
for dynamic mixing.

The construction is that of Binaural-WSJ0Mix: every source is filtered with
the two impulse responses of a direction, scaled so that the energy at both
ears together is twice that of the dry signal, and summed. Three things are
done otherwise, unless ``compat`` asks for what the original generator does:

* ``same_convolution``: it keeps the middle of the convolution, which shifts
  the signal by half a response (with a room response, the beginning of the
  utterance is lost). Here the direct sound stays where the dry signal is.
* ``wrap_int16``: its samples beyond full scale wrap round, and mixture and
  sources are truncated to integers each on its own. Here one gain for all
  signals of a mixture avoids overflow, and the mixture is the sum.
* ``legacy_2d_conv``: it convolves room responses in two dimensions, so that
  the right ear gets the sum of both. Here every ear has its own.

A fourth, ``scipy_resampling``, concerns how responses come to the sampling
rate and belongs to those who load them (``load_hrtfs(..., compat=True)``).
"""

import hashlib
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import fftconvolve, oaconvolve

from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.binaural_wsj0mix.noise import (
    METADATA_FS,
    FolderNoise,
)
from spatial_brain.datasets.speech.reader import SpeechReader
from spatial_brain.geometry import unit_to_azel
from spatial_brain.simulation.hrtf.grid import HrtfSet, interaural_to_unit

COMPAT = (
    "same_convolution",
    "wrap_int16",
    "legacy_2d_conv",
    "scipy_resampling",
)
MODES = ("min", "max")
# Largest sample; rounding to 16 bits and summing must stay below full scale.
_PEAK = 0.9998
# A response begins where it first comes this close to its peak.
_ONSET = 0.1
_SEQUENCES = (
    "utterances",
    "speakers",
    "gains",
    "laterals",
    "polars",
    "starts",
)


@dataclass(frozen=True)
class BinauralMixture:
    """One binaural mixture, as data that JSON can hold.

    Sequences have one value a source, in one order. Positions and lengths in
    samples are those of the published lists: counted at ``METADATA_FS``
    (16 kHz) whatever the rate of files and of the result.

    Arguments
    ---------
    name : str
        Unique in its set; the file name without ``.wav``.
    utterances : tuple of str
        Audio files, absolute or relative to the ``speech_root`` of the
        renderer.
    speakers : tuple of str
        Who speaks; all different.
    gains : tuple of float
        Factors on the samples of each file.
    laterals : tuple of float
        Directions in degrees towards the right ear, [-90, 90]. For responses
        of a room without elevations: the azimuth, positive to the right.
    polars : tuple of float
        Angles around the axis of the ears, degrees: 0 front, 90 above, 180
        behind. Empty: all in front, on the horizontal plane.
    head : str
        Subject of the ``HrtfSet``; of room responses, the head if there are
        several, or nothing.
    room : str
        Name of the room responses, such as ``"0_4s"``; empty: free field.
    t60 : float, optional
        Reverberation time of the room, seconds.
    starts : tuple of int
        First sample to take of each file; empty: from the beginning.
    num_samples : int, optional
        Samples to take of each file at most; None: to the end.
    speech_gain : float
        Common factor on all sources (speech against noise).
    noise : str
        Noise file, absolute or relative to the noise folder, or whatever
        the noise object given to the renderer knows; empty: none.
    noise_start : int
        First sample to take of the noise file.
    noise_length : int, optional
        Samples to take of it; None: what the speech needs.
    speech_start : int
        Where the speech begins within the noise taken.
    noise_gain : float
        Factor on the noise.
    seed : int, optional
        What a built-in noise or room of this mixture is drawn from.

    Raises
    ------
    ValueError
        If sequences differ in length, or speakers repeat.

    Example
    -------
    >>> mixture = BinauralMixture(
    ...     "a_b", ("a.wav", "b.wav"), ("a", "b"), (1.0, 0.5), (-45.0, 30.0)
    ... )
    >>> mixture.num_sources, mixture.azimuths
    (2, [45.0, -30.0])
    >>> BinauralMixture.from_dict(mixture.to_dict()) == mixture
    True
    """

    name: str
    utterances: tuple
    speakers: tuple
    gains: tuple
    laterals: tuple
    polars: tuple = ()
    head: str = ""
    room: str = ""
    t60: float | None = None
    starts: tuple = ()
    num_samples: int | None = None
    speech_gain: float = 1.0
    noise: str = ""
    noise_start: int = 0
    noise_length: int | None = None
    speech_start: int = 0
    noise_gain: float = 1.0
    seed: int | None = None

    def __post_init__(self):
        for name in _SEQUENCES:
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.polars:
            object.__setattr__(self, "polars", (0.0,) * len(self.laterals))
        counts = {
            name: len(getattr(self, name))
            for name in _SEQUENCES
            if name != "starts" or self.starts
        }
        if len(set(counts.values())) != 1 or not self.utterances:
            raise ValueError(
                f"{self.name}: expected one value a source, got {counts}"
            )
        if len(set(self.speakers)) != len(self.speakers):
            raise ValueError(
                f"{self.name}: a speaker is there twice: {self.speakers}"
            )

    @property
    def num_sources(self):
        """Number of sources."""
        return len(self.utterances)

    @property
    def directions(self):
        """Azimuths (counter-clockwise) and elevations, degrees, two lists."""
        azimuths, elevations = unit_to_azel(
            interaural_to_unit(self.laterals, self.polars)
        )
        # Rounded: 32-bit angles of whole degrees should read as such.
        return tuple(
            [round(angle, 3) + 0.0 for angle in angles.tolist()]
            for angles in (azimuths, elevations)
        )

    @property
    def azimuths(self):
        """Azimuths in degrees, counter-clockwise, [-180, 180)."""
        return self.directions[0]

    def to_dict(self):
        """Content for JSON; what has its default value is left out.

        Returns
        -------
        dict
            For ``from_dict``.

        Example
        -------
        >>> BinauralMixture("x", ("a.wav",), ("a",), (1.0,), (0.0,)).to_dict()
        {'name': 'x', 'utterances': ['a.wav'], 'speakers': ['a'],
         'gains': [1.0], 'laterals': [0.0], 'polars': [0.0]}
        """
        defaults = {field.name: field.default for field in fields(self)}
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
            if value != defaults[key]
        }

    @classmethod
    def from_dict(cls, content):
        """Inverse of ``to_dict``; keys it does not know are an error.

        Arguments
        ---------
        content : dict
            From ``to_dict``.

        Returns
        -------
        BinauralMixture
            The mixture.

        Raises
        ------
        ValueError
            If a key is unknown or missing.

        Example
        -------
        >>> BinauralMixture.from_dict({"name": "x"})
        Traceback (most recent call last):
        ValueError: not the description of a mixture: ...
        """
        try:
            return cls(**content)
        except TypeError as error:
            raise ValueError(
                f"not the description of a mixture: {error} in {content}"
            ) from error


class MixtureRenderer:
    """Makes waveforms of ``BinauralMixture`` descriptions.

    It holds no random state and changes nothing: the same description gives
    the same samples, in any process and order, whether its ``speech`` (a
    ``SpeechReader``) keeps utterances in memory or not.

    Arguments
    ---------
    speech_root : str or Path
        Folder that relative paths of utterances begin at.
    hrtfs : HrtfSet or object
        Responses at ``fs``. Either heads (``load_hrtfs``), directions off
        their grid being taken from the nearest on it; or any object with
        ``fs`` (Hz) and ``responses(mixture) -> [C, 2, L]`` (float64 array,
        ear 0 left), as the room responses of ``load_rooms``.
    fs : int
        Sampling rate of the result, Hz.
    mode : str
        ``"min"`` cuts all sources to the shortest; ``"max"`` pads them to
        the longest and keeps all of the noise.
    compat : bool or sequence of str
        Behaviours of the original generator, see ``COMPAT``.
    noise : str, Path or object, optional
        Folder that relative paths of noise files begin at; or any object
        with ``excerpt(mixture, fs, num_samples) -> [N, 2]`` (float64 array
        before ``noise_gain``, at least ``speech_start`` at ``fs`` and
        ``num_samples`` more long).
    dtype : str
        Precision of resampled speech: "float64" as in the original, or
        "float32", which takes half the memory where speech is kept.

    Raises
    ------
    ValueError
        If the mode is unknown or the responses have another rate.

    Example
    -------
    >>> from spatial_brain.dataio.audio import write_audio
    >>> from spatial_brain.simulation.hrtf import spherical_head_hrtfs
    >>> folder = getfixture("tmp_path")
    >>> write_audio(folder / "a.wav", 0.1 * torch.rand(4000), 16000)
    >>> write_audio(folder / "b.wav", 0.1 * torch.rand(3000), 16000)
    >>> hrtfs = spherical_head_hrtfs(8000, 1)
    >>> mixture = BinauralMixture(
    ...     "a_b",
    ...     ("a.wav", "b.wav"),
    ...     ("a", "b"),
    ...     (1.0, 0.5),
    ...     (-45.0, 30.0),
    ...     head=hrtfs.subjects[0],
    ... )
    >>> signals = MixtureRenderer(folder, hrtfs, 8000).render(mixture)
    >>> signals["mix"].shape, signals["sources"].shape, signals["noise"]
    (torch.Size([1500, 2]), torch.Size([1500, 2, 2]), None)
    """

    def __init__(
        self,
        speech_root,
        hrtfs,
        fs,
        mode="min",
        compat=False,
        noise=None,
        *,
        dtype="float64",
    ):
        if mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, got {mode!r}")
        self.speech_root = Path(speech_root)
        self.speech = SpeechReader(fs, speech_root, dtype=dtype)
        self.hrtfs = (
            HeadResponses(hrtfs) if isinstance(hrtfs, HrtfSet) else hrtfs
        )
        self.fs = int(fs)
        self.mode = mode
        self.compat = compat_behaviours(compat)
        self.noise = (
            FolderNoise(noise) if isinstance(noise, str | Path) else noise
        )
        if self.hrtfs.fs != self.fs:
            raise ValueError(
                f"responses have {self.hrtfs.fs} Hz, mixtures {self.fs} Hz; "
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
            noise and with the first source only, as well).

        Raises
        ------
        FileNotFoundError
            If a file of the mixture is missing.
        ValueError
            If one is damaged, silent, or too short, or there is no response
            for a direction.
        """
        dry = self._equal_lengths(mixture)
        responses = self.hrtfs.responses(mixture)
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
            If one is damaged or ends before it should begin.
        """
        count = mixture.num_samples
        if count is not None:
            count = math.ceil(count * self.fs / METADATA_FS)
        starts = mixture.starts or (0,) * mixture.num_sources
        signals = []
        for name, start, gain in zip(
            mixture.utterances, starts, mixture.gains, strict=True
        ):
            first = start * self.fs // METADATA_FS
            signal = self.speech.read(name, first, count)
            # Two steps, as in the original: the product is rounded twice.
            signals.append(signal * gain * mixture.speech_gain)
        return signals

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
        """A source at both ears, [T, 2], of twice its dry energy."""
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
            onset = _direct_onset(response)
            whole = oaconvolve(dry[None], response, axes=-1)
            image = whole[:, onset : onset + len(dry)].T
        found = np.sum(image**2)
        if not found > 0:
            raise ValueError(
                f"mixture {mixture.name}: source {index + 1} is silent at both "
                "ears, as its impulse responses are"
            )
        return image * np.sqrt(energy / found)

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


def compat_behaviours(compat):
    """Names of the wanted behaviours of the original generator.

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


def fingerprint(responses, names, fs):
    """Checksum of impulse responses.

    Arguments
    ---------
    responses : numpy.ndarray
        Of any shape.
    names : sequence of str
        What they are called.
    fs : int
        Their rate, Hz.

    Returns
    -------
    str
        Hexadecimal.

    Example
    -------
    >>> fingerprint(np.zeros(2), ["a"], 8000)[:8]
    '203abb28'
    """
    checksum = hashlib.sha256(repr((list(names), int(fs))).encode())
    checksum.update(np.ascontiguousarray(responses).tobytes())
    return checksum.hexdigest()


def mixture_entry(mixture, duration, **files):
    """Entry of a manifest.

    Arguments
    ---------
    mixture : BinauralMixture
        What it is.
    duration : float
        Seconds.
    **files
        ``mix_wav``, ``sources_wav`` (a list) and maybe ``noise_wav``, for a
        mixture on disk.

    Returns
    -------
    dict
        For ``write_manifest``.

    Example
    -------
    >>> mixture = BinauralMixture("x", ("a.wav",), ("a",), (1.0,), (0.0,))
    >>> list(mixture_entry(mixture, 2.5))
    ['duration', 'mixture']
    """
    return {"duration": duration, "mixture": mixture.to_dict(), **files}


def read_mixtures(manifest_folder, split):
    """Manifest of a set.

    Arguments
    ---------
    manifest_folder : str or Path
        Where the preparation wrote it.
    split : str
        "train", "valid" or "test".

    Returns
    -------
    dict
        Id to entry.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is damaged.

    Example
    -------
    >>> read_mixtures("nowhere", "train")
    Traceback (most recent call last):
    FileNotFoundError: ...nowhere/train.json...
    """
    return read_manifest(
        Path(manifest_folder, f"{split}.json"),
        keys=("duration", "mixture"),
    )


class HeadResponses:
    """Free-field responses of the heads of an ``HrtfSet``.

    Arguments
    ---------
    hrtfs : HrtfSet
        The heads.

    Example
    -------
    >>> from spatial_brain.simulation.hrtf import spherical_head_hrtfs
    >>> heads = HeadResponses(spherical_head_hrtfs(8000, 1))
    >>> mixture = BinauralMixture(
    ...     "x", ("a",), ("a",), (1.0,), (0.0,), head="subject03"
    ... )
    >>> heads.responses(mixture).shape
    (1, 2, 37)
    """

    def __init__(self, hrtfs):
        self.fs = hrtfs.fs
        self._hrtfs = hrtfs
        self._places = {}

    @property
    def fingerprint(self):
        """Checksum of names and responses."""
        return fingerprint(
            self._hrtfs.responses.numpy(), self._hrtfs.subjects, self.fs
        )

    def responses(self, mixture):
        """Responses of the sources of a mixture.

        Arguments
        ---------
        mixture : BinauralMixture
            Its head and directions are looked at.

        Returns
        -------
        numpy.ndarray
            float64 [C, 2, L], ear 0 left.

        Raises
        ------
        ValueError
            If there is no such head.
        """
        try:
            subject = self._hrtfs.index(mixture.head)
        except ValueError as error:
            raise ValueError(
                f"mixture {mixture.name}: {error}; give the HRTFs the list "
                "was made for"
            ) from error
        return np.stack(
            [
                self._hrtfs.responses[(subject, *self._place(*direction))]
                .double()
                .numpy()
                for direction in zip(
                    mixture.laterals, mixture.polars, strict=True
                )
            ]
        )

    def _place(self, lateral, polar):
        """Indices of a direction, which are looked up once."""
        if (lateral, polar) not in self._places:
            place = self._hrtfs.nearest(lateral, polar)
            self._places[lateral, polar] = tuple(int(i) for i in place)
        return self._places[lateral, polar]


def _direct_onset(response):
    """Sample of [2, L] at which either ear is within 20 dB of the peak."""
    envelope = np.abs(response).max(0)
    return int(np.argmax(envelope >= _ONSET * envelope.max()))


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
