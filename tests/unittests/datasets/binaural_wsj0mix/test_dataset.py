"""Data sets of binaural mixtures: fixed, stored or drawn anew."""

import logging
import shutil

import pytest
import torch
from speechbrain.dataio.dataloader import make_dataloader

from spatial_brain.augment.binaural import (
    BinauralAugmentation,
    summed,
)
from spatial_brain.dataio.audio import write_audio
from spatial_brain.dataio.files import read_json, write_json
from spatial_brain.dataio.manifest import (
    read_manifest,
    replace_entries,
    write_manifest,
)
from spatial_brain.datasets.binaural_wsj0mix.dataset import (
    binaural_sets,
    store_mixtures,
)
from spatial_brain.datasets.binaural_wsj0mix.noise import DEMAND_SPLITS
from spatial_brain.datasets.binaural_wsj0mix.prepare import (
    prepare_drawn_mixtures,
)
from spatial_brain.datasets.binaural_wsj0mix.rendering import (
    BinauralMixture,
    mixture_entry,
)
from spatial_brain.simulation.hrtf import load_hrtfs

FS = 8000
NUMBERS = {"train": 8, "valid": 2, "test": 2}


def draw(folder, **options):
    voices = {
        "num_talkers": {"train": 4, "valid": 2, "test": 2},
        "utterances_per_talker": 2,
        "duration": (1.0, 1.6),
    }
    prepare_drawn_mixtures(
        options.pop("data", None),
        folder,
        num_mixtures=NUMBERS,
        voices=voices,
        **options,
    )
    return folder


@pytest.fixture(scope="module")
def hrtfs(tmp_path_factory):
    """A head of each set, and some more for training."""
    names = ["subject08", "subject09", "subject10", "subject12", "subject18"]
    path = tmp_path_factory.mktemp("hrtfs") / "hrtfs.safetensors"
    load_hrtfs(None, FS, subjects=names).save(path)
    return path


@pytest.fixture(scope="module")
def open_sets(hrtfs):
    def sets(folder, **options):
        return binaural_sets(folder, fs=FS, **{"hrtfs": hrtfs, **options})

    return sets


@pytest.fixture(scope="module")
def clean(hrtfs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    return draw(folder, hrtfs=hrtfs, scenes={"min_gap": 30})


@pytest.fixture(scope="module")
def noisy(hrtfs, tmp_path_factory, clean):
    folder = tmp_path_factory.mktemp("noisy")
    generator = torch.Generator().manual_seed(0)
    for part in DEMAND_SPLITS.values():
        for name in part[:2]:
            noise = 0.05 * torch.randn(60000, generator=generator)
            path = folder / "demand" / name / "ch01.wav"
            write_audio(path, noise, 16000)
    return draw(
        folder,
        data=clean / "speech",
        hrtfs=hrtfs,
        variant="noise",
        noise_folder=folder / "demand",
    )


def first_items(dataset, count=4):
    return [dataset[index] for index in range(count)]


def same(items, others):
    return all(
        torch.equal(item[key], other[key])
        for item, other in zip(items, others, strict=True)
        for key in ("mix", "sources", "noise", "azimuths")
    )


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize("kind", ["clean", "noisy"])
def test_a_mixture_is_the_sum_of_its_parts(
    kind, dynamic, augmented, request, open_sets
):
    folder = request.getfixturevalue(kind)
    augment = None
    if augmented:
        augment = BinauralAugmentation(max_shift=500, max_length=6000)
    sets = open_sets(folder, dynamic_mixing=dynamic, augment=augment)
    assert list(sets) == ["train", "valid", "test"]
    for item in first_items(sets["train"], 3):
        length = len(item["mix"])
        assert item["sources"].shape == (length, 2, 2)
        assert item["noise"].shape == (length, 2)
        assert length <= (6000 if augmented else 13000)
        whole = summed(item["sources"], item["noise"])
        torch.testing.assert_close(item["mix"], whole, atol=1e-7, rtol=0)
        assert bool(item["noise"].any()) == (kind == "noisy")
        assert item["t60"].tolist() == [0.0]
        assert len(item["azimuths"]) == len(item["elevations"]) == 2


@pytest.mark.parametrize("dynamic", [False, True])
def test_same_data_for_any_number_of_workers(noisy, dynamic, open_sets):
    augment = BinauralAugmentation(
        max_length=6000, max_shift=100, drop_chunk=(100, 200), drop_freq=2
    )
    batches = []
    for workers in (0, 2):
        sets = open_sets(
            noisy,
            dynamic_mixing=dynamic,
            augment=augment,
            speech_in_memory=workers == 2,
            seed=7,
        )
        sets["train"].set_epoch(3)
        # What the global generators are at must not matter.
        torch.manual_seed(workers)
        loader = make_dataloader(
            sets["train"], batch_size=3, num_workers=workers
        )
        batches.append(list(loader))
    for others in batches[1:]:
        for batch, other in zip(batches[0], others, strict=True):
            assert batch.id == other.id
            for key in ("mix", "sources", "noise", "azimuths"):
                one, two = getattr(batch, key), getattr(other, key)
                assert torch.equal(one.data, two.data), key
                assert torch.equal(one.lengths, two.lengths), key


def test_batches_are_padded(clean, open_sets):
    sets = open_sets(clean)
    [batch] = make_dataloader(sets["train"], batch_size=8)
    longest = max(len(item["mix"]) for item in first_items(sets["train"], 8))
    assert batch.mix.data.shape == (8, longest, 2)
    assert batch.sources.data.shape == (8, longest, 2, 2)
    lengths = (batch.mix.lengths * longest).round().long()
    for index, length in enumerate(lengths.tolist()):
        assert length == len(sets["train"][index]["mix"])
        assert not batch.mix.data[index, length:].any()
    assert len(batch.speakers) == len(batch.head) == 8


def test_epochs_and_seeds(clean, open_sets):
    augment = BinauralAugmentation(max_length=6000)
    for dynamic in (False, True):
        options = {"dynamic_mixing": dynamic, "augment": augment}
        train = open_sets(clean, seed=1, **options)["train"]
        items = first_items(train)
        train.set_epoch(1)
        assert not same(first_items(train), items)
        train.set_epoch(0)
        assert same(first_items(train), items)
        other = open_sets(clean, seed=2, **options)["train"]
        assert not same(first_items(other), items)
        # Those of other sets never change.
        sets = open_sets(clean, seed=1, **options)
        tested = first_items(sets["test"], 2)
        sets["test"].set_epoch(5)
        assert same(first_items(sets["test"], 2), tested)


def test_sets_on_disk(noisy, hrtfs, tmp_path, open_sets):
    for name in ("train", "valid", "test"):
        for ending in ("json", "options.json"):
            shutil.copy(noisy / f"{name}.{ending}", tmp_path)
    shutil.copy(noisy / "drawing.json", tmp_path)
    made = first_items(open_sets(tmp_path)["train"])
    store_mixtures(tmp_path / "data", tmp_path, fs=FS, hrtfs=hrtfs)
    # Nothing but the files is needed.
    stored = open_sets(tmp_path, hrtfs="nowhere")["train"]
    for item, other in zip(made, first_items(stored), strict=True):
        for key in ("mix", "sources", "noise"):
            torch.testing.assert_close(item[key], other[key], atol=1e-4, rtol=0)
        assert item["speakers"] == other["speakers"]
    entries = read_manifest(tmp_path / "train.json")
    first = next(iter(entries.values()))
    path = first["sources_wav"][1]
    write_audio(path, torch.zeros(10, 2), FS)
    with pytest.raises(ValueError, match=r"/s2/.* has 10 samples"):
        stored[0]
    write_audio(path, torch.zeros(10, 2), 16000)
    with pytest.raises(ValueError, match=r"/s2/.*16000"):
        stored[0]


def test_sorting_by_duration(clean, open_sets):
    for sorting, sign in (("ascending", 1), ("descending", -1)):
        train = open_sets(clean, sorting=sorting)["train"]
        lengths = [len(item["mix"]) for item in first_items(train, 8)]
        assert lengths == sorted(lengths, key=lambda x, s=sign: s * x)
    with pytest.raises(ValueError, match="sorting must be one of"):
        open_sets(clean, sorting="random")


def test_dynamic_mixing_draws_from_the_training_set_alone(clean, open_sets):
    plan = read_json(clean / "drawing.json")
    speakers = {
        entry["speaker"]
        for entry in read_manifest(clean / "speech_tr.json").values()
    }
    sets = open_sets(
        clean,
        dynamic_mixing=True,
        items_per_epoch=60,
        augment=BinauralAugmentation(None, max_length=4000),
    )
    assert len(sets["train"]) == 60
    items = first_items(sets["train"], 60)
    assert {s for item in items for s in item["speakers"]} == speakers
    heads = {item["head"] for item in items}
    assert heads <= set(plan["listeners"]["train"]) and len(heads) == 3
    for item in items:
        assert len(set(item["speakers"])) == 2
        assert item["mix"].shape == (4000, 2)
        peak = max(item["mix"].abs().max(), item["sources"].abs().max())
        assert float(peak) == pytest.approx(0.9, abs=1e-5)
    # Lateral angles of at least 30 degrees between the sources.
    gaps = []
    for item in items:
        azimuth, elevation = (
            torch.deg2rad(item[key]) for key in ("azimuths", "elevations")
        )
        lateral = torch.asin(-azimuth.sin() * elevation.cos())
        gaps.append(float(torch.rad2deg(lateral).diff().abs()))
    assert min(gaps) > 29.9


def test_dynamic_noise_has_levels_of_its_range(noisy, open_sets):
    train = open_sets(noisy, dynamic_mixing=True, items_per_epoch=40)["train"]
    snrs = [
        float(
            10
            * torch.log10(
                item["sources"][..., 0].square().mean()
                / item["noise"].square().mean()
            )
        )
        for item in first_items(train, 40)
    ]
    assert -2.5 <= min(snrs) < 2 and 10 < max(snrs) <= 15
    # Unlike at both ears.
    noise = train[0]["noise"]
    assert not torch.allclose(noise[:, 0], noise[:, 1], atol=1e-3)
    alike = open_sets(noisy, compat="wrap_int16")["train"][0]
    assert torch.equal(alike["noise"][:, 0], alike["noise"][:, 1])


def published(folder, clean):
    """Manifests without a plan, as the published lists give them."""
    for split in ("train", "test"):
        entries = read_manifest(clean / f"{split}.json")
        for entry in entries.values():
            del entry["mixture"]["seed"]
        write_manifest(folder / f"{split}.json", entries)
    return folder


def test_dynamic_mixing_of_published_lists(clean, tmp_path, open_sets):
    published(tmp_path, clean)
    # Left over from something else.
    write_json(tmp_path / "drawing.json", {"listeners": {"train": ["x"]}})
    train = open_sets(tmp_path, dynamic_mixing=True, items_per_epoch=30)[
        "train"
    ]
    items = first_items(train, 30)
    listed = [
        entry["mixture"]
        for entry in read_manifest(tmp_path / "train.json").values()
    ]
    assert {item["head"] for item in items} <= {m["head"] for m in listed}
    speakers = {s for item in items for s in item["speakers"]}
    assert speakers == {s for m in listed for s in m["speakers"]}


def test_other_speech_for_dynamic_mixing(clean, tmp_path, open_sets):
    options = {"dynamic_mixing": True}
    folder = clean / "speech/wsj0/si_tr_s"
    train = open_sets(clean, speech_folder=folder, **options)["train"]
    assert set(train[0]["speakers"]) <= {"001", "002", "003", "004"}
    published(tmp_path, clean)
    entries = read_manifest(tmp_path / "test.json")
    speakers = {n for e in entries.values() for n in e["mixture"]["speakers"]}
    for name in speakers:
        write_audio(tmp_path / "c" / name / "new.wav", torch.rand(9), 16000)
    with pytest.raises(ValueError, match="speakers of the test set"):
        open_sets(tmp_path, speech_folder=tmp_path / "c", **options)


def test_other_speech_without_its_validation_and_test(
    clean, tmp_path, open_sets, caplog
):
    for split, speaker in (
        ("train-clean-100", "31"),
        ("train-clean-100", "32"),
        ("dev-clean", "33"),
        ("test-clean", "34"),
    ):
        name = f"{split}/{speaker}/7/{speaker}-7-0000.flac"
        write_audio(tmp_path / "corpus" / name, torch.rand(20_000) / 2, 16000)
    caplog.set_level(logging.INFO)
    train = open_sets(
        clean, speech_folder=tmp_path / "corpus", dynamic_mixing=True
    )["train"]
    assert "2 of 4 utterances are drawn from" in caplog.text
    drawn = {name for n in range(8) for name in train[n]["speakers"]}
    assert drawn == {"31", "32"}
    shutil.rmtree(tmp_path / "corpus" / "train-clean-100")
    with pytest.raises(FileNotFoundError, match="corpus: no training speech"):
        open_sets(clean, speech_folder=tmp_path / "corpus", dynamic_mixing=True)


def test_a_set_needs_its_files(clean, tmp_path, open_sets):
    with pytest.raises(FileNotFoundError, match="run the preparation"):
        open_sets(tmp_path)
    published(tmp_path, clean)
    (tmp_path / "train.json").unlink()
    with pytest.raises(FileNotFoundError, match="no training mixtures"):
        open_sets(tmp_path, dynamic_mixing=True)
    mixture = BinauralMixture(
        "x", (f"{tmp_path}/a.wav",), ("a",), (1.0,), (0.0,), head="subject03"
    )
    write_manifest(tmp_path / "test.json", {"x": mixture_entry(mixture, 1.0)})
    with pytest.raises(FileNotFoundError, match=r"a\.wav"):
        open_sets(tmp_path)["test"][0]
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"a\.wav"):
        open_sets(tmp_path)["test"][0]


def test_silent_speech_is_drawn_again_and_then_reported(
    clean, tmp_path, open_sets
):
    shutil.copytree(clean, tmp_path / "c")
    speech = read_manifest(tmp_path / "c/speech_tr.json")
    for entry in speech.values():
        entry["wav"] = str(tmp_path / "silent.wav")
    write_audio(tmp_path / "silent.wav", torch.zeros(32000), 16000)
    replace_entries(tmp_path / "c/speech_tr.json", speech)
    train = open_sets(tmp_path / "c", dynamic_mixing=True)["train"]
    with pytest.raises(ValueError, match=r"silent\.wav; check the corpus"):
        train[0]
