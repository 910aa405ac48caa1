"""Examples of several data sets of real rooms, mixed by weights."""

import logging

import numpy as np
import torch

from spatial_brain.dataio.dataset import EpochDataset
from spatial_brain.datasets.microphone_pairs.examples import LABELS

logger = logging.getLogger(__name__)

# What SAR-SSL pre-trains with on real rooms, and validates with.
TRAIN_WEIGHTS = {
    "LOCATA": 1,
    "MC_WSJ_AV": 5,
    "LibriCSS": 5,
    "AMI": 8,
    "AISHELL4": 8,
    "AliMeeting": 8,
    "RealMAN": 15,
    "DCASE": 5,
    "MIR": 5,
    "MeshRIR": 5,
    "ACE": 5,
    "dEchorate": 5,
    "BUTReverb": 5,
}
VAL_WEIGHTS = {
    "AISHELL4": 1,
    "AliMeeting": 2,
    "RealMAN": 5,
    "DCASE": 2,
    "BUTReverb": 1,
}


class CorpusMixture(EpochDataset):
    """Items of several data sets, each chosen as often as its weight says.

    Which item is chosen depends on seed, epoch and index alone.

    Arguments
    ---------
    datasets : dict
        Name to a data set of pairs, whose items have "id" and "waveform" and
        perhaps "labels", "room", "array", "spacing".
    weights : dict
        Name to weight, such as ``TRAIN_WEIGHTS``; of data sets that are not
        there the others take the share.
    size : int
        Number of items an epoch.
    seed : int
        Not negative.
    absent : str
        "skip" or "raise": what to do if data sets with a weight are not
        there.

    Raises
    ------
    ValueError
        If a data set has no weight, is empty, or is absent and may not be.

    Example
    -------
    >>> ones = [{"id": "a", "waveform": torch.ones(8, 2)}]
    >>> mixture = CorpusMixture({"AMI": ones}, TRAIN_WEIGHTS, 4)
    >>> mixture[0]["corpus"], mixture[0]["labels"]["T60"], mixture.shares
    ('AMI', tensor(nan), {'AMI': 1.0})
    """

    def __init__(self, datasets, weights, size=512_000, seed=0, absent="skip"):
        super().__init__()
        without = [name for name in datasets if name not in weights]
        wrong = [n for n, w in weights.items() if not 0 < w < float("inf")]
        empty = [name for name, data in datasets.items() if not len(data)]
        if without or wrong or empty or not datasets:
            raise ValueError(
                "every data set needs a positive weight and at least one "
                f"item; without weight: {without}, not positive: {wrong}, "
                f"empty: {empty}, in all: {len(datasets)} data sets"
            )
        if size < 1 or seed < 0 or absent not in ("skip", "raise"):
            raise ValueError(
                "size must be at least 1, seed not negative, absent skip or "
                f"raise; got {size}, {seed}, {absent!r}"
            )
        self.datasets = {n: datasets[n] for n in weights if n in datasets}
        self.size, self.seed = size, seed
        total = sum(weights[name] for name in self.datasets)
        self.shares = {name: weights[name] / total for name in self.datasets}
        self._cumulative = np.cumsum(list(self.shares.values()))
        missing = [name for name in weights if name not in datasets]
        if missing and absent == "raise":
            raise ValueError(
                f"these data sets are not there: {', '.join(missing)}; give "
                "them, or absent skip"
            )
        logger.info("%s", self._summary(missing))

    def _summary(self, missing):
        """Shares of the data sets, and those that are not there."""
        shares = ", ".join(f"{n} {s:.1%}" for n, s in self.shares.items())
        text = f"mixture of {self.size} items an epoch: {shares}"
        return text + (f"; not there: {', '.join(missing)}" if missing else "")

    def set_epoch(self, epoch):
        """Choose the epoch, of the data sets too.

        Arguments
        ---------
        epoch : int
            At least 0.
        """
        super().set_epoch(epoch)
        for data in self.datasets.values():
            if hasattr(data, "set_epoch"):
                data.set_epoch(epoch)

    def __len__(self):
        return self.size

    def choose(self, index):
        """Data set of an item, and its index in it.

        Arguments
        ---------
        index : int
            Of the item.

        Returns
        -------
        tuple
            Name (str) and index.
        """
        if not 0 <= index < self.size:
            raise IndexError(f"no item {index} of {self.size}")
        rng = np.random.default_rng([self.seed, self.epoch, int(index)])
        which = np.searchsorted(self._cumulative, rng.random(), side="right")
        name = list(self.shares)[min(int(which), len(self.shares) - 1)]
        return name, int(rng.integers(len(self.datasets[name])))

    def __getitem__(self, index):
        name, position = self.choose(index)
        item = self.datasets[name][position]
        unknown = torch.tensor(float("nan"))
        labels = item.get("labels", {})
        return {
            "id": item["id"],
            "waveform": item["waveform"],
            "labels": {key: labels.get(key, unknown) for key in LABELS},
            "corpus": name,
            "room": str(item.get("room", "")),
            "array": item.get("array", ""),
            "spacing": torch.tensor(float(item.get("spacing", "nan"))),
        }
