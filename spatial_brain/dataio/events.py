"""Sound events in memory: what sounds when, and from where.

Whatever a file says, a table holds frames of 100 ms from the start of the
clip, azimuth counter-clockwise from the front in [-180, 180) degrees,
elevation up from the horizon in degrees, and distance in metres.
"""

from dataclasses import dataclass, field, replace

import numpy as np

FRAME_LENGTH = 0.1
COLUMNS = ("frame", "label", "source", "azimuth", "elevation", "distance")
_INTEGERS = COLUMNS[:3]


@dataclass(frozen=True)
class EventTable:
    """Active sound events, one row a frame and instance, in file order.

    Arguments
    ---------
    frame : array_like of int
        Shape [N], frames of 100 ms, from 0.
    label : array_like of int
        Class indices, shape [N].
    azimuth : array_like of float
        Degrees, shape [N]; wrapped to [-180, 180).
    elevation : array_like of float
        Degrees, shape [N].
    source : array_like of int, optional
        Which instance of its class, shape [N]; -1 (the default): unknown.
    distance : array_like of float, optional
        Metres, shape [N]; NaN (the default): unknown.
    num_frames : int, optional
        Length of the clip, frames; None: unknown.

    Raises
    ------
    ValueError
        If the columns differ in length.

    Example
    -------
    >>> table = EventTable([0, 1], [3, 3], [90.0, 190.0], [0.0, 0.0])
    >>> len(table), table.azimuth.tolist()
    (2, [90.0, -170.0])
    >>> table.directions.round().tolist()[0]
    [0.0, 1.0, 0.0]
    """

    frame: np.ndarray
    label: np.ndarray
    azimuth: np.ndarray
    elevation: np.ndarray
    source: np.ndarray = None
    distance: np.ndarray = None
    num_frames: int = field(default=None)

    def __post_init__(self):
        number = len(np.atleast_1d(self.frame))
        defaults = {"source": -1, "distance": np.nan}
        for name in COLUMNS:
            column = getattr(self, name)
            if column is None:
                column = np.full(number, defaults[name])
            kind = np.int64 if name in _INTEGERS else np.float64
            column = np.array(column, dtype=kind, ndmin=1)
            if column.shape != (number,):
                raise ValueError(
                    f"column {name!r} of an event table has shape "
                    f"{column.shape}, 'frame' has {number} rows"
                )
            if name == "azimuth":
                # Arithmetic would cost the last bit of the others.
                outside = (column < -180.0) | (column >= 180.0)
                wrapped = (column[outside] + 180.0) % 360.0 - 180.0
                column[outside] = wrapped
            object.__setattr__(self, name, column)

    def __len__(self):
        return len(self.frame)

    @property
    def directions(self):
        """Unit vectors towards the events, float64, shape [N, 3]."""
        azimuth, elevation = np.radians((self.azimuth, self.elevation))
        flat = np.cos(elevation)
        return np.stack(
            (np.cos(azimuth) * flat, np.sin(azimuth) * flat, np.sin(elevation)),
            axis=-1,
        )

    def select(self, rows):
        """Some of the rows.

        Arguments
        ---------
        rows : array_like
            Mask or indices.

        Returns
        -------
        EventTable
            With the same ``num_frames``.
        """
        columns = {name: getattr(self, name)[rows] for name in COLUMNS}
        return replace(self, **columns)

    def segment(self, start, stop):
        """The events of a stretch of the clip.

        Arguments
        ---------
        start, stop : int
            First frame, and the frame after the last.

        Returns
        -------
        EventTable
            Of ``stop - start`` frames, counted from ``start``.
        """
        table = self.select((self.frame >= start) & (self.frame < stop))
        return replace(
            table, frame=table.frame - start, num_frames=stop - start
        )

    def overlap(self, num_frames=None):
        """How many events sound at once.

        Arguments
        ---------
        num_frames : int, optional
            Default: that of the table, else up to the last event.

        Returns
        -------
        numpy.ndarray
            int64, shape [num_frames].
        """
        if num_frames is None:
            num_frames = self.num_frames
        if num_frames is None:
            num_frames = int(self.frame.max(initial=-1)) + 1
        inside = self.frame[(self.frame >= 0) & (self.frame < num_frames)]
        return np.bincount(inside, minlength=num_frames)


def concatenate(tables, num_frames=None):
    """Join tables, in the order given.

    Arguments
    ---------
    tables : sequence of EventTable
        Their frames count from the same moment.
    num_frames : int, optional
        Length of the result.

    Returns
    -------
    EventTable
        All rows.

    Example
    -------
    >>> one = EventTable([4], [0], [10.0], [0.0])
    >>> len(concatenate([one, one]))
    2
    """
    columns = {
        name: np.concatenate([getattr(table, name) for table in tables])
        if tables
        else []
        for name in COLUMNS
    }
    return EventTable(**columns, num_frames=num_frames)
