"""Drawn binaural mixtures: who speaks from where in which set, how loud."""

import json
import logging

import numpy as np
import pytest
import torch

from spatial_brain.dataio.audio import write_audio
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.binaural_wsj0mix import sampling
from spatial_brain.datasets.binaural_wsj0mix.noise import (
    DEMAND_SPLITS,
    DiffuseNoise,
    split_noise,
)
from spatial_brain.datasets.binaural_wsj0mix.prepare import (
    prepare_drawn_mixtures,
)
from spatial_brain.datasets.binaural_wsj0mix.rendering import (
    BinauralMixture,
    MixtureRenderer,
)
from spatial_brain.datasets.binaural_wsj0mix.sampling import (
    SceneDrawer,
    _draw_snrs,
    _mixture_gains,
    draw_levels,
    draw_mixtures,
    head_sources,
    set_gains,
    split_heads,
    split_listeners,
)
from spatial_brain.simulation.hrtf import load_hrtfs
from spatial_brain.simulation.hrtf.grid import CIPIC_LATERALS, CIPIC_SUBJECTS
from spatial_brain.simulation.mixing import active_level

SPLITS = ("train", "valid", "test")
VOICES = {
    "num_talkers": {"train": 3, "valid": 2, "test": 2},
    "utterances_per_talker": 2,
    "duration": (1.0, 1.5),
}
NUMBERS = {"train": 12, "valid": 4, "test": 4}


def prepare(folder, **options):
    options = {"num_mixtures": NUMBERS, "voices": VOICES, **options}
    return prepare_drawn_mixtures(options.pop("data", None), folder, **options)


def mixtures_of(path):
    return [entry["mixture"] for entry in read_manifest(path).values()]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("drawn"), scenes={"min_gap": 20})


def write_speech(folder, speakers, seconds=1.2):
    generator = torch.Generator().manual_seed(0)
    for name in speakers:
        noise = torch.randn(round(seconds * 16000), generator=generator)
        write_audio(folder / f"{name}.wav", 0.1 * noise, 16000, clip=True)


def test_published_listeners():
    parts = split_listeners(CIPIC_SUBJECTS)
    assert [len(parts[split]) for split in SPLITS] == [27, 9, 9]
    assert parts["test"][:3] == ["subject18", "subject21", "subject33"]
    assert {"subject08", "subject163"} <= set(parts["train"])
    assert "subject165" in parts["valid"]
    rooms = split_listeners([f"0_{tenth}s" for tenth in range(1, 10)])
    assert rooms["valid"] == ["0_5s"]
    assert rooms["test"] == ["0_3s", "0_6s", "0_9s"]


@pytest.mark.parametrize("count", [3, 4, 11])
def test_other_listeners_are_divided_by_seed(count):
    names = [f"head{index}" for index in range(count)]
    parts = split_listeners(names, seed=3)
    everyone = [name for split in SPLITS for name in parts[split]]
    assert sorted(everyone) == sorted(names)
    assert all(parts.values())
    assert parts == split_listeners(reversed(names), seed=3)
    others = [split_listeners(names, seed) for seed in range(8)]
    assert any(other != parts for other in others)


@pytest.mark.parametrize("names", [["kemar"], ["kemar", "ku100"]])
def test_few_listeners_are_warned_about(names, caplog):
    with caplog.at_level(logging.WARNING):
        parts = split_listeners(names)
    assert "kemar" in caplog.text
    assert parts["valid"] == parts["test"]
    assert (parts["train"] != parts["test"]) == (len(names) == 2)


def test_heads_of_sets_come_from_sources_of_their_own(tmp_path):
    path = tmp_path / "kemar.npz"
    path.touch()
    source = {
        "train": ["pinnae", str(path)],
        "valid": "pinnae",
        "test": ["sphere"],
    }
    with pytest.raises(ValueError, match="valid, test, got train"):
        split_heads({"train": "pinnae"})
    parts = split_heads({**source, "test": "pinnae"}, sizes=(0.9, 1.0))
    assert [len(parts[split]) for split in SPLITS] == [29, 9, 9]
    assert parts["train"][-2:] == ["kemar-size0.9", "kemar"]
    everyone = [name for split in SPLITS for name in parts[split]]
    assert len(set(everyone)) == len(everyone)
    assert head_sources(source) == ["pinnae", str(path), "sphere"]
    # One source for all sets is divided as ever.
    assert split_heads("pinnae") == split_listeners(CIPIC_SUBJECTS)


def test_scenes():
    speech = {
        f"{speaker}{number}": {"speaker": speaker, "num_samples": 16000}
        for speaker, count in (("a", 8), ("b", 1), ("c", 1))
        for number in range(count)
    }
    speech["short"] = {"speaker": "d", "num_samples": 15999}
    drawer = SceneDrawer(
        speech, ["x", "y"], num_speakers=2, min_gap=30, min_samples=16000
    )
    rng = np.random.default_rng(0)
    scenes = [drawer.draw(rng) for _ in range(1500)]
    first = [scene.utterances[0][0] for scene in scenes]
    assert abs(first.count("a") / 1500 - 0.8) < 0.04
    assert {scene.listener for scene in scenes} == {"x", "y"}
    for scene in scenes:
        assert scene.utterances[0][0] != scene.utterances[1][0]
        assert "short" not in scene.utterances
        assert abs(scene.laterals[0] - scene.laterals[1]) >= 30
    # Elevations of the sources do not depend on each other.
    polars = np.array([scene.polars for scene in scenes])
    assert len(np.unique(polars)) == 50
    assert abs(np.corrcoef(polars.T)[0, 1]) < 0.1


def test_azimuths_are_uniform_and_differ():
    speech = {name: {"speaker": name, "num_samples": 1} for name in "abc"}
    drawer = SceneDrawer(speech, ["x"], num_speakers=3)
    rng = np.random.default_rng(1)
    laterals = np.array([drawer.draw(rng).laterals for _ in range(2000)])
    assert all(len(set(row)) == 3 for row in laterals.tolist())
    for source in laterals.T:
        values, counts = np.unique(source, return_counts=True)
        assert values.tolist() == [float(x) for x in CIPIC_LATERALS]
        assert counts.min() > 45 and counts.max() < 125


def test_impossible_scenes_are_refused():
    speech = {name: {"speaker": name, "num_samples": 1} for name in "ab"}
    with pytest.raises(ValueError, match="3 talkers .* there are 2"):
        SceneDrawer(speech, ["x"], num_speakers=3)
    with pytest.raises(ValueError, match="smaller min_gap"):
        SceneDrawer(speech, ["x"], min_gap=170)
    with pytest.raises(ValueError, match="at least one head"):
        SceneDrawer(speech, [])


def test_levels_of_fixed_mixtures():
    generator = torch.Generator().manual_seed(2)
    signals = [torch.randn(n, generator=generator) for n in (9000, 8000)]
    snrs = [1.5, -1.5]
    for mode in ("min", "max"):
        gains = _mixture_gains(signals, snrs, 8000, mode)
        levels = [
            float(active_level(gain * signal, 8000))
            for gain, signal in zip(gains, signals, strict=True)
        ]
        assert levels[0] - levels[1] == pytest.approx(3.0, abs=1e-3)
        end = 8000 if mode == "min" else 9000
        parts = torch.zeros(2, end)
        for part, gain, signal in zip(parts, gains, signals, strict=True):
            part[: len(signal)] = gain * signal[:end]
        peak = max(parts.abs().max(), parts.sum(0).abs().max())
        assert float(peak) == pytest.approx(0.9, abs=1e-5)
    rng = np.random.default_rng(0)
    drawn = np.array([_draw_snrs(rng, 3) for _ in range(2000)])
    assert drawn[:, 0].min() >= 0 and 2.4 < drawn[:, 0].max() <= 2.5
    assert (drawn[:, 1] == -drawn[:, 0]).all() and not drawn[:, 2].any()


def test_levels_of_dynamic_mixtures():
    rng = np.random.default_rng(0)
    levels = np.array([draw_levels(rng, 3) for _ in range(20000)])
    assert levels[:, 0].mean() == pytest.approx(-27.43, abs=0.1)
    assert levels[:, 0].std() == pytest.approx(2.57, abs=0.1)
    for other in (1, 2):
        gap = levels[:, other] - levels[:, 0]
        assert gap.mean() == pytest.approx(-2.51, abs=0.1)
        assert gap.std() == pytest.approx(2.66, abs=0.1)
    # Others are relative to the first, not to each other.
    gaps = levels[:, 1:] - levels[:, :1]
    assert abs(np.corrcoef(gaps.T)[0, 1]) < 0.05
    assert levels.min() >= -45 and levels.max() <= 0


def test_no_speaker_and_no_listener_in_two_sets(drawn):
    sets = {split: mixtures_of(drawn[split]) for split in SPLITS}
    for key in ("speakers", "utterances", "head"):
        values = [
            {
                value
                for mixture in sets[split]
                for value in np.atleast_1d(mixture[key]).tolist()
            }
            for split in SPLITS
        ]
        assert not (values[0] & values[1] or values[0] & values[2])
        assert not values[1] & values[2]
    for split, mixtures in sets.items():
        assert len(mixtures) == NUMBERS[split]
        for mixture in mixtures:
            assert len(set(mixture["speakers"])) == 2
            assert abs(np.diff(mixture["laterals"])[0]) >= 20


def test_entries_are_what_is_rendered(drawn):
    hrtfs = load_hrtfs(None, 8000)
    renderer = MixtureRenderer("", hrtfs, 8000)
    for entry in list(read_manifest(drawn["train"]).values())[:3]:
        mixture = BinauralMixture.from_dict(entry["mixture"])
        signals = renderer.render(mixture)
        assert len(signals["mix"]) == pytest.approx(
            8000 * entry["duration"], abs=1
        )
        length = len(signals["mix"])
        dry = [signal[:length] for signal in renderer.dry(mixture)]
        peak = max(np.abs(dry).max(), np.abs(sum(dry)).max())
        assert peak == pytest.approx(0.9, abs=1e-4)
        for signal, image in zip(
            dry, signals["sources"].unbind(-1), strict=True
        ):
            energy = 2 * (signal**2).sum() * signals["gain"] ** 2
            assert float(image.square().sum()) == pytest.approx(energy, 1e-4)


def test_drawing_depends_on_the_seed_alone(drawn, tmp_path, monkeypatch):
    speech = drawn["train"].parent / "speech"
    options = {"data": speech, "scenes": {"min_gap": 20}}
    monkeypatch.setattr(sampling, "_JOB", 1)
    more = {**NUMBERS, "train": 15}
    again = prepare(tmp_path / "a", num_mixtures=more, **options)
    # A longer list begins with the shorter one.
    same = mixtures_of(again["train"])[: NUMBERS["train"]]
    assert same == mixtures_of(drawn["train"])
    assert mixtures_of(again["test"]) == mixtures_of(drawn["test"])
    other = prepare(tmp_path / "b", seed=1, **options)
    assert mixtures_of(other["test"]) != mixtures_of(drawn["test"])


def test_preparation_goes_on_where_it_stopped(tmp_path):
    paths = prepare(tmp_path)
    before = {split: path.read_text() for split, path in paths.items()}
    kept = paths["train"].stat().st_mtime_ns
    paths["test"].unlink()
    wav = next((tmp_path / "speech").rglob("*.wav"))
    wav.unlink()
    prepare(tmp_path)
    assert wav.is_file()
    assert paths["train"].stat().st_mtime_ns == kept
    assert {s: path.read_text() for s, path in paths.items()} == before
    # Only dynamic mixing: no list that something else might take for its own.
    prepare(tmp_path, num_mixtures={**NUMBERS, "train": 0})
    assert not paths["train"].exists()
    prepare(tmp_path, seed=5)
    assert paths["test"].read_text() != before["test"]
    # Other voices take the place of those there.
    few = {"num_talkers": {"train": 2, "valid": 2, "test": 3}}
    prepare(tmp_path, voices={**VOICES, **few})
    speakers = {s for m in mixtures_of(paths["train"]) for s in m["speakers"]}
    assert speakers == {"si_tr_s-001", "si_tr_s-002"}


def test_any_corpus(tmp_path):
    corpus = tmp_path / "corpus"
    lines = ["path,speaker,split"]
    for split, names in (("train", "ab"), ("valid", "cd"), ("test", "ef")):
        write_speech(corpus, names)
        lines += [f"{name}.wav,{name},{split}" for name in names]
    table = corpus / "table.csv"
    table.write_text("\n".join(lines))
    paths = prepare(tmp_path / "a", data=table, num_speakers=2)
    speakers = {s for m in mixtures_of(paths["test"]) for s in m["speakers"]}
    assert speakers == {"e", "f"}
    # A set with one speaker.
    table.write_text("\n".join(lines[:-1]))
    with pytest.raises(ValueError, match=r"speech_et.json: mixtures of 2 .* e"):
        prepare(tmp_path / "b", data=table)
    with pytest.raises(FileNotFoundError, match="nowhere: no such corpus"):
        prepare(tmp_path / "c", data=tmp_path / "nowhere")
    (corpus / "c.wav").write_bytes(b"RIFF")
    table.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"c\.wav"):
        prepare(tmp_path / "d", data=table)
    with pytest.raises(ValueError, match="variant must be one of"):
        prepare(tmp_path / "e", data=table, variant="wet")


def test_silent_speech_is_named(tmp_path):
    write_speech(tmp_path, "a")
    write_audio(tmp_path / "b.wav", torch.zeros(16000), 16000)
    mixture = BinauralMixture(
        "x",
        [f"{tmp_path}/{name}.wav" for name in "ab"],
        "ab",
        (1.0, 1.0),
        (0.0, 5.0),
    )
    with pytest.raises(ValueError, match=r"b\.wav: a talker is silent"):
        set_gains([mixture], [[0.0, 0.0]], 8000)


def test_noise_of_each_set(tmp_path):
    tone = 0.1 * torch.rand(320)
    names = [name for part in DEMAND_SPLITS.values() for name in part]
    for name in names:
        for channel in ("ch01", "ch02"):
            write_audio(tmp_path / "d" / name / f"{channel}.wav", tone, 16000)
    parts = split_noise(tmp_path)
    assert [len(parts[split]) for split in SPLITS] == [6, 6, 6]
    assert parts["test"]["d/TCAR/ch01.wav"] == 320
    with pytest.raises(FileNotFoundError, match="no such folder of noise"):
        split_noise(tmp_path / "nowhere")
    write_audio(tmp_path / "one" / "n.wav", tone, 16000)
    with pytest.raises(ValueError, match="at least three"):
        split_noise(tmp_path / "one")


def test_noise_has_its_level(tmp_path):
    write_speech(tmp_path, "ab")
    generator = torch.Generator().manual_seed(5)
    noise = 0.01 * torch.randn(80000, generator=generator)
    write_audio(tmp_path / "n.wav", noise, 16000)
    mixture = BinauralMixture(
        "x",
        [f"{tmp_path}/{name}.wav" for name in "ab"],
        "ab",
        (1.0, 1.0),
        (0.0, 45.0),
        head="subject03",
        noise="n.wav",
        # Its second excerpt goes on at the beginning of the file.
        noise_start=25000,
    )
    hrtfs = load_hrtfs(None, 8000, subjects=["subject03"])
    source = DiffuseNoise(tmp_path, hrtfs)
    [mixture] = set_gains(
        [mixture], [[1.0, -1.0]], 8000, snrs=[6.0], noise=source
    )
    signals = MixtureRenderer("", hrtfs, 8000, noise=source).render(mixture)
    power = signals["sources"][..., 0].square().mean()
    snr = 10 * torch.log10(power / signals["noise"].square().mean())
    assert float(snr) == pytest.approx(6.0, abs=0.01)
    with pytest.raises(ValueError, match=r"n\.wav: has 80000 samples; two"):
        source.excerpt(mixture, 8000, 30000)


def test_drawn_names_are_unique():
    speech = {
        name: {"wav": f"{name}.wav", "speaker": name, "num_samples": 1}
        for name in "ab"
    }
    drawer = SceneDrawer(speech, ["x"], laterals=[0, 5], polars=[0.0])
    mixtures, _, _ = draw_mixtures(drawer, speech, 30, seed=0)
    names = [mixture.name for mixture in mixtures]
    assert len(set(names)) == 30
    assert {name[:6] for name in names} == {
        "x_a_0_",
        "x_a_5_",
        "x_b_0_",
        "x_b_5_",
    }
    assert json.dumps([mixture.to_dict() for mixture in mixtures])
