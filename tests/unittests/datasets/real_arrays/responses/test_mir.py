import shutil

import numpy as np
import pytest
import scipy.io
import torch
from array_delays import worst_delay_error

from spatial_brain.datasets.real_arrays.registry import open_corpus
from spatial_brain.datasets.real_arrays.responses.mir import ANGLES, STEM
from spatial_brain.datasets.real_arrays.synthetic.mir import (
    write_synthetic_mir,
)

NAME = f"{STEM}_(Reverberation_{{}}s)_{{}}_{{}}_{{}}.mat"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "RIR" / "MIRDB"
    write_synthetic_mir(folder, angles=ANGLES, fs=8000, duration=0.02)
    return folder


@pytest.fixture
def copied(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "MIR")


def test_complete(whole):
    corpus = open_corpus("MIR", whole.parents[1])
    found = corpus.preflight()
    assert found.complete, found.line()
    assert found.found["pairs"] == 60
    assert [len(corpus.pairs(array)) for array in corpus.arrays] == [25, 22, 13]
    assert {n: r.t60 for n, r in corpus.rooms.items()} == {
        "R1": 0.16,
        "R2": 0.36,
        "R3": 0.61,
    }
    assert len(corpus.responses("train")) == 3 * 3 * 26
    assert corpus.responses("val") == [] and corpus.noises() == []
    assert corpus.responses()[0].id == "R1/3-3-3-8-3-3-3/SP1m-270_MP"
    assert len({response.id for response in corpus.responses()}) == 234


def test_values_and_physics(whole):
    corpus = open_corpus("MIR", whole)
    for response in corpus.responses()[::17]:
        waveform, fs = corpus.read_response(response)
        assert waveform.shape == (8, 160) and fs == 8000
        assert worst_delay_error(response, waveform, fs) < 1
    room, array, (distance, angle) = "0.360", "4-4-4-8-4-4-4", ("2m", "045")
    path = whole / STEM / NAME.format(room, array, distance, angle)
    written = scipy.io.loadmat(path)["impulse_response"]
    [response] = [
        r for r in corpus.responses() if r.id == f"R2/{array}/SP2m-045_MP"
    ]
    waveform, _ = corpus.read_response(response)
    assert np.allclose(written.T, waveform, atol=1e-7)
    assert torch.allclose(
        response.source, torch.tensor([2.0, 2.0, 0.0]) / 2**0.5
    )
    some, _ = corpus.read_channels(response, [5, 0])
    assert torch.equal(some, waveform[[5, 0]])


def test_responses_end_after_twice_the_t60(tmp_path):
    write_synthetic_mir(
        tmp_path / "MIR",
        times=["0.160"],
        arrays=["8-8-8-8-8-8-8"],
        distances=["1m"],
        angles=["000"],
        fs=8000,
        duration=0.5,
    )
    corpus = open_corpus("MIR", tmp_path)
    waveform, fs = corpus.read_response(corpus.responses()[0])
    assert waveform.shape == (8, int(2 * 0.16 * fs))


def test_incomplete_and_damaged(copied):
    for path in (copied / STEM).glob("*0.610*8-8-8-8*"):
        path.unlink()
    cut = copied / STEM / NAME.format("0.160", "3-3-3-8-3-3-3", "1m", "000")
    cut.write_bytes(cut.read_bytes()[:2000])
    wrong = copied / STEM / NAME.format("0.160", "3-3-3-8-3-3-3", "1m", "015")
    shutil.copy(
        copied / STEM / NAME.format("0.160", "4-4-4-8-4-4-4", "1m", "015"),
        wrong,
    )
    corpus = open_corpus("MIR", copied)
    found = corpus.preflight()
    assert not found.complete
    missing, damaged, renamed = found.problems
    assert "R3 (Reverberation_0.610s) with 8-8-8-8-8-8-8: 26 of 26" in missing
    assert corpus.url in missing
    assert str(cut) in damaged and "again" in damaged
    assert str(wrong) in renamed and "was it renamed?" in renamed
    [response] = [r for r in corpus.responses() if r.files == (cut,)]
    with pytest.raises(ValueError, match="damaged|cut"):
        corpus.read_response(response)


def test_channels_are_counted(copied):
    path = copied / STEM / NAME.format("0.360", "3-3-3-8-3-3-3", "2m", "090")
    content = scipy.io.loadmat(path)
    del content["__header__"], content["__version__"], content["__globals__"]
    content["impulse_response"] = content["impulse_response"][:, :7]
    scipy.io.savemat(path, content, appendmat=False)
    corpus = open_corpus("MIR", copied)
    [problem] = corpus.preflight().problems
    assert str(path) in problem and "[160, 7]" in problem
    [response] = [r for r in corpus.responses() if r.files == (path,)]
    with pytest.raises(ValueError, match="not \\[samples, 8\\]"):
        corpus.read_response(response)


def test_nothing_there(tmp_path, copied):
    empty = copied / "notes"
    empty.mkdir()
    [problem] = open_corpus("MIR", empty).preflight().problems
    assert f"lies in {copied}" in problem
    shutil.rmtree(copied)
    (copied / "other").mkdir(parents=True)
    found = open_corpus("MIR", tmp_path).preflight()
    assert "download it from https://www.eng.biu.ac.il" in found.line()
    with pytest.raises(FileNotFoundError, match="download it from"):
        open_corpus("MIR", tmp_path).responses()


def test_writer_refuses_what_would_not_be_found(tmp_path):
    with pytest.raises(ValueError, match="MIR has no 0.16, only 0.160, 0.360"):
        write_synthetic_mir(tmp_path / "MIR", times=[0.160])
    assert not list(tmp_path.iterdir())
