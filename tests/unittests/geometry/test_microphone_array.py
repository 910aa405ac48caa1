import json

import h5py
import numpy as np
import pytest
import torch

from spatial_brain.geometry import (
    MicrophoneArray,
    array_names,
    azel_to_unit,
    circular_array,
    linear_array,
    tetrahedral_array,
    unit_to_azel,
)

# Unordered pairs 0.03 to 0.2 m apart, of exact positions.
PAIRS = {
    "locata_dicit": 20,
    "locata_benchmark2": 61,
    "locata_eigenmike": 416,
    "ace_chromebook": 1,
    "ace_mobile": 3,
    "ace_lin8ch": 18,
    "dcase_tetra": 6,
    "mc_wsj_av": 28,
    "libricss": 21,
    "ami": 28,
    "aishell4": 28,
    "alimeeting": 28,
    "realman": 480,
}


@pytest.mark.parametrize(
    ("positions", "dimensions", "word"),
    [
        ([[1.0, 2, 3]], 0, "every"),
        (linear_array(4, 0.1), 1, "cone"),
        (circular_array(6, 0.05), 2, "mirrored"),
        (tetrahedral_array(), 3, "none"),
    ],
)
def test_what_an_array_cannot_tell(positions, dimensions, word):
    array = MicrophoneArray(positions)
    assert array.dimensions == dimensions
    assert word in array.ambiguity


@pytest.mark.parametrize("name", array_names())
def test_named_arrays(name):
    array = MicrophoneArray.named(name)
    assert array.name == name
    assert array.source
    apart = array.distances + torch.eye(len(array))
    assert apart.min() > 0.008, "two microphones in one place"
    if name in PAIRS:
        assert len(array.pairs(0.03, 0.2)) == PAIRS[name]


def test_eigenmike_lies_on_its_sphere_and_has_32_places():
    positions = MicrophoneArray.named("locata_eigenmike").positions
    assert torch.allclose(positions.norm(dim=1), torch.tensor(0.042))
    azimuth, elevation = unit_to_azel(positions[[5, 7]])
    assert azimuth.tolist() == pytest.approx([45, 45], abs=1e-3)
    assert elevation.tolist() == pytest.approx([35, -35], abs=1e-3)


def test_devices_are_as_their_sources_describe():
    kinect = MicrophoneArray.named("kinect_v1").distances[0]
    assert kinect.tolist() == pytest.approx([0, 0.149, 0.189, 0.226], abs=1e-6)
    eye = MicrophoneArray.named("playstation_eye").distances
    assert eye[0].tolist() == pytest.approx([0, 0.04, 0.02, 0.06], abs=1e-6)
    uma = MicrophoneArray.named("uma16")
    assert len(uma.pairs(0.0419, 0.0421)) == 24
    assert uma.positions[:, 0].abs().max() == 0
    creator = MicrophoneArray.named("matrix_creator")
    assert len(creator.pairs(0.0400, 0.0403)) == 8
    tetramic = MicrophoneArray.named("tetramic").positions
    assert tetramic.abs().flatten().tolist() == pytest.approx(
        [0.0085] * 12, abs=2e-4
    )


def test_pairs_against_a_loop():
    generator = torch.Generator().manual_seed(0)
    positions = torch.rand(9, 3, generator=generator) * 0.3
    array = MicrophoneArray(positions)
    expected = [
        [i, j]
        for i in range(9)
        for j in range(9)
        if i != j and 0.03 <= float((positions[i] - positions[j]).norm()) <= 0.2
    ]
    assert array.pairs(0.03, 0.2, ordered=True).tolist() == expected
    assert array.pairs(0.03, 0.2).tolist() == [
        p for p in expected if p[0] < p[1]
    ]


def test_bounds_of_pairs_are_included():
    array = MicrophoneArray(linear_array(8, 0.03))
    assert len(array.pairs(0.03, 0.06)) == 7 + 6


def write_sofa(path, positions, kind="cartesian"):
    with h5py.File(path, "w") as file:
        variable = file.create_dataset(
            "ReceiverPosition", data=np.asarray(positions)[..., None]
        )
        variable.attrs["Type"] = np.bytes_(kind)


def test_files_of_three_kinds(tmp_path):
    array = MicrophoneArray.named("ace_mobile")
    (tmp_path / "a.json").write_text(json.dumps(array.as_dict()))
    rows = [",".join(f"{v:.7f}" for v in p) for p in array.positions.tolist()]
    (tmp_path / "a.csv").write_text("\n".join(["x_m,y_m,z_m", *rows]))
    write_sofa(tmp_path / "a.sofa", array.positions.numpy())
    for suffix in ("json", "csv", "sofa"):
        read = MicrophoneArray.from_file(tmp_path / f"a.{suffix}")
        assert torch.allclose(read.positions, array.positions, atol=1e-7)
    assert MicrophoneArray.from_file(tmp_path / "a.json").front == array.front


@pytest.mark.parametrize("suffix", ["json", "csv", "sofa"])
def test_what_is_written_is_read(tmp_path, suffix):
    array = MicrophoneArray.resolve("respeaker_usb")
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(array.encode(path))
    read = MicrophoneArray.from_file(path)
    assert torch.allclose(read.positions, array.positions, atol=1e-7)
    if suffix == "json":
        assert read.as_dict() == array.as_dict()
        assert read.stream_channels == {6: [1, 2, 3, 4]}
    if suffix == "sofa":
        assert read.name == "respeaker_usb"
        with h5py.File(path, "r") as file:
            assert file.attrs["SOFAConventions"] == b"GeneralFIR"
            assert file["Data.IR"].shape == (1, 4, 1)
    with pytest.raises(ValueError, match="written as such, not as .txt"):
        array.encode("a.txt")


def test_channels_of_a_table_give_the_order(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("channel,name,x,y,z\n2,b,0.1,0,0\n1,a,0,0,0\n")
    array = MicrophoneArray.from_file(path)
    assert array.positions[:, 0].tolist() == pytest.approx([0, 0.1])


def test_spherical_receivers(tmp_path):
    path = tmp_path / "a.sofa"
    write_sofa(path, [[90.0, 0, 0.1], [0, 90, 0.2]], "spherical")
    expected = torch.stack(
        (0.1 * azel_to_unit(90.0, 0.0), 0.2 * azel_to_unit(0.0, 90.0))
    )
    found = MicrophoneArray.from_file(path).positions
    assert torch.allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "Expecting"),
        ("a.json", "[1]", "has no"),
        ("a.json", '{"positions": [[0, 0]]}', "three coordinates|\\[..., 3\\]"),
        ("a.json", '{"positions": [[0, 0, "a"]]}', "numbers"),
        ("a.json", '{"positions": []}', "coordinates|at least"),
        ("a.json", '{"positions": [[0,0,0],[0,0,0]]}', "coincide"),
        ("a.json", '{"positions": [[0,0,0],[0,0,50]]}', "metres"),
        ("a.json", '{"positions": [[0,0,0],[0,0,NaN]]}', "finite"),
        ("a.json", '{"positions": [[0,0,0]], "unit": "mm"}', "unknown key"),
        (
            "a.json",
            '{"positions": [[0,0,0]], "stream_channels": {"2": [2]}}',
            "stream of 2 channels",
        ),
        (
            "a.json",
            '{"positions": [[0,0,0]], "stream_channels": {"2": 1}}',
            "a.json",
        ),
        ("a.csv", "a,b\n1,2\n", "needs the columns"),
        ("a.csv", "", "needs the columns"),
        ("a.csv", "x,y,z\n1,2,q\n", "line 2"),
        ("a.csv", "x,y,z\n1,2\n", "line 2"),
        ("a.csv", "channel,x,y,z\n1,0,0,0\n1,1,0,0\n", "twice"),
        ("a.sofa", "no", "a.sofa"),
        ("a.txt", "no", "is read from"),
    ],
)
def test_what_is_no_array_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        MicrophoneArray.from_file(path)
    assert str(path) in str(caught.value)


def test_missing_file_and_unknown_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        MicrophoneArray.from_file(tmp_path / "none.json")
    with pytest.raises(ValueError, match="did you mean .*respeaker_.*known"):
        MicrophoneArray.named("respeaker")


def test_selection_of_channels():
    array = MicrophoneArray(linear_array(4, 0.1))
    assert array.select([3, 0]).positions[0, 0] == array.positions[3, 0]
    with pytest.raises(ValueError, match="from 0 to 3"):
        array.select([4])


def test_arrays_by_formula():
    line = MicrophoneArray.resolve("linear:4x0.05")
    assert line.positions[:, 1].tolist() == pytest.approx(
        [0.075, 0.025, -0.025, -0.075]
    )
    assert MicrophoneArray.resolve("pair:0.1").name == "pair:0.1"
    circle = MicrophoneArray.resolve("circular:6x0.0463").positions
    assert torch.allclose(circle, circular_array(6, 0.0463))
    assert len(MicrophoneArray.resolve("tetrahedral:0.02")) == 4
    for wrong in ("pair:4x0.1", "linear:0.1", "circular:1x1", "pair:0"):
        with pytest.raises(ValueError, match="such as pair:0.1"):
            MicrophoneArray.resolve(wrong)


def test_an_array_is_found_by_name_or_file(tmp_path):
    path = tmp_path / "mine.json"
    array = MicrophoneArray.resolve("realman")
    path.write_text(json.dumps(array.as_dict()))
    assert MicrophoneArray.resolve(path).front == array.front
    assert MicrophoneArray.resolve(array) is array
    with pytest.raises(FileNotFoundError, match="no such file"):
        MicrophoneArray.resolve(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="did you mean alimeeting"):
        MicrophoneArray.resolve("alimeting")
