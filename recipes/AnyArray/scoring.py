"""Errors of the windows of scenes, of the network and of other methods."""

from collections import defaultdict

import torch

from spatial_brain.geometry import observable_azimuths
from spatial_brain.geometry.directions import azel_to_unit
from spatial_brain.geometry.observable import mirror_normal
from spatial_brain.metrics.localization import WindowErrors, match_directions

# Directions wanted of a window.
MOST = 4
# Share of a window in which a talker has to speak; windows in which one
# speaks less are left out.
_SPEAKS = 0.3
BINS = {"snr": (0.0, 10.0, 20.0), "t60": (0.3, 0.5, 0.7)}


def true_directions(group, index, times, length, label_length):
    """Azimuths of the talkers of each window of a scene.

    Arguments
    ---------
    group : dict
        ``azimuth``, ``elevation``, ``active`` and ``positions`` of a group of
        scenes.
    index : int
        Of the scene.
    times : sequence of float
        Centres of the windows, seconds.
    length, label_length : float
        Of a window and of a label, seconds.

    Returns
    -------
    list of numpy.ndarray or None
        For each window degrees, on the front side of what the array cannot
        tell apart; None if somebody speaks in a small part of it only.
    """
    labels = group["azimuth"][index], group["elevation"][index]
    positions = group["positions"][index]
    ways = observable_azimuths(
        *(part[None] for part in labels), positions[None]
    )
    azimuth, normal = ways[0, ..., 0], mirror_normal(positions)
    if normal is not None:
        units = azel_to_unit(ways[0], torch.zeros(())).double()
        front = (units @ normal).argmax(-1, keepdim=True)
        azimuth = ways[0].gather(-1, front)[..., 0]
    active, found = group["active"][index], []
    for time in times:
        first = max(0, round((time - length / 2) / label_length))
        last = max(first + 1, round((time + length / 2) / label_length))
        share = active[:, first:last].float().mean(1)
        if bool(((share > 0) & (share < _SPEAKS)).any()):
            found.append(None)
            continue
        middle = min((first + last) // 2, azimuth.shape[1] - 1)
        found.append(azimuth[share >= _SPEAKS, middle].numpy())
    return found


class Scores:
    """Errors of each method, with the number of talkers given.

    Attributes
    ----------
    errors : dict
        Method to its ``WindowErrors``; a row is what a scene has of windows
        with equally many talkers.
    """

    def __init__(self):
        self.errors = defaultdict(lambda: WindowErrors(BINS))

    def append(self, method, name, truth, estimates, conditions):
        """Add the windows of a scene.

        Arguments
        ---------
        method, name : str
            Method and scene.
        truth : list of numpy.ndarray or None
            See ``true_directions``.
        estimates : numpy.ndarray
            Degrees, [window, direction], the most likely first.
        conditions : dict
            Of the scene.
        """
        parts = defaultdict(list)
        for reference, found in zip(truth, estimates, strict=True):
            if reference is not None and len(reference):
                errors = match_directions(found, reference)
                parts[len(reference)].extend(errors)
        for number, errors in parts.items():
            mine = {**conditions, "talkers": f"{number}"}
            self.errors[method].append(f"{name}_{number}", errors, **mine)
