import logging
from collections import Counter

import numpy as np
import pytest
import torch

from spatial_brain.datasets.real_arrays.corpus_mixture import (
    TRAIN_WEIGHTS,
    VAL_WEIGHTS,
    CorpusMixture,
)


class Numbered(torch.utils.data.Dataset):
    """Items that know their index, and the epoch."""

    def __init__(self, size, **more):
        self.size, self.more = size, more
        self.epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        waveform = torch.full((4, 2), float(index))
        return {"id": str(self.epoch), "waveform": waveform, **self.more}


def test_published_weights():
    assert sum(TRAIN_WEIGHTS.values()) == 80 and len(TRAIN_WEIGHTS) == 13
    assert sum(VAL_WEIGHTS.values()) == 11
    assert TRAIN_WEIGHTS["RealMAN"] == 15 and TRAIN_WEIGHTS["LOCATA"] == 1


def test_proportions_and_uniform_items():
    datasets = {name: Numbered(7) for name in TRAIN_WEIGHTS}
    mixture = CorpusMixture(datasets, TRAIN_WEIGHTS)
    assert len(mixture) == 512_000
    chosen = [mixture.choose(index) for index in range(8000)]
    counts = Counter(name for name, _ in chosen)
    for name, weight in TRAIN_WEIGHTS.items():
        assert abs(counts[name] - 100 * weight) < 5 * np.sqrt(100 * weight)
    items = Counter(position for _, position in chosen)
    assert sorted(items) == list(range(7))
    assert max(items.values()) < 1.3 * min(items.values())


def test_absent_data_sets(caplog):
    some = {"AMI": Numbered(3), "LOCATA": Numbered(3)}
    with caplog.at_level(logging.INFO):
        mixture = CorpusMixture(some, TRAIN_WEIGHTS, 100)
    assert mixture.shares == {"LOCATA": 1 / 9, "AMI": 8 / 9}
    [line] = caplog.messages
    assert "LOCATA 11.1%, AMI 88.9%; not there: MC_WSJ_AV, LibriCSS" in line
    with pytest.raises(ValueError, match="not there: MC_WSJ_AV, LibriCSS"):
        CorpusMixture(some, TRAIN_WEIGHTS, 100, absent="raise")


def test_same_for_any_number_of_workers_and_new_in_each_epoch():
    def build():
        return CorpusMixture(
            {"AMI": Numbered(50), "MIR": Numbered(50)}, TRAIN_WEIGHTS, 40, 3
        )

    def values(items):
        return [(i["corpus"], i["waveform"][0, 0].item()) for i in items]

    mixture = build()
    first = values(mixture[index] for index in range(40))
    loader = torch.utils.data.DataLoader(
        build(), batch_size=None, num_workers=2
    )
    assert values(loader) == first
    mixture.set_epoch(2)
    assert values(mixture[index] for index in range(40)) != first
    assert mixture[0]["id"] == "2"
    mixture.set_epoch(0)
    assert values(mixture[index] for index in range(40)) == first


def test_items_of_different_data_sets_make_a_batch():
    full = {
        "labels": {"T60": torch.tensor(0.5), "other": torch.tensor(1.0)},
        "room": 3,
        "spacing": torch.tensor(0.1),
        "array": "circle",
        "direct": torch.zeros(4, 2),
    }
    sources = {
        "MIR": Numbered(2, **full),
        "ACE": Numbered(2, spacing=0.05),
        "AMI": Numbered(2),
    }
    mixture = CorpusMixture(sources, TRAIN_WEIGHTS, 30)
    items = [mixture[index] for index in range(30)]
    batch = torch.utils.data.default_collate(items)
    assert {round(x, 3) for x in batch["spacing"].nan_to_num().tolist()} == {
        *(0.1, 0.05, 0.0)
    }
    mine = torch.tensor([name == "MIR" for name in batch["corpus"]])
    assert mine.any() and not mine.all()
    assert (batch["labels"]["T60"][mine] == 0.5).all()
    assert batch["labels"]["T60"][~mine].isnan().all()
    assert batch["labels"]["DRR"].isnan().all()
    assert set(batch["room"]) == {"3", ""}


def test_what_cannot_be_mixed():
    one = {"AMI": Numbered(2)}
    for datasets, weights, text in (
        ({"CHiME": Numbered(1)}, TRAIN_WEIGHTS, r"without weight: \['CHiME'\]"),
        (one, {"AMI": 0}, r"not positive: \['AMI'\]"),
        ({"AMI": Numbered(0)}, TRAIN_WEIGHTS, r"empty: \['AMI'\]"),
        ({}, TRAIN_WEIGHTS, "in all: 0 data sets"),
    ):
        with pytest.raises(ValueError, match=text):
            CorpusMixture(datasets, weights)
    with pytest.raises(ValueError, match="absent skip or raise"):
        CorpusMixture(one, TRAIN_WEIGHTS, absent="ignore")
    with pytest.raises(IndexError, match="no item 4 of 4"):
        CorpusMixture(one, TRAIN_WEIGHTS, 4)[4]
