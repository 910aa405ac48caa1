"""Directions of several sources or tracks over time."""

from dataclasses import dataclass

import numpy as np
import torch

from spatial_brain.geometry import azel_to_unit, unit_to_azel


@dataclass(frozen=True)
class DirectionTracks:
    """Directions of some sources or tracks over time.

    Arguments
    ---------
    times : numpy.ndarray
        Seconds, ascending, [time].
    azimuth : numpy.ndarray
        Degrees, [track, time]; NaN where a track is absent.
    elevation : numpy.ndarray, optional
        Degrees, same shape; NaN where it is not known. Default: nowhere.
    active : numpy.ndarray, optional
        Whether a source sounds, or a track was detected, bool, same shape;
        default: where it has an azimuth.
    names : sequence of str, optional
        One a track; default: "1", "2" and so on.

    Raises
    ------
    ValueError
        If shapes do not fit, times do not ascend, or a track is active where
        it is absent.

    Example
    -------
    >>> tracks = DirectionTracks([0.0, 0.1], [[170.0, -178.0]])
    >>> tracks.at([0.05]).azimuth.round(6)
    array([[176.]])
    """

    times: np.ndarray
    azimuth: np.ndarray
    elevation: np.ndarray | None = None
    active: np.ndarray | None = None
    names: tuple | None = None

    def __post_init__(self):
        times = _ascending(self.times)
        azimuth = np.array(self.azimuth, dtype=np.float64)
        if not azimuth.size:
            azimuth = np.zeros((len(self.azimuth), len(times)))
        names = self.names or [str(k + 1) for k in range(len(azimuth))]
        values = {
            "azimuth": azimuth,
            "elevation": np.array(
                np.full(azimuth.shape, np.nan)
                if self.elevation is None
                else self.elevation,
                dtype=np.float64,
            ),
            "active": np.array(
                ~np.isnan(azimuth) if self.active is None else self.active,
                dtype=bool,
            ),
        }
        shape = (len(names), len(times))
        for name, value in values.items():
            if not value.size and 0 in shape:
                value = np.zeros(shape, value.dtype)
            if value.shape != shape:
                raise ValueError(
                    f"{name} of {shape[0]} tracks at {shape[1]} times must "
                    f"have shape {shape}, got {value.shape}"
                )
            object.__setattr__(self, name, value)
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "names", tuple(map(str, names)))
        absent = self.active & np.isnan(self.azimuth)
        if absent.any():
            track, time = np.argwhere(absent)[0]
            raise ValueError(
                f"track {names[track]} is active at {times[time]:g} s, but "
                "has no azimuth there"
            )

    def __len__(self):
        return len(self.names)

    def at(self, times, reach=None):
        """The tracks at other times, along great circles between their own.

        Arguments
        ---------
        times : array_like
            Seconds, ascending.
        reach : float, optional
            Seconds by which an own time may be away; half the longest step
            of the own times by default. Absent stretches stay absent but for
            so much at both ends.

        Returns
        -------
        DirectionTracks
            A track is active where the nearest of its own times is.
        """
        times = _ascending(times)
        if reach is None:
            reach = 0.5 * np.diff(self.times).max(initial=0.0) + 1e-9
        parts = [self._track_at(k, times, reach) for k in range(len(self))]
        parts = [np.array(part) for part in zip(*parts, strict=True)]
        if not parts:
            parts = [np.zeros((0, len(times)))] * 3
        return DirectionTracks(times, *parts, self.names)

    def _track_at(self, track, times, reach):
        """Azimuth, elevation and activity of one track at other times."""
        there = np.flatnonzero(~np.isnan(self.azimuth[track]))
        azimuth, elevation = np.full((2, len(times)), np.nan)
        if not len(there):
            return azimuth, elevation, np.zeros(len(times), dtype=bool)
        own = self.times[there]
        after = np.searchsorted(own, times).clip(0, len(own) - 1)
        before = np.maximum(after - 1, 0)
        span = own[after] - own[before]
        share = (times - own[before]) / np.where(span > 0, span, 1.0)
        share = share.clip(0, 1)
        nearest = np.where(share < 0.5, before, after)
        near = np.abs(own[nearest] - times) <= reach
        # Nothing is drawn across a stretch without the track.
        bridged = (there[after] - there[before] <= 1)[near]
        share = np.where(bridged, share[near], share[near] >= 0.5)
        ends = there[before[near]], there[after[near]]
        azimuth[near], elevation[near] = self._between(track, *ends, share)
        return azimuth, elevation, near & self.active[track, there[nearest]]

    def _between(self, track, before, after, share):
        """Azimuth and elevation at shares of the ways between own times."""
        azimuth = torch.from_numpy(self.azimuth[track])
        elevation = torch.from_numpy(self.elevation[track])
        units = azel_to_unit(azimuth, elevation.nan_to_num()).numpy()
        first, second = units[before], units[after]
        angle = np.arctan2(
            np.linalg.norm(np.cross(first, second), axis=-1),
            (first * second).sum(-1),
        )
        # sin(s a) / sin(a), also for tiny angles a.
        weight = share * np.sinc(share * angle / np.pi) / np.sinc(angle / np.pi)
        rest = 1 - share
        other = rest * np.sinc(rest * angle / np.pi) / np.sinc(angle / np.pi)
        vectors = other[:, None] * first + weight[:, None] * second
        found = unit_to_azel(torch.from_numpy(vectors))
        unknown = np.isnan(self.elevation[track])
        hidden = np.where(share < 0.5, unknown[before], unknown[after])
        return found[0].numpy(), np.where(hidden, np.nan, found[1].numpy())


def _ascending(times):
    """Times as float64 array; they must ascend."""
    times = np.array(times, dtype=np.float64)
    if times.ndim != 1 or not (np.diff(times) > 0).all():
        raise ValueError(
            "times of tracks must be a list of ascending seconds, got an "
            f"array of shape {times.shape}"
        )
    return times
