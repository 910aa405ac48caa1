"""Segments of two microphones from recordings of real arrays."""

import logging

import numpy as np
import torch

from spatial_brain.dataio.audio import list_problems
from spatial_brain.dataio.dataset import EpochDataset
from spatial_brain.datasets.microphone_pairs.examples import LABELS
from spatial_brain.datasets.real_arrays.corpus import SPLITS, check_split
from spatial_brain.datasets.real_arrays.resampled_cache import find_cached

logger = logging.getLogger(__name__)

WEIGHTING = ("duration", "micpair")
# Damaged segments in a row after which there seems to be nothing else.
_ATTEMPTS = 100


class _Stretches:
    """Usable parts of recordings, and how likely they are drawn."""

    def __init__(self, corpora, split, num_samples, fs, weighting):
        self.recordings, self.corpora = [], []
        # Channels and metres of the pairs of an array of a corpus.
        self.pairs, self.spacings = {}, {}
        owners, bounds, weights = [], [], []
        self.too_short = 0
        for corpus in corpora:
            self._add_arrays(corpus)
            for recording in corpus.recordings(split):
                number = len(self.recordings)
                self.recordings.append(recording)
                self.corpora.append(corpus)
                total = -(-recording.num_samples * fs // recording.fs)
                whole = ((0.0, total / fs),)
                num_pairs = len(self.pairs[corpus.name, recording.array])
                for start, stop in recording.intervals or whole:
                    # An end that is a sample but for rounding counts as one.
                    first = int(np.ceil(start * fs - 1e-6))
                    last = min(int(np.floor(stop * fs + 1e-6)), total)
                    if last - first < num_samples:
                        self.too_short += 1
                        continue
                    weight = (last - first) / fs
                    if "duration" not in weighting:
                        weight = 1.0
                    if "micpair" in weighting:
                        weight *= num_pairs
                    owners.append(number)
                    bounds.append((first, last))
                    weights.append(weight)
        self.owners = np.array(owners, dtype=np.int64)
        self.bounds = np.array(bounds, dtype=np.int64).reshape(-1, 2)
        self.cumulative = np.cumsum(np.array(weights, dtype=np.float64))

    def _add_arrays(self, corpus):
        """Pairs of the arrays of a corpus, and their distances."""
        for name, array in corpus.arrays.items():
            pairs = corpus.pairs(name)
            spacings = array.distances[pairs[:, 0], pairs[:, 1]].float()
            if not corpus.geometry_known:
                spacings = torch.full_like(spacings, float("nan"))
            self.pairs[corpus.name, name] = pairs
            self.spacings[corpus.name, name] = spacings

    def __len__(self):
        return len(self.owners)

    def draw(self, rng, num_samples):
        """Recording, row of its pair, and first sample of a segment."""
        drawn = rng.random() * self.cumulative[-1]
        which = np.searchsorted(self.cumulative, drawn, side="right")
        which = min(int(which), len(self) - 1)
        number = int(self.owners[which])
        key = self.corpora[number].name, self.recordings[number].array
        row = int(rng.integers(len(self.pairs[key])))
        first, last = self.bounds[which]
        return number, row, int(rng.integers(first, last - num_samples + 1))


class RecordedSegments(EpochDataset):
    """Segments drawn from recordings of one corpus or several.

    A segment is a part of a recording and an ordered pair of microphones. It
    depends on seed, split, index and epoch alone: it is the same for any
    number of workers or ranks. Only what is needed is read, from the original
    files; a segment of a recording at another rate equals that of the whole
    resampled. Levels are those of the recording.

    Arguments
    ---------
    corpora : RecordingCorpus or sequence of them
        Where recordings are from.
    split : str
        One of ``SPLITS``.
    size : int
        Number of segments an epoch.
    duration : float
        Of a segment, seconds.
    fs : int
        Sampling rate, Hz.
    seed : int
        Not negative.
    weighting : sequence of str
        "duration": long recordings are drawn more often; "micpair": so are
        those of arrays with many pairs. In proportion to the product.
    cache_folder : str or Path, optional
        Copies at ``fs`` that ``fill_cache`` made are read from here.
    on_corrupt : str
        "raise", or "skip": draw another segment instead of one whose file is
        damaged; the log names the file, ``num_corrupt`` counts them.

    Raises
    ------
    ValueError
        If there are no recordings that are long enough, some are damaged, or
        an argument is not known.

    Example
    -------
    >>> from spatial_brain.datasets.real_arrays.registry import open_corpus
    >>> from spatial_brain.datasets.real_arrays.synthetic.libricss import (
    ...     write_synthetic_libricss,
    ... )
    >>> write_synthetic_libricss(getfixture("tmp_path"), 1, 1.0)
    >>> corpus = open_corpus("LibriCSS", getfixture("tmp_path"))
    >>> item = RecordedSegments(corpus, "train", 10, duration=0.5)[3]
    >>> item["waveform"].shape, item["corpus"]
    (torch.Size([8000, 2]), 'LibriCSS')
    """

    def __init__(
        self,
        corpora,
        split,
        size,
        *,
        duration=4.112,
        fs=16000,
        seed=0,
        weighting=WEIGHTING,
        cache_folder=None,
        on_corrupt="raise",
    ):
        super().__init__()
        check_split(split)
        unknown = sorted(set(weighting) - set(WEIGHTING))
        if unknown or split is None or on_corrupt not in ("raise", "skip"):
            raise ValueError(
                f"split must be one of {', '.join(SPLITS)}, weighting some of "
                f"{', '.join(WEIGHTING)}, on_corrupt raise or skip; got "
                f"{split!r}, {list(weighting)}, {on_corrupt!r}"
            )
        if size < 1 or not duration > 0 or seed < 0:
            raise ValueError(
                "size must be at least 1, duration positive and seed not "
                f"negative, got {size}, {duration} and {seed}"
            )
        corpora = [corpora] if hasattr(corpora, "recordings") else corpora
        self.split, self.size, self.fs = split, size, fs
        self.seed, self.on_corrupt = seed, on_corrupt
        self.num_samples = int(duration * fs)
        self._reported = set()
        self._num_corrupt = torch.zeros(1, dtype=torch.int64).share_memory_()
        self._check_damaged(corpora)
        self.stretches = _Stretches(
            corpora, split, self.num_samples, fs, weighting
        )
        if not len(self.stretches):
            lines = "; ".join(c.preflight().line() for c in corpora)
            raise ValueError(
                f"there are no recordings of {duration:g} s for split "
                f"{split!r}: {lines or 'no corpus was given'}"
            )
        self.cached = self._find_copies(cache_folder)
        logger.info("%s", self.summary())

    def _check_damaged(self, corpora):
        """Refuse or log what the corpora could not read."""
        problems = [text for corpus in corpora for text in corpus.unreadable]
        if not problems:
            return
        total = len(problems)
        total += sum(len(corpus.recordings()) for corpus in corpora)
        text = list_problems(problems, total, "recordings")
        if self.on_corrupt == "raise":
            raise ValueError(f"{text}\nor leave them out: on_corrupt skip")
        logger.warning("%s\nThey are left out", text)

    def _find_copies(self, cache_folder):
        """Number of a recording to its copy in the cache."""
        if cache_folder is None:
            return {}
        several = zip(
            self.stretches.recordings, self.stretches.corpora, strict=True
        )
        found = {
            number: find_cached(cache_folder, corpus, recording, self.fs)
            for number, (recording, corpus) in enumerate(several)
            if recording.fs != self.fs
        }
        return {n: copy for n, copy in found.items() if copy is not None}

    def summary(self):
        """What segments are drawn from, in one line; str."""
        stretches = self.stretches
        hours = np.diff(stretches.bounds).sum() / self.fs / 3600
        names = dict.fromkeys(one.name for one in stretches.corpora)
        other = sum(one.fs != self.fs for one in stretches.recordings)
        return (
            f"segments of {', '.join(names)}, {self.split}: "
            f"{len(stretches.recordings)} recordings, {len(stretches)} parts, "
            f"{hours:.3g} h; {stretches.too_short} parts shorter than "
            f"{self.num_samples / self.fs:g} s are left out; {other} "
            f"recordings have another rate, {len(self.cached)} of them a copy"
        )

    @property
    def num_corrupt(self):
        """Segments that were replaced because a file is damaged."""
        return int(self._num_corrupt)

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        if not 0 <= index < self.size:
            raise IndexError(f"no segment {index} of {self.size}")
        rng = np.random.default_rng(
            [self.seed, SPLITS.index(self.split), self.epoch, int(index)]
        )
        for _ in range(_ATTEMPTS):
            drawn = self.stretches.draw(rng, self.num_samples)
            try:
                return self._item(*drawn)
            except (OSError, ValueError) as problem:
                if self.on_corrupt == "raise":
                    raise
                self._count(drawn[0], problem)
        raise ValueError(
            f"{_ATTEMPTS} segments in a row are damaged; the log names files"
        )

    def _count(self, number, problem):
        """Count a damaged segment; name each recording once."""
        self._num_corrupt += 1
        if number not in self._reported:
            self._reported.add(number)
            logger.warning("%s; other segments are drawn instead", problem)

    def _item(self, number, row, start):
        """Segment of a recording."""
        recording = self.stretches.recordings[number]
        corpus = self.stretches.corpora[number]
        key = corpus.name, recording.array
        pair = self.stretches.pairs[key][row].tolist()
        name = f"{corpus.name}/{recording.id}_{start}_{pair[0]}-{pair[1]}"
        return {
            "id": name,
            "waveform": self._read(number, corpus, recording, start, pair),
            "labels": {name: torch.tensor(float("nan")) for name in LABELS},
            "corpus": corpus.name,
            "room": recording.room,
            "array": recording.array,
            "spacing": self.stretches.spacings[key][row],
        }

    def _read(self, number, corpus, recording, start, pair):
        """Samples [time, 2] at the rate of the data set."""
        stop = start + self.num_samples
        if number in self.cached:
            return self.cached[number].read(start, stop, pair)
        return corpus.read_at(recording, start, self.num_samples, pair, self.fs)
