"""Measured rooms: labels are those of the responses, levels are usual."""

import numpy as np
import pytest
import torch

from spatial_brain.dataio.annotations import read_events
from spatial_brain.dataio.audio import read_audio, write_audio
from spatial_brain.dataio.files import read_json
from spatial_brain.datasets.real_arrays.synthetic.dcase import (
    write_synthetic_dcase,
)
from spatial_brain.datasets.scene_corpus.check import (
    merge_corpus,
    verify_corpus,
)
from spatial_brain.datasets.scene_corpus.generate import (
    describe,
    generate_corpus,
)
from spatial_brain.datasets.scene_corpus.measured_rooms import find_rooms
from spatial_brain.datasets.scene_corpus.options import scene_options
from spatial_brain.datasets.scene_corpus.sounds import open_bank
from spatial_brain.geometry import angular_distance, azel_to_unit
from spatial_brain.reporting.sound_scenes import scene_corpus_report
from spatial_brain.simulation.ambisonics import foa_gains, intensity_direction

FS = 24000
PLACES = [(30, 0, 1.0), (-90, 20, 2.0), (150, -10, 3.0), (60, 45, 1.5)]


def options(responses, **changes):
    return scene_options(
        {
            "scenes": 4,
            "events": None,
            "classes": ["fire", "water"],
            "duration": 3.0,
            "overlap": 1,
            "moving": 0,
            "noise": None,
            "formats": ["foa"],
            "responses": str(responses),
            **changes,
        }
    )


def write_table(folder, distance=True, silent=False):
    """Responses that are the direct sound alone, and their table."""
    lines = ["path,azimuth,elevation,condition" + ",distance" * distance]
    for number, (azimuth, elevation, metres) in enumerate(PLACES):
        response = torch.zeros(800, 4)
        gains = foa_gains(azel_to_unit(azimuth, elevation)[None])[0]
        if not silent:
            response[round(metres / 343 * FS)] = gains / metres
        name = f"{number}.wav"
        write_audio(folder / name, response, FS, subtype="FLOAT")
        line = f"{name},{azimuth},{elevation},{'ab'[number // 2]}"
        lines.append(line + f",{metres}" * distance)
    (folder / "table.csv").write_text("\n".join(lines))
    return folder / "table.csv"


def test_table(tmp_path):
    table = write_table(tmp_path)
    wanted = options(table)
    assert "responses of 2 rooms" in describe(wanted, open_bank(wanted))
    generate_corpus(wanted, tmp_path / "corpus")
    merge_corpus(tmp_path / "corpus")
    assert verify_corpus(tmp_path / "corpus") == []
    page = scene_corpus_report(tmp_path / "corpus").read_text()
    assert "measured room a" in page
    names = sorted(p.stem for p in (tmp_path / "corpus" / "foa").iterdir())
    assert names[-1] == "fold1_room2_mix0002"
    places = {"a": PLACES[:2], "b": PLACES[2:]}
    for name in names:
        record = read_json(tmp_path / "corpus" / "scenes" / f"{name}.json")
        labels = read_events(tmp_path / "corpus" / "metadata" / f"{name}.csv")
        foa, _ = read_audio(tmp_path / "corpus" / "foa" / f"{name}.flac")
        columns = (labels.azimuth, labels.elevation, labels.distance)
        rows = set(zip(*columns, strict=True))
        assert rows <= set(places[record["measured_room"]])
        first = labels.frame[labels.source == 0]
        part = foa[first[0] * 2400 : (first[-1] + 1) * 2400].double()
        true = azel_to_unit(labels.azimuth[0], labels.elevation[0]).double()
        assert angular_distance(intensity_direction(part), true) < 1.0
        level = 10 * np.log10(float(part[:, 0].square().mean()))
        assert -50 < level < -15


def test_tables_without_distance_need_a_dialect_without(tmp_path):
    table = write_table(tmp_path, distance=False)
    with pytest.raises(ValueError, match="no distances, which dialect"):
        generate_corpus(options(table), tmp_path / "corpus")
    generate_corpus(options(table, dialect="dcase2021"), tmp_path / "corpus")
    path = next((tmp_path / "corpus" / "metadata").iterdir())
    assert np.isnan(read_events(path, "dcase2021").distance).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"moving": 0.5}, "has no trajectories .* moving must be 0"),
        ({"formats": ["foa", "mic"]}, "every path must hold {format}"),
        ({"formats": ["binaural"]}, "0.wav: has 4 channels, binaural has 2"),
        ({"rooms": 3}, "has 2 rooms, rooms is 3"),
    ],
)
def test_what_a_table_does_not_have(tmp_path, changes, message):
    table = write_table(tmp_path)
    with pytest.raises(ValueError, match=message):
        generate_corpus(options(table, **changes), tmp_path / "corpus")


def test_silent_responses_are_named(tmp_path):
    table = write_table(tmp_path, silent=True)
    with pytest.raises(ValueError, match="room a: its responses are silent"):
        generate_corpus(options(table), tmp_path / "corpus")


@pytest.fixture(scope="module")
def tau(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "DCASE"
    write_synthetic_dcase(
        folder, rooms=["gym", "se203"], num_points=45, noise_duration=0.1
    )
    return folder


def test_tau(tau, tmp_path):
    wanted = options(tau, formats=["mic", "foa"], moving=1.0)
    rooms = find_rooms(wanted)
    assert [room.name for room in rooms] == ["gym", "se203"]
    generate_corpus(wanted, tmp_path)
    moved = 0
    for path in (tmp_path / "scenes").iterdir():
        record = read_json(path)
        [room] = [r for r in rooms if r.name == record["measured_room"]]
        for event in record["events"]:
            places = np.array(event["from_array"])
            gap = np.abs(room.offsets[:, None] - places).max(-1).min(0)
            assert gap.max() < 1e-3
            moved += len(places) > 2
        for form in ("foa", "mic"):
            waveform, _ = read_audio(tmp_path / form / f"{path.stem}.flac")
            assert waveform.shape == (72000, 4)
            assert waveform.any()
    assert moved
    with pytest.raises(ValueError, match="the formats foa and mic, not array"):
        find_rooms(options(tau, formats=["array"], array=[[0, 0, 0]]))


def test_speed_along_a_trajectory_is_the_wanted_one(tau):
    [gym, _] = find_rooms(options(tau, formats=["mic"], moving=1.0))
    rng = np.random.default_rng(0)
    for _ in range(10):
        points, times, places = gym.draw_path(rng, 3.0, (20.0,))
        assert len(points) == len(times) == len(places)
        offset = points - np.array(gym.center)
        unit = offset / np.linalg.norm(offset, axis=-1, keepdims=True)
        angle = np.degrees(np.arccos((unit[1:] * unit[:-1]).sum(-1)))
        assert np.allclose(angle / np.diff(times), 20.0, atol=0.1)
        assert times[0] == 0
        assert times[-1] >= 3.0
