import shutil

import numpy as np
import pytest
from array_delays import worst_delay_error

from spatial_brain.datasets.real_arrays.registry import open_corpus
from spatial_brain.datasets.real_arrays.responses.meshrir import PART
from spatial_brain.datasets.real_arrays.synthetic.meshrir import (
    write_synthetic_meshrir,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "Mesh"
    write_synthetic_meshrir(folder, num_sources=32, fs=8000, duration=0.02)
    return folder


@pytest.fixture
def small(tmp_path):
    write_synthetic_meshrir(tmp_path / "MeshRIR", points=5, num_sources=3)
    return tmp_path / "MeshRIR"


@pytest.mark.parametrize(
    "compat, pairs", [(True, 8874), (["rounding"], 8874), (False, 8958)]
)
def test_complete(whole, compat, pairs):
    corpus = open_corpus("MeshRIR", whole.parent, compat=compat)
    found = corpus.preflight()
    assert found.complete, found.line()
    assert corpus.count_pairs() == pairs
    assert len(corpus.responses("train")) == 32
    assert corpus.responses("val") == []
    assert corpus.rooms["R1"].t60 == 0.19


def test_pairs_at_the_limit(small):
    corpus = open_corpus("MeshRIR", small)
    grid = np.array([[x, y] for x in range(5) for y in range(5)])
    squares = ((grid[:, None] - grid) ** 2).sum(-1)
    assert corpus.count_pairs() == ((squares >= 1) & (squares <= 16)).sum() / 2
    with pytest.raises(KeyError):
        corpus.pairs("A2")


def test_values_and_physics(small, monkeypatch):
    corpus = open_corpus("MeshRIR", small)
    response = corpus.responses()[2]
    assert response.id == "R1/A1/SP3_MP"
    waveform, fs = corpus.read_response(response)
    assert waveform.shape == (25, 800) and fs == 16000
    assert worst_delay_error(response, waveform, fs) < 1
    written = np.load(small / PART / "ir_7.npy")[2]
    assert np.array_equal(waveform[7].numpy(), written)
    opened = []
    load = np.load
    monkeypatch.setattr(
        np,
        "load",
        lambda path, **k: opened.append(path.name) or load(path, **k),
    )
    pair, _ = corpus.read_channels(response, [24, 7])
    assert np.array_equal(pair.numpy(), waveform[[24, 7]].numpy())
    assert opened == ["ir_24.npy", "ir_7.npy"]


def test_incomplete_and_damaged(small):
    for number in (3, 11):
        (small / PART / f"ir_{number}.npy").unlink()
    cut = small / PART / "ir_5.npy"
    cut.write_bytes(cut.read_bytes()[:-100])
    np.save(small / PART / "ir_6.npy", np.zeros((2, 800)))
    corpus = open_corpus("MeshRIR", small)
    found = corpus.preflight()
    text = found.line()
    assert "2 of 25 files are missing (ir_3.npy, ir_11.npy)" in text
    assert f"{cut}: damaged" in text
    assert "ir_6.npy: has shape [2, 800], expected [3, samples]" in text
    response = corpus.responses()[0]
    for channel, reason in ((3, "no ir_3"), (5, "damaged"), (6, "shape")):
        with pytest.raises((ValueError, FileNotFoundError), match=reason):
            corpus.read_channels(response, [channel])


def test_pickled_arrays_are_refused(small):
    harmful = np.array([{"code": 1}], dtype=object)
    np.save(small / PART / "pos_src.npy", harmful, allow_pickle=True)
    found = open_corpus("MeshRIR", small).preflight()
    assert "pos_src.npy: damaged" in found.line()


def test_elsewhere_or_renamed(small):
    found = open_corpus("MeshRIR", small / PART).preflight()
    assert f"lies in {small}" in found.line() and found.found == {}
    with pytest.raises(FileNotFoundError, match="give that folder"):
        open_corpus("MeshRIR", small / PART).responses()
    shutil.move(small / PART, small / "S32-M441")
    found = open_corpus("MeshRIR", small).preflight()
    assert "no S32-M441_npy, but S32-M441; rename it" in found.line()
    shutil.move(small / "S32-M441", small.parent / "elsewhere")
    found = open_corpus("MeshRIR", small).preflight()
    assert "download it from https://zenodo.org" in found.line()
