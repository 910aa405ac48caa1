"""The command on arrays: lists, files, pictures and recordings."""

import json

import numpy as np
import pytest
import soundfile
import torch

from spatial_brain.cli.main import main
from spatial_brain.geometry import MicrophoneArray, array_names


@pytest.fixture
def recording(tmp_path):
    """A mono sound in six channels."""
    generator = np.random.default_rng(0)
    sound = 0.1 * generator.standard_normal((8000, 1)).repeat(6, axis=1)
    soundfile.write(tmp_path / "a.wav", sound, 16000)
    return str(tmp_path / "a.wav")


def printed(capsys, *argv):
    assert main(["arrays", *map(str, argv)]) == 0
    return capsys.readouterr().out


def test_all_arrays_are_listed(capsys):
    lines = printed(capsys).splitlines()
    assert [line.split()[0] for line in lines[1:-5]] == array_names()
    rows = json.loads(printed(capsys, "--json"))["arrays"]
    kinect = next(row for row in rows if row["name"] == "kinect_v1")
    assert kinect["microphones"] == 4
    assert kinect["aperture_m"] == 0.226
    assert kinect["spans"] == "line"


def test_one_array_in_words(capsys):
    text = printed(capsys, "respeaker_usb")
    assert "of the device's 6 channels, 1,2,3,4 are the microphones" in text
    assert "exchanges that only a clap shows (--azimuth): 0-2, 1-3" in text
    assert "source: ODAS" in text
    # 6.4 cm squared over 8 x 343 m/s x 5 microseconds.
    assert "distance: cannot be told beyond 0.3 m" in text


def test_files_and_pictures(capsys, tmp_path):
    picture, out = tmp_path / "a.png", tmp_path / "a.json"
    text = printed(capsys, "dcase_tetra", "--picture", picture, "--output", out)
    assert picture.read_bytes()[1:4] == b"PNG"
    assert str(picture) in text and str(out) in text
    read = MicrophoneArray.resolve(out)
    assert torch.allclose(
        read.positions, MicrophoneArray.named("dcase_tetra").positions
    )


def test_a_recording_is_checked(capsys, recording):
    text = printed(capsys, "respeaker_usb", "--check", recording)
    assert "error: channels 1, 2, 3 and 4 are one signal" in text
    found = json.loads(
        printed(capsys, "respeaker_usb", "--check", recording, "--json")
    )["findings"]
    assert found[0]["kind"] == "doubled_channel"
    assert found[0]["channels"] == [1, 2, 3, 4]


def test_claps_write_the_array_as_it_stands(capsys, tmp_path):
    array = MicrophoneArray.resolve("circular:6x0.05")
    # Channel numbers run clockwise, against the formula.
    order = [0, 5, 4, 3, 2, 1]
    paths = []
    for azimuth in (0, 70):
        angle = np.deg2rad(azimuth)
        unit = np.array([np.cos(angle), np.sin(angle), 0])
        delays = 0.1 - array.positions[order].double().numpy() @ unit / 343
        time = np.arange(8000) / 16000
        sound = 0.5 * np.sinc(16000 * (time[:, None] - delays))
        paths.append(tmp_path / f"{azimuth}.wav")
        soundfile.write(paths[-1], sound, 16000, subtype="FLOAT")
    out = tmp_path / "mine.csv"
    options = ["--check", *paths, "--azimuth", 0, 70, "--output", out]
    text = printed(capsys, "circular:6x0.05", *options)
    assert "error: the array is mirrored" in text
    found = MicrophoneArray.resolve(out).positions
    assert torch.allclose(found, array.positions[order], atol=2e-3)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["respeker_usb"], "did you mean respeaker_usb"),
        (["--check", "a.wav"], "name the array"),
        (["uma8", "--azimuth", "3"], "give it, too"),
        (["uma8", "--check", "a.wav", "--elevation", "1"], "--azimuth"),
        (
            ["uma8", "--check", "a.wav", "--azimuth", "1", "2"],
            "--azimuth needs a value for each of the 1",
        ),
        (["uma8", "--check", "none.wav"], "does not exist"),
        (["uma8", "--output", "a.txt"], "written as such"),
    ],
)
def test_bad_input_is_one_line(capsys, argv, message):
    assert main(["arrays", *argv]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_folder_of_recordings(recording, tmp_path, capsys):
    (tmp_path / "broken.wav").write_text("no sound")
    line = ["arrays", "uma8", "--check", str(tmp_path)]
    assert main(line) == 2
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{recording}:\nerror: ")
    assert "1 of 2 recordings failed" in captured.err
    assert main([*line, "--json"]) == 2
    found = [json.loads(row) for row in capsys.readouterr().out.splitlines()]
    assert found[0]["findings"][0]["kind"] == "channel_count"
    assert "broken.wav" in found[1]["error"]


def test_arrays_are_not_replaced_unasked(tmp_path, capsys):
    path = str(tmp_path / "a.json")
    assert main(["arrays", "uma8", "--output", path]) == 0
    assert main(["arrays", "kinect_v1", "--output", path]) == 2
    assert "is there already; --force" in capsys.readouterr().err
    assert main(["arrays", "kinect_v1", "--output", path, "--force"]) == 0
    assert MicrophoneArray.resolve(path).name != "uma8"
