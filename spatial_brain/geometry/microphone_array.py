"""Microphone arrays: where the microphones are, and what they cannot tell."""

from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import torch

from spatial_brain.geometry.array_files import (
    encode_array,
    is_array_file,
    read_array_file,
)
from spatial_brain.geometry.directions import as_vectors

# Metres: nothing that is used as one array is larger.
_LARGEST = 20.0
# Metres: distances this close to a bound count as the bound.
_TOLERANCE = 1e-6
# Seconds: smaller differences of arrival times are not measured in a room.
_FLAT_TIME = 5e-6
# Off the line or the plane by less than this part of the aperture: on it.
_FLAT = 0.02
_AMBIGUITY = (
    "every direction: one microphone has no time differences",
    "directions on a cone around its axis",
    "directions mirrored at its plane",
    "none",
)


@dataclass(frozen=True, eq=False)
class MicrophoneArray:
    """Positions of the microphones of an array, in the order of channels.

    Arguments
    ---------
    positions : torch.Tensor or sequence
        Metres, [M, 3]: x to the front, y to the left, z up.
    name : str
        Of the array.
    front : str
        What azimuth 0 points at, for people.
    source : str
        Where the geometry comes from, for people.
    stream_channels : dict
        Channels of the device's stream that are the microphones, from 0, by
        the number of channels of that stream: ``{6: [1, 2, 3, 4]}``.

    Raises
    ------
    ValueError
        If positions are no finite [M, 3] within 20 m of each other, or the
        channels of a stream do not fit.

    Example
    -------
    >>> array = MicrophoneArray([[0.0, 0.1, 0.0], [0.0, -0.1, 0.0]], "pair")
    >>> len(array), round(array.aperture, 3), array.ambiguity
    (2, 0.2, 'directions on a cone around its axis')
    """

    positions: torch.Tensor
    name: str = "array"
    front: str = "+x"
    source: str = ""
    stream_channels: dict = field(default_factory=dict)

    def __post_init__(self):
        try:
            positions = as_vectors(self.positions).detach().cpu().float()
        except (TypeError, ValueError, RuntimeError) as problem:
            raise ValueError(
                f"array {self.name}: positions must be numbers [M, 3] in "
                f"metres ({problem})"
            ) from problem
        if positions.ndim != 2 or not len(positions):
            raise ValueError(
                f"array {self.name}: positions must be [M, 3] with at least "
                f"one microphone, got {tuple(positions.shape)}"
            )
        if not positions.isfinite().all():
            raise ValueError(f"array {self.name}: positions must be finite")
        object.__setattr__(self, "positions", positions)
        if self.aperture > _LARGEST:
            raise ValueError(
                f"array {self.name}: microphones are {self.aperture:.4g} m "
                f"apart, more than {_LARGEST:g} m; positions are in metres, "
                "not in centimetres or millimetres"
            )
        streams = {
            int(number): [int(channel) for channel in channels]
            for number, channels in self.stream_channels.items()
        }
        for number, channels in streams.items():
            there = set(range(number)) & set(channels)
            if not len(there) == len(channels) == len(self):
                raise ValueError(
                    f"array {self.name}: of a stream of {number} channels, "
                    f"{channels} cannot be its {len(self)} microphones"
                )
        object.__setattr__(self, "stream_channels", streams)

    def __len__(self):
        return len(self.positions)

    @property
    def centre(self):
        """Mean of the positions, metres, [3]."""
        return self.positions.mean(0)

    @property
    def distances(self):
        """Between all microphones, metres, float64 [M, M]."""
        positions = self.positions.double()
        return torch.cdist(
            positions, positions, compute_mode="donot_use_mm_for_euclid_dist"
        )

    @property
    def aperture(self):
        """Largest distance of two microphones, metres."""
        return self.distances.max().item()

    @property
    def far_field(self):
        """From where on no distance can be told, metres.

        There wave fronts are off a plane by less than 5 microseconds:
        aperture^2 / (8 c 5 us).
        """
        from spatial_brain.geometry import SPEED_OF_SOUND

        return self.aperture**2 / (8 * SPEED_OF_SOUND * _FLAT_TIME)

    @property
    def dimensions(self):
        """Of what the microphones span: 0 point, 1 line, 2 plane, 3 space."""
        centred = self.positions.double() - self.centre
        spread = torch.linalg.svdvals(centred)
        floor = max(_FLAT * spread[0].item(), _TOLERANCE)
        return int((spread > floor).sum())

    @property
    def ambiguity(self):
        """Which directions have the same time differences, for people."""
        return _AMBIGUITY[self.dimensions]

    def pairs(self, shortest=0.0, longest=float("inf"), ordered=False):
        """Pairs of microphones whose distance lies in a range.

        Arguments
        ---------
        shortest, longest : float
            Metres, both included.
        ordered : bool
            Both orders of each pair.

        Returns
        -------
        torch.Tensor
            Channels, int64 [P, 2], sorted; without ``ordered`` the lower
            channel first.

        Example
        -------
        >>> line = MicrophoneArray([[0.0, 0, 0], [0.04, 0, 0], [0.3, 0, 0]])
        >>> line.pairs(0.03, 0.2).tolist()
        [[0, 1]]
        >>> line.pairs(0.03, 0.2, ordered=True).tolist()
        [[0, 1], [1, 0]]
        """
        distances = self.distances
        wanted = distances >= shortest - _TOLERANCE
        wanted &= distances <= longest + _TOLERANCE
        wanted.fill_diagonal_(False)
        return (wanted if ordered else wanted.triu(1)).nonzero()

    def select(self, channels, name=None):
        """Array of some of the microphones.

        Arguments
        ---------
        channels : sequence of int
            From 0, in the new order.
        name : str, optional
            Of the new array.

        Returns
        -------
        MicrophoneArray

        Raises
        ------
        ValueError
            If there is no such channel.
        """
        wrong = [c for c in channels if not 0 <= c < len(self)]
        if wrong or not len(channels):
            raise ValueError(
                f"array {self.name}: channels from 0 to {len(self) - 1} can "
                f"be selected, got {list(channels)}"
            )
        return MicrophoneArray(
            self.positions[list(channels)], name or self.name, self.front
        )

    @classmethod
    def named(cls, name):
        """Array of a corpus or a device by its name.

        Arguments
        ---------
        name : str
            One of ``array_names()``, or by formula, in metres:
            ``pair:0.1``, ``linear:4x0.05`` (neighbours 5 cm apart),
            ``circular:6x0.0463`` and ``tetrahedral:0.0147`` (radius).

        Returns
        -------
        MicrophoneArray

        Raises
        ------
        ValueError
            If there is no array of that name.

        Example
        -------
        >>> len(MicrophoneArray.named("locata_eigenmike"))
        32
        >>> MicrophoneArray.named("pair:0.1").positions[:, 1].tolist()
        [0.05..., -0.05...]
        """
        # The table needs this class.
        from spatial_brain.geometry.named_arrays import NAMED_ARRAYS, formula

        by_formula = formula(name)
        if by_formula is not None:
            return cls(*by_formula)
        if name not in NAMED_ARRAYS:
            likely = get_close_matches(str(name), NAMED_ARRAYS, 3, 0.5)
            remedy = f"did you mean {' or '.join(likely)}? " if likely else ""
            raise ValueError(
                f"there is no array named {name!r}; {remedy}known: "
                f"{', '.join(NAMED_ARRAYS)}; pair:METRES, linear:NxMETRES, "
                "circular:NxRADIUS, tetrahedral:RADIUS; or a JSON, CSV or "
                "SOFA file"
            )
        found = NAMED_ARRAYS[name]
        return cls(
            found.positions(),
            name,
            found.front,
            found.source,
            found.stream_channels,
        )

    @classmethod
    def resolve(cls, name_or_path):
        """Array by its name, by a formula or from a file.

        Arguments
        ---------
        name_or_path : str, Path or MicrophoneArray
            As :meth:`named` or :meth:`from_file` take them; what ends in
            .json, .csv or .sofa, or is a file, is a file. An array is given
            back.

        Returns
        -------
        MicrophoneArray

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If there is no such name (the nearest ones are named), or the
            file holds no array.

        Example
        -------
        >>> round(MicrophoneArray.resolve("circular:6x0.05").aperture, 3)
        0.1
        >>> MicrophoneArray.resolve("alimeting")
        Traceback (most recent call last):
        ValueError: there is no array named 'alimeting'; did you mean ...
        """
        if isinstance(name_or_path, cls):
            return name_or_path
        if is_array_file(name_or_path):
            return cls.from_file(name_or_path)
        return cls.named(str(name_or_path))

    @classmethod
    def from_file(cls, path):
        """Read an array from a file.

        Arguments
        ---------
        path : str or Path
            JSON: ``{"name": ..., "positions": [[x, y, z], ...]}``, perhaps
            with ``"front"``, ``"source"`` and ``"stream_channels"``; CSV:
            columns ``x, y, z`` or ``x_m, y_m, z_m``, a line a channel; SOFA:
            ``ReceiverPosition``. Metres, in the order
            of channels.

        Returns
        -------
        MicrophoneArray

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it does not hold an array; file and fault are named.

        Example
        -------
        >>> path = getfixture("tmp_path") / "pair.json"
        >>> text = '{"name": "pair", "positions": [[0,0.1,0], [0,-0.1,0]]}'
        >>> _ = path.write_text(text)
        >>> MicrophoneArray.from_file(path).name
        'pair'
        """
        path = Path(path)
        try:
            array = cls(**{"name": path.stem, **read_array_file(path)})
        except FileNotFoundError:
            raise
        except (ValueError, OSError, KeyError, TypeError) as problem:
            raise ValueError(f"{path}: {problem}") from problem
        for one, two in array.pairs(0.0, 0.0).tolist():
            raise ValueError(f"{path}: microphones {one} and {two} coincide")
        return array

    def as_dict(self):
        """What a JSON file for :meth:`from_file` holds.

        Returns
        -------
        dict
            "name", "front" and "positions", metres to 0.1 micrometres;
            "source" and "stream_channels" where there are.

        Example
        -------
        >>> MicrophoneArray([[0.0, 0.05, 0.0]], "one").as_dict()["positions"]
        [[0.0, 0.05, 0.0]]
        """
        rows = self.positions.double().tolist()
        more = {}
        if self.source:
            more["source"] = self.source
        if self.stream_channels:
            streams = self.stream_channels.items()
            more["stream_channels"] = {str(k): list(v) for k, v in streams}
        return {
            "name": self.name,
            "front": self.front,
            **more,
            "positions": [[round(value, 7) for value in row] for row in rows],
        }

    def encode(self, path):
        """Content of a file for :meth:`from_file`.

        Arguments
        ---------
        path : str or Path
            Ending in .json, .csv (positions only) or .sofa (AES69, convention
            GeneralFIR, with an impulse as response of each microphone);
            nothing is written.

        Returns
        -------
        bytes

        Raises
        ------
        ValueError
            If it has another ending.

        Example
        -------
        >>> path = getfixture("tmp_path") / "pair.sofa"
        >>> _ = path.write_bytes(MicrophoneArray.named("pair:0.1").encode(path))
        >>> MicrophoneArray.resolve(path).name
        'pair:0.1'
        """
        return encode_array(path, self.as_dict())
