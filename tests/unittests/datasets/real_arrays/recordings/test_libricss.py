import shutil

import pytest
import torch

from spatial_brain.dataio.audio import read_audio, write_audio
from spatial_brain.datasets.real_arrays.registry import open_corpus
from spatial_brain.datasets.real_arrays.synthetic.libricss import (
    write_synthetic_libricss,
)

UTTERANCES = "exp/data/7ch/utterances"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "LibriCSS"
    write_synthetic_libricss(folder, 2, 1.0)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / written.name)


def test_only_utterances_without_overlap(folder):
    corpus = open_corpus("LibriCSS", folder.parent)
    found = corpus.recordings("train")
    assert [recording.id for recording in found] == [
        f"overlap_ratio_0.0_{pause}_session0_actual0.0/utterance_{number}"
        for pause in ("sil0.1_0.5", "sil2.9_3.0")
        for number in (0, 1)
    ]
    assert corpus.recordings("val") == []
    preflight = corpus.preflight()
    assert preflight.complete, preflight.line()
    assert corpus.count_pairs() == 21
    assert len(corpus.pairs("libricss")) == 42


def test_channels_in_the_order_asked_for(folder):
    corpus = open_corpus("LibriCSS", folder)
    recording = corpus.recordings()[1]
    whole, _ = read_audio(recording.files[0])
    read = corpus.read_segment(recording, 50, 70, [4, 0])
    assert torch.equal(read, whole[50:70][:, [4, 0]])


def test_what_is_wrong_is_named(folder):
    first, second, *_ = sorted((folder / UTTERANCES).rglob("*.wav"))
    write_audio(first, torch.rand(16000, 8), 16000)
    second.write_bytes(second.read_bytes()[:20000])
    corpus = open_corpus("LibriCSS", folder)
    assert len(corpus.recordings()) == 2
    one, two = corpus.unreadable
    assert str(first) in one and "has 8 channels, the array libricss 7" in one
    assert str(second) in two
    assert set(corpus.unreadable) <= set(corpus.preflight().problems)


def test_without_utterances(folder):
    (folder / UTTERANCES).rename(folder / "exp/data/7ch/segments")
    text = open_corpus("LibriCSS", folder).preflight().line()
    assert "run the corpus's dataprep.sh" in text
    (folder / "exp").rename(folder / "export")
    text = open_corpus("LibriCSS", folder).preflight().line()
    assert f"expected are the folders {UTTERANCES}, there are export" in text
