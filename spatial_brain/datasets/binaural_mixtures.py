"""Two-ear mixtures of talkers, described as data.

A ``BinauralMixture`` says which utterances are heard from where, at which
gain, by which head or in which room, over which noise. Descriptions come
from the published lists (``binaural_metadata``) or are drawn; one
``MixtureRenderer`` makes waveforms of either: for the files of a data set,
for reading on the fly, and for dynamic mixing.
"""

from dataclasses import asdict, dataclass, fields

from spatial_brain.datasets.binaural_noise import METADATA_FS
from spatial_brain.datasets.binaural_rendering import (
    COMPAT,
    MixtureRenderer,
    compat_behaviours,
)
from spatial_brain.geometry import unit_to_azel
from spatial_brain.simulation.hrtf_grid import interaural_to_unit

__all__ = [
    "COMPAT",
    "METADATA_FS",
    "BinauralMixture",
    "MixtureRenderer",
    "compat_behaviours",
]

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
    """One mixture of talkers at two ears, as data that JSON can hold.

    Sequences have one value a talker, in one order. Positions and lengths in
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
        Common factor on all talkers (speech against noise).
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
                f"{self.name}: expected one value a talker, got {counts}"
            )
        if len(set(self.speakers)) != len(self.speakers):
            raise ValueError(
                f"{self.name}: a speaker is there twice: {self.speakers}"
            )

    @property
    def num_sources(self):
        """Number of talkers."""
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
