import pytest
import torch

from spatial_brain.datasets.real_arrays.locata_segments import LocataSegments
from spatial_brain.datasets.real_arrays.synthetic.locata import (
    write_synthetic_locata,
)
from spatial_brain.metrics.room_acoustics import gcc_phat_tdoa


@pytest.fixture(scope="module")
def locata(tmp_path_factory):
    return write_synthetic_locata(
        tmp_path_factory.mktemp("data") / "LOCATA",
        tasks=(1, 5, 6),
        arrays=("benchmark2",),
        duration=4.0,
        t60=0.15,
    )


def segments(folder, stage="test", size=12, **options):
    return LocataSegments(folder, stage, size, tasks=(1, 5), **options)


def test_labels_are_what_the_sound_says(locata):
    pairs = segments(locata)
    found = [pairs[index] for index in range(12)]
    waveform = torch.stack([item["waveform"] for item in found])
    assert waveform.shape == (12, 16640, 2)
    assert waveform.abs().amax((1, 2)).allclose(torch.tensor(0.9), atol=1e-5)
    spacing = torch.tensor([item["spacing"] for item in found])
    assert spacing.min() >= 0.03 and spacing.max() <= 0.2
    labels = torch.stack([item["labels"]["TDOA"] for item in found])
    error = (gcc_phat_tdoa(waveform, spacing, 16000) - labels).abs()
    assert error.median() < 0.3
    assert all(item["labels"]["T60"].isnan() for item in found)


def test_the_same_whoever_asks(locata):
    pairs = segments(locata, "train", 6)
    loader = torch.utils.data.DataLoader(pairs, 2, num_workers=2)
    loaded = torch.cat([batch["waveform"] for batch in loader])
    alone = torch.stack(
        [segments(locata, "train", 6)[i]["waveform"] for i in range(6)]
    )
    assert torch.equal(loaded, alone)


def test_epochs_differ_only_if_renewed(locata):
    fixed, renewed = segments(locata), segments(locata, renew=True)
    before = fixed[0]["waveform"], renewed[0]["waveform"]
    for pairs in (fixed, renewed):
        pairs.set_epoch(1)
    assert torch.equal(fixed[0]["waveform"], before[0])
    assert torch.equal(before[0], before[1])
    assert not torch.equal(renewed[0]["waveform"], before[1])


def test_training_and_validation_do_not_overlap(locata):
    parts = {
        stage: segments(locata, stage).places for stage in ("train", "val")
    }
    for (one, _, last), (other, first, _) in zip(*parts.values(), strict=True):
        assert one.id == other.id
        assert one.id.startswith("eval/")
        assert last + 1.04 <= first + 1e-9
    assert segments(locata).places[0][0].id.startswith("dev/")


def test_both_orders_of_a_pair(locata):
    pairs = segments(locata, size=40)
    labels = [pairs[index]["labels"]["TDOA"] for index in range(40)]
    assert min(labels) < -0.5 and max(labels) > 0.5


def test_what_the_original_does_to_a_turning_array(locata):
    exact = segments(locata, "test", 30)
    held = segments(locata, "test", 30, compat=["first_frame"])
    differences = [
        abs(exact[i]["labels"]["TDOA"] - held[i]["labels"]["TDOA"])
        for i in range(30)
    ]
    assert max(differences) > 0.1
    assert min(differences) < 1e-5


def test_short_recordings_of_the_test(locata):
    whole, halved = (
        segments(locata, compat=c).places for c in ((), ["halved"])
    )
    assert all(a[1] < b[1] for a, b in zip(whole, halved, strict=True))


def test_arguments_that_cannot_be_used(locata):
    with pytest.raises(ValueError, match="stage must be"):
        segments(locata, "dev")
    with pytest.raises(ValueError, match="one source"):
        LocataSegments(locata, "test", 2, tasks=(6,))
    with pytest.raises(ValueError, match="unknown compat"):
        segments(locata, compat=["x"])
    with pytest.raises(ValueError, match="no recording"):
        LocataSegments(locata, "test", 2, tasks=(3,))
    with pytest.raises(IndexError):
        segments(locata)[12]
