"""Data sets of an evaluation under their names, and labels of a data set."""

import json
import math

import numpy as np
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from spatial_brain.metrics.room_acoustics import TASKS

# Enough for a mean; more would be read for nothing else.
MOST_LABELS = 25600
MOST_ITEMS = 64


class EvaluationSets(ConcatDataset):
    """Data sets one after the other, whose items know where they belong.

    A batch may hold signals of several sets, of which other things are known:
    items get all labels, see :func:`with_all_labels`, and their ``facts``
    become text (JSON).

    Arguments
    ---------
    sets : dict
        Name to a data set. The first is the one that decides: the validation
        that picks epochs, or what a report is about.

    Raises
    ------
    ValueError
        If there is none, or one is empty.

    Example
    -------
    >>> test = [{"id": "b", "facts": {"room": "x"}}]
    >>> both = EvaluationSets({"val": [{"id": "a"}], "test": test})
    >>> both[1]["set"], both[1]["facts"], len(both[1]["labels"])
    ('test', '{"room": "x"}', 9)
    """

    def __init__(self, sets):
        empty = [name for name, dataset in sets.items() if not len(dataset)]
        if not sets or empty:
            raise ValueError(
                f"no signals in {', '.join(empty)}"
                if empty
                else "no data set to evaluate on"
            )
        super().__init__(list(sets.values()))
        self.names = [
            name for name, dataset in sets.items() for _ in range(len(dataset))
        ]

    def __getitem__(self, index):
        item = with_all_labels(super().__getitem__(index))
        if "spacing" in item:
            # One type for all sets, that a batch can hold.
            item["spacing"] = torch.tensor(float(item["spacing"]))
        # Numbers of any kind.
        facts = json.dumps(item.get("facts", {}), default=float)
        return {**item, "facts": facts, "set": self.names[index]}


def with_all_labels(item):
    """An item with all labels there are, NaN for those that are not known.

    Items of several data sets can then stand in one batch.

    Arguments
    ---------
    item : dict
        Perhaps with ``labels``, name to a float32 scalar.

    Returns
    -------
    dict
        The same with labels of all of
        ``spatial_brain.metrics.room_acoustics.TASKS``.

    Example
    -------
    >>> labels = {"T60": torch.tensor(0.5)}
    >>> labels = with_all_labels({"labels": labels})["labels"]
    >>> labels["T60"], labels["TDOA"]
    (tensor(0.5000), tensor(nan))
    """
    unknown = torch.tensor(math.nan)
    labels = dict.fromkeys(TASKS, unknown) | item.get("labels", {})
    return {**item, "labels": labels}


def labels_of(dataset, task, num_workers=0, most=MOST_LABELS):
    """One label of each signal of a data set; of many, of a part.

    Arguments
    ---------
    dataset : torch.utils.data.Dataset
        Items have ``labels``.
    task : str
        Which label.
    num_workers : int
        Processes that read.
    most : int
        Labels wanted at most, evenly spaced.

    Returns
    -------
    torch.Tensor
        [signal].

    Example
    -------
    >>> items = [{"labels": {"T60": torch.tensor(n)}} for n in (0.2, 0.4, 0.6)]
    >>> labels_of(items, "T60", most=2)
    tensor([0.2000, 0.6000])
    """
    loader = DataLoader(
        _Labels(dataset, task, most), batch_size=16, num_workers=num_workers
    )
    return torch.cat(list(loader))


def ranges_of(dataset, most=MOST_ITEMS):
    """What a data set holds, for a model's card.

    Arguments
    ---------
    dataset : torch.utils.data.Dataset
        Items have ``labels`` and perhaps ``spacing``.
    most : int
        Items that are looked at, evenly spaced.

    Returns
    -------
    dict
        Lowest and highest ``spacing`` (metres), ``t60`` (s) and ``snr`` (dB),
        of those that are known.

    Example
    -------
    >>> items = [{"labels": {"T60": torch.tensor(n)}} for n in (0.25, 0.5)]
    >>> ranges_of(items)
    {'t60': [0.25, 0.5]}
    """
    found = {"spacing": [], "t60": [], "snr": []}
    number = min(most, len(dataset))
    for index in np.linspace(0, len(dataset) - 1, number, dtype=int).tolist():
        item = dataset[index]
        labels = item.get("labels", {})
        known = {"spacing": item.get("spacing"), "t60": labels.get("T60")}
        known["snr"] = labels.get("SNR")
        for name, value in known.items():
            if value is not None and np.isfinite(float(value)):
                found[name].append(float(value))
    return {name: [min(x), max(x)] for name, x in found.items() if x}


class _Labels(Dataset):
    """One label of each signal of a data set, or of as many as asked for."""

    def __init__(self, pairs, task, most):
        self.pairs, self.task = pairs, task
        self.chosen = np.linspace(
            0, len(pairs) - 1, min(most, len(pairs)), dtype=int
        ).tolist()

    def __len__(self):
        return len(self.chosen)

    def __getitem__(self, index):
        return self.pairs[self.chosen[index]]["labels"][self.task]
