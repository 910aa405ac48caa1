"""Errors of the windows of scenes: of the network and of other methods."""

from collections import defaultdict

import numpy as np

from spatial_brain.geometry import MicrophoneArray
from spatial_brain.inference.array_directions.confidence import (
    features,
    fit_weights,
    probability,
)
from spatial_brain.inference.array_directions.finder import DirectionFinder
from spatial_brain.inference.array_directions.network_finder import NOISE
from spatial_brain.inference.array_directions.sources import follow_sources
from spatial_brain.metrics.calibration import (
    expected_calibration_error,
    reliability_curve,
)
from spatial_brain.metrics.localization import (
    WindowErrors,
    best_even_directions,
    match_directions,
)
from spatial_brain.processing.directions.map_decoder import (
    MapDecoder,
    pool_windows,
)

# Directions wanted of a window.
MOST = 4
# Degrees within which a direction is right.
NEAR = 10.0
BINS = {"snr": (0.0, 10.0, 20.0), "t60": (0.3, 0.5, 0.7)}


class WindowDecoder:
    """Directions of windows from the logits of a scene.

    Arguments
    ---------
    window, hop, frame : float
        Lengths of a window, from one to the next, and of a frame, seconds.
    """

    def __init__(self, window, hop, frame):
        self.frame = frame
        self.window, self.hop = round(window / frame), round(hop / frame)

    @property
    def length(self):
        """Of a window, seconds."""
        return self.window * self.frame

    def __call__(self, logits, positions):
        """Times [window], azimuth and height [window, direction]."""
        maps = pool_windows(logits, self.window, self.hop)
        decoder = MapDecoder(positions, logits.shape[-1])
        azimuth, height = decoder.pick(maps, MOST)
        times = np.arange(len(maps)) * self.hop + self.window / 2
        return (
            times * self.frame,
            azimuth.double().numpy(),
            height.double().numpy(),
        )


class Scores:
    """Errors of each method with the number of talkers given.

    Attributes
    ----------
    errors : dict
        Method to its ``WindowErrors``; a row is what a scene has of windows
        with equally many talkers.
    counts : dict
        Method to pairs of numbers of talkers of a scene, true and found.
    """

    def __init__(self):
        self.errors = defaultdict(lambda: WindowErrors(BINS))
        self.counts = defaultdict(list)

    def append(self, method, name, truth, azimuth, conditions):
        """Add the windows of a scene.

        Arguments
        ---------
        method, name : str
            Method and scene.
        truth : list of numpy.ndarray or None
            Of ``window_truth``.
        azimuth : numpy.ndarray
            Degrees, [window, direction], the most likely first.
        conditions : dict
            Of the scene.
        """
        parts = defaultdict(list)
        for reference, found in zip(truth, azimuth, strict=True):
            if reference is not None and len(reference):
                parts[len(reference)].extend(match_directions(found, reference))
        for number, errors in parts.items():
            mine = {**conditions, "talkers": f"{number}"}
            self.errors[method].append(f"{name}_{number}", errors, **mine)

    def append_constant(self, truths):
        """Add the best constant directions of the scenes themselves.

        Arguments
        ---------
        truths : list of tuple
            Name, truth and conditions of each scene.
        """
        known = defaultdict(list)
        for _, truth, _ in truths:
            for reference in truth:
                if reference is not None and len(reference):
                    known[len(reference)].append(reference)
        best = {
            number: best_even_directions(references)
            for number, references in known.items()
        }
        for name, truth, conditions in truths:
            azimuth = [
                [] if one is None else best.get(len(one), []) for one in truth
            ]
            self.append("best_constant", name, truth, azimuth, conditions)


class Confidence:
    """What directions of the network are worth, learned from their windows."""

    def __init__(self):
        self.rows, self.right, self.weights = [], [], None

    def append(self, azimuth, height, truth):
        """Add the directions of the windows of a scene."""
        values = features(azimuth, np.zeros_like(azimuth), height, NOISE)
        for window, place, right in judge(azimuth, truth):
            self.rows.append(values[window, place])
            self.right.append(float(right))

    def fit(self):
        """Learn the weights; they are plain numbers for the card."""
        weights = fit_weights(np.array(self.rows), np.array(self.right))
        self.weights = [round(float(weight), 4) for weight in weights]

    def __call__(self, azimuth, height):
        """Probability that each direction is right, [window, direction]."""
        level = np.zeros_like(azimuth)
        return probability(self.weights, azimuth, level, height, NOISE)


def judge(azimuth, truth):
    """Window, place and whether it is right, of each direction.

    Windows in which somebody speaks for a small part are left out.
    """
    for window, (angles, reference) in enumerate(
        zip(azimuth, truth, strict=True)
    ):
        used = set()
        for place in np.flatnonzero(~np.isnan(angles)).tolist():
            if reference is None:
                break
            away = np.abs((angles[place] - reference + 180) % 360 - 180)
            near = [i for i in np.argsort(away) if away[i] <= NEAR]
            free = [i for i in near if i not in used]
            used |= {*free[:1]}
            yield window, place, bool(free)


def measure_confidence(sure, right):
    """Share that is right, calibration error and curve of directions given."""
    sure, right = np.array(sure), np.array(right, dtype=bool)
    if not len(sure):
        return {"directions": 0}
    return {
        "directions": len(sure),
        "right": float(right.mean()),
        "expected_calibration_error": expected_calibration_error(sure, right),
        "reliability": reliability_curve(sure, right),
    }


def count_sources(times, azimuth, sure):
    """Sources of a scene, as ``spatial-brain locate`` counts them."""
    unknown = np.full_like(azimuth, np.nan)
    return follow_sources(times, azimuth, unknown, sure).azimuth.shape[1]


def run_baseline(method, scene, fs, window, hop):
    """Directions of a scene by a method that needs no training.

    Arguments
    ---------
    method : str
        Of ``spatial-brain locate``.
    scene : ArrayScene
        The scene.
    fs : int
        Its sampling rate, Hz.
    window, hop : float
        Seconds.

    Returns
    -------
    tuple
        Times, azimuth [window, direction], length of a window in seconds, and
        how many sources there are. As of the network, the window that the end
        of the scene cuts is left out.
    """
    array = MicrophoneArray(scene.positions)
    finder = DirectionFinder(array, method, window=window, hop=hop)
    waveform = scene.waveform[None].cpu()
    times, azimuth, elevation, height = finder.peaks_of(waveform, fs, MOST)
    sure = finder.sure(azimuth, elevation, height, fs)
    count = follow_sources(times, azimuth, elevation, sure).azimuth.shape[1]
    length = finder.locator(fs).block_length / fs
    whole = times + length / 2 <= waveform.shape[1] / fs
    return times[whole], azimuth[whole], length, count
