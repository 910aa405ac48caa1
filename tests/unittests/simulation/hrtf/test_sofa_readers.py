"""Reader of SOFA files, with their dialects and faults."""

import logging

import h5py
import numpy as np
import pytest
import torch

from spatial_brain.geometry import azel_to_unit, unit_to_azel
from spatial_brain.simulation.hrtf import load_hrtfs
from spatial_brain.simulation.hrtf.grid import (
    CIPIC_LATERALS,
    CIPIC_POLARS,
    interaural_to_unit,
)
from spatial_brain.simulation.hrtf.interpolation import ild, itd
from spatial_brain.simulation.hrtf.readers import read_sofa
from spatial_brain.simulation.hrtf.sphere import spherical_head_responses

CIPIC_GRID = interaural_to_unit(
    torch.tensor(CIPIC_LATERALS)[:, None], torch.tensor(CIPIC_POLARS)
)


def sofa_directions():
    """Azimuths and elevations of a small grid, degrees."""
    azimuth, elevation = [0.0], [90.0]
    for height in range(-60, 90, 15):
        count = 24 if abs(height) < 50 else 12
        azimuth += [360.0 / count * index for index in range(count)]
        elevation += [float(height)] * count
    return torch.tensor(azimuth), torch.tensor(elevation)


def write_sofa(path, *, exchange=False, receivers=(0.09, -0.09), **changes):
    """A spherical head as a SOFA file; ``changes`` replace variables."""
    azimuth, elevation = sofa_directions()
    responses = spherical_head_responses(
        azel_to_unit(azimuth, elevation), 16000, ear_angle=98.0
    )
    responses = responses.flip(1) if exchange else responses
    distance = torch.full_like(azimuth, 1.2)
    variables = {
        "Data.IR": (responses.numpy(), {}),
        "Data.SamplingRate": (np.array([16000.0]), {"Units": "hertz"}),
        "Data.Delay": (np.zeros((1, 2)), {}),
        "SourcePosition": (
            torch.stack((azimuth, elevation, distance), -1).numpy(),
            {"Type": "spherical", "Units": "degree, degree, metre"},
        ),
        "ListenerPosition": (np.zeros((1, 3)), {"Type": "cartesian"}),
        "ListenerView": (np.array([[1.0, 0, 0]]), {"Type": "cartesian"}),
        "ListenerUp": (np.array([[0, 0, 1.0]]), {"Type": "cartesian"}),
        "ReceiverPosition": (
            np.array([[0, place, 0] for place in receivers])[..., None],
            {"Type": "cartesian"},
        ),
    }
    kind = changes.pop("kind", "FIR")
    for name, content in changes.items():
        variables[name.replace("_", ".")] = content
    with h5py.File(path, "w") as file:
        file.attrs["DataType"] = np.bytes_(kind)
        for name, content in variables.items():
            if content is not None:
                file[name] = content[0]
                for key, value in content[1].items():
                    file[name].attrs[key] = np.bytes_(value)
    return path


def expected_sofa():
    direction = azel_to_unit(*sofa_directions())
    return direction, spherical_head_responses(direction, 16000, ear_angle=98.0)


def test_sofa_as_the_standard_has_it(tmp_path, caplog):
    direction, responses = expected_sofa()
    with caplog.at_level(logging.WARNING):
        head = read_sofa(write_sofa(tmp_path / "head.sofa"))
    assert (head.fs, head.name, head.repair) == (16000, "head", "")
    assert not caplog.records
    torch.testing.assert_close(
        head.directions.float(), direction, atol=1e-6, rtol=0
    )
    assert torch.equal(head.responses, responses)


def test_sofa_on_the_grid_of_cipic(tmp_path):
    heads = load_hrtfs(write_sofa(tmp_path / "head.sofa"), 16000)
    assert heads.subjects == ["head"]
    expected = spherical_head_responses(CIPIC_GRID, 16000, ear_angle=98.0)
    cue = itd(heads.responses[0], 16000) - itd(expected, 16000)
    assert cue.abs().median() < 3e-6 and cue.abs().max() < 30e-6
    level = ild(heads.responses[0]) - ild(expected)
    assert level.abs().median() < 0.3 and level.abs().max() < 2.0
    nearest = load_hrtfs(tmp_path, 16000, method="nearest")
    worse = itd(nearest.responses[0], 16000) - itd(expected, 16000)
    assert worse.abs().median() > 5 * cue.abs().median()


def test_sofa_with_cipics_own_directions_is_taken_as_it_is(tmp_path):
    grid = CIPIC_GRID.flatten(0, 1)
    responses = spherical_head_responses(grid, 16000)
    azimuth, elevation = unit_to_azel(grid)
    rounded = torch.stack((azimuth, elevation), -1).round(decimals=2)
    place = torch.nn.functional.pad(rounded, (0, 1), value=1.0)
    path = write_sofa(
        tmp_path / "subject_012.sofa",
        Data_IR=(responses.numpy(), {}),
        SourcePosition=(place.numpy(), {"Type": "spherical"}),
    )
    heads = load_hrtfs(path, 16000, dtype=torch.float64)
    assert heads.subjects == ["subject12"]
    assert torch.equal(heads.responses[0].flatten(0, 1), responses)


def test_sofa_whose_angles_run_clockwise(tmp_path, caplog):
    azimuth, elevation = sofa_directions()
    place = torch.stack((-azimuth % 360, elevation, azimuth * 0 + 1), -1)
    with caplog.at_level(logging.WARNING):
        head = read_sofa(
            write_sofa(
                tmp_path / "head.sofa",
                SourcePosition=(place.numpy(), {"Type": "spherical"}),
            )
        )
    direction, responses = expected_sofa()
    assert head.repair == "clockwise"
    assert "run clockwise" in caplog.text and "head.sofa" in caplog.text
    torch.testing.assert_close(
        head.directions.float(), direction, atol=1e-6, rtol=0
    )
    assert torch.equal(head.responses, responses)


def test_sofa_whose_ears_are_exchanged(tmp_path, caplog):
    direction, responses = expected_sofa()
    path = tmp_path / "head.sofa"
    with caplog.at_level(logging.WARNING):
        head = read_sofa(
            write_sofa(path, exchange=True, receivers=(-0.09, 0.09))
        )
    assert (
        head.repair
        == "ears exchanged"
        in caplog.text.replace("ears were", "ears")
    )
    assert torch.equal(head.responses, responses)
    torch.testing.assert_close(
        head.directions.float(), direction, atol=1e-6, rtol=0
    )
    # The data speaks against the position of the receivers alone.
    caplog.clear()
    head = read_sofa(write_sofa(path, receivers=(-0.09, 0.09)))
    assert head.repair == "" and "taken for the left ear" in caplog.text
    assert torch.equal(head.responses, responses)


def test_sofa_frames_and_delays(tmp_path):
    direction, responses = expected_sofa()
    path = tmp_path / "head.sofa"
    away = torch.tensor([0.5, -2.0, 1.5])
    # A listener at another place, turned to +y, with sources in metres.
    turned = torch.stack(
        (-direction[:, 1], direction[:, 0], direction[:, 2]), 1
    )
    cartesian = {"Type": "cartesian"}
    head = read_sofa(
        write_sofa(
            path,
            SourcePosition=((1.4 * turned + away).numpy(), cartesian),
            ListenerPosition=(away.numpy()[None], cartesian),
            ListenerView=(np.array([[90.0, 0, 1]]), {"Type": "spherical"}),
        )
    )
    torch.testing.assert_close(
        head.directions.float(), direction, atol=1e-5, rtol=0
    )
    # One loudspeaker in front of a head that turns: the other way round.
    azimuth, elevation = sofa_directions()
    level = elevation == 0
    view = azel_to_unit(-azimuth[level], 0.0).numpy()
    head = read_sofa(
        write_sofa(
            path,
            Data_IR=(responses[level].numpy(), {}),
            SourcePosition=(np.array([[0.0, 0, 2]]), {"Type": "spherical"}),
            ListenerView=(view, cartesian),
            ListenerUp=None,
        )
    )
    torch.testing.assert_close(
        head.directions.float(), direction[level], atol=1e-6, rtol=0
    )
    assert head.repair == ""
    delay = np.zeros((len(direction), 2))
    delay[:, 1] = 3.0
    head = read_sofa(write_sofa(path, Data_Delay=(delay, {})))
    assert head.responses.shape[-1] == responses.shape[-1] + 3
    late = head.responses[:, 1, 3:]
    torch.testing.assert_close(late, responses[:, 1], atol=1e-9, rtol=0)
    found = head.responses[:, 0, :-3]
    torch.testing.assert_close(found, responses[:, 0], atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "TF"}, 'data type TF; .*"FIR"'),
        ({"Data_IR": None}, "no variable Data.IR"),
        ({"SourcePosition": None}, "no variable SourcePosition"),
        ({"Data_IR": (np.ones((9, 4, 8)), {})}, r"Data.IR has shape \(9, 4"),
        ({"Data_IR": (np.full((205, 2, 8), np.nan), {})}, "NaN"),
        ({"Data_IR": (np.ones((9, 2, 8)), {})}, "do not make 9 directions"),
        (
            {"Data_IR": (np.ones((205, 2, 8)), {})},
            "not the responses of a head",
        ),
        ({"Data_SamplingRate": (np.array([8e3, 9e3]), {})}, "SamplingRate"),
        ({"Data_Delay": (np.array([[-1.0, 0]]), {})}, "Data.Delay"),
        ({"ListenerPosition": (np.ones((1, 3)), {"Type": "odd"})}, '"odd"'),
        ({"SourcePosition": (np.ones(3), {})}, r"SourcePosition has shape"),
    ],
)
def test_faulty_sofa_files(tmp_path, changes, message):
    azimuth, _ = sofa_directions()
    assert len(azimuth) == 205
    path = write_sofa(tmp_path / "bad.sofa", **changes)
    with pytest.raises(ValueError, match=rf"bad\.sofa: .*{message}"):
        read_sofa(path)


def test_sofa_that_is_no_sofa(tmp_path, caplog):
    path = tmp_path / "bad.sofa"
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match=r"bad\.sofa: not a SOFA file"):
        read_sofa(path)
    # Without directions on both sides nothing can be checked.
    azimuth, elevation = sofa_directions()
    responses = expected_sofa()[1][azimuth == 0]
    place = torch.stack((azimuth, elevation, azimuth + 1), -1)[azimuth == 0]
    write_sofa(
        path,
        Data_IR=(responses.numpy(), {}),
        SourcePosition=(place.numpy(), {"Type": "spherical"}),
    )
    assert read_sofa(path).repair == ""
    assert "could not be checked" in caplog.text
    with pytest.raises(ValueError, match=r"bad\.sofa: nothing was measured"):
        load_hrtfs(path, 16000)


def test_measured_room_responses_run_clockwise(shared_data):
    path = shared_data / "rir/surrey_brir/UniS_Room_A_BRIR_16k.sofa"
    head = read_sofa(path)
    assert head.repair == "clockwise"
    azimuth, _ = unit_to_azel(head.directions)
    # The first of the file is at 270 degrees, the left.
    torch.testing.assert_close(azimuth[0].item(), 90.0)
