"""Scenes depend on the seed and their number alone, and labels are exact."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from spatial_brain.dataio.annotations import read_events
from spatial_brain.dataio.audio import read_audio, write_audio
from spatial_brain.dataio.files import read_json
from spatial_brain.datasets.scene_corpus.check import merge_corpus
from spatial_brain.datasets.scene_corpus.generate import (
    describe,
    find_rank,
    generate_corpus,
)
from spatial_brain.datasets.scene_corpus.options import (
    scene_options,
)
from spatial_brain.datasets.scene_corpus.sounds import open_bank
from spatial_brain.geometry import angular_distance, azel_to_unit
from spatial_brain.simulation.ambisonics import intensity_direction
from spatial_brain.simulation.mixing import active_level
from spatial_brain.simulation.sound_scenes.render import LEVEL

SMALL = {
    "scenes": 4,
    "events": None,
    "classes": ["knock", "piano"],
    "duration": 2.0,
    "t60": 0,
    "overlap": [1, 2],
    "sample_rate": 16000,
}


def options(**changes):
    return scene_options({**SMALL, **changes})


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_same_bytes_for_any_number_of_ranks_and_workers(tmp_path):
    wanted = options(t60=[0.2, 0.3], moving=0.5, rooms=2)
    found = []
    for ranks, workers in ((1, 1), (2, 1), (4, 1), (1, 2)):
        folder = tmp_path / f"{ranks}_{workers}"
        for rank in range(ranks):
            generate_corpus(
                wanted,
                folder,
                rank=rank,
                num_ranks=ranks,
                num_workers=workers,
            )
        merge_corpus(folder)
        found.append(contents(folder))
    assert len(found[0]) == 4 * 4 + 2
    assert all(one == found[0] for one in found[1:])


def test_scenes_differ_and_others_stay_when_some_are_added(tmp_path):
    generate_corpus(options(), tmp_path / "a")
    before = contents(tmp_path / "a" / "foa")
    assert len(set(before.values())) == 4
    written = generate_corpus(options(scenes=5), tmp_path / "a")
    assert written == (1, 5)
    after = contents(tmp_path / "a" / "foa")
    assert {name: after[name] for name in before} == before
    generate_corpus(options(seed=1), tmp_path / "b")
    other = contents(tmp_path / "b" / "foa")
    assert not set(other.values()) & set(before.values())


def test_damaged_scenes_are_written_again(tmp_path):
    generate_corpus(options(), tmp_path)
    before = contents(tmp_path)
    next((tmp_path / "foa").iterdir()).unlink()
    short = sorted((tmp_path / "mic").iterdir())[-1]
    short.write_bytes(short.read_bytes()[:1000])
    assert generate_corpus(options(), tmp_path).num_new == 2
    assert contents(tmp_path) == before


def test_a_killed_run_goes_on(tmp_path):
    values = {**SMALL, "scenes": 12}
    code = (
        "import sys\n"
        "from spatial_brain.datasets.scene_corpus.generate import *\n"
        "from spatial_brain.datasets.scene_corpus.options import *\n"
        f"generate_corpus(scene_options({values!r}), sys.argv[1])\n"
    )
    folder = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stderr=subprocess.DEVNULL
    )
    while not list(folder.glob("scenes/*room3_*.json")):
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = generate_corpus(scene_options(values), folder)
    assert 0 < done.num_new < 12
    generate_corpus(scene_options(values), tmp_path / "whole")
    assert contents(folder) == contents(tmp_path / "whole")


def test_every_event_of_the_record_is_labelled(tmp_path):
    generate_corpus(options(interferers=["bell"], scenes=6), tmp_path)
    others = 0
    for path in sorted((tmp_path / "scenes").iterdir()):
        record = read_json(path)
        table = read_events(
            tmp_path / "metadata" / f"{path.stem}.csv", "starss23"
        )
        named = [e for e in record["events"] if e["labelled"]]
        others += len(record["events"]) - len(named)
        assert len(np.unique(table.source)) == len(named)
        assert table.label.max() < 2
        assert table.overlap().max() <= record["max_overlap"]
    assert others


@pytest.mark.parametrize(
    ("t60", "seconds", "bound"),
    # In a room early reflections turn the mean over a whole event.
    [(0, 6.0, 1.0), (0.5, 0.01, 10.0)],
)
def test_directions_are_those_of_the_intensity_vector(
    tmp_path, t60, seconds, bound
):
    generate_corpus(
        options(
            classes=["fire", "water", "engine"],
            scenes=8,
            overlap=1,
            moving=0,
            duration=6.0,
            formats=["foa"],
            t60=t60,
            snr=60,
        ),
        tmp_path,
    )
    errors = []
    for table, waveform, record in scenes(tmp_path):
        for number, event in enumerate(record["events"]):
            row = np.flatnonzero(table.source == number)[0]
            distance = np.linalg.norm(event["from_array"][0])
            start = round((event["onset"] + distance / 343) * 16000)
            stop = start + round(min(seconds, event["duration"]) * 16000)
            errors.append(
                angular_distance(
                    intensity_direction(waveform[start:stop].double()),
                    azel_to_unit(table.azimuth[row], table.elevation[row]),
                )
            )
    assert len(errors) >= 8
    assert np.median(errors) < bound


def test_distances_are_those_of_the_level(tmp_path):
    generate_corpus(
        options(
            classes=["fire"],
            scenes=4,
            overlap=1,
            moving=0,
            duration=4.0,
            formats=["foa"],
            snr=90,
            gain=-12,
            dialect="dcase2024",
        ),
        tmp_path,
    )
    for table, waveform, record in scenes(tmp_path):
        for number, event in enumerate(record["events"]):
            rows = table.source == number
            part = waveform[table.frame[rows][0] * 1600 :][: rows.sum() * 1600]
            level = float(active_level(part[None, :, 0], 16000))
            found = 10 ** ((LEVEL + event["gain_db"] - level) / 20)
            assert found == pytest.approx(table.distance[rows][0], rel=0.1)


def scenes(folder):
    """Labels, FOA and record of each scene."""
    for path in sorted((folder / "scenes").iterdir()):
        labels = read_events(folder / "metadata" / f"{path.stem}.csv")
        waveform, _ = read_audio(folder / "foa" / f"{path.stem}.flac")
        yield labels, waveform, read_json(path)


@pytest.mark.parametrize(
    ("given", "variables", "found"),
    [
        ((None, None), {}, (0, 1)),
        ((None, None), {"SLURM_PROCID": "2", "SLURM_NTASKS": "3"}, (2, 3)),
        (
            (None, None),
            {
                "RANK": "1",
                "WORLD_SIZE": "2",
                "SLURM_PROCID": "0",
                "SLURM_NTASKS": "1",
            },
            (1, 2),
        ),
        ((3, 4), {"RANK": "1", "WORLD_SIZE": "2"}, (3, 4)),
    ],
)
def test_rank(monkeypatch, given, variables, found):
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert find_rank(*given) == found


@pytest.mark.parametrize("given", [(4, 4), (-1, 2), (0, None), (None, 2)])
def test_wrong_ranks(given):
    with pytest.raises(ValueError, match="--rank .* and --num_ranks"):
        find_rank(*given)


def test_a_wrong_variable_is_named(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(ValueError, match="RANK 1 and WORLD_SIZE None"):
        find_rank()


def test_other_corpora_and_data_stay(tmp_path):
    generate_corpus(options(scenes=1), tmp_path / "a")
    before = contents(tmp_path / "a")
    with pytest.raises(ValueError, match="was made with seed 0, not 1"):
        generate_corpus(options(scenes=1, seed=1), tmp_path / "a")
    with pytest.raises(ValueError, match="made with classes"):
        generate_corpus(options(scenes=1, classes=["piano"]), tmp_path / "a")
    assert contents(tmp_path / "a") == before
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").touch()
    with pytest.raises(ValueError, match="not synthetic .thesis.txt"):
        generate_corpus(options(scenes=1), tmp_path / "b")
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["thesis.txt"]


def test_changed_recordings_are_noticed(tmp_path):
    events = tmp_path / "events"
    for name in ("a", "b"):
        write_audio(events / name / "1.wav", torch.rand(8000) - 0.5, 16000)
    wanted = options(events=str(events), classes=None, scenes=1)
    generate_corpus(wanted, tmp_path / "corpus")
    record = read_json(next((tmp_path / "corpus" / "scenes").iterdir()))
    assert {e["sound"] for e in record["events"]} <= {"a/1.wav", "b/1.wav"}
    moved = tmp_path / "moved"
    events.rename(moved)
    same = options(events=str(moved), classes=None, scenes=1)
    assert generate_corpus(same, tmp_path / "corpus").num_new == 0
    write_audio(moved / "b" / "2.wav", torch.rand(8000), 16000)
    with pytest.raises(ValueError, match="made with sounds"):
        generate_corpus(same, tmp_path / "corpus")


def test_dcase2019_names_its_own_classes(tmp_path):
    with pytest.raises(ValueError, match="dcase2019 .* knock, drawer"):
        open_bank(options(dialect="dcase2019"))
    wanted = options(
        dialect="dcase2019", classes=["knock", "drawer"], scenes=1, moving=0
    )
    generate_corpus(wanted, tmp_path)
    [path] = (tmp_path / "metadata").iterdir()
    table = read_events(path, "dcase2019")
    record = read_json(next((tmp_path / "scenes").iterdir()))
    [first, *_] = record["events"]
    assert first["class"] in ("knock", "drawer")
    assert len(np.unique(table.source)) == len(record["events"])


@pytest.mark.parametrize(
    "dialect",
    [
        "dcase2020",
        "dcase2021",
        "starss22",
        "starss23",
        "dcase2024",
        "dcase2025",
    ],
)
def test_labels_of_all_dialects_are_read_back(tmp_path, dialect):
    generate_corpus(options(dialect=dialect, scenes=1), tmp_path)
    [path] = (tmp_path / "metadata").iterdir()
    table = read_events(path, dialect, num_classes=2)
    assert len(table)
    has_distance = dialect in ("starss23", "dcase2024", "dcase2025")
    assert np.isnan(table.distance).any() != has_distance


def test_lists_and_speech(tmp_path):
    events, speech = tmp_path / "events", tmp_path / "speech"
    write_audio(events / "audio" / "a.wav", torch.rand(8000) - 0.5, 16000)
    (events / "list.csv").write_text("path,label\naudio/a.wav,hiss\n")
    write_audio(speech / "ann" / "1.wav", torch.rand(8000) - 0.5, 16000)
    wanted = options(
        events=str(events / "list.csv"), speech=str(speech), classes=None
    )
    bank = open_bank(wanted)
    assert bank.class_names == ("hiss", "speech")
    line = describe(wanted, bank)
    assert "list.csv (read as list) and speech of" in line
    generate_corpus(wanted, tmp_path / "corpus")
    found = {
        (event["class"], event["sound"])
        for path in (tmp_path / "corpus" / "scenes").iterdir()
        for event in read_json(path)["events"]
    }
    assert found == {("hiss", "audio/a.wav"), ("speech", "ann/1.wav")}
    merge_corpus(tmp_path / "corpus")
    write_audio(events / "speech" / "a.wav", torch.rand(80), 16000)
    both = options(events=str(events), speech=str(speech), classes=["speech"])
    with pytest.raises(ValueError, match="'speech' is both among the events"):
        open_bank(both)
