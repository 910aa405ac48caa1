"""Chunks of annotated recordings, and their targets."""

import numpy as np
import pytest
import soundfile
import torch
from seld_trees import write_clip, write_rows
from speechbrain.dataio.batch import PaddedBatch
from torch.utils.data import DataLoader

from spatial_brain.augment.chains import augmentation_chain
from spatial_brain.dataio.annotations import read_events
from spatial_brain.dataio.audio import AudioFileError, read_audio
from spatial_brain.dataio.labels import encode_labels
from spatial_brain.dataio.manifest import write_manifest
from spatial_brain.datasets.seld import chunks as seld_chunks
from spatial_brain.datasets.seld.chunks import (
    cache_features,
    clip_events,
    make_chunks,
)
from spatial_brain.processing.seld_features import LogMelIntensity

CLASSES = 3
# Seconds of each clip: whole chunks, a long tail, a short tail, very short.
LENGTHS = {"whole": 2.0, "long": 1.7, "short": 2.23, "tiny": 0.25}


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    found = {}
    for seed, (name, seconds) in enumerate(LENGTHS.items()):
        wav = write_clip(folder / f"{name}.wav", seconds=seconds, seed=seed)
        rng = np.random.default_rng(seed)
        rows = [
            (frame, rng.integers(CLASSES), source, 20 * frame % 180, -10)
            for frame in range(int(np.ceil(10 * seconds)))
            for source in range(rng.integers(3))
        ]
        events = write_rows(folder / f"{name}.csv", rows)
        found[name] = {
            "wav": str(wav),
            "num_samples": round(seconds * 24000),
            "fs": 24000,
            "events": str(events),
            "dialect": "dcase2021",
            "room": None,
            "fold": None,
            "overlap": None,
        }
    return found


def chunks_of(entries, method="accdoa", **options):
    return make_chunks(
        entries, method, CLASSES, **{"chunk_length": 1.0, **options}
    )


def bounds(chunks):
    return [
        (item["clip"], item["start_frame"], item["num_valid"], item["last"])
        for item in (chunks[i] for i in range(len(chunks)))
    ]


def test_padded_tails(entries):
    assert bounds(chunks_of(entries)) == [
        ("whole", 0, 10, False),
        ("whole", 10, 10, True),
        ("long", 0, 10, False),
        ("long", 10, 7, True),
        ("short", 0, 10, False),
        ("short", 10, 10, False),
        ("short", 20, 3, True),
        ("tiny", 0, 3, True),
    ]


def test_training_tails_lie_on_label_frames(entries):
    found = bounds(chunks_of(entries, tail="half"))
    assert found[4:7] == [
        ("short", 0, 10, False),
        ("short", 10, 10, False),
        # 2.23 s - 1 s = 1.23 s, moved down to the frame at 1.2 s.
        ("short", 12, 10, True),
    ]
    assert found[3] == ("long", 10, 7, True)


def test_overlapping_chunks(entries):
    found = bounds(chunks_of({"a": entries["whole"]}, hop_length=0.5))
    assert [start for _, start, _, _ in found] == [0, 5, 10]
    assert [last for *_, last in found] == [False, False, True]


@pytest.mark.parametrize("in_memory", [False, True])
def test_waveforms_are_those_of_the_files(entries, in_memory):
    chunks = chunks_of(entries, keep_in_memory=in_memory)
    for index in range(len(chunks)):
        item = chunks[index]
        entry = entries[item["clip"]]
        start = item["start_frame"] * 2400
        whole, _ = read_audio(entry["wav"])
        part = whole[start : start + 24000]
        waveform = item["waveform"]
        assert waveform.shape == (24000, 4) and waveform.dtype == torch.float32
        assert torch.equal(waveform[: len(part)], part)
        assert not waveform[len(part) :].any()
        mask = [1.0] * item["num_valid"] + [0.0] * (10 - item["num_valid"])
        assert item["mask"].tolist() == mask


def test_memory_holds_other_encodings_without_loss(tmp_path):
    path = tmp_path / "a.wav"
    samples = np.random.default_rng(0).normal(size=(9600, 4))
    soundfile.write(path, samples, 24000, subtype="FLOAT")
    entry = {"wav": path, "num_samples": 9600, "fs": 24000}
    entry |= {"events": None, "dialect": "starss23", "channels": [0, 3, 2, 1]}
    entry |= {"channel_signs": [1, -1, 1, 1]}
    chunks = make_chunks({"a": entry}, "einv2", 2, keep_in_memory=True)
    expected = samples[:, [0, 3, 2, 1]] * (1, -1, 1, 1)
    assert np.array_equal(
        chunks[0]["waveform"][:9600].numpy(), expected.astype(np.float32)
    )


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("accdoa", ["accdoa"]),
        ("multi_accdoa", ["adpit"]),
        ("einv2", ["sed", "doa"]),
        ("seddoa", ["sed", "doa"]),
    ],
)
def test_targets_are_a_stretch_of_those_of_the_clip(entries, method, names):
    chunks = chunks_of(entries, method, tail="half")
    for index in range(len(chunks)):
        item = chunks[index]
        table = read_events(entries[item["clip"]]["events"])
        first = item["start_frame"]
        whole = encode_labels(table, method, CLASSES, first + 10)
        assert sorted(whole) == sorted(names)
        for name in names:
            assert torch.equal(item[name], whole[name][first:])
        inside = table.segment(first, first + 10)
        busiest = int(inside.overlap().max())
        if method == "accdoa":
            assert 1 <= item["overlap"] <= max(1, busiest)
        else:
            assert item["overlap"] == max(1, busiest)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("in_memory", [False, True])
def test_batches(entries, num_workers, in_memory):
    chunks = chunks_of(entries, "multi_accdoa", keep_in_memory=in_memory)
    loader = DataLoader(
        chunks, batch_size=4, collate_fn=PaddedBatch, num_workers=num_workers
    )
    first, second = loader
    assert first.waveform.data.shape == (4, 24000, 4)
    assert first.adpit.data.shape == (4, 10, 6, 4, CLASSES)
    assert first.mask.data.shape == (4, 10)
    assert first.overlap.dtype == torch.int64 and first.overlap.shape == (4,)
    assert second.clip == ["short", "short", "short", "tiny"]
    assert [bool(last) for last in second.last] == [False, False, True, True]
    assert torch.equal(second.waveform.data[3], chunks[7]["waveform"])


def test_manifest_with_placeholders(entries, tmp_path):
    path = tmp_path / "train.json"
    folder = entries["tiny"]["wav"].rsplit("/", 1)[0]
    write_manifest(path, entries, data_root=folder)
    chunks = chunks_of(path, data_root=folder)
    assert len(chunks) == 8
    events = clip_events(path, data_root=folder, num_classes=CLASSES)
    assert {k: v.num_frames for k, v in events.items()} == {
        "whole": 20,
        "long": 17,
        "short": 23,
        "tiny": 3,
    }


def test_clips_without_annotation(entries):
    without = {k: {**e, "events": None} for k, e in entries.items()}
    item = chunks_of(without)[0]
    assert "accdoa" not in item and "overlap" not in item
    assert item["waveform"].shape == (24000, 4)
    with pytest.raises(ValueError, match="'tiny' among them, have no annot"):
        chunks_of({**entries, "tiny": without["tiny"]})
    with pytest.raises(ValueError, match="clip 'whole' has no annotation"):
        clip_events(without)


def test_wrong_arguments(entries):
    for options, message in (
        ({"method": "doa"}, "method must be one of"),
        ({"fs": 32000}, "'whole' has 24000 Hz, expected fs=32000"),
        ({"chunk_length": 1.05}, "chunk_length must be a positive multiple"),
        ({"hop_length": 0.0}, "hop_length must be a positive multiple"),
        ({"tail": "drop"}, "tail"),
    ):
        with pytest.raises(ValueError, match=message):
            chunks_of(entries, **options)
    with pytest.raises(ValueError, match=r"whole\.csv.*2"):
        make_chunks(entries, "accdoa", 2)


def test_damaged_files_are_named(entries, tmp_path):
    wav = write_clip(tmp_path / "cut.wav")
    entry = {**entries["whole"], "wav": str(wav)}
    chunks = chunks_of({"cut": entry})
    wav.write_bytes(wav.read_bytes()[:20_000])
    loader = DataLoader(chunks, collate_fn=PaddedBatch, num_workers=1)
    with pytest.raises(AudioFileError, match=r"cut\.wav: truncated"):
        next(iter(loader))
    with pytest.raises(AudioFileError, match=r"cut\.wav: truncated"):
        chunks_of({"cut": entry}, keep_in_memory=True)
    write_clip(wav, seconds=0.5)
    with pytest.raises(AudioFileError, match=r"cut\.wav.*it has 12000"):
        chunks[1]


def test_random_choices_depend_on_seed_epoch_and_item(entries):
    chunks = chunks_of(entries, seed=3)
    chunks.add_dynamic_item(lambda rng: rng.random(), "rng", "gain")
    chunks.set_output_keys(["gain"])
    first = [chunks[i]["gain"] for i in range(len(chunks))]
    assert len(set(first)) == len(first)
    chunks.set_epoch(1)
    assert chunks[0]["gain"] != first[0]


def test_an_epoch_of_few_clips_is_as_long(entries):
    drawn = {}
    for number in (1, 2, 4):
        chunks = chunks_of(entries, chunk_length=0.5)
        before = list(chunks.data_ids)
        chunks.keep_clips(number, seed=3)
        assert len(chunks) == len(before)
        drawn[number] = {chunks[i]["clip"] for i in range(len(chunks))}
        assert len(drawn[number]) == number
        if number == 4:
            assert list(chunks.data_ids) == before
    assert drawn[1] < drawn[2] < drawn[4]
    others = set()
    for seed in range(8):
        chunks = chunks_of(entries, chunk_length=0.5)
        chunks.keep_clips(1, seed)
        others.add(chunks[0]["clip"])
    assert len(others) > 1
    with pytest.raises(ValueError, match="asked for 5 training clips.* 4"):
        chunks_of(entries).keep_clips(5, seed=0)


def test_cached_features(entries, tmp_path, monkeypatch):
    features = LogMelIntensity()
    path = tmp_path / "features.json"
    chunks, plain = chunks_of(entries), chunks_of(entries)
    cache_features(chunks, path, features)
    for index in range(len(chunks)):
        item, reference = chunks[index], plain[index]
        assert "waveform" not in item
        expected = features(reference["waveform"][None])[0]
        assert item["features"].dtype == torch.float32
        assert torch.allclose(item["features"], expected, rtol=1e-3, atol=0.04)
        assert torch.equal(item["accdoa"], reference["accdoa"])
    batch = next(iter(DataLoader(chunks, 2, collate_fn=PaddedBatch)))
    assert batch.features.data.shape == (2, 7, 101, 64)
    # Another run takes what is there; other features are made anew.
    made = []
    real = seld_chunks._chunk_features
    monkeypatch.setattr(
        seld_chunks,
        "_chunk_features",
        lambda *a: made.append(a[-1]) or real(*a),
    )
    cache_features(chunks_of(entries), path, LogMelIntensity())
    assert not made
    cache_features(chunks_of(entries), path, LogMelIntensity(n_mels=32))
    assert len(made) == 8
    made.clear()
    cache_features(chunks_of(entries, tail="half"), path, LogMelIntensity())
    assert len(made) == 8


def test_cached_features_and_augmentation(entries, tmp_path):
    with pytest.raises(ValueError, match="waveform augmentation"):
        cache_features(
            chunks_of(entries),
            tmp_path / "a.json",
            LogMelIntensity(),
            augmentation=augmentation_chain("augmix1"),
        )
    assert not (tmp_path / "a.json").exists()
