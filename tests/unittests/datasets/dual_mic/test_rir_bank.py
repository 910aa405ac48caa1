"""Banks of rooms, and the fixed mixtures made in them."""

import json

import numpy as np
import pytest
import torch

from spatial_brain.dataio.array_store import ArrayStore
from spatial_brain.dataio.manifest import read_manifest, write_manifest
from spatial_brain.datasets.dual_mic.mixtures import write_mixture_manifest
from spatial_brain.datasets.dual_mic.rir_bank import (
    SimulatedRooms,
    StoredRooms,
    assert_disjoint,
    prepare_rir_bank,
)
from spatial_brain.simulation.rir import simulate_rir

QUICK = {"t60_range": (0.1, 0.25), "simulation": {"diffuse_from": 15.0}}


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bank")
    return prepare_rir_bank(folder, 20, seed=1, **QUICK)


def test_bank_holds_the_rooms_it_describes(bank):
    store = ArrayStore(bank)
    store.verify()
    assert len(store) == 20
    for index, entry in enumerate(store.entries.values()):
        size = np.array(entry["room_size"])
        assert (size >= [3, 3, 2.5]).all() and (size <= [10, 6, 4]).all()
        mics, sources = np.array(entry["mic_pos"]), np.array(entry["src_pos"])
        center = np.array(entry["array_pos"])
        assert np.allclose(center, mics.mean(0))
        assert np.allclose(mics - center, [[-0.05, 0, 0], [0.05, 0, 0]])
        assert (center >= 0.55 - 1e-9).all()
        assert (center <= size - 0.55 + 1e-9).all()
        assert (sources >= 0.5).all() and (sources <= size - 0.5).all()
        way = sources - center
        distance = np.linalg.norm(way, axis=1)
        assert np.allclose(entry["distance"], distance)
        assert (distance >= 0.2).all() and (distance <= 5).all()
        azimuth = np.degrees(np.arctan2(way[:, 1], way[:, 0]))
        assert np.allclose(entry["azimuth"], azimuth)
        cone = np.degrees(np.arccos(way[:, 0] / distance))
        assert np.allclose(entry["cone_angle"], cone)
        assert entry["array_yaw"] == 0
        volume = size.prod()
        surface = 2 * (size * np.roll(size, 1)).sum()
        least = 24 * np.log(10) * volume / (343 * surface)
        assert max(0.1, least) - 1e-6 <= entry["t60"]
        assert entry["t60"] <= max(0.25, least) + 1e-6
        assert abs(entry["t60_measured"] / entry["t60"] - 1) < 0.2
        # The direct sound of the nearer microphone arrives when it should.
        rir = store[index]
        for source in range(2):
            delay = np.linalg.norm(sources[source] - mics, axis=1) / 343 * 16000
            for mic in range(2):
                onset = round(delay[mic])
                first = rir[source, mic, : onset + 3].abs().argmax()
                assert abs(first - onset) <= 1


def test_bank_equals_a_direct_simulation(tmp_path):
    path = prepare_rir_bank(tmp_path, 1, seed=3, t60_range=(0.2, 0.2))
    store = ArrayStore(path)
    entry = store.entries["room000000"]
    rir = simulate_rir(
        entry["room_size"],
        entry["src_pos"],
        entry["mic_pos"],
        t60=entry["t60"],
        backend="image_source",
    )
    assert torch.allclose(store[0], rir, atol=1e-6)


def assert_same_rooms(entries, others):
    """Same rooms; what is measured on them agrees but for rounding."""
    assert list(entries) == list(others)
    for room, entry in entries.items():
        other = dict(others[room])
        measured = other.pop("t60_measured", None)
        other.pop("crc32", None)
        assert {key: entry[key] for key in other} == other
        if measured is not None:
            assert entry["t60_measured"] == pytest.approx(measured, rel=1e-5)


def test_bank_does_not_depend_on_the_workers(tmp_path, bank):
    other = prepare_rir_bank(tmp_path, 20, seed=1, num_workers=2, **QUICK)
    assert_same_rooms(read_manifest(bank), read_manifest(other))
    for a, b in zip(ArrayStore(bank), ArrayStore(other), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-5)


def test_a_longer_bank_begins_with_the_shorter(tmp_path, bank):
    other = prepare_rir_bank(tmp_path, 5, seed=1, **QUICK)
    short, long = read_manifest(other), read_manifest(bank)
    assert_same_rooms({room: long[room] for room in short}, short)


def test_turned_array(tmp_path):
    path = prepare_rir_bank(tmp_path, 6, seed=2, random_yaw=True, **QUICK)
    yaws = set()
    for entry in read_manifest(path).values():
        mics, sources = np.array(entry["mic_pos"]), np.array(entry["src_pos"])
        axis = (mics[1] - mics[0]) / 0.1
        way = sources - mics.mean(0)
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        yaw = np.degrees(np.arctan2(axis[1], axis[0]))
        assert np.isclose(entry["array_yaw"], yaw)
        cone = np.degrees(np.arccos(way @ axis))
        assert np.allclose(entry["cone_angle"], cone, atol=1e-4)
        absolute = np.degrees(np.arctan2(way[:, 1], way[:, 0]))
        turned = (absolute - yaw + 180) % 360 - 180
        assert np.allclose(entry["azimuth"], turned, atol=1e-4)
        yaws.add(round(yaw))
    assert len(yaws) > 3


def test_disjoint(tmp_path, bank):
    other = prepare_rir_bank(tmp_path, 5, seed=2, **QUICK)
    assert_disjoint(bank, other)
    same = prepare_rir_bank(tmp_path / "same", 3, seed=1, **QUICK)
    with pytest.raises(ValueError, match="share 3 rooms"):
        assert_disjoint(bank, same)
    # Another T60 does not make another room of it.
    entries = read_manifest(same)
    assert len({entry["geometry_hash"] for entry in entries.values()}) == 3


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    path = tmp_path_factory.mktemp("speech") / "train.json"
    entries = {
        f"{speaker}-{number}": {
            "wav": f"{{data_root}}/{speaker}-{number}.wav",
            "speaker": str(speaker),
            "num_samples": 16000 + 700 * speaker + number,
        }
        for speaker in range(1, 7)
        for number in range(2)
    }
    write_manifest(path, entries)
    return path


def test_mixtures(tmp_path, speech, bank):
    path = tmp_path / "test.json"
    options = {
        "seed": 4,
        "num_mixtures": 50,
        "length": 16500,
        "sir_range": (-5, 5),
        "snr_range": (0, 30),
        "gain_range": (-1, 1),
    }
    write_mixture_manifest(path, speech, bank, **options)
    entries = read_manifest(path)
    dry, rooms = read_manifest(speech), read_manifest(bank)
    assert len(entries) == 50
    for entry in entries.values():
        one, two = entry["utterances"]
        assert dry[one]["speaker"] != dry[two]["speaker"]
        assert entry["wavs"] == [dry[one]["wav"], dry[two]["wav"]]
        assert entry["azimuth"] == rooms[entry["rir"]]["azimuth"]
        assert entry["cone_angle"] == rooms[entry["rir"]]["cone_angle"]
        assert entry["t60"] == rooms[entry["rir"]]["t60"]
        for key, start in zip(
            entry["utterances"], entry["starts"], strict=True
        ):
            spare = max(0, dry[key]["num_samples"] - 16500)
            assert 0 <= start <= spare
        assert len(entry["sir"]) == 1 and -5 <= entry["sir"][0] <= 5
        assert 0 <= entry["snr"] <= 30
        assert all(-1 <= gain <= 1 for gain in entry["mic_gains"])
    firsts = [entry["utterances"][0] for entry in entries.values()]
    assert set(firsts[:12]) == set(dry) and firsts[:12] == firsts[12:24]
    assert len({entry["rir"] for entry in entries.values()}) > 10
    assert len({entry["seed"] for entry in entries.values()}) == 50
    again = tmp_path / "again.json"
    write_mixture_manifest(again, speech, bank, **options)
    assert again.read_bytes() == path.read_bytes()
    write_mixture_manifest(again, speech, bank, **options | {"seed": 5})
    assert again.read_bytes() != path.read_bytes()


def test_mixtures_as_the_reference_makes_them(tmp_path, speech, bank):
    path = tmp_path / "test.json"
    write_mixture_manifest(
        path,
        speech,
        bank,
        seed=0,
        pairing="any",
        crop="start",
        num_mixtures=300,
    )
    entries = read_manifest(path).values()
    assert all(entry["starts"] == [0, 0] for entry in entries)
    assert all(
        entry["sir"] is entry["snr"] is entry["mic_gains"] is None
        for entry in entries
    )
    same = sum(e["speakers"][0] == e["speakers"][1] for e in entries)
    # One speaker in six.
    assert 25 < same < 80


def test_mixtures_that_cannot_be_made(tmp_path, speech, bank):
    path = tmp_path / "m.json"
    with pytest.raises(ValueError, match="has 2 sources, mixtures have 3"):
        write_mixture_manifest(path, speech, bank, seed=0, num_talkers=3)
    with pytest.raises(ValueError, match="pairing must be"):
        write_mixture_manifest(path, speech, bank, seed=0, pairing="all")
    one = {k: v for k, v in read_manifest(speech).items() if k[:2] == "1-"}
    (tmp_path / "one.json").write_text(json.dumps(one))
    with pytest.raises(ValueError, match="has 1 speakers, 2 are needed"):
        write_mixture_manifest(path, tmp_path / "one.json", bank, seed=0)
    assert not path.exists()


def test_simulated_rooms_are_those_of_the_bank(bank):
    stored, simulated = StoredRooms(bank), SimulatedRooms(20, 1, **QUICK)
    assert stored.ids == simulated.ids
    for room in stored.ids[::7]:
        first, description = stored[room]
        second, other = simulated[room]
        assert torch.allclose(first, second, rtol=0, atol=1e-5)
        assert_same_rooms({room: description}, {room: other})
        short = simulated.describe(room)
        assert short == {key: description[key] for key in short}
    with pytest.raises(ValueError, match="share 20 rooms"):
        assert_disjoint(simulated, bank)
    assert_disjoint(SimulatedRooms(20, 2, **QUICK), stored)


def test_rooms_without_walls_may_be_as_dry_as_asked():
    options = {"size_low": (10, 6, 4), "t60_range": (0.1, 0.1)}
    dry = SimulatedRooms(1, 1, backend="fra", **options).describe("room000000")
    assert dry["t60"] == pytest.approx(0.1)
