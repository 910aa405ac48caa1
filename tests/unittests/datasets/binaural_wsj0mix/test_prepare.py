"""Binaural-WSJ0Mix prepared: from WSJ0 in any form, or from a tree on disk."""

import json
import shutil

import binaural_trees as tiny
import numpy as np
import pytest
import soundfile

from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.binaural_wsj0mix.prepare import (
    load_responses,
    prepare_binaural_wsj0mix,
)
from spatial_brain.datasets.binaural_wsj0mix.rendering import (
    BinauralMixture,
    MixtureRenderer,
)
from spatial_brain.datasets.speech.wsj0 import find_wsj0, readable_wsj0


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    return {
        "wsj0_folder": tiny.write_wsj0(folder / "wsj"),
        "metadata_folder": tiny.write_metadata(folder / "metadata"),
        "hrtfs": tiny.write_cipic(folder / "cipic"),
        # Quicker than the default.
        "compat": ["scipy_resampling"],
    }


def prepare(folder, inputs, **options):
    return prepare_binaural_wsj0mix(
        folder / "data",
        folder / "manifests",
        **{"check_counts": False, **inputs, **options},
    )


def test_manifests_and_files(tmp_path, inputs):
    paths = prepare(tmp_path, inputs)
    assert list(paths) == ["train", "valid", "test"]
    for split, part in (("train", "tr"), ("valid", "cv"), ("test", "tt")):
        entries = read_manifest(paths[split])
        assert len(entries) == 2
        for name, entry in entries.items():
            mixture = BinauralMixture.from_dict(entry["mixture"])
            assert mixture.name == name
            assert mixture.head == tiny.SUBJECTS[part]
            mix, fs = soundfile.read(entry["mix_wav"])
            assert f"2speakers/wav8k/min/{part}/mix/" in entry["mix_wav"]
            assert len(mix) == np.ceil(entry["duration"] * fs)
            assert len(entry["sources_wav"]) == 2


def test_nothing_is_done_twice(tmp_path, inputs, monkeypatch):
    paths = prepare(tmp_path, inputs)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    assert prepare(tmp_path, inputs) == paths
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.*")} == before
    assert prepare(tmp_path, {}, skip_prep=True) == paths
    # Another rate later: the first one is left as it is.
    prepare(tmp_path, inputs, fs=16000, mode="max", splits=["test"])
    root = tmp_path / "data" / "2speakers"
    assert len(list(root.glob("wav16k/max/tt/*/*.wav"))) == 6
    # What was removed is made again.
    removed = root / "wav16k"
    shutil.rmtree(removed)
    prepare(tmp_path, inputs, fs=16000, mode="max", splits=["test"])
    assert len(list(removed.rglob("*.wav"))) == 6
    waves = [path for path in before if path.suffix == ".wav"]
    assert len(waves) == 18
    assert all(path.stat().st_mtime_ns == before[path] for path in waves)


def test_on_the_fly_equals_disk(tmp_path, inputs):
    disk = read_manifest(prepare(tmp_path, inputs)["test"])
    shutil.rmtree(tmp_path / "manifests")
    path = prepare_binaural_wsj0mix(
        None,
        tmp_path / "manifests",
        storage="on_the_fly",
        check_counts=False,
        **inputs,
    )["test"]
    described = read_manifest(path)
    assert list(described) == list(disk)
    hrtfs = load_responses(
        {"test": described},
        8000,
        hrtfs=inputs["hrtfs"],
        compat=inputs["compat"],
    )
    renderer = MixtureRenderer("/", hrtfs, 8000)
    for name, entry in described.items():
        assert "mix_wav" not in entry
        mixture = BinauralMixture.from_dict(entry["mixture"])
        signals = renderer.render(mixture)
        stored = soundfile.read(disk[name]["mix_wav"], dtype="float32")[0]
        np.testing.assert_allclose(signals["mix"].numpy(), stored, atol=3.1e-5)


def test_noise_on_disk_sums_up(tmp_path, inputs):
    noise = tiny.write_noise(tmp_path / "noise")
    options = {"variant": "noise", "noise_folder": noise, "mode": "max"}
    entries = read_manifest(prepare(tmp_path, inputs | options)["test"])
    for entry in entries.values():
        mix, *parts = (
            soundfile.read(path, dtype="int16")[0]
            for path in (
                entry["mix_wav"],
                entry["noise_wav"],
                *entry["sources_wav"],
            )
        )
        np.testing.assert_array_equal(mix, sum(parts))
        assert len(mix) == np.ceil(entry["duration"] * 8000)
        assert entry["mix_wav"].split("/")[-2] == "mix_both"
    # A tree of the original, without descriptions.
    for pattern in ("generation.json", "mixtures.json"):
        for path in (tmp_path / "data").rglob(pattern):
            path.unlink()
    shutil.rmtree(tmp_path / "manifests")
    again = prepare(tmp_path, {"variant": "noise", "mode": "max"})["test"]
    assert list(read_manifest(again)) == sorted(entries)


def test_folder_with_and_without_the_name_of_the_set(tmp_path, inputs):
    prepare(tmp_path, inputs)
    data = tmp_path / "data"
    for folder in (data, data / "2speakers"):
        paths = prepare_binaural_wsj0mix(
            folder, tmp_path / "other", check_counts=False
        )
        assert len(read_manifest(paths["test"])) == 2
        shutil.rmtree(tmp_path / "other")
    assert not (data / "2speakers" / "2speakers").exists()
    with pytest.raises(ValueError, match="another variant"):
        prepare_binaural_wsj0mix(
            data / "2speakers", tmp_path / "x", variant="clean3"
        )


@pytest.fixture
def tree(tmp_path, inputs):
    """A tree as the original generator leaves it."""
    prepare(tmp_path, inputs | {"compat": True})
    root = tmp_path / "data" / "2speakers" / "wav8k" / "min"
    for pattern in ("*/generation.json", "*/mixtures.json"):
        for path in root.glob(pattern):
            path.unlink()
    shutil.rmtree(tmp_path / "manifests")
    return root


def test_a_tree_of_the_original_is_used(tmp_path, inputs, tree):
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*.wav")}
    for options in (inputs, {}):
        entries = read_manifest(prepare(tmp_path, options)["train"])
        name = "subject08_01aa0101_-80_0_01ba0102_-15_62"
        mixture = BinauralMixture.from_dict(entries[name]["mixture"])
        assert mixture.head == "subject08"
        assert mixture.speakers == ("01a", "01b")
        assert mixture.laterals == (-80.0, -15.0)
        assert mixture.polars == (0.0, 61.875)
        assert entries[name]["duration"] == 0.4375
    assert {p: p.stat().st_mtime_ns for p in tree.rglob("*.wav")} == before


def test_an_incomplete_tree_is_refused(tmp_path, tree):
    with pytest.raises(ValueError, match="2 mixtures, 20000 were expected"):
        prepare(tmp_path, {}, check_counts=True)
    victim = next((tree / "cv" / "s2").glob("*.wav"))
    content = victim.read_bytes()
    victim.unlink()
    with pytest.raises(FileNotFoundError, match=r"1 files are missing.*s2/"):
        prepare(tmp_path, {})
    victim.write_bytes(content[:-400])
    with pytest.raises(ValueError, match="different sizes"):
        prepare(tmp_path, {})
    soundfile.write(victim, np.zeros((3500, 2)), 8000)
    with pytest.raises(ValueError, match="not the sum of its talkers"):
        prepare(tmp_path, {})
    victim.write_bytes(content)
    mix = tree / "cv" / "mix" / victim.name
    good = mix.read_bytes()
    mix.write_bytes(good[:-400])
    with pytest.raises(ValueError, match="truncated"):
        prepare(tmp_path, {})
    mix.write_bytes(good)
    assert len(prepare(tmp_path, {})) == 3


def test_a_generation_that_was_broken_off_is_not_a_set(tmp_path, inputs):
    prepare(tmp_path, inputs)
    shutil.rmtree(tmp_path / "manifests")
    record = tmp_path / "data/2speakers/wav8k/min/tt/generation.json"
    content = json.loads(record.read_text())
    record.write_text(json.dumps(content | {"complete": False}))
    with pytest.raises(ValueError, match="not finished"):
        prepare(tmp_path, {})
    prepare(tmp_path, inputs)
    assert json.loads(record.read_text())["complete"]


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".wv1"])
@pytest.mark.parametrize("upper", [False, True])
def test_any_form_of_wsj0(tmp_path, suffix, upper):
    folder = tiny.write_wsj0(tmp_path, suffix, upper)
    wanted = [
        f"wsj0/{subset}/{stem[:3]}/{stem}.wav"
        for stem, (subset, _) in tiny.UTTERANCES.items()
    ]
    found = find_wsj0(folder, wanted)
    speech = readable_wsj0(found)
    assert [u.num_samples for u in speech.values()] == [
        length for _, length in tiny.UTTERANCES.values()
    ]
    # One of the subsets alone is found as well.
    inner = next(p for p in folder.rglob("*") if p.name.lower() == "si_et_05")
    assert find_wsj0(inner, wanted[-1:]) == {wanted[-1]: found[wanted[-1]]}


def test_missing_utterances_are_counted(tmp_path, inputs):
    shutil.copytree(inputs["wsj0_folder"], tmp_path / "wsj")
    shutil.rmtree(tmp_path / "wsj" / "wsj0" / "si_dt_05")
    with pytest.raises(
        FileNotFoundError, match=r"1 of 5 utterances.*050a0501.*si_dt_05"
    ):
        prepare(tmp_path, inputs | {"wsj0_folder": tmp_path / "wsj"})
    assert not (tmp_path / "data").exists()


def test_three_talkers_without_published_gains(tmp_path, inputs, caplog):
    lists = tmp_path / "metadata"
    shutil.copytree(inputs["metadata_folder"], lists)
    (lists / "scaling_tr3.npz").write_bytes(b"")
    paths = prepare(
        tmp_path,
        inputs | {"metadata_folder": lists},
        variant="clean3",
        splits=["train"],
    )
    for entry in read_manifest(paths["train"]).values():
        gains = entry["mixture"]["gains"]
        assert len(gains) == 3 and all(0 < gain < 10 for gain in gains)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "clean4"}, "variant must be"),
        ({"fs": 44100}, "fs must be"),
        ({"mode": "mean"}, "mode must be"),
        ({"storage": "tape"}, "storage must be"),
        ({"splits": ["dev"]}, "splits must be"),
        ({"check_counts": True}, "20000 were published"),
        ({"wsj0_folder": None}, "no WSJ0 to make them"),
        ({"wsj0_folder": "nowhere"}, "nowhere: no such folder"),
        ({"metadata_folder": "nowhere"}, "no such list of mixtures"),
        ({"hrtfs": "nowhere"}, "nowhere"),
        ({"variant": "reverb"}, "need room responses"),
        ({"variant": "noise"}, "no such folder of noise"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, inputs, options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        prepare(tmp_path, inputs | options)
