"""Several parameters of a room from one model, with intervals that hold."""

from dataclasses import dataclass

import numpy as np
import torch

from spatial_brain.inference.pretrained import ModelCard
from spatial_brain.inference.pretrained.figures import Measure
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

    def combine(self, outputs):
        """Estimates and intervals from all windows and channels.

        Arguments
        ---------
        outputs : torch.Tensor
            Of the network, [window, channel, quantity, 3]; NaN in silent
            windows.

        Returns
        -------
        torch.Tensor
            [quantity, 3]: lower end, estimate and upper end, in seconds,
            decibels, metres; NaN where all is silent.
        """
        sounding = outputs[~outputs.isnan().flatten(1).any(1)]
        if not len(sounding):
            return torch.full(outputs.shape[2:], torch.nan)
        number, channels = sounding.shape[:2]
        whole = combine_estimates(sounding.float().flatten(0, 1))
        whole = scale_intervals(whole, self.factors(channels, number))
        return from_scale(whole.mT, self.quantities).mT

    def parameters(self, outputs, **facts):
        """What a recording's outputs say of its room.

        Arguments
        ---------
        outputs : torch.Tensor
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
            intervals=self.combine(outputs).numpy(),
            coverage=self.coverage,
            **facts,
        )


def _are_numbers(values):
    """Whether a value is a list of numbers above 0."""
    return isinstance(values, (list, tuple)) and all(
        isinstance(value, (int, float)) and 0 < value < 1e6 for value in values
    )


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
        """What an estimate is worth: figures of the model's card.

        Arguments
        ---------
        name : str
            One of ``quantities``.

        Returns
        -------
        list of Measure and Figure
            Mean absolute errors, those on measured rooms first.
        """
        if self.card is None:
            return []
        wanted = error_name(name)
        own = [
            figure
            for figure in self.card.figures
            if figure.name == wanted and figure.kind == "model"
        ]
        own.sort(key=lambda figure: figure.rooms)  # measured, simulated
        measures = [one for one in self.card.measures if one.name == wanted]
        return [*own, *measures]

    def constant(self, figure):
        """Error of the best constant beside an error of the model.

        Arguments
        ---------
        figure : Measure or Figure
            One of ``worth``.

        Returns
        -------
        float or None
            In its unit; None if it is not known.
        """
        if isinstance(figure, Measure):
            return figure.constant
        for other in self.card.figures:
            if other.kind == "trivial" and figure.same_row(other):
                return other.value
        return None

    def to_dict(self, spacing=None):
        """Everything as plain values for JSON; silence is None.

        Arguments
        ---------
        spacing : float, optional
            Not used: no quantity depends on it.

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
                    "errors": [
                        {**one.to_dict(), "best_constant": self.constant(one)}
                        for one in self.worth(name)
                    ],
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
