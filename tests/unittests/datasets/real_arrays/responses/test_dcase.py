import shutil

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from array_delays import worst_delay_error

from spatial_brain.dataio.audio import read_audio, write_audio
from spatial_brain.datasets.real_arrays.registry import open_corpus
from spatial_brain.datasets.real_arrays.responses.dcase import (
    AMBIENCE,
    NOISES,
    RESPONSES,
    ROOMS,
)
from spatial_brain.datasets.real_arrays.synthetic.dcase import (
    write_synthetic_dcase,
)
from spatial_brain.geometry import tetrahedral_array


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "DCASE"
    write_synthetic_dcase(folder, duration=0.03, noise_duration=0.5)
    return folder


@pytest.fixture
def copied(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "DCASE")


def test_found_and_split(whole):
    corpus = open_corpus("DCASE", whole.parent)
    found = corpus.preflight()
    assert found.problems == []
    assert found.found["rooms"] == found.found["noises"] == 9
    # Two trajectories, two heights, three points.
    assert found.found["responses"] == 9 * 12
    assert found.expected["responses"] == 38530 and not found.complete
    assert {r.room for r in corpus.responses("val")} == {"se203", "tb103"}
    assert {r.room for r in corpus.responses("train")} == {
        "bomb_shelter",
        "gym",
        "pb132",
        "pc226",
        "sa203",
        "sc203",
        "tc352",
    }
    assert {n.room for n in corpus.noises("val")} == {"se203", "tb103"}
    assert corpus.responses("test") == []
    assert "gym/tetra/SP2-1-3_MP" in {r.id for r in corpus.responses()}


def test_all_six_pairs_unless_degrees_are_read_as_radians(whole):
    corpus = open_corpus("DCASE", whole)
    assert torch.allclose(
        corpus.arrays["tetra"].positions, tetrahedral_array(), atol=1e-6
    )
    assert corpus.count_pairs() == 6
    faulty = open_corpus("DCASE", whole, compat=["angles"])
    assert faulty.pairs("tetra").tolist() == [[0, 3], [1, 2], [2, 3]]
    assert faulty.expected["pairs"] == 3
    # The fault chooses pairs; positions stay right.
    assert torch.equal(
        faulty.responses()[5].microphones, corpus.responses()[5].microphones
    )


def test_values_and_physics(whole):
    corpus = open_corpus("DCASE", whole)
    for response in corpus.responses()[::7]:
        waveform, fs = corpus.read_response(response)
        assert waveform.shape == (4, 720) and fs == 24000
        assert worst_delay_error(response, waveform, fs) < 1
    [response] = [
        r for r in corpus.responses() if r.id == "sc203/tetra/SP2-1-3_MP"
    ]
    with h5py.File(response.files[0]) as file:
        written = file[file["rirs/mic"][0, 1]][2]
    assert np.allclose(corpus.read_response(response)[0], written)
    pair, _ = corpus.read_channels(response, [3, 1])
    assert np.allclose(pair, written[[3, 1]])


def test_noise(whole):
    corpus = open_corpus("DCASE", whole)
    response = corpus.responses()[-1]
    [noise] = corpus.matching(response, corpus.noises())
    assert noise.room == response.room == "tc352" and noise.kind == "silence"
    assert corpus.usable(noise) == (0, 12000)
    segment = corpus.read_noise(noise, 100, 350)
    assert torch.equal(segment, read_audio(noise.files[0])[0][100:350])
    assert corpus.read_noise(noise).shape == (12000, 4)


def test_rooms_by_name_where_the_unpublished_one_is_listed(copied):
    corpus = open_corpus("DCASE", copied)
    sizes = {name: room.size for name, room in corpus.rooms.items()}
    assert sizes["sa203"] is None and sizes["se203"] is not None
    path = copied / RESPONSES / "measinfo.mat"
    table = scipy.io.loadmat(path)["measinfo"]
    extra = table[:1].copy()
    extra[0, 0]["dimensions"] = np.array([[9.0, 9.0, 9.0]])
    longer = np.concatenate((table[:6], extra, table[6:]))
    scipy.io.savemat(path, {"measinfo": longer}, appendmat=False)
    corpus = open_corpus("DCASE", copied)
    assert {n: r.size for n, r in corpus.rooms.items()} == sizes


def test_incomplete_and_damaged(copied):
    place = copied / RESPONSES
    (place / "rirs_02_gym.mat").unlink()
    (place / "rirs_03_pb132.mat").rename(place / "rirs_3_pb132.mat")
    cut = place / "rirs_04_pc226.mat"
    cut.write_bytes(cut.read_bytes()[:3000])
    with h5py.File(place / "rirs_05_sa203.mat", "r+") as file:
        name = file[file["rirs/mic"][0, 0]].name
        del file[name]
        data = file.create_dataset(name, data=np.zeros((3, 3, 720)))
        file["rirs/mic"][0, 0] = data.ref
    shutil.rmtree(copied / NOISES / "06_sc203_sahkotalo_classroom2")
    corpus = open_corpus("DCASE", copied)
    text = corpus.preflight().line()
    assert "7 of 9 rooms" in text and "8 of 9 noises" in text
    assert "gym is missing" in text and corpus.url in text
    assert "no rirs_03_pb132.mat, but rirs_3_pb132.mat; rename it" in text
    assert f"{cut}: damaged" in text
    assert "has shape (3, 3, 720), expected (3, 4, samples)" in text
    assert f"06_.../{AMBIENCE} of sc203" in text
    bad = [r for r in corpus.responses() if r.room in ("pc226", "sa203")]
    for response in (bad[0], bad[12]):
        with pytest.raises(ValueError, match=str(response.files[0])):
            corpus.read_response(response)


def test_elsewhere(copied):
    found = open_corpus("DCASE", copied / RESPONSES).preflight()
    assert f"{RESPONSES} lies in {copied}" in found.line()
    with pytest.raises(FileNotFoundError, match="give that folder"):
        open_corpus("DCASE", copied / RESPONSES).responses()
    shutil.move(copied / RESPONSES, copied / "TAU_SRIR_DB")
    found = open_corpus("DCASE", copied).preflight()
    assert "but TAU_SRIR_DB; rename it" in found.line()


def test_noise_with_other_channels(copied):
    room = next(iter(ROOMS))
    path = copied / NOISES / f"01_{room}" / AMBIENCE
    write_audio(path, torch.zeros(100, 2), 24000)
    found = open_corpus("DCASE", copied).preflight()
    assert f"{path}: has 2 channels" in found.line()
