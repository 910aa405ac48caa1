import shutil

import pytest
import torch

from spatial_brain.dataio.audio import read_audio, write_audio
from spatial_brain.datasets.real_arrays.registry import open_corpus
from spatial_brain.datasets.real_arrays.responses.butreverb import ROOMS
from spatial_brain.datasets.real_arrays.synthetic.butreverb import (
    sphere,
    write_synthetic_butreverb,
)
from spatial_brain.simulation.room_labels import first_arrival

ROOM = "VUT_FIT_L207"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "BUTReverb"
    write_synthetic_butreverb(folder, sources=1, seconds=0.4)
    return folder


@pytest.fixture
def copy(tree, tmp_path):
    return shutil.copytree(tree, tmp_path / "BUTReverb")


def test_a_complete_tree(tree):
    corpus = open_corpus("BUTReverb", tree.parent)
    found = corpus.preflight()
    assert found.problems == []
    assert found.line().startswith(
        f"BUTReverb in {tree}: 9 rooms, 1 arrays, 28 pairs, 9 of 51 responses"
    )
    assert corpus.expected["responses"] == 51
    val = {one.room for one in corpus.responses("val")}
    train = {one.room for one in corpus.responses("train")}
    assert val == {"VUT_FIT_E112"} and train == set(ROOMS) - val
    assert {n.room for n in corpus.noises("val")} == val
    assert corpus.responses("test") == []
    assert corpus.responses()[0].id == f"{ROOMS[0]}/spherical/SPSpkID01_MP"


def test_the_eight_of_the_sphere_in_their_order(tree):
    corpus = open_corpus("BUTReverb", tree)
    [one] = [r for r in corpus.responses() if r.room == ROOM]
    waveform, fs = corpus.read_response(one)
    assert waveform.shape[0] == 8 and fs == 16000
    folder = tree / "RIRs" / ROOM / "MicID01" / "SpkID01_20170901_S"
    for channel in range(8):
        [path] = (folder / f"{channel + 1:02d}" / "RIR").glob("*.wav")
        assert torch.equal(waveform[channel], read_audio(path)[0][:, 0])
    centred = one.microphones - one.microphones.mean(0)
    torch.testing.assert_close(centred, sphere(), atol=2e-4, rtol=0)
    # Physics: sound arrives when geometry says so.
    distance = (one.source - one.microphones).norm(dim=-1)
    arrival = first_arrival(waveform) / fs * 343
    assert (arrival - distance).abs().max() < 0.02
    assert one.t60 == pytest.approx(sum(one.published["t60"]) / 8)
    assert corpus.rooms[ROOM].size[2] == pytest.approx(
        2.6 + 0.4 * ROOMS.index(ROOM)
    )


def test_silence_is_joined_and_suits_every_source(tmp_path):
    write_synthetic_butreverb(tmp_path, rooms=[ROOM], sources=2, seconds=0.5)
    corpus = open_corpus("BUTReverb", tmp_path)
    noises = corpus.noises()
    assert len(noises) == 2 and noises[0].num_samples == 8000
    assert corpus.matching(corpus.responses()[0], noises) == noises
    whole = corpus.read_noise(noises[0])
    folder = noises[0].files[0].parent
    pieces = [read_audio(path)[0][:, 0] for path in sorted(folder.iterdir())]
    assert torch.equal(whole[:, 0], torch.cat(pieces))
    assert torch.equal(
        corpus.read_noise(noises[0], 3900, 4100), whole[3900:4100]
    )


def test_negative_coordinates_stay(tree):
    last = open_corpus("BUTReverb", tree).responses()[-1]
    assert last.room == ROOMS[-1] and last.microphones.min() < -0.01
    published = open_corpus("BUTReverb", tree, compat=True).responses()[-1]
    assert published.microphones.min() == 0
    spread = (last.microphones - last.microphones.mean(0)).norm(dim=-1)
    assert (spread - 0.08).abs().max() < 1e-3


def test_what_is_missing_or_damaged_is_named(copy):
    rooms = copy / "RIRs"
    shutil.rmtree(rooms / "VUT_FIT_D105")
    (rooms / "VUT_FIT_C236").rename(rooms / "VUT_FIT_C263")
    place = "MicID01/SpkID01_20170901_S"
    (rooms / ROOM / place / "03" / "mic_meta.txt").unlink()
    meta = rooms / "VUT_FIT_L212" / place / "02" / "mic_meta.txt"
    meta.write_text(meta.read_text().replace("EnvMic2RelRT60", "Else"))
    [rir] = (rooms / "VUT_FIT_L227" / place / "05" / "RIR").glob("*.wav")
    rir.write_bytes(b"")
    [quiet, _] = sorted(
        (rooms / "VUT_FIT_Q301" / place / "05" / "silence").glob("*.wav")
    )
    write_audio(quiet, torch.zeros(10), 16000)
    corpus = open_corpus("BUTReverb", copy)
    found = corpus.preflight()
    text = "\n".join(found.problems)
    assert "rooms VUT_FIT_C236, VUT_FIT_D105 are missing" in text
    assert "VUT_FIT_C263: not a room" in text and "VUT_FIT_C236" in text
    assert "has microphones [1, 2, 4, 5, 6, 7, 8] of the sphere" in text
    assert "$EnvMic2RelRT60 must be a number, is 'missing'" in text
    assert str(rir) in text
    assert "VUT_FIT_Q301" in text and "noise is left out" in text
    assert found.found["responses"] == 5 and found.found["noises"] == 4
    with pytest.raises(ValueError, match=rir.name):
        for one in corpus.responses():
            corpus.read_response(one)


def test_unequal_channels_are_refused(copy):
    corpus = open_corpus("BUTReverb", copy)
    one = corpus.responses()[0]
    write_audio(one.files[4], torch.zeros(99), 16000)
    with pytest.raises(ValueError, match="expected the same of all"):
        corpus.read_response(one)


def test_a_level_too_high_or_too_deep(tree, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "corpora").symlink_to(tree)
    for folder, text in [
        (tmp_path / "more", "more/corpora, not here"),
        (tree / "RIRs", "give that folder"),
    ]:
        [problem] = open_corpus("BUTReverb", folder).preflight().problems
        assert text in problem
