"""Tracks of directions over time from the peaks of blocks.

Every track is a Kalman filter on the sphere. Its state is a direction and a
velocity along the great circle. Errors are taken to be alike all around, so
that one 2 x 2 covariance serves both tangent axes and neither the poles nor
180 degrees are special. Azimuths alone are directions on the horizon.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from spatial_brain.geometry import azel_to_unit, unit_to_azel
from spatial_brain.processing.tracks import DirectionTracks

# Stands for an assignment that is not allowed.
_NEVER = 1e9


class TrackSegment(NamedTuple):
    """A track where it is present.

    Arguments
    ---------
    blocks : numpy.ndarray
        Their numbers, ascending, [block].
    azimuth, elevation : numpy.ndarray
        Degrees, [block]; the elevation is NaN if it is not known.
    active : numpy.ndarray
        Whether it was detected, bool, [block].
    """

    blocks: np.ndarray
    azimuth: np.ndarray
    elevation: np.ndarray
    active: np.ndarray


class DirectionTracker:
    """Tracks from peaks: birth, death, gaps bridged, smoothed.

    Peaks are assigned to tracks block by block, all at once for the largest
    likelihood (global nearest neighbour), within a gate. A peak that no track
    takes starts a tentative one, which is confirmed when it was detected in
    ``confirm`` of its first ``within`` blocks. A confirmed track that is not
    detected coasts on for ``max_gap`` seconds, its velocity fading.

    Arguments
    ---------
    noise : float
        Standard deviation of a peak, degrees.
    agility : float
        Standard deviation of the change of a source's velocity within a
        second, degrees per second.
    fading : float
        Time constant with which a velocity fades, seconds; infinite for
        constant velocity.
    gate : float
        Largest distance of a peak from a track, in standard deviations.
    max_angle : float
        Largest distance of a peak from a track, degrees.
    min_confidence : float
        Peaks below are not used.
    birth_confidence : float
        Peaks below start no track.
    confirm : int
        Detections that confirm a track.
    within : int
        Blocks in which they must be.
    max_gap : float
        Seconds without detection after which a track ends.
    lag : float
        Seconds of the future that an output may use: 0 is causal, infinity
        smooths over the whole track (fixed-interval RTS smoother).

    Raises
    ------
    ValueError
        If a value is out of range.

    Example
    -------
    >>> times = np.arange(20) * 0.1
    >>> azimuth = (170.0 + 10 * times)[:, None]
    >>> tracks = DirectionTracker()(times, azimuth)
    >>> len(tracks), tracks.azimuth[0, -1].round()
    (1, np.float64(-171.0))
    """

    def __init__(
        self,
        *,
        noise=4.0,
        agility=20.0,
        fading=1.0,
        gate=4.0,
        max_angle=20.0,
        min_confidence=0.0,
        birth_confidence=0.0,
        confirm=3,
        within=5,
        max_gap=1.0,
        lag=0.0,
    ):
        positive = {
            "noise": noise,
            "agility": agility,
            "fading": fading,
            "gate": gate,
            "max_angle": max_angle,
            "confirm": confirm,
        }
        for name, value in positive.items():
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
        if confirm > within:
            raise ValueError(
                f"confirm={confirm} detections cannot be in within={within} "
                "blocks"
            )
        if max_gap < 0 or lag < 0:
            raise ValueError(
                f"max_gap and lag must be at least 0 s, got {max_gap} and {lag}"
            )
        self.variance = math.radians(noise) ** 2
        self.agility = math.radians(agility) ** 2
        self.fading = fading
        self.gate, self.max_angle = gate, math.radians(max_angle)
        self.min_confidence = min_confidence
        self.birth_confidence = birth_confidence
        self.confirm, self.within = confirm, within
        self.max_gap, self.lag = max_gap, lag

    def __call__(self, times, azimuth, elevation=None, confidence=None):
        """Follow the peaks of one recording.

        Arguments
        ---------
        times : array_like
            Of the blocks, seconds, ascending, [block].
        azimuth : array_like
            Degrees, [block, peak]; NaN where there is no peak.
        elevation : array_like, optional
            Degrees, same shape; NaN (all of them) if it is not known.
        confidence : array_like, optional
            Same shape; default: 1.

        Returns
        -------
        DirectionTracks
            Confirmed tracks in the order of their births, at the times of the
            blocks; active where they were detected, and in between bridged.

        Raises
        ------
        ValueError
            If shapes do not fit, or times do not ascend.
        """
        segments = self.segments(times, azimuth, elevation, confidence)
        shape = (len(segments), len(times))
        azimuth, elevation = np.full((2, *shape), np.nan)
        active = np.zeros(shape, dtype=bool)
        for number, segment in enumerate(segments):
            azimuth[number, segment.blocks] = segment.azimuth
            elevation[number, segment.blocks] = segment.elevation
            active[number, segment.blocks] = segment.active
        return DirectionTracks(times, azimuth, elevation, active)

    def segments(self, times, azimuth, elevation=None, confidence=None):
        """The same, in memory that does not grow with tracks times blocks.

        Arguments
        ---------
        times, azimuth, elevation, confidence : array_like
            As for a call.

        Returns
        -------
        list of TrackSegment
            Confirmed tracks in the order of their births.

        Raises
        ------
        ValueError
            If shapes do not fit, or times do not ascend.

        Example
        -------
        >>> times = np.arange(20) * 0.1
        >>> azimuth = np.full((20, 1), 30.0)
        >>> [len(one.blocks) for one in DirectionTracker().segments(
        ...     times, azimuth)]
        [18]
        """
        times = np.asarray(times, dtype=np.float64)
        azimuth = np.asarray(azimuth, dtype=np.float64)
        ones = np.ones(azimuth.shape)
        elevation = ones * np.nan if elevation is None else elevation
        elevation = np.asarray(elevation, dtype=np.float64)
        confidence = ones if confidence is None else confidence
        confidence = np.asarray(confidence, dtype=np.float64)
        for name, value in (
            ("azimuth", azimuth),
            ("elevation", elevation),
            ("confidence", confidence),
        ):
            if value.ndim != 2 or value.shape != (len(times), ones.shape[1]):
                raise ValueError(
                    f"{name} must be [block, peak] with {len(times)} blocks, "
                    f"got shape {value.shape}"
                )
        if not (np.diff(times) > 0).all():
            raise ValueError("times of blocks must ascend")
        used = ~np.isnan(azimuth) & (confidence >= self.min_confidence)
        known = used & ~np.isnan(elevation)
        if known.any() and not known[used].all():
            raise ValueError(
                "some peaks have an elevation and some have none: one array "
                "can tell it or cannot"
            )
        units = _units(azimuth, elevation)
        born = used & (confidence >= self.birth_confidence)
        tracks = self._follow(times, units, used, born)
        known = bool(known.any())
        return [self._segment(times, track, known) for track in tracks]

    def live(self):
        """The same, block by block and without the future.

        Returns
        -------
        LiveTracker
        """
        return LiveTracker(self)

    def _follow(self, times, units, used, born):
        """All confirmed tracks that the peaks give."""
        alive, confirmed = [], []
        for block, time in enumerate(times):
            step = time - times[block - 1] if block else 0.0
            alive = self.advance(
                alive, block, time, step, units[block], used[block], born[block]
            )
            confirmed += [t for t in alive if t.confirmed == block]
            alive = [t for t in alive if not self.ends(t, time, block)]
        return sorted(confirmed, key=lambda track: track.start)

    def advance(self, tracks, block, time, step, units, used, born):
        """Tracks after another block; see ``ends`` for those that are over.

        Arguments
        ---------
        tracks : list
            Those that were followed up to here.
        block : int
            Its number.
        time, step : float
            Of the block, and since the last one, seconds.
        units : numpy.ndarray
            Directions of its peaks, [peak, 3].
        used, born : numpy.ndarray
            Which of them are used, and may begin a track, bool, [peak].

        Returns
        -------
        list
            The same and new ones.
        """
        peaks = np.flatnonzero(used)
        tracks = list(tracks)
        if tracks:
            _predict(tracks, *self._motion(step))
        taken = self._assign(tracks, units[peaks])
        for track, peak in taken.items():
            tracks[track].update(units[peaks[peak]], self.variance)
            tracks[track].last, tracks[track].last_time = block, time
        for number, peak in enumerate(peaks):
            if number not in taken.values() and born[peak]:
                tracks.append(self._birth(block, time, units[peak]))
        for track in tracks:
            if track.confirmed is None and track.hits >= self.confirm:
                track.confirmed = block
        return tracks

    def _motion(self, step):
        """Transition [2, 2] and its noise [2, 2] over a step in seconds."""
        if math.isinf(self.fading):
            keep, move = 1.0, step
        else:
            keep = math.exp(-step / self.fading)
            move = self.fading * (1 - keep)
        noise = np.array([[step**3 / 3, step**2 / 2], [step**2 / 2, step]])
        return np.array([[1.0, move], [0.0, keep]]), self.agility * noise

    def _birth(self, block, time, unit):
        """A tentative track at a peak."""
        covariance = np.diag([self.variance, self.agility])
        return _Track(block, time, unit, covariance)

    def ends(self, track, time, block):
        """Whether a track ends with a block; it notes when it did.

        Arguments
        ---------
        track : object
            Of ``advance``.
        time : float
            Of the block, seconds.
        block : int
            Its number.

        Returns
        -------
        bool
        """
        if track.confirmed is None:
            left = self.within - (block - track.start + 1)
            return track.hits + left < self.confirm
        if time - track.last_time > self.max_gap + 1e-9:
            track.end = block
            return True
        return False

    def _assign(self, tracks, units):
        """Track number -> peak number, one to one."""
        if not tracks or not len(units):
            return {}
        state = np.array([track.unit for track in tracks])
        variance = np.array([track.covariance[0, 0] for track in tracks])
        variance = (variance + self.variance)[:, None]
        angle = np.arccos(np.clip(state @ units.T, -1, 1))
        allowed = (angle <= self.max_angle) & (
            angle**2 <= self.gate**2 * variance
        )
        # Tentative tracks take what confirmed ones leave.
        new = np.array([track.confirmed is None for track in tracks])[:, None]
        cost = angle**2 / variance + 2 * np.log(variance) + 1e4 * new
        found = linear_sum_assignment(np.where(allowed, cost, _NEVER))
        return {
            int(track): int(peak)
            for track, peak in zip(*found, strict=True)
            if allowed[track, peak]
        }

    def _segment(self, times, track, has_elevation):
        """What may be known of a track with the lag."""
        own = times[track.start : track.start + len(track.history)]
        unit = _smooth(track.history, own, self.lag)
        azimuth, elevation = (
            angle.numpy() for angle in unit_to_azel(torch.from_numpy(unit))
        )
        detected = np.array([entry["hit"] for entry in track.history])
        until = own + self.lag
        last = times[track.last]
        end = math.inf if track.end is None else times[track.end]
        shown = (times[track.confirmed] <= until + 1e-9) & (
            (own <= last) | (until < end - 1e-9)
        )
        if not has_elevation:
            elevation = np.full(len(own), np.nan)
        return TrackSegment(
            track.start + np.flatnonzero(shown),
            azimuth[shown],
            elevation[shown],
            detected[shown],
        )


class TrackPoint(NamedTuple):
    """A track in a block.

    Arguments
    ---------
    track : int
        Its number, in the order in which tracks are confirmed, from 0.
    unit : numpy.ndarray
        Its direction, [3].
    detected : bool
        Whether a peak showed it, else it is bridged.
    """

    track: int
    unit: np.ndarray
    detected: bool


class LiveTracker:
    """Follows the peaks of live sound; made by ``DirectionTracker.live``.

    Its tracks are those of a tracker with ``lag=0``.

    Arguments
    ---------
    tracker : DirectionTracker
        What is followed how.

    Example
    -------
    >>> live = DirectionTracker(confirm=2).live()
    >>> [len(live.push(0.1 * k, np.array([30.0]))) for k in range(3)]
    [0, 1, 1]
    """

    def __init__(self, tracker):
        self._tracker = tracker
        self._alive, self._block, self._time = [], -1, None
        self._numbers, self._confirmed = {}, 0

    def push(self, time, azimuth, elevation=None, confidence=None):
        """Take the peaks of the next block, give the tracks that are there.

        Arguments
        ---------
        time : float
            Of the block, seconds.
        azimuth : numpy.ndarray
            Degrees, [peak]; NaN where there is no peak.
        elevation, confidence : numpy.ndarray, optional
            As for ``DirectionTracker``.

        Returns
        -------
        list of TrackPoint
            Confirmed tracks, detected or bridged.
        """
        tracker, ones = self._tracker, np.ones(azimuth.shape)
        elevation = ones * np.nan if elevation is None else elevation
        confidence = ones if confidence is None else confidence
        step = 0.0 if self._time is None else time - self._time
        self._time, self._block = time, self._block + 1
        used = ~np.isnan(azimuth) & (confidence >= tracker.min_confidence)
        alive = tracker.advance(
            self._alive,
            self._block,
            time,
            step,
            _units(azimuth, elevation),
            used,
            used & (confidence >= tracker.birth_confidence),
        )
        self._alive = [
            t for t in alive if not tracker.ends(t, time, self._block)
        ]
        found, numbers = [], {}
        for track in self._alive:
            # What was is of no use without a smoother.
            del track.history[:-1]
            if track.confirmed is None:
                continue
            if track not in self._numbers:
                self._numbers[track] = self._confirmed
                self._confirmed += 1
            numbers[track] = self._numbers[track]
            hit = track.last == self._block
            found.append(TrackPoint(numbers[track], track.unit, hit))
        self._numbers = numbers
        return found


class _Track:
    """A Kalman filter on the sphere with what it has seen."""

    def __init__(self, start, time, unit, covariance):
        self.start = self.last = start
        self.last_time = time
        self.unit, self.velocity = unit, np.zeros(3)
        self.covariance = covariance
        self.hits, self.confirmed, self.end = 1, None, None
        before = (unit, self.velocity, covariance)
        self.history = [
            {
                "before": before,
                "after": before,
                "motion": np.eye(2),
                "hit": True,
            }
        ]

    def update(self, unit, variance):
        """Take a detection in."""
        gain = self.covariance[:, 0] / (self.covariance[0, 0] + variance)
        error = _difference(self.unit, unit)
        moved = _move(self.unit, gain[0] * error)
        self.velocity = _transport(
            self.velocity + gain[1] * error, self.unit, moved
        )
        self.unit = moved
        self.covariance = self.covariance - np.outer(gain, self.covariance[0])
        self.hits += 1
        self.history[-1]["hit"] = True
        self.history[-1]["after"] = (self.unit, self.velocity, self.covariance)


def _predict(tracks, motion, noise):
    """Move all tracks by a transition [2, 2] with its noise."""
    state = np.array([track.unit for track in tracks])
    speed = np.array([track.velocity for track in tracks])
    units = _move(state, motion[0, 1] * speed)
    speeds = motion[1, 1] * _transport(speed, state, units)
    covariances = np.array([track.covariance for track in tracks])
    covariances = motion @ covariances @ motion.T + noise
    for track, *before in zip(tracks, units, speeds, covariances, strict=True):
        track.unit, track.velocity, track.covariance = before
        track.history.append(
            {"before": before, "after": before, "motion": motion, "hit": False}
        )


def _units(azimuth, elevation):
    """Unit vectors of angles in degrees; without elevation on the horizon."""
    return azel_to_unit(
        torch.from_numpy(np.nan_to_num(azimuth)),
        torch.from_numpy(np.nan_to_num(elevation)),
    ).numpy()


def _move(unit, way):
    """From unit vectors along tangents, [..., 3], of a length in radians."""
    angle = np.sqrt((way * way).sum(-1, keepdims=True))
    share = np.sin(angle) / np.maximum(angle, 1e-12)
    moved = np.cos(angle) * unit + share * way
    return moved / np.sqrt((moved * moved).sum(-1, keepdims=True))


def _difference(unit, other):
    """Tangents at unit vectors that lead to others, radians, [..., 3]."""
    cosine = (unit * other).sum(-1, keepdims=True)
    across = other - cosine * unit
    sine = np.sqrt((across * across).sum(-1, keepdims=True))
    angle = np.arctan2(sine, cosine)
    return across * np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 1.0)


def _transport(tangent, unit, other):
    """Tangents carried along great circles to other unit vectors."""
    along = (other * tangent).sum(-1, keepdims=True)
    cosine = (unit * other).sum(-1, keepdims=True)
    return tangent - along / np.maximum(1 + cosine, 1e-9) * (unit + other)


def _smooth(history, times, lag):
    """Directions from all detections up to the lag, [time, 3]."""
    parts = {
        when: [np.array(part) for part in zip(*values, strict=True)]
        for when in ("before", "after")
        for values in [[entry[when] for entry in history]]
    }
    units, velocities, covariances = parts["after"]
    if lag == 0:
        return units
    motions = np.array([entry["motion"] for entry in history])
    # The first entry has no past; its gain is never used.
    inverse = np.linalg.inv(parts["before"][2][1:])
    gains = covariances[:-1] @ motions[1:].transpose(0, 2, 1) @ inverse
    last = len(times) - 1
    if math.isinf(lag):
        smooth = units.copy()
        state = units[last], velocities[last]
        for index in range(last - 1, -1, -1):
            state = _step_back(parts, gains, index, *state)
            smooth[index] = state[0]
        return smooth
    now = np.arange(len(times))
    place = np.searchsorted(times, times + lag + 1e-9) - 1
    unit, velocity = units[place], velocities[place]
    while (rows := np.flatnonzero(place > now)).size:
        place[rows] -= 1
        unit[rows], velocity[rows] = _step_back(
            parts, gains, place[rows], unit[rows], velocity[rows]
        )
    return unit


def _step_back(parts, gains, index, unit, velocity):
    """Smoothed states at indices from those one later."""
    predicted, speed, _ = (part[index + 1] for part in parts["before"])
    filtered, own, _ = (part[index] for part in parts["after"])
    error = _difference(predicted, unit)
    change = _transport(velocity, unit, predicted) - speed
    error, change = (
        _transport(tangent, predicted, filtered) for tangent in (error, change)
    )
    gain = gains[index][..., None]
    moved = _move(
        filtered, gain[..., 0, 0, :] * error + gain[..., 0, 1, :] * change
    )
    speed = own + gain[..., 1, 0, :] * error + gain[..., 1, 1, :] * change
    return moved, _transport(speed, filtered, moved)
