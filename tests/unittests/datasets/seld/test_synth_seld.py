"""Scenes from a folder of sounds: splits share neither sounds nor rooms."""

import json

import pytest
import torch

from spatial_brain.dataio.audio import read_audio, write_audio
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.seld.chunks import clip_events
from spatial_brain.datasets.seld.synth_seld import (
    open_sounds,
    prepare_simulated_scenes,
)

SMALL = {
    "class_names": ["beep", "hiss"],
    "clips": {"train": 2, "valid": 1, "test": 1},
    "num_rooms": {"train": 2, "valid": 1, "test": 1},
    "duration": 4.0,
    "scene": {"t60_range": [0.2, 0.25], "max_overlap": 1},
}


@pytest.fixture
def events(tmp_path):
    folder = tmp_path / "events"
    time = torch.arange(12000) / 24000
    for split in ("train", "valid", "test"):
        tone = torch.sin(2 * torch.pi * 700 * time)
        write_audio(folder / split / "beep" / "a.wav", tone, 24000)
        noise = torch.rand(12000) - 0.5
        write_audio(folder / split / "hiss" / "a.wav", noise, 24000)
    return folder


def prepare(tmp_path, **options):
    return prepare_simulated_scenes(
        tmp_path / "scenes", tmp_path / "save", **{**SMALL, **options}
    )


def test_scenes_manifests_and_repetition(tmp_path, events):
    paths = prepare(tmp_path, event_folder=events)
    lengths = {}
    for split, path in paths.items():
        entries = read_manifest(path, data_root=tmp_path / "scenes")
        lengths[split] = len(entries)
        for entry in entries.values():
            waveform, fs = read_audio(entry["wav"])
            assert (fs, len(waveform)) == (24000, entry["num_samples"])
            assert waveform.shape[1] == 4
        for table in clip_events(entries, num_classes=2).values():
            assert table.num_frames == 40
            assert table.overlap().max() <= 1
    assert lengths == SMALL["clips"]
    wav = next((tmp_path / "scenes").rglob("*.wav"))
    before = wav.stat().st_mtime_ns
    prepare(tmp_path, event_folder=events)
    assert wav.stat().st_mtime_ns == before


def test_rooms_and_sounds_of_splits_differ(tmp_path, events):
    prepare(tmp_path, event_folder=events)
    rooms, folders = [], []
    for split in ("train", "valid", "test"):
        marker = tmp_path / "scenes" / split / "SYNTHETIC.json"
        folders.append(json.loads(marker.read_text())["split"])
        waveforms = [
            read_audio(path)[0]
            for path in sorted((tmp_path / "scenes" / split).rglob("*.wav"))
        ]
        rooms += waveforms
    assert folders == ["train", "valid", "test"]
    for i, one in enumerate(rooms):
        assert all(not torch.equal(one, other) for other in rooms[:i])


def test_sounds_of_both_kinds_vary_in_training_alone(events):
    options = {
        "class_names": ["beep", "knock", "hiss"],
        "embedded_classes": ["knock"],
        "variation": {"max_speed": 1.5},
    }
    banks = [
        open_sounds(events, s, **options) for s in ("train", "valid", "test")
    ]
    assert [bank.variation.max_speed for bank in banks] == [1.5, 1.0, 1.0]
    for bank in banks:
        assert bank.class_names == ("beep", "knock", "hiss")
        assert bank.recording("knock", 0) is None
        assert bank.recording("hiss", 0).path.parent.name == "hiss"
    with pytest.raises(ValueError, match="bell are none of class_names"):
        open_sounds(events, "test", **{**options, "embedded_classes": ["bell"]})


@pytest.fixture
def voices(tmp_path):
    """A corpus of three speakers, each in a split of its own."""
    for split in ("train", "dev", "test"):
        path = tmp_path / "voices" / split / f"{split}er" / "a.wav"
        write_audio(path, torch.rand(16000) - 0.5, 16000)
    return {"folder": tmp_path / "voices", "fs": 16000}


def test_speech_is_a_class_with_speakers_of_each_split(
    tmp_path, events, voices
):
    names = ["beep", "speech", "hiss"]
    prepare(tmp_path, event_folder=events, speech=voices, class_names=names)
    spoken = {
        part: tmp_path / "save" / f"speech_{part}.json"
        for part in ("tr", "dt", "et")
    }
    for split, folder in (("train", "train"), ("valid", "dev")):
        bank = open_sounds(events, split, class_names=names, spoken=spoken)
        assert bank.class_names == tuple(names)
        path = bank.recording("speech", 0).path
        assert path.parent.name == f"{folder}er"
    labels = set()
    for split in ("train", "valid", "test"):
        path = tmp_path / "save" / f"{split}.json"
        entries = read_manifest(path, data_root=tmp_path / "scenes")
        for table in clip_events(entries, num_classes=3).values():
            labels |= set(table.label.tolist())
    assert labels <= {0, 1, 2}
    with pytest.raises(ValueError, match="speech are none of class_names"):
        prepare(tmp_path, event_folder=events, speech=voices)
    with pytest.raises(ValueError, match="give an event_folder"):
        prepare(tmp_path, speech=voices, class_names=["knock"])


def test_pauses_divide_the_recordings_of_a_class(events):
    sound = torch.cat([torch.rand(4800), torch.zeros(24000), torch.rand(4800)])
    for name in ("beep", "hiss"):
        write_audio(events / "train" / name / "a.wav", sound, 24000)
    names, pauses = ["beep", "hiss"], {"hiss": 0.5}
    bank = open_sounds(events, "train", class_names=names, pauses=pauses)
    sounds = bank.sounds
    assert [len(sounds[name]) for name in ("beep", "hiss")] == [1, 2]
    with pytest.raises(ValueError, match="pauses: bell are none"):
        open_sounds(events, "train", class_names=names, pauses={"bell": 1.0})


def test_missing_split_is_named(tmp_path, events):
    for path in (events / "test" / "hiss").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="hiss"):
        prepare(tmp_path, event_folder=events)


def test_numbers_of_all_splits_are_needed(tmp_path):
    with pytest.raises(ValueError, match="number of train, valid and test"):
        prepare(tmp_path, num_rooms={"train": 1, "valid": 1})
