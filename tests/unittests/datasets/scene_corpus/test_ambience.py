"""Recorded ambience: the same part for all formats, at the wanted level."""

import pytest
import torch

from spatial_brain.dataio.audio import read_audio, write_audio
from spatial_brain.dataio.files import read_json
from spatial_brain.datasets.scene_corpus.check import (
    merge_corpus,
    verify_corpus,
)
from spatial_brain.datasets.scene_corpus.generate import (
    describe,
    generate_corpus,
)
from spatial_brain.datasets.scene_corpus.options import scene_options
from spatial_brain.datasets.scene_corpus.sounds import open_bank

FS = 16000


def options(folder, **changes):
    return scene_options(
        {
            "scenes": 2,
            "events": None,
            "classes": ["fire"],
            "duration": 2.0,
            "t60": 0,
            "overlap": 1,
            "moving": 0,
            "noise": None if folder is None else str(folder),
            "snr": 20,
            "sample_rate": FS,
            "audio": "wav",
            **changes,
        }
    )


def write(path, seconds=3.0, channels=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(int(seconds * FS), channels, generator=generator)
    write_audio(path, 0.1 * noise, FS)


def test_ambience_is_mixed_at_the_level(tmp_path):
    write(tmp_path / "noise" / "foa" / "gym.wav")
    write(tmp_path / "noise" / "mic" / "gym.wav", seed=1)
    wanted = options(tmp_path / "noise")
    assert "1 recordings of" in describe(wanted, open_bank(wanted))
    generate_corpus(wanted, tmp_path / "with")
    generate_corpus(options(None), tmp_path / "without")
    merge_corpus(tmp_path / "with")
    assert verify_corpus(tmp_path / "with") == []
    starts = set()
    for path in (tmp_path / "with" / "scenes").iterdir():
        record = read_json(path)
        start = round(record["ambience"]["start"] * FS)
        starts.add(start)
        assert record["ambience"]["files"]["mic"] == "mic/gym.wav"
        for form in ("foa", "mic"):
            mixed, clean = (
                read_audio(tmp_path / kind / form / f"{path.stem}.wav")[0]
                for kind in ("with", "without")
            )
            noise, _ = read_audio(
                tmp_path / "noise" / form / "gym.wav", start, len(mixed)
            )
            rest = mixed - clean
            similar = (rest * noise).sum() / (rest.norm() * noise.norm())
            assert similar > 0.999
        omni = clean_level(tmp_path, path.stem)
        assert omni == pytest.approx(20, abs=1.5)
    assert len(starts) == 2


def clean_level(folder, name):
    """Power of the omnidirectional channel of events over noise, dB."""
    mixed, clean = (
        read_audio(folder / kind / "foa" / f"{name}.wav")[0][:, 0]
        for kind in ("with", "without")
    )
    active = clean[clean.abs() > 1e-4]
    power = active.square().mean() / (mixed - clean).square().mean()
    return float(10 * power.log10())


def test_one_format_needs_no_folder_of_its_own(tmp_path):
    write(tmp_path / "noise" / "a.wav")
    write(tmp_path / "noise" / "short.wav", seconds=1.0)
    wanted = options(tmp_path / "noise", formats=["foa", "sum"])
    generate_corpus(wanted, tmp_path / "corpus")
    record = read_json(next((tmp_path / "corpus" / "scenes").iterdir()))
    assert record["ambience"]["files"] == {"foa": "a.wav"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no such folder of ambience"),
        ({"a.wav": {}}, "foa: no such folder; ambience for several"),
        (
            {"foa/a.wav": {}, "mic/b.wav": {}},
            "has no foa/b of 1 recordings that other formats have",
        ),
        (
            {"foa/a.wav": {"seconds": 1.0}, "mic/a.wav": {}},
            "has no recording of 2 s or more",
        ),
        (
            {"foa/a.wav": {}, "mic/a.wav": {"channels": 2}},
            "a.wav: has 2 channels, mic has 4",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, files, message):
    for name, form in files.items():
        write(tmp_path / "noise" / name, **form)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        generate_corpus(options(tmp_path / "noise"), tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()
