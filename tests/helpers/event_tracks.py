"""Sound events that move evenly, and tables of them."""

import numpy as np

from spatial_brain.dataio.events import EventTable


def track(label, start, stop, azimuth, speed=0.0, elevation=0.0):
    """A source that moves evenly, degrees a frame."""
    frame = np.arange(start, stop)
    return EventTable(
        frame,
        np.full(len(frame), label),
        azimuth + speed * (frame - start),
        np.full(len(frame), elevation),
    )


TRACKS = [
    track(0, 0, 30, -170, 2.0),
    track(0, 0, 30, 170, -3.0),  # they pass each other far apart
    track(0, 31, 40, -108),  # after a frame without it
    track(1, 10, 50, 30, 29.0),  # fast, another class, past 180 degrees
    track(1, 20, 30, 30, 0.0, 80.0),
    track(2, 5, 6, 0),
]
