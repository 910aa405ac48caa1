"""Random items depend on seed, epoch and position, not on workers."""

import torch
from torch.utils.data import DataLoader

from spatial_brain.dataio.dataset import SeededDataset


def make(seed=5):
    data = {f"utterance-{i}": {"length": i} for i in range(12)}
    dataset = SeededDataset(data, seed=seed)
    dataset.add_dynamic_item(
        lambda rng, length: torch.tensor(rng.random() + length),
        ["rng", "length"],
        "value",
    )
    dataset.set_output_keys(["value"])
    return dataset


def values(dataset, **options):
    loader = DataLoader(dataset, batch_size=3, **options)
    return torch.cat([batch["value"] for batch in loader])


def test_same_values_for_any_number_of_workers():
    dataset = make()
    alone = values(dataset)
    assert alone.equal(values(dataset, num_workers=2))
    assert alone.equal(values(make()))
    assert not alone.equal(values(make(seed=6)))


def test_epoch_reaches_workers_which_live_on():
    dataset = make()
    loader = DataLoader(
        dataset, batch_size=12, num_workers=1, persistent_workers=True
    )
    first = next(iter(loader))["value"]
    dataset.set_epoch(1)
    second = next(iter(loader))["value"]
    assert not first.equal(second)
    dataset.set_epoch(0)
    assert next(iter(loader))["value"].equal(first)
