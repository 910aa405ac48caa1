import logging
import re

import numpy as np
import pytest
import soundfile
import torch

from spatial_brain.dataio.audio import read_audio, resample_audio, write_audio
from spatial_brain.datasets.real_arrays.corpus import (
    Recording,
    RecordingCorpus,
)
from spatial_brain.datasets.real_arrays.recorded_segments import (
    RecordedSegments,
)
from spatial_brain.datasets.real_arrays.registry import open_corpus
from spatial_brain.datasets.real_arrays.resampled_cache import (
    fill_cache,
    find_cached,
)
from spatial_brain.datasets.real_arrays.synthetic.aishell4 import (
    write_synthetic_aishell4,
)
from spatial_brain.datasets.real_arrays.synthetic.ami import write_synthetic_ami
from spatial_brain.datasets.real_arrays.synthetic.libricss import (
    write_synthetic_libricss,
)
from spatial_brain.datasets.real_arrays.synthetic.realman import (
    write_synthetic_realman,
)
from spatial_brain.geometry import MicrophoneArray


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_synthetic_libricss(folder / "LibriCSS", 2, 1.5)
    write_synthetic_ami(folder / "AMI", ["ES2002a"], 5.0)
    write_synthetic_aishell4(folder / "AISHELL-4", ["L_R001"], 12.0)
    write_synthetic_realman(folder / "RealMAN", ["Gym"], 1, 1.2)
    names = ("LibriCSS", "AMI", "AISHELL4", "RealMAN")
    return {name: open_corpus(name, folder) for name in names}


class Numbers(RecordingCorpus):
    """Recordings without files: samples count, channels add 0.5."""

    name, folders, url, licence = "Numbers", ("Numbers",), "", ""
    rooms = {}
    arrays = {
        "two": MicrophoneArray([[0.0, 0, 0], [0, 0.1, 0]], "two"),
        "three": MicrophoneArray(
            [[0.0, 0, 0], [0, 0.1, 0], [0, 0, 0.1]], "three"
        ),
    }

    def __init__(self, *facts):
        self.facts = facts

    def preflight(self):
        raise NotImplementedError

    def recordings(self, split=None):
        return [
            Recording(f"r{n}", "room", array, (), 16000, 16000 * seconds, parts)
            for n, (array, seconds, parts) in enumerate(self.facts)
        ]

    def read_segment(self, recording, start, stop, channels):
        return torch.arange(start, stop)[:, None] + 0.5 * torch.tensor(channels)


def identify(item):
    return re.fullmatch(r"Numbers/(r\d+)_(\d+)_(\d)-(\d)", item["id"]).groups()


@pytest.mark.parametrize(
    "weighting, weights",
    [
        # Seconds, ordered pairs, and both.
        (["duration"], [6, 3, 6]),
        (["micpair"], [2, 6, 2 + 2]),
        (["duration", "micpair"], [12, 18, 12]),
        ([], [1, 1, 1 + 1]),
    ],
)
def test_proportions(weighting, weights):
    corpus = Numbers(
        ("two", 6, ()),
        ("three", 3, ()),
        ("two", 20, ((1.0, 5.0), (6.0, 8.0), (9.0, 9.5))),
    )
    data = RecordedSegments(
        corpus, "train", 3000, duration=1.0, weighting=weighting
    )
    found = [identify(data[index]) for index in range(3000)]
    counts = np.array([[f[0] for f in found].count(f"r{n}") for n in range(3)])
    expected = 3000 * np.array(weights) / sum(weights)
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()
    pairs = [f[2:] for f in found if f[0] == "r1"]
    assert len(set(pairs)) == 6
    low = min(pairs.count(pair) for pair in set(pairs))
    assert low > 0.5 * len(pairs) / 6
    # Uniform starts, in the parts that may be used alone.
    starts = np.array([int(f[1]) for f in found if f[0] == "r2"]) / 16000
    assert (
        ((starts >= 1) & (starts <= 4)) | ((starts >= 6) & (starts <= 7))
    ).all()
    early = np.array([int(f[1]) for f in found if f[0] == "r0"]) / 16000
    shares = np.histogram(early, 5, (0, 5))[0] / len(early)
    assert (np.abs(shares - 0.2) < 5 * np.sqrt(0.2 / len(early))).all()
    assert "1 parts shorter than 1 s" in data.summary()


def test_samples_are_those_of_the_id():
    data = RecordedSegments(Numbers(("three", 3, ())), "val", 20, duration=1.0)
    for item in map(data.__getitem__, range(20)):
        _, start, one, two = map(int, re.findall(r"\d+", item["id"]))
        assert item["waveform"][0].tolist() == [
            start + 0.5 * one,
            start + 0.5 * two,
        ]
        assert item["waveform"].shape == (16000, 2)


def test_segment_equals_that_of_the_whole_resampled(corpora):
    corpus = corpora["RealMAN"]
    [recording] = corpus.recordings("train")
    data = RecordedSegments(corpus, "train", 12, duration=0.5)
    for item in map(data.__getitem__, range(12)):
        start, one, two = map(
            int, re.search(r"_(\d+)_(\d+)-(\d+)$", item["id"]).groups()
        )
        for column, channel in enumerate((one, two)):
            whole, fs = read_audio(recording.files[channel])
            whole = resample_audio(whole, fs, 16000)[start : start + 8000, 0]
            read = item["waveform"][:, column]
            assert torch.allclose(read, whole, atol=1e-6)


def test_items(corpora):
    data = RecordedSegments(list(corpora.values()), "train", 40, duration=1.0)
    items = [data[index] for index in range(40)]
    assert {item["corpus"] for item in items} == {
        *("LibriCSS", "AMI", "AISHELL4", "RealMAN")
    }
    for item in items:
        assert item["waveform"].dtype == torch.float32
        assert item["waveform"].shape == (16000, 2)
        assert all(value.isnan() for value in item["labels"].values())
        # AMI's geometry is not published.
        assert item["spacing"].isnan() == (item["corpus"] == "AMI")
        if item["corpus"] != "AMI":
            assert 0.0299 < item["spacing"] < 0.2001
    batch = torch.utils.data.default_collate(items[:4])
    assert batch["waveform"].shape == (4, 16000, 2)


def test_same_for_any_number_of_workers_and_new_in_each_epoch(corpora):
    data = RecordedSegments(list(corpora.values()), "train", 8, duration=0.5)
    alone = [data[index] for index in range(8)]
    again = RecordedSegments(list(corpora.values()), "train", 8, duration=0.5)
    loader = torch.utils.data.DataLoader(
        again, batch_size=None, num_workers=2, persistent_workers=True
    )
    for one, two in zip(alone, loader, strict=True):
        assert one["id"] == two["id"]
        assert torch.equal(one["waveform"], two["waveform"])
    again.set_epoch(1)
    ids = [item["id"] for item in loader]
    assert set(ids).isdisjoint(item["id"] for item in alone)
    data.set_epoch(1)
    assert ids == [data[index]["id"] for index in range(8)]
    seeded = RecordedSegments(
        list(corpora.values()), "train", 8, duration=0.5, seed=1
    )
    assert seeded[0]["id"] != alone[0]["id"]


def test_damaged_recordings(tmp_path, caplog):
    write_synthetic_libricss(tmp_path, 2, 1.0)
    corpus = open_corpus("LibriCSS", tmp_path)
    path = corpus.recordings()[0].files[0]
    broken = read_audio(path)[0]
    broken[8000] = float("nan")
    soundfile.write(path, broken.numpy(), 16000, subtype="FLOAT")
    arguments = {"duration": 0.9, "size": 30}
    data = RecordedSegments(
        open_corpus("LibriCSS", tmp_path), "train", **arguments
    )
    with pytest.raises(ValueError, match=f"{path}: holds NaN"):
        [data[index] for index in range(30)]
    skipping = RecordedSegments(
        open_corpus("LibriCSS", tmp_path),
        "train",
        **arguments,
        on_corrupt="skip",
    )
    with caplog.at_level(logging.WARNING):
        items = [skipping[index] for index in range(30)]
    assert not any(item["waveform"].isnan().any() for item in items)
    assert caplog.text.count("holds NaN") == 1 and str(path) in caplog.text
    assert skipping.num_corrupt > 1
    # A file that cannot be opened is refused at the start.
    path.write_bytes(b"no audio")
    with pytest.raises(ValueError, match="1 of 4 recordings are unusable"):
        RecordedSegments(open_corpus("LibriCSS", tmp_path), "train", 1)
    with caplog.at_level(logging.WARNING):
        data = RecordedSegments(
            open_corpus("LibriCSS", tmp_path),
            "train",
            **arguments,
            on_corrupt="skip",
        )
    assert "They are left out" in caplog.text
    assert all(path.stem not in data[i]["id"].split("/")[0] for i in range(5))


def test_what_cannot_be_drawn(corpora, tmp_path):
    with pytest.raises(ValueError, match="no recordings of 4.112 s for split"):
        RecordedSegments(corpora["LibriCSS"], "train", 1)
    with pytest.raises(ValueError, match="no corpus was given"):
        RecordedSegments([], "train", 1)
    with pytest.raises(ValueError, match="split must be one of train"):
        RecordedSegments(corpora["LibriCSS"], None, 1)
    with pytest.raises(ValueError, match="on_corrupt raise or skip"):
        RecordedSegments(corpora["LibriCSS"], "train", 1, on_corrupt="ignore")
    with pytest.raises(ValueError, match="size must be at least 1"):
        RecordedSegments(corpora["LibriCSS"], "train", 0)
    with pytest.raises(IndexError, match="no segment 2 of 2"):
        RecordedSegments(corpora["AMI"], "train", 2)[2]


def test_cache(corpora, tmp_path):
    corpus = corpora["RealMAN"]
    plain = RecordedSegments(corpus, "train", 6, duration=0.5)
    assert fill_cache(corpus, tmp_path, rank=1, num_ranks=2) == 0
    assert fill_cache(corpus, tmp_path, rank=0, num_ranks=2) == 1
    assert fill_cache(corpus, tmp_path) == 0
    data = RecordedSegments(
        corpus, "train", 6, duration=0.5, cache_folder=tmp_path
    )
    assert "1 recordings have another rate, 1 of them a copy" in data.summary()
    for index in range(6):
        one, two = plain[index], data[index]
        assert one["id"] == two["id"]
        assert torch.allclose(one["waveform"], two["waveform"], atol=2**-22)
    # Killed before it was finished: done again.
    [recording] = corpus.recordings("train")
    find_cached(tmp_path, corpus, recording, 16000).record.unlink()
    assert find_cached(tmp_path, corpus, recording, 16000) is None
    assert fill_cache(corpus, tmp_path) == 1
    # A damaged copy is named, with its remedy.
    copy = find_cached(tmp_path, corpus, recording, 16000)
    for path in copy.files:
        path.write_bytes(b"no audio")
    with pytest.raises(ValueError, match=r"remove .*\.json and fill the cache"):
        data[0]


def test_cache_of_loud_and_of_replaced_recordings(tmp_path):
    write_synthetic_libricss(tmp_path / "c", 1, 1.0)
    corpus = open_corpus("LibriCSS", tmp_path / "c")
    recording = corpus.recordings()[0]
    [path] = recording.files
    loud = torch.sin(torch.arange(24000) * 0.1)[:, None] * torch.arange(7)
    write_audio(path, loud, 48000, subtype="FLOAT")
    corpus = open_corpus("LibriCSS", tmp_path / "c")
    recording = corpus.recordings()[0]
    fill_cache(corpus, tmp_path / "cache")
    copy = find_cached(tmp_path / "cache", corpus, recording, 16000)
    assert copy.gain == 8.0
    expected = resample_audio(loud, 48000, 16000)[100:200][:, [6, 1]]
    assert torch.allclose(copy.read(100, 200, [6, 1]), expected, atol=1e-5)
    # Another recording of that name: shorter, or only other bytes.
    for signal, subtype in ((loud[:12000], "FLOAT"), (loud / 8, "PCM_16")):
        write_audio(path, signal, 48000, subtype=subtype)
        corpus = open_corpus("LibriCSS", tmp_path / "c")
        recording = corpus.recordings()[0]
        copy = find_cached(tmp_path / "cache", corpus, recording, 16000)
        assert copy is None
