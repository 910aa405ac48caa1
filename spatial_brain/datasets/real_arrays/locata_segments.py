"""Segments of LOCATA with their time difference: SAR-SSL's downstream task.

Tasks with one source (1, 3, 5). Training takes the first 80 % of every
recording of the evaluation set, validation the last 20 %, the test all of the
development set. An example is a recording, a pair of its microphones in
either order and a start; its label is the mean time difference over the
segment.

Behaviours of the original, which are kept with ``compat``:

* ``"rounded_array"``: see ``Locata``.
* ``"first_frame"``: the array is held where it was first in tasks 1 to 4, and
  its rotation in all. Default: as tracked.
* ``"halved"``: of recordings shorter than 10 s, the test takes the second
  half alone. Default: all of them.
* ``"signed_onset"``: the silence at the beginning ends where the signed
  signal passes a threshold. Default: its magnitude.
"""

import numpy as np
import torch

from spatial_brain.dataio.audio import read_audio
from spatial_brain.datasets.microphone_pairs.examples import LABELS, DrawnPairs
from spatial_brain.datasets.real_arrays.recordings.locata import (
    MOVING_ARRAY,
    Locata,
    task_of,
)

COMPAT = ("rounded_array", "first_frame", "halved", "signed_onset")
SINGLE_SOURCE = (1, 3, 5)
# Stage to the set that it takes, the part of each recording and the seed.
STAGES = {
    "train": ("eval", (0.0, 0.8), 6000),
    "val": ("eval", (0.8, 1.0), 6100),
    "test": ("dev", (0.0, 1.0), 6200),
}
# Onset: part of the maximum within the first seconds.
_ONSET, _ONSET_WITHIN = 0.15, 4.0
# Recordings shorter than this are divided in halves, seconds.
_SHORT = 10.0
# Less is not used, seconds.
_LEAST = 2.2
_PEAK = 0.9


class LocataSegments(DrawnPairs):
    """Two-microphone segments of LOCATA with their time differences.

    Arguments
    ---------
    folder : str or Path
        LOCATA itself.
    stage : str
        "train", "val" or "test".
    size : int
        Number of examples.
    duration : float
        Seconds of a segment.
    fs : int
        Sampling rate of the examples, Hz.
    tasks : sequence of int
        Of those with one source.
    arrays : sequence of str
        See ``Locata``.
    renew : bool
        Draw other segments in every epoch (see ``set_epoch``).
    compat : bool or sequence of str
        Behaviours of the original, see the module; True for all.

    Raises
    ------
    FileNotFoundError
        If LOCATA or one of its tables is missing.
    ValueError
        If arguments cannot be used, or no recording is long enough.

    Example
    -------
    >>> LocataSegments.__name__  # needs LOCATA
    'LocataSegments'
    """

    def __init__(
        self,
        folder,
        stage,
        size,
        *,
        duration=1.04,
        fs=16000,
        tasks=SINGLE_SOURCE,
        arrays=("dicit", "benchmark2", "eigenmike"),
        renew=False,
        compat=False,
    ):
        super().__init__(fs, renew, None, False)
        if isinstance(compat, bool):
            compat = COMPAT if compat else ()
        self._check(stage, size, tasks, compat)
        self.folder, self.stage, self.size = str(folder), stage, size
        self.num_samples = int(duration * fs)
        self.compat = tuple(compat)
        name, self.part, self.seed = STAGES[stage]
        self.corpus = Locata(
            folder,
            [one for one in compat if one in Locata.COMPAT],
            sets=[name],
            tasks=tasks,
            arrays=arrays,
        )
        self.places = self._usable(duration)
        self.left_out = len(self.corpus.recordings()) - len(self.places)
        if not self.places:
            raise ValueError(
                f"{folder}: no recording of {name} with one source, of the "
                f"tasks {list(tasks)} and arrays {list(arrays)}, lasts "
                f"{_LEAST} s after its first sound and has its positions"
            )

    @staticmethod
    def _check(stage, size, tasks, compat):
        """Refuse arguments that cannot be used."""
        if stage not in STAGES:
            raise ValueError(
                f"stage must be one of {', '.join(STAGES)}, got {stage!r}"
            )
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        if not tasks or set(tasks) - set(SINGLE_SOURCE):
            raise ValueError(
                f"tasks must be some of {SINGLE_SOURCE}, which have one "
                f"source, got {list(tasks)}"
            )
        unknown = sorted(set(compat) - set(COMPAT))
        if unknown:
            raise ValueError(
                f"unknown compat {', '.join(unknown)}; known: "
                f"{', '.join(COMPAT)}"
            )

    def _usable(self, duration):
        """Recordings with the seconds in which segments may lie."""
        found = []
        for recording in self.corpus.recordings():
            onset = self._onset(recording)
            left = recording.duration - onset
            if left < _LEAST or len(recording.speakers) != 1:
                continue
            low, high = self.part
            if left < _SHORT and (self.stage != "test" or self._has("halved")):
                low, high = (0.0, 0.5) if low + high < 1 else (0.5, 1.0)
            start, stop = onset + low * left, onset + high * left
            if stop - start > duration:
                found.append((recording, start, stop - duration))
        return found

    def _has(self, name):
        """Whether a behaviour of the original is asked for."""
        return name in self.compat

    def _onset(self, recording):
        """Seconds before the first sound."""
        length = min(int(_ONSET_WITHIN * recording.fs), recording.num_samples)
        [path] = recording.files
        first = read_audio(path, num_samples=length)[0][:, 0]
        if not self._has("signed_onset"):
            first = first.abs()
        return int((first > _ONSET * first.max()).int().argmax()) / recording.fs

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return self.simulate(index)

    def name(self, index):
        """Id of an example."""
        return f"{self.stage}_{index:06d}"

    def simulate(self, index):
        """A segment, scaled to a peak of 0.9; see ``DrawnPairs``."""
        if not 0 <= index < self.size:
            raise IndexError(f"no example {index} of {self.size}")
        rng = np.random.default_rng([self.seed, self.drawn_epoch, index])
        recording, first, last = self.places[rng.integers(len(self.places))]
        pairs = self.corpus.pairs(recording.array)
        pair = pairs[rng.integers(len(pairs))].tolist()
        start = round(rng.uniform(first, last) * self.fs)
        waveform = self.corpus.read_at(
            recording, start, self.num_samples, pair, self.fs
        )
        waveform = waveform * (_PEAK / (waveform.abs().max() + 1e-8))
        labels = dict.fromkeys(LABELS, torch.tensor(float("nan")))
        labels["TDOA"] = self._label(recording, pair, start)
        apart = self.corpus.arrays[recording.array].distances
        return {
            "id": self.name(index),
            "waveform": waveform,
            "labels": labels,
            "corpus": self.corpus.name,
            "room": recording.room,
            "array": recording.array,
            "spacing": apart[pair[0], pair[1]].item(),
        }

    def _label(self, recording, pair, start):
        """Mean time difference over a segment, samples, float32 scalar."""
        truth = self._truth(recording)
        [source] = truth.sources
        places = self.corpus.arrays[recording.array].positions[pair]
        held = self._has("first_frame")
        if held and task_of(recording) not in MOVING_ARRAY:
            truth.array_position[:] = truth.array_position[0].clone()
        tdoa = truth.tdoa(source, places, first_frame=held).numpy()
        time = (start + np.arange(self.num_samples)) / self.fs
        mean = np.interp(time, truth.time.numpy(), tdoa).mean()
        return torch.tensor(mean * self.fs, dtype=torch.float32)

    def _truth(self, recording):
        """Tables of a recording, read once by each process."""
        known = self.__dict__.setdefault("_truths", {})
        if recording.id not in known:
            known[recording.id] = self.corpus.truth(recording)
        return known[recording.id]

    def __getstate__(self):
        """Without the tables, which every process reads itself."""
        return {k: v for k, v in self.__dict__.items() if k != "_truths"}

    def options(self):
        """What the examples depend on, for JSON."""
        return {
            "folder": self.folder,
            "stage": self.stage,
            "size": self.size,
            "num_samples": self.num_samples,
            "fs": self.fs,
            "recordings": [recording.id for recording, _, _ in self.places],
            "compat": list(self.compat),
        }
