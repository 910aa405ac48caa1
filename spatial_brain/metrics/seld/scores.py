"""Scores of sound event localization and detection, all generations.

What is counted lives in ``dcase2019``, ``dcase2020`` (2020 to 2023),
``dcase2024`` (2024 and 2025) and ``l3das22``. Counts add up over clips:
subsets, leave-one-out intervals and several processes cost nothing.
"""

from dataclasses import asdict

import numpy as np

from spatial_brain.dataio.events import EventTable, concatenate
from spatial_brain.metrics.seld import dcase2019, dcase2020, dcase2024, l3das22
from spatial_brain.metrics.seld.reliability import (
    interval_warnings,
    possible_interval,
    score_warnings,
)
from spatial_brain.metrics.seld.rules import (
    Rules,
    as_columns,
    clip_length,
    is_many,
    stack,
)
from spatial_brain.metrics.statistics import Metric, jackknife, leave_one_out

_FAMILIES = {
    "dcase2019": dcase2019,
    "dcase2020": dcase2020,
    "dcase2021": dcase2020,
    "dcase2022": dcase2020,
    "dcase2023": dcase2020,
    "dcase2024": dcase2024,
    "dcase2025": dcase2024,
    "l3das22": l3das22,
}
# Clips are counted together, up to so many rows.
_BATCH_ROWS = 2**18


class SELDScores(Metric):
    """Collects reference and estimated events of clips and scores them.

    Arguments
    ---------
    num_classes : int
        Events of classes beyond are not looked at, as in the evaluators.
    threshold : float
        Degrees up to which a direction counts as right.
    average : str
        ``"macro"``: F, LE and LR are means over classes (DCASE 2022 on);
        ``"micro"``: all events alike (before). The error rate is always over
        all events.
    frames_per_second : int
        Of the frame numbers.
    mode : str
        ``"official"``: as the challenge's evaluator counts, all classes in
        the mean. ``"present"``: only classes with a reference in the mean.
        ``"pseldnets"``: as published with PSELDNets, classes without any
        pair are left out of the mean even if they were missed entirely.
        ``"corrected"``: as official, but tracks of a segment that never
        sound together are misses and false alarms (evaluators count so many
        misses as there are estimates), pairs with reference distance 0 have
        no relative error, and without references there are no scores; see
        also the modules of the metrics.
    metric : str
        ``"dcase2019"``, ``"dcase2020"``, ``"dcase2021"``, ``"dcase2022"``,
        ``"dcase2023"`` (the same), ``"dcase2024"``, ``"dcase2025"`` or
        ``"l3das22"``.
    distance_threshold : float, optional
        Metres; l3das22: how near is found, default 1; dcase2024: largest
        distance error of a right estimate, default none.
    relative_distance_threshold : float
        dcase2024 and 2025: the same as a share of the true distance.
    evaluate_distance : bool
        dcase2024 and 2025: whether distances count.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Example
    -------
    >>> reference = [[0, 1, 30, 0], [1, 1, 30, 0]]
    >>> estimate = [[0, 1, 40, 0], [1, 1, 40, 0]]
    >>> scores = SELDScores(2, average="micro")
    >>> scores.append(reference, estimate, name="fold4_room1_mix001")
    >>> found = scores.compute()
    >>> round(found["F"], 6), round(found["LE"], 6), found["num_clips"]
    (1.0, 10.0, 1)
    """

    def __init__(
        self,
        num_classes,
        *,
        threshold=20.0,
        average="macro",
        frames_per_second=10,
        mode="official",
        metric="dcase2022",
        distance_threshold=None,
        relative_distance_threshold=1.0,
        evaluate_distance=True,
    ):
        self.rules = Rules(
            num_classes,
            threshold,
            average,
            frames_per_second,
            mode,
            metric,
            distance_threshold,
            relative_distance_threshold,
            evaluate_distance,
        )
        self.clear()

    def clear(self):
        """Forget everything appended."""
        self.names, self._pending, self._counted = [], [], []
        self._rows = 0

    def __len__(self):
        return len(self.names)

    def append(self, reference, estimate, *, num_frames=None, name=None):
        """Add a clip, or several.

        Arguments
        ---------
        reference, estimate : EventTable or array_like
            Events of a clip: a table, or rows of 4 numbers (frame, class,
            azimuth, elevation), of 5 (frame, class, source, azimuth,
            elevation) or of 6 (the same and the distance in cm), degrees.
            Or lists of those, one a clip.
        num_frames : int, optional
            Length of the clip (a list for several). Default: of the tables,
            else up to the last event of either side. Evaluators of
            2022 to 2024 take the number of the last reference frame instead.
        name : str, optional
            Of the clip (a list for several).

        Raises
        ------
        ValueError
            If rows are malformed, or distances are missing that the metric
            needs; names the clip.
        """
        many = is_many(reference), is_many(estimate)
        if not any(many):
            self._append_one(reference, estimate, num_frames, name)
            return
        number = len(reference)
        if number != len(estimate):
            raise ValueError(
                f"{number} clips of reference, {len(estimate)} of estimate"
            )
        rest = []
        for what, values in (("num_frames", num_frames), ("name", name)):
            if values is None:
                values = [None] * number
            if isinstance(values, str) or len(values) != number:
                raise ValueError(
                    f"{what} must be a list of {number}, one a clip"
                )
            rest.append(values)
        for clip in zip(reference, estimate, *rest, strict=True):
            self._append_one(*clip)

    def _append_one(self, reference, estimate, num_frames, name):
        """Check a clip and keep it to be counted."""
        name = f"clip {len(self.names)}" if name is None else str(name)
        columns = []
        for what, table in (("reference", reference), ("estimate", estimate)):
            columns.append(as_columns(table, f"{name}: {what}"))
            if self._needs_distance and np.isnan(columns[-1].distance).any():
                raise ValueError(
                    f"{name}: {what} has no distance for some events, metric "
                    f"{self.rules.metric!r} needs them; directions alone can "
                    "be scored with metric 'dcase2022'"
                )
        if num_frames is None:
            num_frames = clip_length(reference, estimate, columns)
        if num_frames != int(num_frames) or num_frames < 0:
            raise ValueError(
                f"{name}: num_frames must be 0, 1, ...; got {num_frames!r}"
            )
        self.names.append(name)
        self._pending.append((*columns, int(num_frames)))
        self._rows += sum(len(side.frame) for side in columns)
        if self._rows > _BATCH_ROWS:
            self._count()

    @property
    def _needs_distance(self):
        """Whether events without distance cannot be scored."""
        rules = self.rules
        return rules.metric == "l3das22" or (
            rules.metric in ("dcase2024", "dcase2025")
            and rules.evaluate_distance
        )

    def _count(self):
        """Count the clips that wait."""
        if self._pending:
            family = _FAMILIES[self.rules.metric]
            clips = stack(self._pending)
            self._counted.append(family.count(clips, self.rules))
            self._pending, self._rows = [], 0

    @property
    def counters(self):
        """Counts of every clip, in the order appended.

        Returns
        -------
        dict
            Name to array of shape [clips, C] or [clips]; sums over clips
            are the counts of the set.
        """
        self._count()
        if not self._counted:
            nothing = as_columns([], "nothing")
            clips = stack([(nothing, nothing, 0)])
            counts = _FAMILIES[self.rules.metric].count(clips, self.rules)
            return {name: value[:0] for name, value in counts.items()}
        if len(self._counted) > 1:
            self._counted = [
                {
                    name: np.concatenate([part[name] for part in self._counted])
                    for name in self._counted[0]
                }
            ]
        return dict(self._counted[0])

    def merge(self, other):
        """Add the clips of another collection, for example of a process.

        Arguments
        ---------
        other : SELDScores
            With the same settings.

        Raises
        ------
        ValueError
            If the settings differ.
        """
        if self.rules != other.rules:
            ours, theirs = asdict(self.rules), asdict(other.rules)
            differences = ", ".join(
                f"{name} {ours[name]!r} and {theirs[name]!r}"
                for name in ours
                if ours[name] != theirs[name]
            )
            raise ValueError(f"scores counted differently: {differences}")
        counts = other.counters
        self._count()
        self._counted.append(counts)
        self.names += other.names

    def compute(self, intervals=False, by=None):
        """Scores of what was appended.

        Arguments
        ---------
        intervals : bool
            Whether to add 95 % jackknife intervals over clips.
        by : dict, optional
            Name of a clip to its group, such as its room.

        Returns
        -------
        dict
            ``ER``, ``F``, ``LR``, ``SELD`` (1 is 100 %) and ``LE`` (degrees);
            ``DE`` (metres) and ``RDE`` where distances count; ``precision``
            and ``recall`` of l3das22. ``per_class``: the same as lists of C,
            and the counted ``references``. ``num_clips``, ``metric``,
            ``mode``, ``average``. ``warnings``: lines on what the scores are
            not worth, such as errors divided by no references.
            ``intervals``: name to [low, high], and ``per_class`` again; NaN
            where the interval would not hold the score or leave its range.
            ``by``: group to the scores of its clips. NaN where nothing was
            counted.

        Raises
        ------
        ValueError
            If a clip is in no group.
        """
        counts = self.counters
        result = self._summary(counts, intervals)
        if by is not None:
            missing = [name for name in self.names if name not in by]
            if missing:
                raise ValueError(f"{missing[0]!r} is in no group of 'by'")
            groups = np.array([str(by[name]) for name in self.names])
            result["by"] = {
                str(group): self._summary(
                    {n: v[groups == group] for n, v in counts.items()},
                    intervals,
                )
                for group in sorted(set(groups), key=_natural)
            }
        return result

    def _summary(self, counts, intervals):
        """Scores of some clips."""
        rules = self.rules
        total = {name: value.sum(0) for name, value in counts.items()}
        overall, per_class = self._scores(total)
        result = {name: float(value) for name, value in overall.items()}
        result["per_class"] = {
            name: value.tolist() for name, value in per_class.items()
        }
        references = total["references"]
        result["per_class"]["references"] = references.astype(int).tolist()
        result.update(
            num_clips=len(counts["references"]),
            metric=rules.metric,
            mode=rules.mode,
            average=rules.average,
            warnings=score_warnings(total, rules),
        )
        if intervals:
            parts, class_parts = self._scores(leave_one_out(counts))
            ends = _intervals(overall, parts)
            result["warnings"] += interval_warnings(
                counts["references"], ends, rules
            )
            result["intervals"] = {
                name: value.tolist() for name, value in ends.items()
            }
            result["intervals"]["per_class"] = {
                name: value.tolist()
                for name, value in _intervals(per_class, class_parts).items()
            }
        return result

    def _scores(self, counts):
        """Scores of sums of counts; corrected: none without references."""
        rules = self.rules
        overall, per_class = _FAMILIES[rules.metric].score(counts, rules)
        if rules.corrected:
            nothing = counts["references"].sum(-1) == 0
            overall = {
                name: np.where(nothing, np.nan, value)
                for name, value in overall.items()
            }
        return overall, per_class


def _intervals(scores, partial):
    """Jackknife intervals of scores, where they can be."""
    return {
        name: possible_interval(name, value, jackknife(value, partial[name]))
        for name, value in scores.items()
    }


def _natural(text):
    """Order in which room 2 comes before room 10."""
    return (int(text), "") if text.isdigit() else (float("inf"), text)


def constant_prediction(references, num_classes, make_scores, num_frames=None):
    """Choose which classes to report always, each from one direction.

    Classes are tried from the most to the least frequent; the direction of a
    class is that of the mean of its unit vectors. Silence is tried, too.

    Arguments
    ---------
    references : sequence of EventTable
        The scenes to choose by, such as those of the validation.
    num_classes : int
        C.
    make_scores : callable
        Makes an empty :class:`spatial_brain.metrics.seld.scores.SELDScores`.
    num_frames : int, optional
        Length of clips which do not know theirs, frames.

    Returns
    -------
    EventTable
        The events of one frame; see :func:`repeat_prediction`.

    Example
    -------
    >>> from spatial_brain.metrics.seld.scores import SELDScores
    >>> scene = EventTable(range(20), [1] * 20, [30.0] * 20, [0.0] * 20,
    ...                    num_frames=20)
    >>> found = constant_prediction([scene], 3, lambda: SELDScores(3))
    >>> found.label.tolist(), found.azimuth.round().tolist()
    ([1], [30.0])
    """
    lengths = [_length(table, num_frames) for table in references]
    every = concatenate(references)
    counts = np.bincount(every.label, minlength=num_classes)
    order = [label for label in np.argsort(-counts) if counts[label]]
    mean = (
        np.stack(
            [
                every.directions[every.label == label].mean(axis=0)
                for label in order
            ]
        )
        if order
        else np.zeros((0, 3))
    )
    azimuth = np.degrees(np.arctan2(mean[:, 1], mean[:, 0]))
    flat = np.hypot(mean[:, 0], mean[:, 1])
    elevation = np.degrees(np.arctan2(mean[:, 2], flat))
    best, lowest = None, np.inf
    for size in range(len(order) + 1):
        prediction = EventTable(
            np.zeros(size), order[:size], azimuth[:size], elevation[:size]
        )
        scores = make_scores()
        for table, length in zip(references, lengths, strict=True):
            estimate = repeat_prediction(prediction, length)
            scores.append(table, estimate, num_frames=length)
        value = scores.compute()["SELD"]
        if best is None or value < lowest:
            best, lowest = prediction, value
    return best


def repeat_prediction(prediction, num_frames):
    """Repeat the events of one frame in every frame of a clip.

    Arguments
    ---------
    prediction : EventTable
        Events of one frame.
    num_frames : int
        Length of the clip, frames.

    Returns
    -------
    EventTable
        ``num_frames`` times as many rows, in the order of frames.

    Example
    -------
    >>> repeat_prediction(EventTable([0], [1], [30.0], [0.0]), 3).frame.tolist()
    [0, 1, 2]
    """
    rows = np.tile(np.arange(len(prediction)), num_frames)
    table = prediction.select(rows)
    frame = np.repeat(np.arange(num_frames), len(prediction))
    return EventTable(
        frame,
        table.label,
        table.azimuth,
        table.elevation,
        num_frames=num_frames,
    )


def _length(table, num_frames):
    """Length of a clip, frames."""
    if table.num_frames is not None:
        return table.num_frames
    if num_frames is not None:
        return num_frames
    return int(table.frame.max(initial=-1)) + 1
