"""LibriSpeech, other corpora in its place, and synthetic data."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
import torch

from spatial_brain.dataio import download
from spatial_brain.dataio.audio import audio_info, read_audio, write_audio
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.speech import librispeech, synthetic
from spatial_brain.datasets.speech.librispeech import prepare_librispeech
from spatial_brain.datasets.speech.synthetic import write_synthetic_librispeech


@pytest.fixture(scope="module")
def synthetic_speech(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic_data")
    write_synthetic_librispeech(
        folder, {"dev-clean": 6, "test-clean": 3}, 2, duration=(1.0, 2.0)
    )
    return folder


def speakers(path):
    return {entry["speaker"] for entry in read_manifest(path).values()}


def check_files(path, data_root):
    for entry in read_manifest(path, data_root=data_root).values():
        info = audio_info(entry["wav"])
        assert info.fs == 16000
        assert info.num_samples == entry["num_samples"]


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_synthetic_data_is_a_librispeech_tree(synthetic_speech):
    root = synthetic_speech / "LibriSpeech"
    files = sorted(root.glob("*/*/*/*.flac"))
    assert len(files) == 18
    for path in files:
        speaker, chapter, _ = path.stem.split("-")
        assert path.parts[-3:-1] == (speaker, chapter)
        info = audio_info(path)
        assert (info.fs, info.num_channels, info.subtype) == (
            16000,
            1,
            "PCM_16",
        )
        assert 1.0 <= info.duration <= 2.0
        trans = path.parent / f"{speaker}-{chapter}.trans.txt"
        assert path.stem in trans.read_text()
    listed = (root / "SPEAKERS.TXT").read_text().splitlines()
    assert [line.split(" | ")[2] for line in listed[1:]] == (
        ["dev-clean"] * 6 + ["test-clean"] * 3
    )
    # Two speakers and two utterances of one speaker all differ.
    sounds = [read_audio(path, 0, 16000)[0] for path in files[:4]]
    for i in range(4):
        for j in range(i):
            assert not torch.equal(sounds[i], sounds[j])


def test_synthetic_data_goes_on_and_is_reproducible(tmp_path, monkeypatch):
    arguments = {"seed": 5, "duration": (0.5, 0.6)}
    write_synthetic_librispeech(tmp_path / "a", 3, 2, **arguments)
    written, real = [], synthetic.write_audio

    def killed(path, *args, **kwargs):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        real(path, *args, **kwargs)

    monkeypatch.setattr(synthetic, "write_audio", killed)
    with pytest.raises(KeyboardInterrupt):
        write_synthetic_librispeech(tmp_path / "b", 3, 2, **arguments)
    monkeypatch.setattr(
        synthetic,
        "write_audio",
        lambda path, *a, **k: (written.append(path), real(path, *a, **k)),
    )
    write_synthetic_librispeech(tmp_path / "b", 3, 2, **arguments)
    assert len(written) == len(set(written)) == 6
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    write_synthetic_librispeech(
        tmp_path / "b", 3, 2, seed=6, duration=(0.5, 0.6)
    )
    assert tree(tmp_path / "a") != tree(tmp_path / "b")


def test_synthetic_data_spares_real_data(tmp_path):
    real = tmp_path / "LibriSpeech" / "dev-clean" / "1" / "1" / "1-1-0000.flac"
    write_audio(real, torch.zeros(10), 16000)
    with pytest.raises(ValueError, match="not synthetic"):
        write_synthetic_librispeech(tmp_path, 1, 1)
    assert audio_info(real).num_samples == 10
    # Real splits that were unpacked beside synthetic ones.
    write_synthetic_librispeech(tmp_path / "b", 1, 1)
    real = tmp_path / "b/LibriSpeech/train-clean-100/19.flac"
    real.parent.mkdir()
    real.touch()
    write_synthetic_librispeech(tmp_path / "b", {"test-clean": 1}, 1)
    splits = {path.name for path in real.parents[1].iterdir() if path.is_dir()}
    assert real.is_file() and splits == {"train-clean-100", "test-clean"}


@pytest.mark.parametrize("inner", ["", "LibriSpeech"])
def test_prepare(synthetic_speech, tmp_path, inner):
    folder = synthetic_speech / inner
    paths = prepare_librispeech(folder, tmp_path, valid_speakers=2)
    assert list(paths) == ["train", "valid", "test"]
    counts = [len(read_manifest(path)) for path in paths.values()]
    assert counts == [8, 4, 6]
    train, valid, test = map(speakers, paths.values())
    assert len(train) == 4 and len(valid) == 2 and len(test) == 3
    assert not train & valid and not (train | valid) & test
    for path in paths.values():
        raw = json.loads(path.read_text())
        assert all(e["wav"].startswith("{data_root}/") for e in raw.values())
        assert list(raw) == sorted(raw)
        check_files(path, folder)


def test_prepare_is_idempotent_and_watches_its_arguments(
    synthetic_speech, tmp_path, monkeypatch
):
    scans = []
    real = librispeech.read_headers
    monkeypatch.setattr(
        librispeech,
        "read_headers",
        lambda *a, **k: (scans.append(1), real(*a, **k))[1],
    )
    first = prepare_librispeech(synthetic_speech, tmp_path, valid_speakers=0.34)
    content = tree(tmp_path)
    prepare_librispeech(synthetic_speech, tmp_path, valid_speakers=0.34)
    assert len(scans) == 1 and tree(tmp_path) == content
    prepare_librispeech(synthetic_speech, tmp_path, valid_speakers=2, seed=7)
    assert len(scans) == 2
    assert speakers(first["valid"]) != set()
    paths = prepare_librispeech(
        synthetic_speech / "nowhere", tmp_path, valid_speakers=2, skip_prep=True
    )
    assert paths == first and len(scans) == 2


def test_speakers_taken_depend_on_the_seed_alone(synthetic_speech, tmp_path):
    taken = [
        speakers(
            prepare_librispeech(
                synthetic_speech, tmp_path / str(i), valid_speakers=2, seed=seed
            )["valid"]
        )
        for i, seed in enumerate((1, 1, 2, 3, 4))
    ]
    assert taken[0] == taken[1]
    assert any(taken[0] != other for other in taken[2:])


def test_missing_corpus(tmp_path):
    with pytest.raises(FileNotFoundError, match="--download True"):
        prepare_librispeech(tmp_path / "nowhere", tmp_path)
    with pytest.raises(FileNotFoundError, match="--download True"):
        prepare_librispeech(tmp_path, tmp_path)
    with pytest.raises(ValueError, match="no split 'dev-dirty'; it has dev-cl"):
        prepare_librispeech(tmp_path, tmp_path, "dev-dirty", download=True)
    write_synthetic_librispeech(tmp_path, 1, 1)
    with pytest.raises(FileNotFoundError, match="test-clean.*--download True"):
        prepare_librispeech(tmp_path, tmp_path)


def test_published_counts(synthetic_speech, tmp_path):
    root = tmp_path / "LibriSpeech"
    for path in (synthetic_speech / "LibriSpeech").glob("*-clean"):
        (root / path.name).parent.mkdir(exist_ok=True)
        (root / path.name).symlink_to(path)
    save = tmp_path / "save"
    with pytest.raises(ValueError, match=r"has 12 utterances, 2703 were pub"):
        prepare_librispeech(tmp_path, save)
    assert not save.exists()
    prepare_librispeech(tmp_path, save, check_counts=False)


def test_shared_speakers_are_refused(synthetic_speech, tmp_path):
    with pytest.raises(ValueError, match="speaker 1 is in train and in test"):
        prepare_librispeech(synthetic_speech, tmp_path, test="dev-clean")
    with pytest.raises(ValueError, match="is either of splits"):
        prepare_librispeech(
            synthetic_speech, tmp_path, valid="dev-clean", valid_speakers=1
        )
    with pytest.raises(ValueError, match="cannot take 6 of 6"):
        prepare_librispeech(synthetic_speech, tmp_path, valid_speakers=6)
    assert not list(tmp_path.iterdir())


def test_wrong_rate_and_corrupt_files(tmp_path):
    write_synthetic_librispeech(tmp_path, {"dev-clean": 2, "test-clean": 1}, 2)
    first, second = sorted(tmp_path.rglob("1-1-*.flac"))
    first.write_bytes(b"corrupt")
    with pytest.raises(ValueError, match="1 of 6.*\n.*1-1-0000.flac"):
        prepare_librispeech(tmp_path, tmp_path / "s")
    paths = prepare_librispeech(tmp_path, tmp_path / "s", on_corrupt="report")
    assert len(read_manifest(paths["train"])) == 3
    write_audio(second, torch.zeros(9000), 8000)
    with pytest.raises(ValueError, match="2 of 6 files"):
        prepare_librispeech(tmp_path, tmp_path / "t")


def test_other_corpora(tmp_path):
    for speaker in "abcd":
        write_audio(tmp_path / "c" / speaker / "1.wav", torch.zeros(160), 16000)
    with pytest.raises(
        ValueError, match="test cannot be test-clean.*test_spea"
    ):
        prepare_librispeech(tmp_path / "c", tmp_path / "s")
    paths = prepare_librispeech(
        tmp_path / "c", tmp_path / "s", valid_speakers=1, test_speakers=0.25
    )
    parts = [speakers(path) for path in paths.values()]
    assert [len(part) for part in parts] == [2, 1, 1]
    assert set.union(*parts) == set("abcd")
    paths = prepare_librispeech(tmp_path / "c", tmp_path / "u", test=None)
    assert list(paths) == ["train"]


def test_real_table(shared_data, tmp_path):
    table = shared_data / "speech" / "manifest.csv"
    with pytest.raises(FileNotFoundError, match="has test, train, valid"):
        prepare_librispeech(table, tmp_path)
    paths = prepare_librispeech(
        table, tmp_path, train="train", valid="valid", test="test"
    )
    counts = {
        name: (len(read_manifest(path)), len(speakers(path)))
        for name, path in paths.items()
    }
    assert counts == {"train": (167, 155), "valid": (28, 22), "test": (61, 35)}
    for path in paths.values():
        check_files(path, table)


def test_download(synthetic_speech, tmp_path, monkeypatch):
    archives = {}
    for split in ("dev-clean", "test-clean"):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as file:
            file.add(
                synthetic_speech / "LibriSpeech" / split, f"LibriSpeech/{split}"
            )
        archives[f"https://mirror/{split}.tar.gz"] = buffer.getvalue()
    fetched = []

    def fake(url, path, checksum, **options):
        fetched.append((url, checksum))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(archives[url])
        return Path(path)

    monkeypatch.setattr(download, "download", fake)
    md5 = {url: hashlib.md5(data).hexdigest() for url, data in archives.items()}
    monkeypatch.setattr(
        librispeech,
        "ARCHIVES",
        {
            "dev-clean": (12, md5["https://mirror/dev-clean.tar.gz"]),
            "test-clean": (6, md5["https://mirror/test-clean.tar.gz"]),
        },
    )
    folder = tmp_path / "data"
    arguments = {"download": True, "mirror": "https://mirror"}
    paths = prepare_librispeech(folder, tmp_path / "s", **arguments)
    assert fetched == [(url, f"md5:{md5[url]}") for url in archives]
    assert len(read_manifest(paths["train"])) == 12
    # Unpacked already: nothing to fetch. A folder removed is fetched again.
    prepare_librispeech(folder, tmp_path / "t", **arguments)
    assert len(fetched) == 2
    for path in sorted((folder / "LibriSpeech/dev-clean").rglob("*"))[::-1]:
        path.unlink() if path.is_file() else path.rmdir()
    (folder / "LibriSpeech/dev-clean").rmdir()
    prepare_librispeech(folder, tmp_path / "u", **arguments)
    assert len(fetched) == 3


def test_published_checksums():
    assert {len(md5) for _, md5 in librispeech.ARCHIVES.values()} == {32}
    assert [
        librispeech.ARCHIVES[s][0] for s in ("dev-clean", "test-clean")
    ] == [
        2703,
        2620,
    ]
    assert librispeech.ARCHIVES["train-clean-100"][0] == 28539
