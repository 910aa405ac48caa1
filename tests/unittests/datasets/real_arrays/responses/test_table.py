import shutil

import pytest
import torch
from torch.utils.data import DataLoader

from spatial_brain.dataio.audio import write_audio
from spatial_brain.datasets.real_arrays.corpus import PAIR_RANGE
from spatial_brain.datasets.real_arrays.registry import open_corpus
from spatial_brain.datasets.real_arrays.response_cache import (
    ResponseCache,
    write_response_caches,
)
from spatial_brain.datasets.real_arrays.response_signals import (
    ResponseSignals,
)
from spatial_brain.datasets.speech.pool import prepare_speech
from spatial_brain.geometry import unit_to_azel
from spatial_brain.metrics.room_acoustics import gcc_phat_tdoa
from spatial_brain.simulation.room_labels import tdoa_samples

FEW = {"train-clean-100": 1, "dev-clean": 1, "test-clean": 1}


@pytest.fixture
def measured(tmp_path):
    for name in "abc":
        write_audio(tmp_path / f"{name}.wav", torch.rand(200, 3), 48000)
    (tmp_path / "array.csv").write_text("x,y,z\n0,0,0\n0,.05,0\n0,.5,0\n")
    rows = ["path,azimuth,elevation,distance,condition"]
    rows += ["a.wav,30,0,2,hall", "b.wav,-60,10,,lab", "c.wav,0,0,1,lab"]
    (tmp_path / "responses.csv").write_text("\n".join(rows))
    return tmp_path


def test_rooms_pairs_and_splits(measured):
    corpus = open_corpus("TABLE", measured, val_rooms=["lab"])
    assert list(corpus.rooms) == ["hall", "lab"]
    assert corpus.pairs("array").tolist() == [[0, 1]]
    assert [r.room for r in corpus.responses("train")] == ["hall"]
    assert [r.room for r in corpus.responses("val")] == ["lab", "lab"]
    assert corpus.responses("test") == []
    first = corpus.responses()[0]
    azimuth, _ = unit_to_azel(first.source - corpus.array.centre)
    assert azimuth.item() == pytest.approx(30, abs=1e-4)
    waveform, fs = corpus.read_response(first)
    assert waveform.shape == (3, 200) and fs == 48000
    assert corpus.matching(first, corpus.noises()) == []
    assert corpus.preflight().line() == (
        f"TABLE in {measured}: 2 rooms, 1 pairs, 3 responses"
    )


def test_preflight_names_what_is_wrong(measured):
    (measured / "a.wav").unlink()
    write_audio(measured / "b.wav", torch.rand(200, 2), 48000)
    (measured / "c.wav").write_bytes(b"no audio")
    found = open_corpus("TABLE", measured).preflight()
    assert not found.complete
    assert len(found.problems) == 3
    assert all(
        name in text for name, text in zip("abc", found.problems, strict=True)
    )


def test_what_cannot_be_opened(measured, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder of TABLE"):
        open_corpus("TABLE", tmp_path / "none")
    with pytest.raises(ValueError, match="unknown compat x"):
        open_corpus("TABLE", measured, compat=["x"])
    for rooms in (["den"], ["hall", "lab"]):
        with pytest.raises(ValueError, match="val_rooms"):
            open_corpus("TABLE", measured, val_rooms=rooms)
    with pytest.raises(ValueError, match="different rooms of hall, lab"):
        open_corpus("TABLE", measured, val_rooms=["lab"], test_rooms=["lab"])
    with pytest.raises(ValueError, match="no corpus 'MIRR'"):
        open_corpus("MIRR", measured)


@pytest.fixture(scope="module")
def real_table(shared_data, tmp_path_factory):
    """Arguments of a corpus of measured responses of seven microphones."""
    folder = tmp_path_factory.mktemp("TABLE")
    measured = shared_data / "rir" / "r3vival"
    shutil.copy(measured / "array_geometry.csv", folder / "array.csv")
    header, *rows = (measured / "manifest.csv").read_text().splitlines()
    # The table gives no elevation: all sources are at the array's height.
    rows = [f"{row},0" for row in rows]
    (folder / "responses.csv").write_text(
        "\n".join([f"{header},elevation", *rows])
    )
    return {
        "folder": folder,
        "root": str(shared_data),
        "columns": {"azimuth": "azimuth_deg", "distance": "distance_m"},
        "val_rooms": ["050"],
    }


def test_measured_array(real_table):
    corpus = open_corpus("TABLE", **real_table)
    found = corpus.preflight()
    assert found.complete, found.line()
    assert found.found == {"rooms": 5, "pairs": 21, "responses": 135}
    one = corpus.responses()[0]
    low, high = PAIR_RANGE
    assert all(
        low <= corpus.array.distances[i, j] <= high
        for i, j in corpus.pairs("array").tolist()
    )
    assert corpus.read_response(one)[0].shape == (7, 38400)


def test_signals_from_measured_responses(real_table, tmp_path):
    caches = write_response_caches({"TABLE": real_table}, tmp_path)
    cache = ResponseCache(caches["TABLE"])
    assert len(cache.responses) == 135
    off = []
    for one in cache.responses:
        pairs = cache.pairs(one.array)
        labels = tdoa_samples(one.microphones[pairs], one.source[None])
        direct = one.measured["direct"][pairs].diff()[:, 0]
        off.append(direct - labels)
        assert all(value.isfinite().all() for value in one.measured.values())
    # The direct paths of all 2,835 pairs, in whole samples.
    assert torch.stack(off).abs().max() < 1.2
    speech = prepare_speech(None, tmp_path, num_talkers=FEW)
    for stage, rooms in [
        ("preval", {"050"}),
        ("pretrain", {"000", "100", "R", "RBL"}),
    ]:
        signals = ResponseSignals(
            stage, cache, 30, speech["tr"], T=1.0, with_direct=True
        )
        batch = next(iter(DataLoader(signals, batch_size=30)))
        assert set(batch["room"]) == rooms
        tdoa = batch["labels"]["TDOA"]
        estimate = gcc_phat_tdoa(batch["direct"], batch["spacing"])
        assert (estimate - tdoa).abs().max() < 0.7
        assert tdoa.max() > 2 and tdoa.min() < -2


def test_measured_labels_of_rooms_are_learned(measured, tmp_path):
    table = measured / "rooms.csv"
    table.write_text(
        "room,t60,length,width,height\nhall,0.75,9,6,4\nlab,0.3,,,\n"
    )
    corpus = open_corpus("TABLE", measured)
    assert corpus.rooms["hall"].size == (9, 6, 4)
    paths = write_response_caches({"TABLE": measured}, tmp_path / "c", fs=8000)
    cache = ResponseCache(paths["TABLE"])
    assert {name: room.t60 for name, room in cache.rooms.items()} == {
        "hall": 0.75,
        "lab": 0.3,
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("attic,0.5,,,", "no response has the condition 'attic'; there are"),
        ("hall,-1,,,", "t60 is '-1', expected above 0"),
        ("hall,long,,,", "t60 is 'long'"),
        ("hall,0.5,3,,2", "needs all of length, width, height, or none"),
    ],
)
def test_measured_labels_that_are_wrong(measured, line, message):
    table = measured / "rooms.csv"
    table.write_text(f"room,t60,length,width,height\n{line}\n")
    with pytest.raises(ValueError, match=message):
        open_corpus("TABLE", measured)
