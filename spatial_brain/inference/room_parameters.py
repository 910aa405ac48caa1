"""Several parameters of a room from one model, with intervals that hold."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from spatial_brain.inference.pretrained import ModelCard
from spatial_brain.inference.pretrained.figures import Figure, Measure
from spatial_brain.inference.recordings import median
from spatial_brain.metrics.intervals import combine_estimates, scale_intervals
from spatial_brain.metrics.room_acoustics import find_quantity
from spatial_brain.models.room_acoustics import check_quantities, from_scale

_KEYS = {"coverage", "windows", "factors"}


class IntervalCalibration:
    """By how much the intervals of a model are widened, so that they hold.

    Arguments
    ---------
    quantities : sequence of str
        What the model predicts.
    calibration : dict
        ``coverage``, the share of true values that intervals hold;
        ``windows``, rising numbers of windows of a recording; ``factors``, for
        one channel and for more, name of a quantity to a factor for each
        number of windows.

    Raises
    ------
    ValueError
        If the values are not of this kind.

    Example
    -------
    >>> calibration = IntervalCalibration(["T60"], {
    ...     "coverage": 0.9, "windows": [1, 4],
    ...     "factors": [{"T60": [1.2, 0.8]}, {"T60": [1.1, 0.7]}]})
    >>> calibration.factors(num_channels=1, num_windows=3).tolist()
    [1.2...]
    """

    def __init__(self, quantities, calibration):
        check_quantities(quantities)
        self.quantities = tuple(quantities)
        self._check(calibration)
        self.coverage = calibration["coverage"]
        self.windows = calibration["windows"]
        self._factors = calibration["factors"]

    def _check(self, calibration):
        """Refuse values of another kind."""
        good = isinstance(calibration, dict) and calibration.keys() == _KEYS
        if good:
            windows = calibration["windows"]
            good = (
                isinstance(calibration["coverage"], float)
                and 0 < calibration["coverage"] < 1
                and _are_numbers(windows)
                and len(windows) > 0
                and windows == sorted(set(windows))
                and isinstance(calibration["factors"], (list, tuple))
                and len(calibration["factors"]) > 0
                and all(
                    isinstance(table, dict)
                    and all(
                        _are_numbers(table.get(name))
                        and len(table[name]) == len(windows)
                        for name in self.quantities
                    )
                    for table in calibration["factors"]
                )
            )
        if not good:
            raise ValueError(
                "calibration must hold coverage, windows and factors, one for "
                f"each of {', '.join(self.quantities)} and number of windows"
            )

    def factors(self, num_channels, num_windows):
        """Factors for a recording.

        Arguments
        ---------
        num_channels, num_windows : int
            How many estimates are combined; those of the next lower number
            that was calibrated are taken.

        Returns
        -------
        torch.Tensor
            [quantity].
        """
        table = self._factors[min(num_channels, len(self._factors)) - 1]
        index = int(np.searchsorted(self.windows, num_windows, "right")) - 1
        return torch.tensor(
            [float(table[name][max(index, 0)]) for name in self.quantities]
        )

    def combine(self, outputs, share=1.0):
        """Estimates and intervals from all windows and channels.

        Arguments
        ---------
        outputs : torch.Tensor
            Of the network, [window, channel, quantity, 3]; NaN in silent
            windows.
        share : float
            Of a window that counts, below 1 where windows overlap more than
            those of the calibration.

        Returns
        -------
        torch.Tensor
            [quantity, 3]: lower end, estimate and upper end, in seconds,
            decibels, metres; NaN where all is silent.
        """
        sounding = outputs[~outputs.isnan().flatten(1).any(1)]
        if not len(sounding):
            return torch.full(outputs.shape[2:], torch.nan)
        number = 1 + round(share * (len(sounding) - 1))
        channels = sounding.shape[1]
        whole = combine_estimates(sounding.float().flatten(0, 1))
        whole = scale_intervals(whole, self.factors(channels, number))
        return from_scale(whole.mT, self.quantities).mT

    def parameters(self, outputs, share=1.0, **facts):
        """What a recording's outputs say of its room.

        Arguments
        ---------
        outputs, share
            As ``combine`` takes them.
        **facts
            The other fields of RoomParameters.

        Returns
        -------
        RoomParameters
        """
        middle = outputs[..., 1].mean(1)
        return RoomParameters(
            quantities=self.quantities,
            values=from_scale(middle, self.quantities).numpy(),
            intervals=self.combine(outputs, share).numpy(),
            coverage=self.coverage,
            **facts,
        )


def _are_numbers(values):
    """Whether a value is a list of numbers above 0."""
    return isinstance(values, (list, tuple)) and all(
        isinstance(value, (int, float)) and 0 < value < 1e6 for value in values
    )


class Track(NamedTuple):
    """One quantity over the windows of a recording.

    Arguments
    ---------
    name : str
        Short, such as "T60".
    unit : str
        Empty without one.
    digits : int
        Decimal places worth printing.
    values : numpy.ndarray
        [window]; NaN where a window is silent.
    whole : tuple of float, optional
        Lower end, estimate and upper end for the whole recording.

    Example
    -------
    >>> track = Track("T60", "s", 3, np.array([0.4, np.nan, 0.6]))
    >>> track.median, track.quartiles
    (0.5, (0.45, 0.55))
    """

    name: str
    unit: str
    digits: int
    values: np.ndarray
    whole: tuple | None = None

    @property
    def median(self):
        """Median over the windows with sound, NaN without one."""
        return float(median(self.values))

    @property
    def quartiles(self):
        """Lower and upper quartile over the windows with sound, or NaN."""
        if np.isnan(self.values).all():
            return math.nan, math.nan
        low, high = np.nanpercentile(self.values, (25, 75))
        return float(low), float(high)

    def to_dict(self):
        """Everything but the name as plain values; silence is None.

        Returns
        -------
        dict
            ``unit, median, quartiles, values``.
        """
        return {
            "unit": self.unit,
            "median": plain([self.median])[0],
            "quartiles": plain(self.quartiles),
            "values": plain(self.values.tolist()),
        }


class Worth(NamedTuple):
    """Mean absolute error of a model in some rooms.

    Arguments
    ---------
    figure : Measure or Figure
        The error.
    place : str
        Which rooms, in words.
    constant : float or None
        Error of the best constant there, if it is known.

    Example
    -------
    >>> worth = Worth(Measure("T60 mean absolute error", 0.1, "s"), "A", 0.2)
    >>> worth.beats_constant, str(worth)
    (True, '0.1 s, best constant 0.2 s, in A')
    """

    figure: Measure | Figure
    place: str
    constant: float | None

    @property
    def beats_constant(self):
        """Whether the whole interval of the error is below; None: unknown."""
        if self.constant is None:
            return None
        error = self.figure
        worst = error.value if error.high is None else error.high
        return worst < self.constant

    def to_dict(self):
        """Everything as plain values.

        Returns
        -------
        dict
        """
        return {
            "rooms": self.place,
            **{
                name: getattr(self.figure, name)
                for name in ("value", "low", "high", "unit")
            },
            "best_constant": self.constant,
            "beats_constant": self.beats_constant,
        }

    def __str__(self):
        error, unit = self.figure, f" {self.figure.unit}".rstrip()
        text = f"{error.value:.3g}{unit}"
        if error.low is not None and error.high is not None:
            text += f" [{error.low:.3g}, {error.high:.3g}]"
        if self.constant is not None:
            text += f", best constant {self.constant:.3g}{unit}"
        return f"{text}, in {self.place}"


@dataclass
class RoomParameters:
    """What a model of several quantities estimated from a recording.

    Arguments
    ---------
    path : str
        The recording.
    quantities : tuple of str
        Keys of ``spatial_brain.metrics.room_acoustics.TASKS``.
    duration : float
        Seconds.
    starts, stops : numpy.ndarray
        Where each window starts and ends, seconds, [window].
    values : numpy.ndarray
        Estimate of each window, mean over the channels, [window, quantity];
        NaN where a window is silent.
    intervals : numpy.ndarray
        Of the whole recording, [quantity, 3]: lower end, estimate, upper end.
    coverage : float
        Share of true values that such intervals hold.
    card : spatial_brain.inference.pretrained.card.ModelCard, optional
        Of the model.

    Example
    -------
    >>> start, stop = np.array([0.0]), np.array([4.0])
    >>> values, intervals = np.array([[0.5]]), np.array([[0.4, 0.5, 0.7]])
    >>> found = RoomParameters(
    ...     "a.wav", ("T60",), 4.0, start, stop, values, intervals, 0.9
    ... )
    >>> found.to_dict()["quantities"]["T60"]["interval"]
    [0.4, 0.7]
    """

    path: str
    quantities: tuple
    duration: float
    starts: np.ndarray
    stops: np.ndarray
    values: np.ndarray
    intervals: np.ndarray
    coverage: float
    card: ModelCard | None = None

    @property
    def silent(self):
        """Windows without sound, bool, [window]."""
        return np.isnan(self.values).any(-1)

    def worth(self, name):
        """What an estimate is worth, by the model's card.

        Arguments
        ---------
        name : str
            One of ``quantities``.

        Returns
        -------
        list of Worth
            On measured rooms first, on the test set of the run last.
        """
        if self.card is None:
            return []
        wanted = error_name(name)
        figures = [one for one in self.card.figures if one.name == wanted]
        found = [
            Worth(
                one,
                f"{one.rooms} rooms ({one.test_set})",
                next(
                    (
                        other.value
                        for other in figures
                        if other.kind == "trivial" and one.same_row(other)
                    ),
                    None,
                ),
            )
            for one in figures
            if one.kind == "model"
        ]
        found.sort(key=lambda worth: worth.figure.rooms)  # measured, simulated
        return found + [
            Worth(one, "simulated rooms (test of its training)", one.constant)
            for one in self.card.measures
            if one.name == wanted
        ]

    def tracks(self, spacing=None):
        """The quantities over time.

        Arguments
        ---------
        spacing : float, optional
            Distance of the microphones, metres; no quantity depends on it.

        Returns
        -------
        list of Track
        """
        return [
            Track(
                name,
                find_quantity(name).unit,
                find_quantity(name).digits,
                self.values[:, index],
                tuple(self.intervals[index].tolist()),
            )
            for index, name in enumerate(self.quantities)
        ]

    def to_dict(self, spacing=None):
        """Everything as plain values for JSON; silence is None.

        Arguments
        ---------
        spacing : float, optional
            As for ``tracks``.

        Returns
        -------
        dict
            ``path, duration, coverage, starts, stops, quantities, card``; a
            quantity has ``meaning, unit, estimate, interval, values`` and
            ``errors``, the model's figures, under its name.
        """
        return {
            "path": self.path,
            "duration": self.duration,
            "coverage": self.coverage,
            "starts": self.starts.tolist(),
            "stops": self.stops.tolist(),
            "quantities": {
                name: {
                    "meaning": find_quantity(name).name,
                    "unit": find_quantity(name).unit,
                    "estimate": plain(self.intervals[index])[1],
                    "interval": plain(self.intervals[index])[::2],
                    "values": plain(self.values[:, index]),
                    "errors": [one.to_dict() for one in self.worth(name)],
                }
                for index, name in enumerate(self.quantities)
            },
            "card": self.card and self.card.to_dict(),
        }


def error_name(quantity):
    """What a card calls the error of one of several quantities.

    Arguments
    ---------
    quantity : str
        Such as "T60".

    Returns
    -------
    str

    Example
    -------
    >>> error_name("T60")
    'T60 mean absolute error'
    """
    return f"{quantity} mean absolute error"


def plain(values):
    """Numbers for JSON, None for NaN.

    Arguments
    ---------
    values : array_like
        Of floats.

    Returns
    -------
    list

    Example
    -------
    >>> plain([1.0, float("nan")])
    [1.0, None]
    """
    return [None if np.isnan(value) else float(value) for value in values]
