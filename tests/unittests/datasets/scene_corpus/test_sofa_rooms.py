"""Rooms of SOFA files: labels are where the sound comes from."""

import csv

import h5py
import numpy as np
import pytest
import torch

from spatial_brain.dataio.annotations import read_events
from spatial_brain.dataio.audio import read_audio
from spatial_brain.dataio.files import read_json
from spatial_brain.datasets.scene_corpus.generate import generate_corpus
from spatial_brain.datasets.scene_corpus.measured_rooms import find_rooms
from spatial_brain.datasets.scene_corpus.options import scene_options
from spatial_brain.geometry import (
    SPEED_OF_SOUND,
    angular_distance,
    azel_to_unit,
    rotation_matrix,
)
from spatial_brain.simulation.ambisonics import foa_gains, intensity_direction
from spatial_brain.simulation.hrtf.sofa import read_room_sofa
from spatial_brain.simulation.sound_scenes.rigid_sphere import capsule_response

LISTENER, YAW = np.array([2.0, 1.0, 1.5]), 30.0
AZIMUTHS = np.arange(-90, 91, 5)


def options(responses, **changes):
    return scene_options(
        {
            "scenes": 2,
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


def direct(form, direction, fs):
    """Responses that are the direct sound of sources at 1.5 m, [M, 4, N]."""
    delay = 1.5 / SPEED_OF_SOUND * fs
    if form == "foa":
        response = torch.zeros(len(direction), 4, 600)
        response[..., round(delay)] = foa_gains(direction)
        return response
    one = torch.ones(1)
    return torch.stack(
        [
            capsule_response(row[None], delay * one, one, 600, fs)
            for row in direction
        ]
    )


def write_room(path, form="foa", *, fs=24000, sign=1, layout=None, **changes):
    """A room whose listener stands aside and looks aside."""
    direction = azel_to_unit(torch.from_numpy(AZIMUTHS).float(), 10.0)
    responses = direct(form, direction, fs)
    turn = rotation_matrix(yaw=YAW).double()
    mirrored = direction.double() * torch.tensor([1, sign, 1])
    metre = {"Type": "cartesian", "Units": "metre"}
    variables = {
        "Data.IR": (responses.numpy(), layout or {}),
        "Data.SamplingRate": (np.array([float(fs)]), {"Units": "hertz"}),
        "SourcePosition": (
            (1.5 * mirrored @ turn.T).numpy() + LISTENER,
            metre,
        ),
        "ListenerPosition": (LISTENER[None], metre),
        "ListenerView": ((turn[:, 0]).numpy()[None], metre),
        "ListenerUp": (np.array([[0, 0, 1.0]]), metre),
        **changes,
    }
    kind = variables.pop("kind", "FIR")
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs["DataType"] = np.bytes_(kind)
        for name, (values, attributes) in variables.items():
            file[name] = values
            for key, value in attributes.items():
                file[name].attrs[key] = np.bytes_(value)
    return path


@pytest.mark.parametrize("moving", [0, 1.0])
def test_foa_points_to_the_labels(tmp_path, moving):
    # Of another rate than the scenes.
    path = write_room(tmp_path / "hall.sofa", fs=48000)
    corpus = tmp_path / "corpus"
    generate_corpus(options(path, moving=moving, speeds=[20]), corpus)
    seen = set()
    for audio in (corpus / "foa").iterdir():
        labels = read_events(corpus / "metadata" / f"{audio.stem}.csv")
        record = read_json(corpus / "scenes" / f"{audio.stem}.json")
        assert record["measured_room"] == "hall"
        assert set(labels.elevation) == {10}
        assert np.allclose(labels.distance, 1.5, atol=0.01)
        seen |= set(labels.azimuth)
        foa = read_audio(audio)[0].double()
        errors = []
        for frame, azimuth in zip(labels.frame, labels.azimuth, strict=True):
            part = foa[frame * 2400 : (frame + 1) * 2400]
            if part[:, 0].square().mean() > 1e-5:
                true = azel_to_unit(azimuth, 10.0).double()
                found = intensity_direction(part)
                errors.append(float(angular_distance(found, true)))
        assert np.median(errors) < 1.0 and max(errors) < 3.0
    if moving:
        assert len(seen) > 10
    else:
        assert seen <= set(AZIMUTHS.tolist())


def test_formats_of_a_room_are_files_of_its_name(tmp_path):
    for form in ("foa", "mic"):
        write_room(tmp_path / "rooms" / f"gym_{form}.sofa", form)
    wanted = options(tmp_path / "rooms", formats=["mic", "foa"])
    [room] = find_rooms(wanted)
    assert room.name == "gym"
    assert room.reader("mic", 3).shape == room.reader("foa", 3).shape
    assert not torch.equal(room.reader("mic", 3), room.reader("foa", 3))
    by_pattern = options(
        tmp_path / "rooms" / "gym_{format}.sofa", formats=["mic", "foa"]
    )
    assert np.array_equal(find_rooms(by_pattern)[0].offsets, room.offsets)
    (tmp_path / "rooms" / "gym_mic.sofa").unlink()
    with pytest.raises(FileNotFoundError, match="gym has no SOFA file .* mic"):
        find_rooms(options(tmp_path / "rooms", formats=["foa", "mic"]))


@pytest.mark.parametrize("form", ["foa", "mic"])
def test_angles_that_run_clockwise_are_named(tmp_path, form):
    path = write_room(tmp_path / "hall.sofa", form, sign=-1)
    with pytest.raises(
        ValueError, match=r"clockwise\. Write responses_azimuth: clockwise"
    ):
        find_rooms(options(path, formats=[form]))
    [room] = find_rooms(
        options(path, formats=[form], responses_azimuth="clockwise")
    )
    direction = azel_to_unit(torch.from_numpy(AZIMUTHS).float(), 10.0)
    assert np.allclose(room.offsets, 1.5 * direction.numpy(), atol=1e-5)
    [room] = find_rooms(
        options(path, formats=[form], responses_azimuth="counterclockwise")
    )
    assert np.allclose(room.offsets[0, 1], 1.5 * np.cos(np.radians(10)))


@pytest.mark.parametrize("kind", ["FIR-E", "FIRE"])
def test_emitters_are_places(tmp_path, kind):
    direction = azel_to_unit(torch.from_numpy(AZIMUTHS).float(), 10.0)
    responses = direct("foa", direction, 24000).numpy()[None]
    responses = np.moveaxis(responses, 1, {"FIR-E": 3, "FIRE": 2}[kind])
    metre = {"Type": "cartesian", "Units": "metre"}
    delay = np.arange(4 * len(AZIMUTHS)).reshape(1, 4, -1) * 0 + 7.0
    path = write_room(
        tmp_path / "hall.sofa",
        kind=kind,
        **{
            "Data.IR": (responses, {}),
            "Data.Delay": (delay, {}),
            "SourcePosition": (LISTENER[None], metre),
            "EmitterPosition": (1.5 * direction.numpy()[..., None], metre),
            "ListenerView": (np.array([[1.0, 0, 0]]), metre),
        },
    )
    room = read_room_sofa(path, 4)
    assert np.allclose(room.offsets, 1.5 * direction, atol=1e-5)
    arrival = room.responses[:, 0].abs().argmax(-1)
    assert set(arrival.tolist()) == {round(1.5 / SPEED_OF_SOUND * 24000) + 7}
    found = room.responses[torch.arange(len(arrival)), :, arrival]
    assert torch.allclose(found, foa_gains(direction), atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "form", "message"),
    [
        ({}, "binaural", "take the format that was measured"),
        ({"layout": {"Normalization": "n3d"}}, "foa", "Convert it to ACN"),
        ({"kind": "TF"}, "foa", "data type TF"),
        (
            {
                "SourcePosition": (
                    np.array([[0.0, 0, 0]]),
                    {"Type": "spherical", "Units": "degree, degree, metre"},
                ),
                "ListenerPosition": (np.zeros((1, 3)), {"Type": "cartesian"}),
            },
            "foa",
            "has no distances, which dialect starss23",
        ),
    ],
)
def test_files_that_cannot_be_used(tmp_path, changes, form, message):
    path = write_room(tmp_path / "hall.sofa", **changes)
    with pytest.raises(ValueError, match=message) as problem:
        find_rooms(options(path, formats=[form]))
    assert "hall.sofa" in str(problem.value)


def test_formats_measured_at_other_places(tmp_path):
    write_room(tmp_path / "gym_foa.sofa")
    write_room(tmp_path / "gym_mic.sofa", "mic", sign=-1)
    with pytest.raises(ValueError, match="are not those of"):
        find_rooms(options(tmp_path, formats=["foa", "mic"]))


def test_measured_ears(shared_data, tmp_path, caplog):
    """Surrey's room A, whose angles run clockwise: the near ear is louder."""
    folder = shared_data / "rir/surrey_brir"
    wanted = options(
        folder, formats=["binaural"], moving=0.5, sample_rate=16000
    )
    generate_corpus(wanted, tmp_path)
    assert "azimuths are taken to run clockwise" in caplog.text
    sides = []
    for path in (tmp_path / "binaural").iterdir():
        labels = read_events(tmp_path / "metadata" / f"{path.stem}.csv")
        assert set(labels.elevation) == {0} and np.allclose(
            labels.distance, 1.5
        )
        ears = read_audio(path)[0]
        for frame, azimuth in zip(labels.frame, labels.azimuth, strict=True):
            left, right = (
                ears[frame * 1600 : (frame + 1) * 1600].square().mean(0)
            )
            if abs(azimuth) > 30 and left + right > 1e-5:
                sides.append(bool(left > right) == (azimuth > 0))
    assert np.mean(sides) > 0.9


@pytest.mark.parametrize("sign", [1, -1])
def test_measured_array(shared_data, tmp_path, sign):
    """R3VIVAL's angles as its manifest has them, and those of its files."""
    folder = shared_data / "rir/r3vival"
    with open(folder / "array_geometry.csv", newline="") as file:
        array = [
            [float(row[f"{axis}_m"]) for axis in "xyz"]
            for row in csv.DictReader(file)
        ]
    lines = ["path,azimuth,elevation,distance,condition"]
    with open(folder / "manifest.csv", newline="") as file:
        for row in csv.DictReader(file):
            if row["condition"] == "100" and row["azimuth_deg"]:
                azimuth = sign * float(row["azimuth_deg"])
                lines.append(
                    f"{shared_data / row['path']},{azimuth},0,"
                    f"{row['distance_m']},{row['condition']}"
                )
    table = tmp_path / "table.csv"
    table.write_text("\n".join(lines))
    wanted = options(table, formats=["array"], array=array, scenes=1)
    if sign < 0:
        with pytest.raises(ValueError, match="seem to run clockwise"):
            find_rooms(wanted)
        return
    generate_corpus(wanted, tmp_path / "corpus")
    [path] = (tmp_path / "corpus" / "array").iterdir()
    assert read_audio(path)[0].shape == (72000, 7)
