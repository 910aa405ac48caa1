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
from spatial_brain.simulation.hrtf.sofa import read_sofa
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
    attributes = {"DataType": "FIR", **changes.pop("attributes", {})}
    for name, content in changes.items():
        variables[name.replace("_", ".")] = content
    with h5py.File(path, "w") as file:
        for name, value in attributes.items():
            file.attrs[name] = np.bytes_(value)
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


def test_sides_of_a_reverberant_room_are_those_of_the_direct_sound(tmp_path):
    """Reverberation 20 dB above the direct sound is the same at both ears."""
    responses = torch.nn.functional.pad(expected_sofa()[1], (0, 8000))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(responses.shape, generator=generator)
    noise[..., :300] = 0.0
    level = responses.square().sum(-1).mean().sqrt() * 10 / 7700**0.5
    values = (responses + level * noise).numpy()
    path = write_sofa(tmp_path / "room.sofa", Data_IR=(values, {}))
    assert read_sofa(path).repair == ""


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


COUNT = len(sofa_directions()[0])
SPHERICAL = {"Type": "spherical", "Units": "degree, degree, metre"}
CARTESIAN = {"Type": "cartesian", "Units": "metre"}


def ones(*shape, value=1.0, **attributes):
    return np.full(shape, value), attributes


def spherical(scale=(1.0, 1.0, 1.0), offset=(0.0, 0.0, 0.0), **attributes):
    """Positions of the sources, changed."""
    azimuth, elevation = sofa_directions()
    place = torch.stack((azimuth, elevation, azimuth * 0 + 1.2), -1)
    place = place * torch.tensor(scale) + torch.tensor(offset)
    return place.numpy(), {**SPHERICAL, **attributes}


def responses_with(value, where=np.s_[:]):
    """Responses of the head, some of them replaced."""
    values = expected_sofa()[1].numpy().copy()
    values[where] = value
    return values, {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attributes": {"DataType": "TF"}}, 'data type TF; .*"FIR"'),
        ({"attributes": {"DataType": ""}}, "data type not given"),
        ({"attributes": {"Conventions": "CF-1.8"}}, 'Conventions is "CF-1.8"'),
        (
            {"attributes": {"SOFAConventions": "SimpleHeadphoneIR"}},
            "SimpleHeadphoneIR",
        ),
        ({"Data_IR": None}, "no variable Data.IR"),
        ({"SourcePosition": None}, "no variable SourcePosition"),
        ({"Data_SamplingRate": None}, "no variable Data.SamplingRate"),
        (
            {
                "ListenerPosition": None,
                "SourcePosition": ones(COUNT, 3, **CARTESIAN),
            },
            "no variable ListenerPosition",
        ),
        # Shapes.
        ({"Data_IR": ones(9, 4, 8)}, r"Data.IR has shape \(9, 4"),
        ({"Data_IR": ones(COUNT, 1, 8)}, r"Data.IR has shape .* two receivers"),
        ({"Data_IR": ones(COUNT, 2)}, r"Data.IR has shape"),
        ({"Data_IR": ones(0, 2, 8)}, "Data.IR is empty"),
        ({"Data_IR": (np.bytes_("text"), {})}, "Data.IR does not hold numbers"),
        ({"Data_IR": ones(9, 2, 8)}, "does not make 9 directions"),
        ({"SourcePosition": ones(3)}, r"SourcePosition has shape"),
        ({"SourcePosition": ones(3, COUNT)}, r"SourcePosition has shape"),
        ({"ListenerPosition": ones(7, 3)}, r"ListenerPosition has shape \(7"),
        ({"ListenerView": ones(7, 3)}, r"ListenerView has shape \(7"),
        # Responses.
        ({"Data_IR": responses_with(np.nan, 3)}, "Data.IR holds NaN"),
        ({"Data_IR": responses_with(np.inf, 3)}, "Data.IR holds NaN"),
        ({"Data_IR": responses_with(0.0)}, "all zero at an ear in 205 of 205"),
        ({"Data_IR": responses_with(0.0, (7, 1))}, "ear in 1 of .* number 7"),
        (
            {"Data_IR": responses_with(1e7, (7, 1, 4))},
            "a peak of 1e.07 in .* 7",
        ),
        ({"Data_IR": ones(COUNT, 2, 8, value=1e12)}, "a peak of 1e.12"),
        ({"Data_IR": ones(COUNT, 2, 8)}, "the same response for both ears"),
        (
            {"SourcePosition": spherical(offset=(-90, 0, 0))},
            "SourcePosition.* are wrong",
        ),
        # Rates.
        *(
            ({"Data_SamplingRate": (np.array(rate), {})}, "SamplingRate is")
            for rate in (
                *([0.0], [-44100.0], [1e9], [44.1], [44100.5], [8e3, 9e3]),
            )
        ),
        *(
            ({"Data_SamplingRate": ones(1, value=rate)}, "SamplingRate holds")
            for rate in (np.nan, np.inf)
        ),
        ({"Data_SamplingRate": ones(1, value=16e3, Units="kHz")}, "16000 khz"),
        # Delays.
        ({"Data_Delay": (np.array([[-1.0, 0]]), {})}, "Data.Delay is -1 to 0"),
        ({"Data_Delay": ones(1, 2, value=1e6)}, "Data.Delay is 1e.06"),
        ({"Data_Delay": ones(1, 2, value=6e-4)}, "Data.Delay .* in seconds"),
        ({"Data_Delay": ones(COUNT, 2, value=np.nan)}, "Data.Delay holds NaN"),
        ({"Data_Delay": ones(2, COUNT)}, r"Data.Delay has shape \(2"),
        ({"Data_Delay": ones(2)}, r"Data.Delay has shape \(2,\)"),
        # Positions and their units.
        ({"SourcePosition": spherical((np.nan, 1, 1))}, "SourcePosition holds"),
        (
            {"SourcePosition": spherical(Units="radian, radian, metre")},
            'SourcePosition is spherical, in "radian, radian, metre"',
        ),
        (
            {"SourcePosition": spherical((np.pi / 180, np.pi / 180, 1))},
            "SourcePosition .* radians",
        ),
        (
            {"SourcePosition": spherical((1, -1, 1), (0, 90, 0))},
            "SourcePosition has elevations",
        ),
        (
            {"SourcePosition": spherical((3.0, 1, 1))},
            "SourcePosition has azimuths",
        ),
        (
            {"SourcePosition": spherical((1, 1, 1000))},
            "SourcePosition is 1200 to 1200 m .* in metres",
        ),
        (
            {"SourcePosition": spherical((1, 1, -1))},
            "SourcePosition has distances from -1.2",
        ),
        (
            {"SourcePosition": spherical(Units="degree, degree, millimetre")},
            "SourcePosition is spherical, in .*millimetre",
        ),
        (
            {"SourcePosition": spherical(Type="cartesian")},
            'SourcePosition is cartesian, in "degree',
        ),
        (
            {"SourcePosition": spherical(Units="metre")},
            'SourcePosition is spherical, in "metre"',
        ),
        (
            {"SourcePosition": spherical(Type="cartesian", Units="")},
            "SourcePosition is .* m from",
        ),
        ({"ListenerPosition": ones(1, 3, Type="odd")}, '"odd"'),
        (
            {
                "SourcePosition": spherical((1, 1, 0)),
                "ListenerPosition": ones(1, 3, **CARTESIAN),
            },
            "SourcePosition has distances of 0",
        ),
        ({"ListenerPosition": ones(1, 3, value=500.0)}, "m from Listener"),
        ({"ListenerUp": (np.array([[1.0, 0, 0]]), {})}, "and ListenerUp have"),
        ({"ListenerView": ones(1, 3, value=0.0)}, "ListenerView and"),
    ],
)
def test_faulty_sofa_files(tmp_path, changes, message):
    path = write_sofa(tmp_path / "bad.sofa", **changes)
    with pytest.raises(ValueError, match=rf"bad\.sofa: .*{message}") as caught:
        read_sofa(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"SourcePosition": spherical(Units="degrees, degrees, metres")},
        {"SourcePosition": spherical(Units="Degree,Degree,Meter")},
        {"SourcePosition": spherical(Units="degree")},
        {"SourcePosition": spherical(Units="")},
        {"SourcePosition": spherical((1, 1, 0))},
        {"SourcePosition": spherical(offset=(0, -1e-5, 0))},
        {"SourcePosition": spherical(Type="Spherical")},
        {"Data_SamplingRate": ones(COUNT, value=16e3, Units="Hz")},
        {"Data_Delay": ones(COUNT, 2, value=0.0)},
        {"Data_Delay": ones(1, 2, value=1e-12)},
        {"ListenerUp": (np.array([[0, 0, 1.0]]), {"Units": "degree"})},
        {"ListenerPosition": ones(1, 3, value=0.0, Type="spherical")},
        {
            "attributes": {
                "Conventions": "SOFA",
                "SOFAConventions": "GeneralFIR",
            }
        },
    ],
)
def test_dialects_of_sofa(tmp_path, changes, caplog):
    head = read_sofa(write_sofa(tmp_path / "head.sofa", **changes))
    direction, responses = expected_sofa()
    torch.testing.assert_close(
        head.directions.float(), direction, atol=1e-6, rtol=0
    )
    length = responses.shape[-1]
    torch.testing.assert_close(head.responses[..., :length], responses)
    assert not caplog.records


def test_what_a_sofa_file_leaves_open_is_in_the_log(tmp_path, caplog):
    place = spherical()[0]
    read_sofa(
        write_sofa(
            tmp_path / "head.sofa",
            SourcePosition=(place, {}),
            ListenerPosition=None,
        )
    )
    assert "head.sofa: SourcePosition has no Type" in caplog.text
    assert "head.sofa: no ListenerPosition; taken for the origin" in caplog.text


def test_damaged_sofa_files_end_in_one_clear_error(tmp_path):
    """Cut anywhere, or with changed bytes anywhere."""
    path = write_sofa(tmp_path / "head.sofa")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [whole[: len(whole) * part // 40] for part in range(40)]
    metadata = np.flatnonzero(np.frombuffer(whole[:20000], np.uint8))
    for _ in range(150):
        content = bytearray(whole)
        for place in rng.choice(metadata, rng.integers(1, 5)):
            content[place] = rng.choice((0, 255, int(rng.integers(256))))
        damaged.append(bytes(content))
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            assert read_sofa(path).responses.isfinite().all()
        except ValueError as error:
            refused += 1
            assert str(error).startswith(f"{path}: ")
            assert "\n" not in str(error)
    assert refused > 60


def test_sofa_files_refer_to_no_others_and_claim_no_memory(tmp_path):
    secret, path = tmp_path / "secret.sofa", tmp_path / "head.sofa"
    write_sofa(secret)
    write_sofa(path, Data_IR=None)
    with h5py.File(path, "a") as file:
        file["Data.IR"] = h5py.ExternalLink(str(secret), "Data.IR")
    with pytest.raises(ValueError, match="Data.IR refers to another file"):
        read_sofa(path)
    write_sofa(path, Data_IR=None)
    with h5py.File(path, "a") as file:
        raw = [(str(secret), 0, COUNT * 16)]
        file.create_dataset("Data.IR", (COUNT, 2, 1), "f8", external=raw)
    with pytest.raises(ValueError, match="Data.IR refers to another file"):
        read_sofa(path)
    write_sofa(path, Data_IR=None)
    with h5py.File(path, "a") as file:
        shape, chunks = (COUNT, 2, 1 << 40), (1, 1, 1024)
        file.create_dataset("Data.IR", shape, "f8", chunks=chunks)
    with pytest.raises(ValueError, match="Data.IR claims to hold the shape"):
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


def test_a_larger_head_does_the_same_at_lower_frequencies(tmp_path):
    path = write_sofa(tmp_path / "head.sofa")
    heads = load_hrtfs([str(path), "sphere"], 16000, sizes=(1.0, 1.1))
    names = ["head", "head-size1.1", "subject03"]
    assert heads.subjects[:3] == names and len(heads) == 47
    one, larger = (heads.responses[index].double() for index in (0, 1))
    lateral = CIPIC_LATERALS.index(45)
    ratio = itd(larger[lateral, 8], 16000) / itd(one[lateral, 8], 16000)
    assert abs(ratio.item() - 1.1) < 0.01
    spectra = [
        torch.fft.rfft(x[::6, ::10], n=11000).abs() for x in (one, larger)
    ]
    # 1.1 times the frequency of the one is that of the other; 0.5 to 5 kHz.
    index = torch.arange(350, 3500, 10)
    wanted = spectra[0][..., index * 11 // 10]
    ratio = spectra[1][..., index] / wanted
    assert (ratio / ratio.mean() - 1).abs().max() < 0.01
    few = load_hrtfs(
        [str(path), "sphere"], 16000, subjects=names[2:0:-1], sizes=(1.0, 1.1)
    )
    assert few.subjects == names[2:0:-1]
    length = few.responses.shape[-1]
    assert torch.equal(few.responses[1], heads.responses[1, ..., :length])
