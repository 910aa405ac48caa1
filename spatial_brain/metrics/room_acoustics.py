"""Errors of estimated room acoustics, and baselines that learn nothing."""

from typing import NamedTuple

import numpy as np
import torch

from spatial_brain.geometry import SPEED_OF_SOUND
from spatial_brain.metrics.statistics import ErrorCollector, interval_of_mean
from spatial_brain.processing.spatial import gcc_phat

# Edges of the ranges by which errors are broken down.
BINS = {
    "t60": (0.4, 0.6, 0.8, 1.0),
    "snr": (18.0, 21.0, 24.0, 27.0),
    "distance": (1.0, 2.0, 3.0, 5.0),
}


class Quantity(NamedTuple):
    """What a task estimates.

    Arguments
    ---------
    name : str
        In words.
    unit : str
        Of labels, estimates and errors; empty without one.
    digits : int
        Decimal places worth printing.
    """

    name: str
    unit: str
    digits: int

    @property
    def label(self):
        """Name with the unit, such as for an axis."""
        return f"{self.name}, {self.unit}" if self.unit else self.name


TASKS = {
    "TDOA": Quantity("time difference of arrival", "samples", 2),
    "T60": Quantity("reverberation time", "s", 3),
    "DRR": Quantity("direct-to-reverberant ratio", "dB", 2),
    "C50": Quantity("clarity", "dB", 2),
    "ABS": Quantity("mean absorption", "", 3),
    "SNR": Quantity("signal-to-noise ratio", "dB", 2),
    "SUR": Quantity("surface", "log10 m²", 3),
    "VOL": Quantity("volume", "log10 m³", 3),
    "DIST": Quantity("distance of the source", "m", 2),
}


def find_quantity(task):
    """What a task estimates.

    Arguments
    ---------
    task : str
        Key of ``TASKS``.

    Returns
    -------
    Quantity

    Raises
    ------
    ValueError
        If there is no such task.

    Example
    -------
    >>> find_quantity("DRR").label
    'direct-to-reverberant ratio, dB'
    """
    if task not in TASKS:
        raise ValueError(f"no task {task!r}; use one of {', '.join(TASKS)}")
    return TASKS[task]


def training_mean(labels, num_examples):
    """Predict the mean of the training labels, whatever the input.

    Arguments
    ---------
    labels : torch.Tensor or array
        Of the training set, [example].
    num_examples : int
        Predictions wanted.

    Returns
    -------
    numpy.ndarray
        float64, [num_examples].

    Raises
    ------
    ValueError
        If there are no labels, or some are not finite.

    Example
    -------
    >>> training_mean([0.2, 0.6], 3)
    array([0.4, 0.4, 0.4])
    """
    labels = _numbers(labels, "labels")
    if not len(labels):
        raise ValueError("no training labels: there is no mean to predict")
    return np.full(num_examples, labels.mean())


def best_constant(reference, num_examples):
    """Predict the constant with the smallest mean absolute error.

    It has seen the labels of the test: what does not beat it has learned
    nothing that a number on a piece of paper does not know.

    Arguments
    ---------
    reference : torch.Tensor or array
        Labels of the test set, [example].
    num_examples : int
        Predictions wanted.

    Returns
    -------
    numpy.ndarray
        The median, float64, [num_examples].

    Raises
    ------
    ValueError
        If there are no labels, or some are not finite.

    Example
    -------
    >>> best_constant([0.2, 0.3, 1.6], 2)
    array([0.3, 0.3])
    """
    reference = _numbers(reference, "reference")
    if not len(reference):
        raise ValueError("no labels: there is no constant to predict")
    return np.full(num_examples, np.median(reference))


@torch.no_grad()
def gcc_phat_tdoa(waveform, spacing, fs=16000, **options):
    """Time differences of arrival by GCC-PHAT, finer than a sample.

    The largest correlation among the delays which the distance of the
    microphones allows, and the top of the parabola through it and its
    neighbours.

    Arguments
    ---------
    waveform : torch.Tensor
        [batch, time, 2].
    spacing : float or torch.Tensor
        Distance of the microphones, metres; one, or one a signal [batch].
    fs : int
        Sampling rate, Hz.
    **options
        Of :func:`spatial_brain.processing.spatial.gcc_phat`: ``n_fft``,
        ``hop_length``, ``interpolation``.

    Returns
    -------
    torch.Tensor
        Samples by which the second microphone is later than the first,
        [batch]; 0 for a silent signal.

    Raises
    ------
    ValueError
        If there are not two channels, or a spacing is not positive.

    Example
    -------
    >>> noise = torch.randn(8003)
    >>> pair = torch.stack((noise[3:], noise[:-3]), -1)[None]
    >>> round(gcc_phat_tdoa(pair, 0.1).item(), 2)
    3.0
    """
    if waveform.ndim != 3 or waveform.shape[-1] != 2:
        raise ValueError(
            "expected a waveform [batch, time, 2 microphones], got "
            f"{list(waveform.shape)}"
        )
    spacing = torch.as_tensor(spacing, device=waveform.device).float()
    if not (spacing > 0).all() or not torch.isfinite(spacing).all():
        raise ValueError(
            "the distance of the microphones must be positive, in metres, "
            f"got {spacing.tolist()}"
        )
    bound = (spacing * (fs / SPEED_OF_SOUND)).expand(len(waveform))[:, None]
    correlation, delays = gcc_phat(
        waveform,
        fs=fs,
        # The parabola at the bound needs a neighbour, too.
        max_delay=(bound.max().item() + 1) / fs,
        pairs=[(0, 1)],
        **options,
    )
    correlation, lags = correlation[:, 0], -delays * fs
    step = (lags[1] - lags[0]).item()
    allowed = lags.abs() <= bound + 1e-4
    peak = correlation.masked_fill(~allowed, -torch.inf).argmax(-1, True)
    before, top, after = (
        correlation.gather(1, peak + shift) for shift in (-1, 0, 1)
    )
    bend = (2 * top - before - after).clamp(min=1e-12)
    offset = (0.5 * (after - before) / bend).clamp(-0.5, 0.5)
    tdoa = (lags[peak] + step * offset).clamp(-bound, bound)
    active = correlation.abs().amax(-1, True) > 0
    return torch.where(active, tdoa, 0.0).squeeze(-1)


class AcousticErrors(ErrorCollector):
    """Collects the estimates of one task and sums their errors up.

    Rows have ``id``, ``reference``, ``estimate`` and the conditions. The
    summary has ``num_examples``, ``mae``, ``median`` (of the absolute error),
    ``rmse``, ``bias`` (mean of estimate minus reference), ``correlation``
    (Pearson; left out where one side is constant), ``mae_low`` and
    ``mae_high`` (over examples, or over rooms if all rows have the condition
    ``room``; left out with fewer than two of them).

    Arguments
    ---------
    task : str
        Key of ``TASKS``.
    bins : dict, optional
        Condition to the inner edges of its ranges, besides or instead of
        those of ``BINS``. Conditions without edges are kept in the rows only.

    Raises
    ------
    ValueError
        For an unknown task, or edges that do not ascend.

    Example
    -------
    >>> errors = AcousticErrors("T60")
    >>> errors.append(["a", "b"], [0.5, 0.7], [0.4, 1.0], snr=[15.0, 30.0])
    >>> summary = errors.summarize()
    >>> round(summary["mae"], 3), round(summary["bias"], 3)
    (0.2, -0.1)
    >>> round(summary["by"]["t60"]["0.4 to 0.6"]["mae"], 3)
    0.1
    """

    _ITEM = "example"

    def __init__(self, task, bins=None):
        find_quantity(task)
        self.task = task
        super().__init__({**BINS, **(bins or {})})

    def append(self, ids, estimate, reference, **conditions):
        """Add a batch.

        Arguments
        ---------
        ids : sequence of str
            Names of the examples.
        estimate : torch.Tensor or array
            In the unit of the task, [batch] or [batch, 1].
        reference : torch.Tensor or array
            Same shape.
        **conditions
            Numbers, [batch]; for example ``t60`` (s; for the task T60 the
            reference, unless given), ``snr`` (dB), ``distance`` (m),
            ``room``, whose examples the intervals take together, and texts
            under any name, one range for each.

        Raises
        ------
        ValueError
            If sizes do not fit or a value is not finite; names the examples.
        """
        ids = [str(name) for name in ids]
        with self._naming(ids):
            columns = {
                "reference": _numbers(reference, "reference"),
                "estimate": _numbers(estimate, "estimate"),
            }
            for name, values in columns.items():
                if len(values) != len(ids):
                    raise ValueError(
                        f"{len(ids)} ids for {len(values)} values of {name}"
                    )
            conditions = {
                name: values
                if _are_texts(values)
                else _numbers(values, f"condition {name!r}")
                for name, values in conditions.items()
            }
            if self.task.lower() in self.bins:
                own = {self.task.lower(): columns["reference"]}
                conditions = own | conditions
            conditions = self._checked(conditions, (len(ids),))
        rows = [
            {"id": name, "reference": float(truth), "estimate": float(found)}
            for name, truth, found in zip(ids, *columns.values(), strict=True)
        ]
        self._extend(rows, conditions)

    def _statistics(self, chosen, num_bootstrap, seed):
        """Plain numbers of the chosen examples, bool [row, 1]."""
        rows = self._chosen(chosen)
        reference, estimate = (
            np.array([row[name] for row in rows])
            for name in ("reference", "estimate")
        )
        difference = estimate - reference
        error = np.abs(difference)
        result = {
            "num_examples": len(error),
            "mae": float(error.mean()),
            "median": float(np.median(error)),
            "rmse": float(np.sqrt(np.mean(difference**2))),
            "bias": float(difference.mean()),
        }
        if np.ptp(reference) > 0 and np.ptp(estimate) > 0:
            correlation = np.corrcoef(reference, estimate)[0, 1]
            result["correlation"] = float(correlation)
        groups = np.arange(len(rows))
        if all("room" in row for row in self._rows):
            # Signals in one room go together.
            rooms = [row["room"] for row in rows]
            groups = np.unique(rooms, return_inverse=True)[1]
        sums, counts = np.bincount(groups, error), np.bincount(groups)
        return result | interval_of_mean(
            "mae", sums, counts, num_bootstrap, seed
        )


def _are_texts(values):
    """Whether values are texts, such as names of rooms."""
    return len(values) > 0 and all(isinstance(value, str) for value in values)


def _numbers(values, name):
    """Finite values as float64 array [example]."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().double()
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError(
            f"{name} must have shape [example], got {list(values.shape)}"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds values that are not finite")
    return values
