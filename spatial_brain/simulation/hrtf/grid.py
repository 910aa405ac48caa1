"""Sets of head-related impulse responses on the grid of CIPIC.

The CIPIC data base measured every head at 25 lateral angles by 50 polar
ones. Its coordinates are interaural-polar: the lateral angle runs from the
median plane towards the *right* ear, the polar angle around the axis through
the ears from -45 (front, below) over 0 (front), 90 (above) and 180 (behind)
to 230.6 degrees (behind, below). Everywhere else azimuths are
counter-clockwise: ``interaural_to_unit`` and ``unit_to_interaural`` are the
border between both.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from spatial_brain.atomic import atomic_path
from spatial_brain.simulation.hrtf.interpolation import resample_responses

CIPIC_LATERALS = (-80, -65, -55, *range(-45, 46, 5), 55, 65, 80)
CIPIC_POLARS = tuple(-45.0 + 5.625 * index for index in range(50))
# Published subjects, named as in the WAV version of the data base.
CIPIC_SUBJECTS = tuple(
    f"subject{number:02d}"
    for number in (
        *(3, 8, 9, 10, 11, 12, 15, 17, 18, 19, 20, 21, 27, 28, 33, 40, 44),
        *(48, 50, 51, 58, 59, 60, 61, 65, 119, 124, 126, 127, 131, 133, 134),
        *(135, 137, 147, 148, 152, 153, 154, 155, 156, 158, 162, 163, 165),
    )
)


def interaural_to_unit(lateral, polar):
    """Unit vectors of directions in interaural-polar coordinates.

    Arguments
    ---------
    lateral : torch.Tensor or float
        Degrees towards the right ear, in [-90, 90].
    polar : torch.Tensor or float
        Degrees around the axis of the ears; 0 front, 90 above, 180 behind.

    Returns
    -------
    torch.Tensor
        Shape [..., 3]: x front, y left, z up.

    Example
    -------
    >>> interaural_to_unit(90.0, 0.0).round()
    tensor([-0., -1., -0.])
    """
    lateral, polar = torch.broadcast_tensors(
        torch.deg2rad(_float(lateral)), torch.deg2rad(_float(polar))
    )
    return torch.stack(
        (
            torch.cos(lateral) * torch.cos(polar),
            -torch.sin(lateral),
            torch.cos(lateral) * torch.sin(polar),
        ),
        dim=-1,
    )


def unit_to_interaural(vector):
    """Interaural-polar coordinates of vectors of any length but zero.

    Arguments
    ---------
    vector : torch.Tensor
        Shape [..., 3]: x front, y left, z up.

    Returns
    -------
    tuple of torch.Tensor
        Lateral angle in [-90, 90], positive to the right, and polar angle in
        [-90, 270), degrees, shape [...].

    Example
    -------
    >>> lateral, polar = unit_to_interaural([-1.0, 0.0, 0.0])
    >>> lateral.abs().item(), polar.item()
    (0.0, 180.0)
    """
    x, y, z = _float(vector).unbind(-1)
    lateral = torch.rad2deg(torch.atan2(-y, torch.hypot(x, z)))
    polar = torch.rad2deg(torch.atan2(z, x))
    return lateral, torch.where(polar < -90.0, polar + 360.0, polar)


@dataclass(frozen=True, eq=False)
class HrtfSet:
    """Impulse responses of some heads on one grid of directions.

    Arguments
    ---------
    responses : torch.Tensor
        Shape [subject, lateral, polar, ear, time]; ear 0 is the left one.
    fs : int
        Sampling rate, Hz.
    subjects : list of str
        Names, all different.
    laterals : torch.Tensor, optional
        Degrees to the right; those of CIPIC by default.
    polars : torch.Tensor, optional
        Degrees; those of CIPIC by default.

    Raises
    ------
    ValueError
        If shapes do not match, names repeat, or values are not finite.

    Example
    -------
    >>> heads = HrtfSet(torch.zeros(2, 25, 50, 2, 37), 8000, ["a", "b"])
    >>> heads.subset(["b"]).responses.shape
    torch.Size([1, 25, 50, 2, 37])
    >>> heads.nearest(-78.0, 1.0)
    (tensor(0), tensor(8))
    """

    responses: torch.Tensor
    fs: int
    subjects: list
    laterals: torch.Tensor = None
    polars: torch.Tensor = None

    def __post_init__(self):
        for name, default in (
            ("laterals", CIPIC_LATERALS),
            ("polars", CIPIC_POLARS),
        ):
            value = getattr(self, name)
            value = default if value is None else value
            value = torch.as_tensor(value, dtype=torch.float32)
            object.__setattr__(self, name, value)
        object.__setattr__(self, "fs", int(self.fs))
        object.__setattr__(self, "subjects", list(self.subjects))
        grid = (len(self.subjects), len(self.laterals), len(self.polars), 2)
        if self.responses.ndim != 5 or self.responses.shape[:4] != grid:
            raise ValueError(
                f"expected responses of shape {[*grid, 'L']} (subjects, "
                f"laterals, polars, ears, time), got "
                f"{tuple(self.responses.shape)}"
            )
        if not self.subjects or len(set(self.subjects)) != len(self.subjects):
            raise ValueError(
                f"subjects need different names, got {self.subjects}"
            )
        finite = self.responses.isfinite().flatten(1).all(1)
        if not finite.all():
            bad = self.subjects[int(finite.int().argmin())]
            raise ValueError(f"{bad}: responses hold NaN or infinity")

    def __len__(self):
        return len(self.subjects)

    def index(self, subject):
        """Position of a subject on the first axis.

        Arguments
        ---------
        subject : str or int
            Name, or a position, which is checked.

        Returns
        -------
        int
            In [0, number of subjects).

        Raises
        ------
        ValueError
            If there is no such subject.

        Example
        -------
        >>> HrtfSet(torch.zeros(1, 25, 50, 2, 9), 8000, ["a"]).index("a")
        0
        """
        if subject in self.subjects:
            return self.subjects.index(subject)
        if isinstance(subject, int) and 0 <= subject < len(self):
            return subject
        raise ValueError(
            f"no subject {subject!r} among the {len(self)} of this set: "
            + ", ".join(self.subjects)
        )

    def subset(self, subjects):
        """The same set with some subjects only.

        Arguments
        ---------
        subjects : sequence of str
            Names, in the order wanted.

        Returns
        -------
        HrtfSet
            Its responses are copied.

        Raises
        ------
        ValueError
            If one is not in this set.

        Example
        -------
        >>> heads = HrtfSet(torch.zeros(2, 25, 50, 2, 9), 8000, ["a", "b"])
        >>> heads.subset(["b", "a"]).subjects
        ['b', 'a']
        """
        chosen = [self.index(subject) for subject in subjects]
        return HrtfSet(
            self.responses[chosen],
            self.fs,
            [self.subjects[index] for index in chosen],
            self.laterals,
            self.polars,
        )

    def directions(self):
        """Unit vectors of the grid.

        Returns
        -------
        torch.Tensor
            Shape [lateral, polar, 3], float64: x front, y left, z up.

        Example
        -------
        >>> heads = HrtfSet(torch.zeros(1, 25, 50, 2, 9), 8000, ["a"])
        >>> heads.directions()[12, 8].round().abs()
        tensor([1., 0., 0.], dtype=torch.float64)
        """
        return interaural_to_unit(
            self.laterals.double()[:, None], self.polars.double()
        )

    def nearest(self, lateral, polar):
        """Indices of the grid's direction at the least angle to another.

        Arguments
        ---------
        lateral : torch.Tensor or float
            Degrees, positive to the right.
        polar : torch.Tensor or float
            Degrees, broadcastable to ``lateral``.

        Returns
        -------
        tuple of torch.Tensor
            Index of the lateral and of the polar angle, int64, shape of the
            arguments: ``responses[subject, i, j]``.

        Example
        -------
        >>> heads = HrtfSet(torch.zeros(1, 25, 50, 2, 9), 8000, ["a"])
        >>> heads.nearest(torch.tensor([0.0, 44.0]), 180.0)
        (tensor([12, 21]), tensor([40, 40]))
        """
        wanted = interaural_to_unit(lateral, polar).double()
        cosine = wanted @ self.directions().flatten(0, 1).T
        best = cosine.argmax(-1)
        count = len(self.polars)
        return best.div(count, rounding_mode="floor"), best % count

    def resampled(self, fs, compat=False):
        """The same set at another sampling rate.

        Arguments
        ---------
        fs : int
            Hz.
        compat : bool
            As in ``resample_responses``, of which this is the application.

        Returns
        -------
        HrtfSet
            In the dtype of this set.

        Example
        -------
        >>> heads = HrtfSet(torch.zeros(1, 25, 50, 2, 200), 44100, ["a"])
        >>> heads.resampled(16000, compat=True).responses.shape
        torch.Size([1, 25, 50, 2, 73])
        """
        responses = resample_responses(self.responses, self.fs, fs, compat)
        return HrtfSet(
            responses.to(self.responses.dtype),
            int(fs),
            self.subjects,
            self.laterals,
            self.polars,
        )

    def save(self, path):
        """Write the set as one safetensors file, complete or not at all.

        Arguments
        ---------
        path : str or Path
            File to write, ``.safetensors``; its folder is created.

        Example
        -------
        >>> path = getfixture("tmp_path") / "heads.safetensors"
        >>> HrtfSet(torch.zeros(1, 25, 50, 2, 9), 8000, ["a"]).save(path)
        >>> HrtfSet.load(path).subjects
        ['a']
        """
        tensors = {
            "responses": self.responses.contiguous(),
            "laterals": self.laterals,
            "polars": self.polars,
        }
        names = {"fs": str(self.fs), "subjects": json.dumps(self.subjects)}
        with atomic_path(path) as temporary:
            safetensors.torch.save_file(tensors, temporary, metadata=names)

    @classmethod
    def load(cls, path):
        """Read what ``save`` wrote; the file can run no code.

        Arguments
        ---------
        path : str or Path
            File to read.

        Returns
        -------
        HrtfSet
            The set.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is damaged or holds something else.

        Example
        -------
        >>> HrtfSet.load("none.safetensors")
        Traceback (most recent call last):
        FileNotFoundError: no such file of HRTFs: none.safetensors
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no such file of HRTFs: {path}")
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                names = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}
            fs, subjects = int(names["fs"]), json.loads(names["subjects"])
            return cls(fs=fs, subjects=subjects, **tensors)
        except (safetensors.SafetensorError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}: not a file written by HrtfSet.save ({error!r}); "
                "write it again"
            ) from error


def _float(value):
    """Return ``value`` as a floating tensor, keeping floating dtypes."""
    value = torch.as_tensor(value)
    return value if value.is_floating_point() else value.float()
