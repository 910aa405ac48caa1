"""Arrays and heads of a corpus: found, checked, and recorded."""

import json

import pytest
import torch

from spatial_brain.dataio.audio import audio_info, read_audio
from spatial_brain.dataio.files import read_json
from spatial_brain.datasets.scene_corpus.check import (
    merge_corpus,
    verify_corpus,
)
from spatial_brain.datasets.scene_corpus.generate import (
    describe,
    generate_corpus,
)
from spatial_brain.datasets.scene_corpus.options import (
    read_scene_options,
    scene_options,
)
from spatial_brain.datasets.scene_corpus.receivers import find_array
from spatial_brain.datasets.scene_corpus.sounds import open_bank

SMALL = {
    "scenes": 2,
    "events": None,
    "classes": ["fire"],
    "duration": 1.0,
    "t60": 0,
    "moving": 0,
    "snr": 60,
    "sample_rate": 16000,
}
PAIR = [[0.0, 0.1, 0.0], [0.0, -0.1, 0.0]]


def options(**changes):
    return scene_options({**SMALL, **changes})


def test_all_formats(tmp_path):
    formats = ["sum", "binaural", "array", "mic", "foa"]
    wanted = options(formats=formats, array=PAIR)
    line = describe(wanted, open_bank(wanted))
    assert "2 omnidirectional microphones" in line
    assert "45 heads of sphere" in line
    generate_corpus(wanted, tmp_path)
    channels = {"sum": 1, "binaural": 2, "array": 2, "mic": 4, "foa": 4}
    for form, number in channels.items():
        infos = [audio_info(path) for path in (tmp_path / form).iterdir()]
        assert [info.num_channels for info in infos] == [number] * 2
    records = [read_json(path) for path in (tmp_path / "scenes").iterdir()]
    assert len({record["head"] for record in records}) == 2
    merge_corpus(tmp_path)
    assert verify_corpus(tmp_path) == []


def test_delays_of_a_pair_are_those_of_the_labels(tmp_path):
    generate_corpus(options(formats=["array"], array=PAIR, overlap=1), tmp_path)
    for path in (tmp_path / "scenes").iterdir():
        [event] = read_json(path)["events"]
        place = torch.tensor(event["from_array"][0])
        left, right = (place - torch.tensor(PAIR)).norm(dim=-1)
        wanted = float(right - left) / 343 * 16000
        waveform, _ = read_audio(tmp_path / "array" / f"{path.stem}.flac")
        spectrum = torch.fft.rfft(waveform.T, n=2**16)
        cross = torch.fft.irfft(spectrum[1] * spectrum[0].conj(), n=2**16)
        lag = int(cross[torch.arange(-12, 13)].argmax()) - 12
        assert abs(lag - wanted) < 0.75


def test_faults_are_those_of_the_array_and_change_nothing_else(tmp_path):
    given = {"formats": ["array", "mic"], "array": PAIR}
    faults = {"gain": 3, "polarity": [1], "position": 1, "noise": 50}
    for name, more in (("a", {}), ("b", {"faults": faults})):
        generate_corpus(options(**given, **more), tmp_path / name)
    [first, second] = [
        read_json(path)
        for path in sorted((tmp_path / "b" / "scenes").iterdir())
    ]
    assert first["faults"]["gain"] != second["faults"]["gain"]
    assert first["faults"]["polarity"] == [1]
    file = f"{first['name']}.flac"
    clean, spoilt = (
        read_audio(tmp_path / name / "array" / file)[0] for name in "ab"
    )
    ratio = (spoilt * clean).sum(0) / clean.square().sum(0)
    level = 10 ** (torch.tensor(first["faults"]["gain"]) / 20)
    assert ratio[0] > 0 > ratio[1]
    # The places differ by millimetres, and noise has been added.
    assert torch.allclose(ratio[0] / -ratio[1], level[0] / level[1], rtol=0.1)
    mic = [(tmp_path / name / "mic" / file).read_bytes() for name in "ab"]
    assert mic[0] == mic[1]


def test_arrays_by_name_and_file(tmp_path):
    named = options(formats=["array"], array="ace_lin8ch")
    assert len(find_array(named)) == 8
    (tmp_path / "pair.json").write_text(
        json.dumps({"name": "mine", "positions": PAIR})
    )
    path = tmp_path / "scenes.yaml"
    text = json.dumps({**SMALL, "formats": ["array"], "array": "pair.json"})
    path.write_text(text)
    wanted = read_scene_options(path)
    assert find_array(wanted).name == "mine"
    generate_corpus(wanted, tmp_path / "corpus")
    (tmp_path / "pair.json").write_text(
        json.dumps({"positions": [[0, 0.2, 0], [0, -0.2, 0]]})
    )
    with pytest.raises(ValueError, match="was made with array"):
        generate_corpus(wanted, tmp_path / "corpus")
    # What was written can be checked without the file.
    (tmp_path / "pair.json").unlink()
    assert verify_corpus(tmp_path / "corpus") == []


def test_arrays_by_formula(tmp_path):
    path = tmp_path / "scenes.yaml"
    values = {**SMALL, "formats": ["array"], "array": "circular:5x0.05"}
    path.write_text(json.dumps(values))
    array = find_array(read_scene_options(path))
    assert array.name == "circular:5x0.05" and len(array) == 5
    assert torch.allclose(array.positions.norm(dim=1), torch.tensor(0.05))
    values["array"] = "circular:5x5"
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match="circular:5x5 does not fit into"):
        find_array(read_scene_options(path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"formats": ["array"]}, "both the format 'array' and the key"),
        ({"array": PAIR}, "both the format 'array' and the key"),
        ({"faults": "gain=1"}, "those of the format 'array'"),
        ({"faults": {"hum": 1}}, "no fault hum; known: gain"),
        ({"formats": ["array"], "array": 3}, "array is 3, expected a name"),
        ({"formats": ["array"], "array": [[1, 2]]}, "array is .*expected"),
    ],
)
def test_wrong_options(changes, message):
    with pytest.raises(ValueError, match=message):
        options(**changes)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ([[0, 0, 0], [0, 0, 2.2]], "does not fit into rooms"),
        ([[0, 0, 0], [0, 1.6, 0]], "min_distance 0.7 must be larger"),
        ("nowhere.json", "nowhere.json: no such file"),
        ("lin8", "no array named 'lin8'; .*ace_lin8ch"),
    ],
)
def test_arrays_that_cannot_be(tmp_path, array, message):
    wanted = options(formats=["array"], array=array)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        generate_corpus(wanted, tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()


def test_missing_heads_are_named(tmp_path):
    wanted = options(formats=["binaural"], head=str(tmp_path / "no.sofa"))
    with pytest.raises(FileNotFoundError, match="no.sofa"):
        generate_corpus(wanted, tmp_path / "corpus")
