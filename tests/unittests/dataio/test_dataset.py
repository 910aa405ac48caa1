"""Random items do not depend on workers; where long recordings are cut."""

import pytest
import torch
from torch.utils.data import DataLoader

from spatial_brain.dataio.dataset import Chunk, SeededDataset, chunk_bounds


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


@pytest.mark.parametrize(
    ("num_samples", "tail", "last"),
    [
        (8200, "half", (5800, 8200, 0)),
        (8500, "half", (7200, 8500, 1100)),
        (8200, "pad", (7200, 8200, 1400)),
        (8400, "half", (7200, 8400, 1200)),
        (8399, "half", (5999, 8399, 0)),
        (7200, "half", (4800, 7200, 0)),
        (7200, "pad", (4800, 7200, 0)),
        (7201, "pad", (7200, 7201, 2399)),
        (100, "half", (0, 100, 2300)),
        (2400, "pad", (0, 2400, 0)),
    ],
)
def test_last_chunk(num_samples, tail, last):
    assert chunk_bounds(num_samples, 2400, 2400, tail=tail)[-1] == last


@pytest.mark.parametrize("tail", ["pad", "half"])
@pytest.mark.parametrize("grid", [1, 7, 10])
@pytest.mark.parametrize("hop", [10, 30, 50])
def test_every_sample_is_in_a_chunk(hop, grid, tail):
    for num_samples in range(1, 320):
        chunks = chunk_bounds(num_samples, 50, hop, tail=tail, grid=grid)
        assert all(c.stop - c.start + c.pad == 50 for c in chunks)
        assert all(c.pad == 0 for c in chunks[:-1])
        starts = [c.start for c in chunks]
        assert starts == sorted(set(starts))
        covered = set()
        for chunk in chunks:
            assert 0 <= chunk.start < chunk.stop <= num_samples
            covered.update(range(chunk.start, chunk.stop))
        # A chunk moved back to the grid leaves less than one step of it.
        lost = set(range(num_samples)) - covered
        assert lost <= set(range(num_samples - grid + 1, num_samples))
        if tail == "pad":
            assert starts == [n * hop for n in range(len(starts))]


def test_moved_chunk_starts_on_the_label_grid():
    plain = chunk_bounds(8250, 2400, 2400, tail="half")[-1]
    assert plain == (5850, 8250, 0)
    snapped = chunk_bounds(8250, 2400, 2400, tail="half", grid=100)[-1]
    assert snapped == (5800, 8200, 0)
    assert snapped.frames(100) == (58, 82)


def test_chunk_that_would_repeat_the_one_before_is_left_out():
    assert len(chunk_bounds(2450, 2400, 2400, tail="half")) == 2
    assert chunk_bounds(2450, 2400, 2400, tail="half", grid=100) == [
        Chunk(0, 2400)
    ]


def test_frames_of_a_chunk():
    assert Chunk(7200, 8500, 1100).frames(100) == (72, 85)
    assert Chunk(7200, 8599, 1001).frames(100) == (72, 85)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": 0}, "num_samples is 0"),
        ({"chunk": 1.5}, "chunk is 1.5"),
        ({"hop": -1}, "hop is -1"),
        ({"hop": 200}, "hop 200 exceeds chunk 100"),
        ({"tail": "drop"}, "tail is 'drop'"),
        ({"grid": 0}, "grid is 0"),
    ],
)
def test_bad_arguments(arguments, message):
    arguments = {"num_samples": 500, "chunk": 100, "hop": 100, **arguments}
    with pytest.raises(ValueError, match=message):
        chunk_bounds(**arguments)
