"""What a corpus of scenes holds: hours, events, overlap, directions."""

from pathlib import Path

import numpy as np

from spatial_brain.dataio.annotations import read_events
from spatial_brain.dataio.files import read_json
from spatial_brain.dataio.parallel import progress, run_jobs
from spatial_brain.datasets.scene_corpus.generate import METADATA, SCENES

# Edges of the histograms: degrees, degrees, metres; the last is open.
AZIMUTHS = tuple(range(-180, 181, 20))
ELEVATIONS = tuple(range(-90, 91, 15))
DISTANCES = (*(0.5 * step for step in range(21)), np.inf)
_FRAMES_PER_HOUR = 36000


class _Counts:
    """Counts of one scene, or of many that were added."""

    def __init__(self, num_classes):
        self.events = np.zeros(num_classes, np.int64)
        self.frames = np.zeros(num_classes, np.int64)
        self.moving = 0
        self.overlap = np.zeros(0, np.int64)
        self.azimuth = np.zeros(len(AZIMUTHS) - 1, np.int64)
        self.elevation = np.zeros(len(ELEVATIONS) - 1, np.int64)
        self.distance = np.zeros(len(DISTANCES) - 1, np.int64)

    def __iadd__(self, other):
        longest = max(len(self.overlap), len(other.overlap))
        self.overlap = np.pad(self.overlap, (0, longest - len(self.overlap)))
        self.overlap[: len(other.overlap)] += other.overlap
        for name in (
            "events",
            "frames",
            "moving",
            "azimuth",
            "elevation",
            "distance",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self


def corpus_statistics(corpus, options, names, num_workers=1):
    """Count what the labels of a corpus hold.

    Arguments
    ---------
    corpus : str or Path
        Its folder.
    options : SceneOptions
        What it was made with, with ``classes``.
    names : sequence of str
        Of its scenes.
    num_workers : int
        Processes.

    Returns
    -------
    dict
        "hours" of recordings; by class "events" and "labelled_hours";
        "moving_events"; "overlap", share of the frames with 0, 1, 2 ...
        events; "azimuth", "elevation" and "distance", each with "edges" and
        the "share" of the labels in between (the last distance is open;
        shares are zeros if the labels have no distance).
    """
    jobs = [(Path(corpus), name, options) for name in names]
    total = _Counts(len(options.classes))
    with progress(total=len(jobs), description="counting", unit="scene") as bar:
        for _, counts in run_jobs(_count, jobs, num_workers):
            total += counts
            bar.update()
    by_class = zip(options.classes, total.events, total.frames, strict=True)
    events, frames = {}, {}
    for name, number, length in by_class:
        events[name] = int(number)
        frames[name] = round(int(length) / _FRAMES_PER_HOUR, 6)
    return {
        "hours": round(len(names) * options.duration / 3600, 6),
        "events": events,
        "labelled_hours": frames,
        "moving_events": total.moving,
        "overlap": _shares(total.overlap),
        "azimuth": _histogram(total.azimuth, AZIMUTHS),
        "elevation": _histogram(total.elevation, ELEVATIONS),
        "distance": _histogram(total.distance, DISTANCES),
    }


def _count(job):
    """Counts of one scene."""
    corpus, name, options = job
    record = read_json(corpus / SCENES / f"{name}.json")
    counts = _Counts(len(options.classes))
    place = {name: index for index, name in enumerate(options.classes)}
    for event in record["events"]:
        if event["labelled"]:
            counts.events[place[event["class"]]] += 1
            counts.moving += len(event["times"]) > 1
    table = read_events(
        corpus / METADATA / f"{name}.csv",
        options.dialect,
        num_classes=len(options.classes),
        num_frames=record["num_frames"],
    )
    counts.frames += np.bincount(table.label, minlength=len(options.classes))
    counts.overlap = np.bincount(table.overlap(record["num_frames"]))
    counts.azimuth += np.histogram(table.azimuth, AZIMUTHS)[0]
    counts.elevation += np.histogram(table.elevation, ELEVATIONS)[0]
    known = table.distance[np.isfinite(table.distance)]
    counts.distance += np.histogram(known, DISTANCES)[0]
    return counts


def _shares(counts):
    """Counts as shares of all of them."""
    total = max(int(counts.sum()), 1)
    return [round(int(count) / total, 6) for count in counts]


def _histogram(counts, edges):
    """A histogram as JSON holds it."""
    finite = [edge for edge in edges if np.isfinite(edge)]
    return {"edges": finite, "share": _shares(counts)}
