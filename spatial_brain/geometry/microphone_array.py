"""Microphone arrays: where the microphones are, and what they cannot tell."""

import csv
import json
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import h5py
import torch

from spatial_brain.geometry.directions import as_vectors, azel_to_unit

# Metres: nothing that is used as one array is larger.
_LARGEST = 20.0
# Metres: distances this close to a bound count as the bound.
_TOLERANCE = 1e-6
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

    Raises
    ------
    ValueError
        If positions are no finite [M, 3] within 20 m of each other.

    Example
    -------
    >>> array = MicrophoneArray([[0.0, 0.1, 0.0], [0.0, -0.1, 0.0]], "pair")
    >>> len(array), round(array.aperture, 3), array.ambiguity
    (2, 0.2, 'directions on a cone around its axis')
    """

    positions: torch.Tensor
    name: str = "array"
    front: str = "+x"

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
            ``pair:0.1``, ``linear:4x0.05`` (neighbours 5 cm apart) and
            ``circular:6x0.0463`` (radius of 4.63 cm).

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
            return cls(by_formula[0], name, by_formula[1])
        if name not in NAMED_ARRAYS:
            likely = get_close_matches(str(name), NAMED_ARRAYS, 3, 0.5)
            remedy = f"did you mean {' or '.join(likely)}? " if likely else ""
            raise ValueError(
                f"there is no array named {name!r}; {remedy}known: "
                f"{', '.join(NAMED_ARRAYS)}; pair:METRES, linear:NxMETRES, "
                "circular:NxRADIUS; or a JSON, CSV or SOFA file"
            )
        positions, front = NAMED_ARRAYS[name]
        return cls(positions(), name, front)

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
        path = Path(name_or_path)
        if path.suffix.lower() in _READERS or path.is_file():
            return cls.from_file(path)
        return cls.named(str(name_or_path))

    @classmethod
    def from_file(cls, path):
        """Read an array from a file.

        Arguments
        ---------
        path : str or Path
            JSON: ``{"name": ..., "positions": [[x, y, z], ...]}``, perhaps
            with ``"front"``; CSV: columns ``x, y, z`` or ``x_m, y_m, z_m``, a
            line a channel; SOFA: ``ReceiverPosition``. Metres, in the order
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
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file of an array")
        suffix = path.suffix.lower()
        if suffix not in _READERS:
            raise ValueError(
                f"{path}: an array is read from {', '.join(_READERS)}, not "
                f"from {suffix or 'a file without suffix'}"
            )
        try:
            content = {"name": path.stem, **_READERS[suffix](path)}
            array = cls(**content)
        except (ValueError, OSError, KeyError) as problem:
            raise ValueError(f"{path}: {problem}") from problem
        for one, two in array.pairs(0.0, 0.0).tolist():
            raise ValueError(f"{path}: microphones {one} and {two} coincide")
        return array

    def as_dict(self):
        """What a JSON file for :meth:`from_file` holds.

        Returns
        -------
        dict
            "name", "front" and "positions", metres to 0.1 micrometres.

        Example
        -------
        >>> MicrophoneArray([[0.0, 0.05, 0.0]], "one").as_dict()["positions"]
        [[0.0, 0.05, 0.0]]
        """
        rows = self.positions.double().tolist()
        return {
            "name": self.name,
            "front": self.front,
            "positions": [[round(value, 7) for value in row] for row in rows],
        }


def _read_json(path):
    """Fields of a JSON file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    known = {"name": str, "positions": list, "front": str}
    if not isinstance(content, dict) or "positions" not in content:
        raise ValueError('has no "positions": [[x, y, z], ...] in metres')
    for key, value in content.items():
        if key not in known:
            raise ValueError(f"unknown key {key!r}; known: {', '.join(known)}")
        if not isinstance(value, known[key]):
            raise ValueError(f"{key!r} must be a {known[key].__name__}")
    return content


def _read_csv(path):
    """Positions of a CSV table, by its column ``channel`` if there is one."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        names = {str(n).strip().lower(): n for n in reader.fieldnames or []}
        columns = [names.get(a, names.get(f"{a}_m")) for a in "xyz"]
        if None in columns:
            raise ValueError(
                "needs the columns x, y, z or x_m, y_m, z_m in metres, has "
                f"{', '.join(names) or 'none'}"
            )
        rows = list(reader)
    positions, channels = [], []
    for number, row in enumerate(rows, 2):
        try:
            positions.append([float(row[column]) for column in columns])
            if "channel" in names:
                channels.append(int(row[names["channel"]]))
        except (TypeError, ValueError) as problem:
            raise ValueError(f"line {number}: {problem}") from problem
    if channels and len(set(channels)) < len(channels):
        raise ValueError(f"a channel is there twice: {channels}")
    if channels:
        ordered = sorted(zip(channels, positions, strict=True))
        positions = [position for _, position in ordered]
    return {"positions": positions}


def _read_sofa(path):
    """Receivers of a SOFA file; its axes are ours."""
    with h5py.File(path, "r") as file:
        if "ReceiverPosition" not in file:
            raise ValueError("has no ReceiverPosition")
        variable = file["ReceiverPosition"]
        kind = variable.attrs.get("Type", b"cartesian")
        values = torch.as_tensor(variable[()]).double()
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if values.ndim != 3 or values.shape[1] != 3:
        raise ValueError(
            f"ReceiverPosition must be [receiver, 3, measurement], is "
            f"{list(values.shape)}"
        )
    if not (values == values[..., :1]).all():
        raise ValueError("the receivers move; an array has fixed ones")
    positions = values[..., 0]
    if kind == "spherical":
        positions = positions[:, 2:] * azel_to_unit(
            positions[:, 0], positions[:, 1]
        )
    elif kind != "cartesian":
        raise ValueError(f"ReceiverPosition has the unknown type {kind!r}")
    return {"positions": positions}


_READERS = {".json": _read_json, ".csv": _read_csv, ".sofa": _read_sofa}
