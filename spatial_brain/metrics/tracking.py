"""Measures of direction tracks as in the LOCATA challenge.

C. Evers et al., "The LOCATA Challenge: Acoustic Source Localization and
Tracking", IEEE/ACM TASLP 28, 2020, and the evaluation that was published with
it. At each reference time tracks are assigned to sources one to one for the
smallest sum of azimuth errors (of equal sums the more even one), none above a
gate of 30 degrees. All sources of a recording take part, as soon as one of them
is active. What an active source gets counts as detected; a track that no source
gets, or that is there while all are silent, as false alarm. Measures of a
source are taken over its periods of activity.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from spatial_brain.metrics.statistics import (
    ErrorCollector,
    interval_of_mean,
)

GATE = 30.0
OSPA_ORDERS = (1.0, 1.5, 2.0, 5.0)
THRESHOLDS = (5.0, 10.0)
# Larger than any sum of errors: more assignments come first.
_NEVER = 1e6
# Of the squares of errors, added to them. With two tracks on one side of two
# sources both assignments have the same sum: rounding must not choose.
_EVEN = 1e-7


class _Frames(NamedTuple):
    """What happened at each reference time."""

    azimuth_error: np.ndarray  # degrees, [source, time], NaN if not detected
    elevation_error: np.ndarray
    ungated: np.ndarray  # degrees, [source, track, time], azimuth
    missed: np.ndarray  # bool, [source, time]
    swapped: np.ndarray  # bool, [source, time]
    false: np.ndarray  # tracks, [time]
    ospa: np.ndarray  # degrees, [order, time], NaN where nothing is


def tracking_measures(reference, estimate, compat=False):
    """Measures of the tracks of one recording.

    Arguments
    ---------
    reference : DirectionTracks
        Directions of the sources at the times that count, and where they are
        active. Where a source has no azimuth it is absent.
    estimate : DirectionTracks
        At the same times; see ``DirectionTracks.at``.
    compat : bool
        Repeat what the published evaluation does differently from the paper,
        to be compared with published figures: a swap counts only if the
        source's new track was no source's before, so that two sources that
        exchange tracks count nothing; latency is the time stamp at the index
        of the first frame of a period that is *missed*; a period that begins
        with the recording is left out, and those after it are shifted
        against their ends; OSPA takes the best single pair for the assignment.

    Returns
    -------
    dict of numpy.ndarray
        Values of which a task's measures are the means, NaN where one cannot
        be computed:
        a value a source and period: ``azimuth_error`` and
        ``elevation_error`` (degrees, of detected frames),
        ``ungated_azimuth_error`` (of all tracks, if there is one source
        only), ``detection`` (share of frames) and ``accuracy_5`` and
        ``accuracy_10`` (share detected within so many degrees);
        a value a source, its mean over periods: ``latency`` (seconds until
        the first detection, the whole period if there is none),
        ``fragmentation_rate`` (detections after a missed frame, the first
        one included, and swaps, per second), ``swap_rate`` (changes of the
        track, per second);
        a value: ``false_alarm_rate`` (false tracks of all frames per second:
        it grows with the rate of the reference times); a value a period in
        which any source is active: ``active_false_alarm_rate``;
        a value a frame: ``ospa_1``, ``ospa_1.5``, ``ospa_2``, ``ospa_5``
        (degrees, by order, cut off at 30).

    Raises
    ------
    ValueError
        If the times differ or there are less than two.

    Example
    -------
    >>> from spatial_brain.processing.tracks import DirectionTracks
    >>> times = np.arange(5) * 0.1
    >>> active = [[False, True, True, True, False]]
    >>> truth = DirectionTracks(times, [[20.0] * 5], active=active)
    >>> found = DirectionTracks(times, [[np.nan, np.nan, 24, 26, np.nan]])
    >>> measures = tracking_measures(truth, found)
    >>> measures["azimuth_error"], measures["detection"].round(3)
    (array([5.]), array([0.667]))
    >>> measures["latency"].round(3), measures["false_alarm_rate"]
    (array([0.1]), array([0.]))
    """
    times = reference.times
    if len(times) < 2:
        raise ValueError(
            f"rates need two reference times at least, got {len(times)}"
        )
    if not np.array_equal(times, estimate.times):
        raise ValueError(
            "estimates must be at the times of the reference: "
            "use estimate.at(reference.times)"
        )
    frames = _compare(reference, estimate, compat)
    periods = [_periods(active, compat) for active in reference.active]
    measures = _period_values(frames, periods)
    measures |= _source_values(frames, periods, times, compat)
    any_active = [_periods(_covered(periods, len(times)), compat)]
    rates = [
        _rate(frames.false[rows].sum(), times, rows) for rows in any_active[0]
    ]
    whole = slice(0, len(times))
    measures["false_alarm_rate"] = np.array(
        [_rate(frames.false.sum(), times, whole)]
    )
    measures["active_false_alarm_rate"] = np.array(rates, dtype=float)
    for order, values in zip(OSPA_ORDERS, frames.ospa, strict=True):
        measures[f"ospa_{order:g}"] = values
    return measures


def _compare(reference, estimate, compat):
    """Assign tracks to sources, time by time."""
    shape = reference.azimuth.shape
    error = estimate.azimuth[None] - reference.azimuth[:, None]
    error = np.abs((error + 180.0) % 360.0 - 180.0)
    rise = np.abs(estimate.elevation[None] - reference.elevation[:, None])
    active, there = reference.active, ~np.isnan(estimate.azimuth)
    azimuth_error, elevation_error = np.full((2, *shape), np.nan)
    missed, swapped = active.copy(), np.zeros(shape, dtype=bool)
    false = there.sum(0)
    ospa = np.full((len(OSPA_ORDERS), shape[1]), np.nan)
    # Where only one side is there, all of it is wrong.
    ospa[:, active.any(0) != there.any(0)] = GATE
    previous = np.full(shape[0], -1)
    for time in np.flatnonzero(active.any(0) & there.any(0)):
        now = error[:, :, time]
        assigned = _assign(now)
        found = assigned >= 0
        missed[:, time] = ~found
        false[time] -= found.sum()
        detected = np.flatnonzero(found & active[:, time])
        tracks = assigned[detected]
        azimuth_error[detected, time] = now[detected, tracks]
        elevation_error[detected, time] = rise[detected, tracks, time]
        changed = found & (previous >= 0) & (assigned != previous)
        if compat:
            changed &= ~np.isin(assigned, previous)
        swapped[:, time] = changed
        previous = np.where(found, assigned, previous)
        ospa[:, time] = _ospa(now, active[:, time], there[:, time], compat)
    ungated = np.where(active.any(0), error, np.nan)
    return _Frames(
        azimuth_error, elevation_error, ungated, missed, swapped, false, ospa
    )


def _assign(error):
    """Track of each source, [source]; -1 for none within the gate."""
    allowed = error <= GATE
    cost = error + _EVEN * error**2
    found = linear_sum_assignment(np.where(allowed, cost, _NEVER))
    assigned = np.full(len(error), -1)
    for source, track in zip(*found, strict=True):
        if allowed[source, track]:
            assigned[source] = track
    return assigned


def _ospa(error, active, there, compat):
    """Optimal subpattern assignment distances, degrees, [order]."""
    orders = np.array(OSPA_ORDERS)
    numbers = active.sum(), there.sum()
    cut = np.minimum(error, GATE)
    if compat:
        costs = np.nanmin(cut) ** orders
    else:
        # For every order an assignment of its own.
        costs = []
        for order in orders:
            cost = cut[np.ix_(active, there)] ** order
            costs.append(cost[linear_sum_assignment(cost)].sum())
    missing = abs(int(numbers[0]) - int(numbers[1]))
    total = GATE**orders * missing + costs
    return (total / max(numbers)) ** (1 / orders)


def _periods(active, compat):
    """Slices of the stretches of activity."""
    change = np.diff(np.concatenate(([0], active.astype(int), [0])))
    starts, stops = np.flatnonzero(change > 0), np.flatnonzero(change < 0)
    if compat:
        starts = starts[starts > 0]
    ends = zip(starts, stops, strict=False)
    # An end before its start, which ``compat`` can give, holds nothing.
    return [slice(start, stop) for start, stop in ends]


def _covered(periods, length):
    """Where the periods of any source are, bool [time]."""
    covered = np.zeros(length, dtype=bool)
    for rows in (rows for own in periods for rows in own):
        covered[rows] = True
    return covered


def _rate(number, times, rows):
    """Events per second; NaN in a period of a single frame."""
    span = times[rows.stop - 1] - times[rows.start]
    return number / span if span else np.nan


def _mean(values):
    """Mean of the values that are there, or NaN."""
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    return values.mean() if len(values) else np.nan


def _period_values(frames, periods):
    """Measures with a value a source and period."""
    names = ("azimuth_error", "elevation_error", "detection")
    shares = [f"accuracy_{threshold:g}" for threshold in THRESHOLDS]
    values = {name: [] for name in (*names, *shares, "ungated_azimuth_error")}
    for source, own in enumerate(periods):
        for rows in own:
            error = frames.azimuth_error[source, rows]
            values["azimuth_error"].append(_mean(error))
            values["elevation_error"].append(
                _mean(frames.elevation_error[source, rows])
            )
            values["detection"].append(_mean(~frames.missed[source, rows]))
            for name, threshold in zip(shares, THRESHOLDS, strict=True):
                values[name].append(_mean(error <= threshold))
            if len(periods) == 1:
                ungated = frames.ungated[source, :, rows]
                values["ungated_azimuth_error"].append(_mean(ungated))
    return {name: np.array(list_, float) for name, list_ in values.items()}


def _source_values(frames, periods, times, compat):
    """Measures with a value a source, the mean over its periods."""
    values = {"latency": [], "fragmentation_rate": [], "swap_rate": []}
    for source, own in enumerate(periods):
        latency, breaks, swaps = [], [], []
        for rows in own:
            missed = frames.missed[source, rows]
            changes = frames.swapped[source, rows].sum()
            resumed = (missed[:-1] & ~missed[1:]).sum()
            latency.append(_latency(missed, times, rows, compat))
            breaks.append(_rate(resumed + changes, times, rows))
            swaps.append(_rate(changes, times, rows))
        values["latency"].append(_mean(latency))
        values["fragmentation_rate"].append(_mean(breaks))
        values["swap_rate"].append(_mean(swaps))
    return {name: np.array(list_, float) for name, list_ in values.items()}


def _latency(missed, times, rows, compat):
    """Seconds from the beginning of a period to the first detection."""
    if compat:
        return times[missed.argmax()] if missed.any() else 0.0
    first = (~missed).argmax() if not missed.all() else len(missed) - 1
    return times[rows.start + first] - times[rows.start]


class TrackingErrors(ErrorCollector):
    """Collects the tracks of recordings and sums the measures up.

    A row is a recording: ``id``, ``num_sources``, ``num_tracks``, the means
    of the measures of :func:`tracking_measures`, and conditions such as
    ``task`` and ``array``. The summary has each measure as mean over all
    periods, sources or frames of the recordings, as the challenge has it,
    with ``<measure>_low`` and ``<measure>_high`` from whole recordings drawn
    anew (left out where a single recording has a value); NaN if there is no
    value.

    Arguments
    ---------
    bins : dict, optional
        Condition to the inner edges of its ranges.
    compat : bool
        See :func:`tracking_measures`.

    Example
    -------
    >>> from spatial_brain.processing.tracks import DirectionTracks
    >>> times = np.arange(4) * 0.1
    >>> truth = DirectionTracks(times, [[20.0] * 4], active=[[0, 1, 1, 0]])
    >>> errors = TrackingErrors()
    >>> errors.append("a", truth, truth.at([0.1, 0.2]), task="1")
    >>> summary = errors.summarize()
    >>> summary["azimuth_error"], summary["detection"]
    (0.0, 1.0)
    """

    _ITEM = "recording"

    def __init__(self, bins=None, compat=False):
        self.compat = compat
        super().__init__(bins or {})

    def clear(self):
        """Forget everything appended."""
        super().clear()
        self._values = []

    def append(self, name, reference, estimate, **conditions):
        """Add a recording.

        Arguments
        ---------
        name : str
            Of the recording.
        reference : DirectionTracks
            See :func:`tracking_measures`.
        estimate : DirectionTracks
            At any times: brought to those of the reference.
        **conditions
            A number or a text each.

        Raises
        ------
        ValueError
            As :func:`tracking_measures`; names the recording.
        """
        with self._naming([str(name)]):
            estimate = estimate.at(reference.times)
            values = tracking_measures(reference, estimate, self.compat)
            conditions = self._checked(
                {key: [value] for key, value in conditions.items()}, (1,)
            )
        row = {
            "id": str(name),
            "num_sources": len(reference),
            "num_tracks": len(estimate),
            **{key: float(_mean(found)) for key, found in values.items()},
        }
        self._extend([row], conditions)
        self._values.append(values)

    def _statistics(self, chosen, num_bootstrap, seed):
        """Means of the measures of the chosen recordings."""
        masked = zip(self._values, chosen[:, 0], strict=True)
        used = [values for values, mine in masked if mine]
        result = {"num_recordings": len(used)}
        for name in used[0]:
            sums = np.array([np.nansum(values[name]) for values in used])
            counts = np.array([(~np.isnan(v[name])).sum() for v in used])
            total = counts.sum()
            result[name] = float(sums.sum() / total) if total else np.nan
            known = counts > 0
            result |= interval_of_mean(
                name, sums[known], counts[known], num_bootstrap, seed
            )
        return result
