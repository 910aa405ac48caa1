import shutil

import numpy as np
import pytest
import torch

from spatial_brain.datasets.real_arrays.recordings.locata import (
    Locata,
    set_of,
    task_of,
)
from spatial_brain.datasets.real_arrays.registry import open_corpus
from spatial_brain.datasets.real_arrays.synthetic.locata import (
    write_synthetic_locata,
)
from spatial_brain.geometry import angular_distance, azel_to_unit

ALL = {"tasks": (1, 6), "arrays": ("benchmark2", "eigenmike")}


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    return write_synthetic_locata(
        tmp_path_factory.mktemp("data") / "LOCATA",
        tasks=(1, 6),
        arrays=ALL["arrays"],
        duration=1.5,
        t60=0.15,
        snr=60,
    )


@pytest.fixture
def damaged(synthetic, tmp_path):
    return shutil.copytree(synthetic, tmp_path / "LOCATA")


def one(corpus, name):
    [found] = [r for r in corpus.recordings() if r.id == name]
    return found


def coherence(waveform, delay):
    """Largest GCC-PHAT near a delay, in units of its spread."""
    first, second = np.fft.rfft(waveform.numpy().T, 2 * len(waveform))
    cross = second * first.conj()
    gcc = np.fft.irfft(cross / np.abs(cross))
    return (
        gcc[[round(delay) + step for step in (-2, -1, 0, 1, 2)]].max()
        / gcc.std()
    )


def test_it_is_found_and_listed(synthetic):
    corpus = open_corpus("LOCATA", synthetic.parent, **ALL)
    assert [r.id for r in corpus.recordings()] == [
        f"{name}/task{task}/recording1/{array}"
        for name in ("dev", "eval")
        for task in (1, 6)
        for array in ALL["arrays"]
    ]
    found = corpus.recordings()[0]
    assert (found.fs, found.num_samples) == (48000, 72000)
    assert found.speakers == ("loudspeaker1",)
    assert (set_of(found), task_of(found)) == ("dev", 1)
    assert "benchmark2" in open_corpus("LOCATA", synthetic, **ALL).arrays


def test_splits_are_those_of_pre_training(synthetic):
    corpus = Locata(synthetic, **ALL)
    ids = {
        split: [r.id.rpartition("/")[0] for r in corpus.recordings(split)][::2]
        for split in ("train", "val", "test")
    }
    assert ids == {
        "train": ["dev/task1/recording1", "eval/task1/recording1"],
        "val": [],
        "test": ["dev/task1/recording1"],
    }


def test_pairs_are_those_published_with_rounded_positions(synthetic):
    exact = Locata(synthetic)
    rounded = Locata(synthetic, compat=["rounded_array"])
    assert rounded.count_pairs() == rounded.expected["pairs"] == 492
    assert exact.count_pairs() == exact.expected["pairs"] == 497
    assert len(rounded.pairs("eigenmike")) == 2 * 411
    # The fault: two capsules in one place.
    distances = rounded.arrays["eigenmike"].distances
    assert distances[5, 7] == 0
    assert exact.arrays["eigenmike"].distances[5, 7] > 0.04


@pytest.mark.parametrize("array", ALL["arrays"])
@pytest.mark.parametrize("task", [1, 6])
def test_positions_agree_with_the_sound(synthetic, array, task):
    corpus = Locata(synthetic, **ALL)
    recording = one(corpus, f"eval/task{task}/recording1/{array}")
    truth = corpus.truth(recording)
    positions = corpus.arrays[array].positions
    apart = corpus.arrays[array].distances
    pair = divmod(int(apart.argmax()), len(apart))
    waveform = corpus.read_segment(recording, 0, 48000, pair)
    for name in truth.sources:
        tdoa = truth.tdoa(name, positions[list(pair)])[:120].mean() * 48000
        at, elsewhere = (
            coherence(waveform, tdoa.item() + away) for away in (0, 60)
        )
        assert at > 8 and at > 3 * elsewhere


def test_direction_is_that_of_the_positions(synthetic):
    corpus = Locata(synthetic, **ALL)
    recording = one(corpus, "dev/task6/recording1/benchmark2")
    truth = corpus.truth(recording)
    for name, place in truth.sources.items():
        azimuth, elevation = truth.direction(name)
        away = place - truth.array_position
        right, front, up = torch.einsum(
            "tji,tj->ti", truth.rotation, away
        ).unbind(-1)
        # LOCATA: azimuth from the y axis, counter-clockwise.
        assert torch.allclose(
            torch.deg2rad(azimuth).cos(), front / torch.hypot(front, right)
        )
        assert (azimuth.sign() == -right.sign()).all()
        distance = away.norm(dim=1)
        assert torch.allclose(torch.deg2rad(elevation).sin(), up / distance)
        own = azel_to_unit(azimuth, elevation) * distance[:, None]
        assert angular_distance(own[0], own[-1]) > 5


def test_the_first_rotation_is_another_label_when_the_array_turns(synthetic):
    corpus = Locata(synthetic, **ALL)
    truth = corpus.truth(one(corpus, "dev/task6/recording1/benchmark2"))
    pair = corpus.arrays["benchmark2"].positions[[0, 9]]
    exact = truth.tdoa("talker1", pair)
    held = truth.tdoa("talker1", pair, first_frame=True)
    assert exact[0] == held[0]
    assert (exact - held)[-1].abs() * 16000 > 0.05


def test_activity_and_time(synthetic):
    corpus = Locata(synthetic, **ALL)
    truth = corpus.truth(one(corpus, "dev/task1/recording1/eigenmike"))
    assert truth.time[0] == 0
    assert truth.time.diff().sub(1 / 120).abs().max() < 1e-4
    assert truth.valid.all()
    share = truth.activity["loudspeaker1"].float().mean()
    assert 0.3 < share < 1


def test_what_is_written_twice_is_the_same(synthetic, tmp_path):
    again = write_synthetic_locata(
        tmp_path / "LOCATA",
        sets=("eval",),
        tasks=(1,),
        arrays=("benchmark2",),
        duration=1.5,
        t60=0.15,
        snr=60,
        num_workers=2,
    )
    for path in sorted(again.rglob("*.*")):
        if path.name != "SYNTHETIC.json":
            other = synthetic / path.relative_to(again)
            assert path.read_bytes() == other.read_bytes(), path


def test_preflight(damaged):
    corpus = Locata(damaged, **ALL)
    line = corpus.preflight().line()
    assert "8 recordings" in line
    assert "problem" not in line and "missing" not in line
    place = damaged / "dev" / "task1" / "recording1"
    (place / "benchmark2" / "required_time.txt").unlink()
    (place / "eigenmike" / "audio_array_eigenmike.wav").write_bytes(b"RIFF")
    (place / "benchmark2" / "VAD_benchmark2_loudspeaker1.txt").unlink()
    (place / "benchmark2" / "audio_array_timestamps_benchmark2.txt").unlink()
    shutil.rmtree(damaged / "eval" / "task6")
    problems = Locata(damaged, **ALL).preflight().problems
    assert len(problems) == 5
    for text in (
        *("task6 is missing", "required_time", "audio_array_eigenmike"),
        "loudspeaker1 counts as always active",
        "taken to begin at the first required time",
    ):
        assert any(text in problem for problem in problems)


def test_folders_that_are_something_else(tmp_path, synthetic):
    with pytest.raises(FileNotFoundError, match="neither dev nor eval"):
        Locata(synthetic / "dev")
    with pytest.raises(ValueError, match="tasks must be some of"):
        Locata(synthetic, tasks=(7,))
    with pytest.raises(ValueError, match="arrays must be some of"):
        Locata(synthetic, arrays=())


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("required_time", lambda t: t.replace("hour", "our"), "no column hour"),
        ("required_time", lambda t: t.split("\n")[0], "no rows"),
        (
            "position_array_benchmark2",
            lambda t: "\n".join(t.split("\n")[:-5]),
            "rows, required_time",
        ),
        (
            "position_array_benchmark2",
            lambda t: t.replace("1\n", "7\n"),
            "no rotations",
        ),
        (
            "position_source_loudspeaker1",
            lambda t: t.replace("\t59\t58.5\t", "\t59\t58.5\tx"),
            "position_source_loudspeaker1",
        ),
    ],
)
def test_damaged_tables_are_named(damaged, name, change, message):
    folder = damaged / "dev" / "task1" / "recording1" / "benchmark2"
    path = folder / f"{name}.txt"
    path.write_text(change(path.read_text()))
    corpus = Locata(damaged, **ALL)
    recording = one(corpus, "dev/task1/recording1/benchmark2")
    with pytest.raises(ValueError, match=message) as caught:
        corpus.truth(recording)
    assert path.name in str(caught.value)
