import shutil

import numpy as np
import pytest
import torch

from spatial_brain.dataio.audio import read_audio, write_audio
from spatial_brain.datasets.real_arrays.registry import open_corpus
from spatial_brain.datasets.real_arrays.synthetic.ami import write_synthetic_ami

MEETINGS = ("ES2002a", "IS1000a", "TS3003a", "EN2001a", "IB4001", "IN1001")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "AMIMeeting"
    write_synthetic_ami(folder, MEETINGS, 5.0)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / written.name)


def test_recordings(folder):
    corpus = open_corpus("AMI", folder.parent)
    found = corpus.recordings("train")
    assert {(one.id.split("/")[1], one.room) for one in found} == {
        ("ES2002a", "Edinburgh"),
        ("EN2001a", "Edinburgh"),
        ("IS1000a", "Idiap"),
        ("IB4001", "Idiap"),
        ("IN1001", "Idiap"),
        ("TS3003a", "TNO"),
    }
    assert corpus.recordings("val") == []
    preflight = corpus.preflight()
    assert preflight.complete, preflight.line()
    assert preflight.found == {
        "rooms": 3,
        "pairs": 28,
        "recordings": 6,
        "hours": pytest.approx(30 / 3600),
    }
    assert len(corpus.pairs("ami")) == 56 and not corpus.geometry_known


def test_each_channel_is_read_from_its_own_file(folder):
    corpus = open_corpus("AMI", folder)
    recording = corpus.recordings()[0]
    read = corpus.read_segment(recording, 1000, 3000, [7, 3])
    for column, channel in enumerate([7, 3]):
        path = next(folder.rglob(f"EN2001a.Array1-0{channel + 1}.wav"))
        assert torch.equal(read[:, column], read_audio(path)[0][1000:3000, 0])
    assert not torch.equal(read[:, 0], read[:, 1])


def test_of_two_channels_the_first_is_read(folder):
    path = next(folder.rglob("EN2001a.Array1-03.wav"))
    stereo = torch.from_numpy(
        np.random.default_rng(0).uniform(-0.5, 0.5, (80000, 2))
    )
    write_audio(path, stereo, 16000)
    corpus = open_corpus("AMI", folder)
    assert corpus.preflight().complete
    read = corpus.read_segment(corpus.recordings()[0], 0, 500, [2])
    assert torch.allclose(read[:, 0], stereo[:500, 0].float(), atol=1e-4)


def test_what_is_missing_is_named(folder):
    next(folder.rglob("IS1000a.Array1-04.wav")).unlink()
    (folder / "ScenarioMeetings/TS3003a").rename(
        folder / "ScenarioMeetings/XX3003a"
    )
    for path in folder.rglob("ES2002a*.wav"):
        path.unlink()
    corpus = open_corpus("AMI", folder)
    text = corpus.preflight().line()
    assert "2 of 3 rooms" in text and "missing rooms: TNO" in text
    assert "IS1000a.Array1-0*.wav: channel files 4 are missing" in text
    assert "meeting XX3003a is in no split" in text
    assert "ES2002a: has no files of Array1" in text
    assert len(corpus.unreadable) == 1
