"""Rooms in YAML: what is checked, written and the same for a seed."""

import json

import numpy as np
import pytest
import torch

from spatial_brain.cli.main import main
from spatial_brain.cli.simulate import _place_array
from spatial_brain.dataio.audio import read_audio
from spatial_brain.geometry import MicrophoneArray

ROOM = """
size: [6, 4, 3]
t60: 0.3
sources: [[2.0, 1.0, 1.5], [3.0, 3.5, 1.5]]
array: {type: linear, num_microphones: 2, spacing: 0.1, center: [3, 2, 1.5]}
fs: 8000
"""


def test_a_room_description_is_checked(tmp_path, capsys):
    path = tmp_path / "room.yaml"

    def complaint(text):
        path.write_text(text)
        output = str(tmp_path / "out")
        assert main(["simulate", str(path), "--output", output]) == 2
        error = capsys.readouterr().err
        assert "room.yaml" in error and len(error.splitlines()) == 1
        return error

    assert "unknown: rt60" in complaint(ROOM.replace("t60", "rt60"))
    assert "missing: size" in complaint("sources: [[1, 1, 1]]")
    assert "no valid YAML" in complaint("size: [1")
    assert "key: value" in complaint("- 1")
    assert "either microphones or array" in complaint(
        ROOM + "microphones: [[1, 1, 1]]"
    )
    assert "spherical" in complaint(ROOM.replace("linear", "spherical"))
    assert "spacing" in complaint(ROOM.replace("spacing: 0.1, ", ""))
    assert not (tmp_path / "out").exists()
    assert main(["simulate", "missing.yaml", "--output", "out"]) == 2
    assert "missing.yaml: No such file" in capsys.readouterr().err


def test_walls_of_materials_are_reported_by_octave(tmp_path, capsys):
    path, out = tmp_path / "room.yaml", tmp_path / "out"
    walls = "{walls: 0.4, floor: carpet_tufted_9.5mm, ceiling: 0.5}"
    room = ROOM.replace("t60: 0.3", f"absorption: {walls}")
    path.write_text(room + "diffuse_from: 15\n")
    assert main(["simulate", str(path), "--output", str(out)]) == 0
    assert "T60 by octave, s" in capsys.readouterr().out
    info = json.loads((out / "info.json").read_text())
    assert info["bands"][:2] == [125, 250]
    assert info["absorption"][0] == [0.4] * 7
    assert len(info["sources"][0]["band_t60"][1]) == 7
    assert info["sources"][0]["band_t60"][0][6] is None  # above 4 kHz
    path.write_text(room.replace("carpet_tufted_9.5mm", "carpet_tufted"))
    assert main(["simulate", str(path), "--output", str(tmp_path / "b")]) == 2
    assert "did you mean 'carpet_tufted" in capsys.readouterr().err


def test_arrays_are_turned_and_moved():
    array = {"type": "linear", "num_microphones": 2, "spacing": 0.2}
    array = {**array, "center": [1, 2, 3], "yaw": 90}
    found = _place_array(array, "room.yaml", [9, 9, 9]).microphones
    assert np.allclose(found, [[1, 1.9, 3], [1, 2.1, 3]], atol=1e-6)


def test_simulate_writes_responses_and_what_they_hold(tmp_path, capsys):
    (tmp_path / "room.yaml").write_text(ROOM)
    out = tmp_path / "rirs"
    arguments = ["simulate", str(tmp_path / "room.yaml"), "--output", str(out)]
    assert main(arguments) == 0
    assert "source_2.wav" in capsys.readouterr().out
    info = json.loads((out / "info.json").read_text())
    rir, fs = read_audio(out / "source_1.wav")
    assert fs == info["fs"] == 8000 and rir.shape[1] == 2
    first = info["sources"][0]
    assert first["azimuth"] == pytest.approx(-135, abs=0.1)
    assert first["distance"] == pytest.approx(2**0.5, rel=1e-4)
    # The source is on the side of microphone 0: 1 arrives later.
    expected = (np.hypot(0.95, 1) - np.hypot(1.05, 1)) / 343
    assert first["tdoa"] == pytest.approx([0, expected], abs=1e-7)
    assert rir[:, 0].abs().argmax() < rir[:, 1].abs().argmax()
    assert first["t60"][0] == pytest.approx(0.3, rel=0.15)


def test_simulate_is_the_same_for_the_same_seed(tmp_path):
    def first_source(name, seed):
        room = tmp_path / "room.yaml"
        room.write_text(ROOM + f"diffuse_from: 15\nseed: {seed}\n")
        out = tmp_path / name
        assert main(["simulate", str(room), "--output", str(out)]) == 0
        return read_audio(out / "source_1.wav")[0]

    tail = first_source("a", 3)
    assert torch.equal(first_source("b", 3), tail)
    assert not torch.equal(first_source("c", 4), tail)


NO_ARRAY = "\n".join(
    line for line in ROOM.splitlines() if not line.startswith("array")
)


def _simulate(folder, text, *options):
    """Write a room and simulate it; the folder of its responses."""
    folder.mkdir()
    (folder / "room.yaml").write_text(text)
    out = str(folder / "out")
    line = ["simulate", str(folder / "room.yaml"), "--output", out, *options]
    assert main(line) == 0
    return folder / "out"


def test_a_named_array_stands_where_the_file_or_the_option_says(tmp_path):
    text = NO_ARRAY + "\narray: {name: libricss, center: [3, 2, 1.5], yaw: 90}"
    first = _simulate(tmp_path / "a", text)
    again = _simulate(
        tmp_path / "b",
        ROOM,
        *("--array", "libricss", "--center", "3", "2", "1.5", "--yaw", "90"),
    )
    rir, _ = read_audio(first / "source_1.wav")
    assert rir.shape[1] == 7
    assert torch.equal(rir, read_audio(again / "source_1.wav")[0])
    array = MicrophoneArray.from_file(first / "array.json")
    libricss = MicrophoneArray.named("libricss")
    assert torch.allclose(array.positions, libricss.positions, atol=1e-6)
    source = json.loads((first / "info.json").read_text())["sources"][0]
    assert source["azimuth"] == pytest.approx(-135, abs=0.1)
    assert source["array_azimuth"] == pytest.approx(135, abs=0.1)
    middle = _simulate(tmp_path / "c", NO_ARRAY + "\narray: pair:0.1")
    room = json.loads((middle / "info.json").read_text())["room"]
    assert np.allclose(np.mean(room["microphones"], 0), [3, 2, 1.5])


def test_faults_of_microphones_change_responses_and_are_written(tmp_path):
    clean = _simulate(tmp_path / "a", ROOM)
    spoilt = _simulate(
        tmp_path / "b", ROOM, "--faults", "gain=[0,6]", "polarity=[0]"
    )
    sound, bad = (
        read_audio(folder / "source_1.wav")[0] for folder in (clean, spoilt)
    )
    factors = torch.tensor([-1.0, 10**0.3])
    assert torch.allclose(bad, sound * factors, atol=1e-6)
    faults = json.loads((spoilt / "info.json").read_text())["faults"]
    assert faults["polarity"] == [0] and faults["gain"][1] == 6.0
    moved = _simulate(tmp_path / "c", ROOM + "faults: {position: 20}\nseed: 4")
    info = json.loads((moved / "info.json").read_text())
    assert np.abs(info["faults"]["position"]).max() > 5
    clean = json.loads((clean / "info.json").read_text())
    assert info["room"]["microphones"] == clean["room"]["microphones"]
    assert info["sources"][0]["tdoa"] != clean["sources"][0]["tdoa"]


def test_wrong_arrays_and_faults_end_in_one_line(tmp_path, capsys):
    (tmp_path / "room.yaml").write_text(ROOM)
    line = ["simulate", str(tmp_path / "room.yaml"), "--output", "out"]
    for more, expected in (
        (["--array", "libris"], "did you mean libricss"),
        (["--yaw", "3"], "--array"),
        (["--faults", "noise=30"], "spatial-brain synth"),
        (["--faults", "hum=3"], "no fault hum"),
        (["--faults", "dead=[2]"], "2 microphones"),
    ):
        assert main([*line, *more]) == 2
        error = capsys.readouterr().err
        assert expected in error and len(error.splitlines()) == 1
