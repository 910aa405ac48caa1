import shutil

import h5py
import numpy as np
import pytest
import torch
from array_delays import worst_delay_error

from spatial_brain.datasets.real_arrays.registry import open_corpus
from spatial_brain.datasets.real_arrays.responses.dechorate import (
    ANNOTATIONS,
    RESPONSES,
    STATES,
    find_noise,
)
from spatial_brain.datasets.real_arrays.synthetic.dechorate import (
    write_synthetic_dechorate,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "dEchorate"
    write_synthetic_dechorate(
        folder, rooms=STATES, fs=1000, duration=0.03, noise_sources=6
    )
    return folder


@pytest.fixture
def copied(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "dEchorate")


@pytest.fixture
def fine(tmp_path):
    write_synthetic_dechorate(
        tmp_path / "dEchorate", rooms=["020002"], duration=0.05, noises=[]
    )
    return tmp_path / "dEchorate"


def test_complete(whole):
    corpus = open_corpus("dEchorate", whole.parent)
    found = corpus.preflight()
    assert found.complete, found.line()
    assert found.found["pairs"] == 48
    assert list(corpus.rooms) == list(STATES)
    assert corpus.rooms["000000"].size == pytest.approx((5.705, 5.965, 2.355))
    assert len(corpus.responses("train")) == 11 * 3 * 6
    assert corpus.responses("val") == corpus.noises("test") == []
    assert corpus.responses()[0].id == "000000/A1/SP1_MP"


def test_values_and_physics(fine):
    corpus = open_corpus("dEchorate", fine)
    for response in corpus.responses():
        waveform, fs = corpus.read_response(response)
        assert waveform.shape == (5, 800) and fs == 16000
        assert worst_delay_error(response, waveform, fs) < 1
    [response] = [r for r in corpus.responses() if r.id == "020002/A3/SP2_MP"]
    with h5py.File(fine / RESPONSES) as file:
        # The second omnidirectional source, without the loopback.
        written = file["rir/020002/7"][:, 10:15]
    assert np.array_equal(corpus.read_response(response)[0].T, written)


def test_each_array_has_its_own_distances(copied):
    with h5py.File(copied / ANNOTATIONS, "r+") as file:
        microphones = file["microphones"]
        last = microphones[:, 25:]
        centre = last.mean(axis=1, keepdims=True)
        microphones[:, 25:] = centre + 0.1 * (last - centre)
    corpus = open_corpus("dEchorate", copied)
    # From 2.55 cm on, none is 3 cm apart any more.
    assert [len(corpus.pairs(a)) for a in corpus.arrays] == [8] * 5 + [0]
    faulty = open_corpus("dEchorate", copied, compat=["array1_distances"])
    assert [len(faulty.pairs(a)) for a in faulty.arrays] == [8] * 6
    assert faulty.count_pairs() == 48


def test_noises_are_matched_and_read(whole):
    corpus = open_corpus("dEchorate", whole)
    noises = corpus.noises()
    response = corpus.responses()[7]
    matching = corpus.matching(response, noises)
    assert [noise.id for noise in matching] == [
        *(f"{response.room}/{response.array}/noise_{n}" for n in range(1, 7)),
        *(f"{response.room}/{response.array}/babble_{n}" for n in range(1, 5)),
        f"{response.room}/{response.array}/silence_1",
    ]
    noise = matching[3]
    segment = corpus.read_noise(noise, 2000, 2100)
    with h5py.File(whole / "dEchorate_noise_gzip7.hdf5") as file:
        written = file[f"noise/{noise.room}/3"][2000:2100, 5:10]
    assert noise.array == "A2" and np.array_equal(segment, written)
    with pytest.raises(ValueError, match="do not lie in its 7000"):
        corpus.read_noise(noise, 0, 7001)


def test_pauses_are_left_out(whole):
    corpus = open_corpus("dEchorate", whole)
    length = 7 * 1000
    for noise in corpus.noises()[::36]:
        start, stop = corpus.usable(noise)
        whole_is_used = noise.kind == "silence" or (
            noise.kind == "babble" and noise.room == "011111"
        )
        if whole_is_used:
            assert (start, stop) == (0, length)
            continue
        # The noise is from 1.6 to 5.4 s; 0.4 s are averaged.
        assert 1.6 * 1000 <= start <= 2.0 * 1000
        assert 5.0 * 1000 <= stop <= 5.4 * 1000
        level = corpus.read_noise(noise, start, stop).square().mean()
        assert level > 100 * corpus.read_noise(noise, 0, 1600).square().mean()


def test_detector_of_noise():
    generator = torch.Generator().manual_seed(0)
    recording = 0.01 * torch.randn(9000, 3, generator=generator)
    recording[2000:] += torch.randn(7000, 3, generator=generator)
    # Noise that does not end is used to its end.
    start, stop = find_noise(recording, 1000)
    assert 2000 <= start <= 2400 and stop == 9000
    with pytest.raises(ValueError, match="lasts 6 s"):
        find_noise(recording[:6000], 1000)
    recording[4000:] *= 0.001
    with pytest.raises(ValueError, match="more than 3 s are expected"):
        find_noise(recording, 1000)


def test_incomplete_and_damaged(copied):
    with h5py.File(copied / RESPONSES, "r+") as file:
        del file["rir/011110"], file["rir/000100/8"]
        del file["rir/001000/2"]
        file["rir/001000/2"] = np.zeros((60, 30))
    with h5py.File(copied / "dEchorate_noise_gzip7.hdf5", "r+") as file:
        del file["noise/000001/4"]
    cut = copied / "dEchorate_babble_gzip7.hdf5"
    cut.write_bytes(cut.read_bytes()[:4000])
    (copied / "dEchorate_silence_gzip7.hdf5").rename(
        copied / "dEchorate_silence_gz.hdf5"
    )
    corpus = open_corpus("dEchorate", copied)
    text = corpus.preflight().line()
    assert "10 of 11 rooms" in text
    assert "no rooms 011110; download it again" in text
    assert "8 sources in room 000100, expected 9" in text
    assert "rir/001000/2 has shape [60, 30], expected [samples, 31]" in text
    assert "not the 6 sources of rooms 000001, 011110" in text
    assert f"{cut}: damaged" in text
    assert (
        "no dEchorate_silence_gzip7.hdf5, but dEchorate_silence_gz.hdf5" in text
    )
    with pytest.raises(ValueError, match="damaged"):
        corpus.noises()


def test_recordings_cut_into_utterances_are_refused(copied):
    with h5py.File(copied / "dEchorate_noise.h5", "w") as file:
        file["noise/000000/0"] = np.zeros((100, 31, 2))
    with pytest.raises(ValueError, match="not the one cut into utterances"):
        open_corpus("dEchorate", copied).noises()


def test_elsewhere(copied):
    (copied / "sub").mkdir()
    corpus = open_corpus("dEchorate", copied / "sub")
    found = corpus.preflight()
    assert f"{ANNOTATIONS} lies in {copied}" in found.line()
    with pytest.raises(FileNotFoundError, match="give that folder"):
        corpus.responses()
    (copied / ANNOTATIONS).unlink()
    found = open_corpus("dEchorate", copied).preflight()
    assert f"no {ANNOTATIONS}; download it from" in found.line()
