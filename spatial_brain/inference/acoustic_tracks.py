"""Acoustic quantities of a recording over time, as models found them."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from spatial_brain.geometry import SPEED_OF_SOUND
from spatial_brain.metrics.room_acoustics import find_quantity


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

    @property
    def median(self):
        """Median over the windows with sound."""
        return float(np.nanmedian(self.values))

    @property
    def quartiles(self):
        """Lower and upper quartile over the windows with sound."""
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
            "median": self.median,
            "quartiles": list(self.quartiles),
            "values": [
                None if math.isnan(value) else value
                for value in self.values.tolist()
            ],
        }


@dataclass
class RoomAcoustics:
    """What one model found in a recording.

    Arguments
    ---------
    path : str
        The recording.
    task : str
        Key of ``spatial_brain.metrics.room_acoustics.TASKS``.
    duration : float
        Seconds.
    sample_rate : int
        Of the model, Hz: TDOA counts its samples.
    starts : numpy.ndarray
        Where each window starts, seconds, [window].
    stops : numpy.ndarray
        Where each window ends, seconds, [window].
    values : numpy.ndarray
        In the unit of the task, [window]; NaN where a window is silent.

    Example
    -------
    >>> found = RoomAcoustics("a.wav", "TDOA", 2.0, 16000, np.array([0.0, 1]),
    ...                       np.array([1.0, 2]), np.array([-1.5, -2.5]))
    >>> found.median, found.quartiles
    (-2.0, (-2.25, -1.75))
    >>> [(t.name, t.unit, round(t.median, 1)) for t in found.tracks(0.1)]
    [('TDOA', 'samples', -2.0), ('delay', 'µs', -125.0), ('angle', '°', 64.4)]
    """

    path: str
    task: str
    duration: float
    sample_rate: int
    starts: np.ndarray
    stops: np.ndarray
    values: np.ndarray

    @property
    def silent(self):
        """Windows without sound, bool, [window]."""
        return np.isnan(self.values)

    @property
    def median(self):
        """Median over the windows with sound."""
        return self.tracks()[0].median

    @property
    def quartiles(self):
        """Lower and upper quartile over the windows with sound."""
        return self.tracks()[0].quartiles

    def tracks(self, spacing=None):
        """The quantity, and what follows from it.

        Arguments
        ---------
        spacing : float, optional
            Distance of the microphones, metres. Given, a TDOA tells the
            direction of a far source.

        Returns
        -------
        list of Track
            The task's own first. TDOA is positive where the second channel
            hears later; it adds ``delay`` (µs) and, with a spacing,
            ``angle``: degrees between the source and the line from the first
            microphone to the second, 0 at the side of the second. SUR and
            VOL, which are logarithms, add ``surface`` (m²) and ``volume``
            (m³).

        Raises
        ------
        ValueError
            If the spacing is not positive.
        """
        quantity = find_quantity(self.task)
        values = self.values
        tracks = [Track(self.task, quantity.unit, quantity.digits, values)]
        if self.task == "TDOA":
            seconds = values / self.sample_rate
            tracks.append(Track("delay", "µs", 1, 1e6 * seconds))
            if spacing is not None:
                angle = _angle(seconds, spacing)
                tracks.append(Track("angle", "°", 1, angle))
        elif self.task == "SUR":
            tracks.append(Track("surface", "m²", 0, 10**values))
        elif self.task == "VOL":
            tracks.append(Track("volume", "m³", 0, 10**values))
        return tracks

    def to_dict(self, spacing=None):
        """Everything as plain values for JSON; silent windows are null.

        Arguments
        ---------
        spacing : float, optional
            As ``tracks`` takes it.

        Returns
        -------
        dict
            ``path, task, meaning, duration, starts, stops, tracks``; a track
            has ``unit, median, quartiles, values`` under its name.
        """
        return {
            "path": self.path,
            "task": self.task,
            "meaning": find_quantity(self.task).name,
            "duration": self.duration,
            "starts": self.starts.tolist(),
            "stops": self.stops.tolist(),
            "tracks": {
                track.name: track.to_dict() for track in self.tracks(spacing)
            },
        }


def _angle(seconds, spacing):
    """Angle of a far source from its delay (TDOA), degrees."""
    if not 0 < spacing < math.inf:
        raise ValueError(
            "the distance of the microphones must be positive, in metres, "
            f"got {spacing}"
        )
    cosine = -seconds * SPEED_OF_SOUND / spacing
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))
