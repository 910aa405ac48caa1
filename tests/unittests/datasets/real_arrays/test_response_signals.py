"""Signals of two microphones from measured responses."""

import logging
import math

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

from spatial_brain.dataio.audio import write_audio
from spatial_brain.datasets.microphone_pairs.mixing import mix_at_snr
from spatial_brain.datasets.real_arrays.response_cache import (
    ResponseCache,
    write_response_caches,
)
from spatial_brain.datasets.real_arrays.response_signals import (
    ResponseSignals,
)
from spatial_brain.datasets.real_arrays.signal_preparation import (
    open_response_signals,
    prepare_response_signals,
)
from spatial_brain.datasets.real_arrays.synthetic.ace import (
    write_synthetic_ace,
)
from spatial_brain.datasets.real_arrays.synthetic.butreverb import (
    write_synthetic_butreverb,
)
from spatial_brain.datasets.real_arrays.synthetic.dcase import (
    write_synthetic_dcase,
)
from spatial_brain.datasets.real_arrays.synthetic.dechorate import (
    write_synthetic_dechorate,
)
from spatial_brain.datasets.real_arrays.synthetic.meshrir import (
    write_synthetic_meshrir,
)
from spatial_brain.datasets.real_arrays.synthetic.mir import (
    write_synthetic_mir,
)
from spatial_brain.datasets.speech.pool import prepare_speech
from spatial_brain.simulation.room_labels import tdoa_samples

FS, T = 16000, 0.5
ROOMS = ["Lecture_Room_2", "Office_1", "Office_2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("signals")


@pytest.fixture(scope="module")
def speech(folder):
    few = {"train-clean-100": 2, "dev-clean": 1, "test-clean": 1}
    return prepare_speech(
        None, folder, num_talkers=few, utterances_per_talker=2
    )


@pytest.fixture(scope="module")
def caches(folder):
    write_synthetic_ace(
        folder / "ACE", rooms=ROOMS, arrays=["Mobile"], seconds=0.6
    )
    write_synthetic_butreverb(
        folder / "BUTReverb",
        rooms=["VUT_FIT_E112", "VUT_FIT_L207"],
        sources=2,
        seconds=0.6,
    )
    corpora = {
        "ACE": {"folder": folder / "ACE", "arrays": ["Mobile"]},
        "BUTReverb": folder / "BUTReverb",
    }
    return write_response_caches(corpora, folder / "cache")


def drawn(caches, speech, corpus="ACE", stage="pretrain", **options):
    options = {"T": T, "with_direct": True, **options}
    part = "dt" if stage == "preval" else "tr"
    return ResponseSignals(stage, caches[corpus], 40, speech[part], **options)


def same(one, other, **tolerance):
    """Compare two items."""
    assert one.keys() == other.keys()
    for key, value in one.items():
        if isinstance(value, str):
            assert value == other[key]
        else:
            torch.testing.assert_close(
                other[key], value, equal_nan=True, **tolerance
            )


def test_an_example_depends_on_its_number_alone(caches, speech):
    signals = drawn(caches, speech)
    assert len(signals) == 40
    first = signals[5]
    assert set(first) == {
        *("id", "room", "corpus", "array", "spacing", "position", "noise"),
        *("waveform", "direct", "labels"),
    }
    assert first["waveform"].shape == (8000, 2)
    assert first["id"] == "pretrain_ACE_000005"
    again = drawn(caches, speech)
    _ = again[0]
    same(again[5], first)
    assert not torch.equal(signals[4]["waveform"], first["waveform"])
    other = drawn(caches, speech, stage="train")[5]
    assert not torch.equal(other["waveform"], first["waveform"])
    # Another corpus does not repeat the choices of this one.
    others = drawn(caches, speech, "BUTReverb")
    assert (others._rng(5).rand(4) != signals._rng(5).rand(4)).all()


def test_workers_and_epochs(caches, speech):
    signals = drawn(caches, speech)
    loader = torch.utils.data.DataLoader(
        signals, batch_size=4, num_workers=2, multiprocessing_context="fork"
    )
    batches = list(loader)
    waveform = torch.cat([batch["waveform"] for batch in batches])
    torch.testing.assert_close(waveform[17], signals[17]["waveform"])
    signals.set_epoch(3)
    torch.testing.assert_close(waveform[17], signals[17]["waveform"])
    renewed = drawn(caches, speech, renew=True)
    same(renewed[17], signals[17])
    renewed.set_epoch(3)
    assert not torch.equal(renewed[17]["waveform"], waveform[17])


def test_a_signal_is_speech_in_the_room_with_its_noise(caches, speech):
    signals = drawn(caches, speech, snr_range=(20, 20))
    cache = ResponseCache(caches["ACE"])
    pairs = cache.pairs("Mobile").tolist()
    for index in range(6):
        item = signals[index]
        rng = signals._rng(index)
        number = rng.randint(len(cache.responses) * 3)
        response = cache.responses[number // 3]
        channels = pairs[number % 3]
        assert (item["room"], item["array"]) == (response.room, "Mobile")
        noises = cache.matching(response)
        noise = noises[rng.randint(3)]
        start = rng.randint(noise.num_samples - 8000 + 1)
        noise = cache.read_noise(noise.id, channels, start, start + 8000)
        source = signals.source.draw(rng).numpy()
        rir = cache.read_response(response.id, channels).numpy()
        clean = np.stack([fftconvolve(source, h)[:8000] for h in rir])
        near = np.zeros_like(rir)
        for row, channel in enumerate(channels):
            middle = int(response.measured["direct"][channel])
            part = slice(max(middle - 40, 0), middle + 41)
            near[row, part] = rir[row, part]
        direct = np.stack([fftconvolve(source, h)[:8000] for h in near])
        gain = np.sqrt((direct**2).mean() / 100 / (noise**2).mean().item())
        mixture = clean + gain * noise.numpy()
        scale = 0.9 / max(abs(mixture).max(), abs(direct).max())
        expected = torch.from_numpy(scale * mixture).float().T
        torch.testing.assert_close(
            item["waveform"], expected, atol=1e-5, rtol=1e-4
        )
        expected = torch.from_numpy(scale * direct).float().T
        torch.testing.assert_close(
            item["direct"], expected, atol=1e-5, rtol=1e-4
        )
        assert item["labels"]["SNR"] == 20


def test_snr_is_that_of_the_direct_sound():
    generator = torch.Generator().manual_seed(1)
    direct, clean, noise = torch.randn(3, 2, 2, 900, generator=generator)
    before = clean.clone()
    snr = torch.tensor([0.0, 12.0])
    mixture, scaled = mix_at_snr(clean, direct, noise, snr)
    scale = (scaled / direct).mean((1, 2), keepdim=True)
    added = mixture - before * scale
    power = scaled.square().mean((1, 2)) / added.square().mean((1, 2))
    torch.testing.assert_close(10 * power.log10(), snr, atol=1e-3, rtol=0)
    peak = torch.maximum(mixture.abs().amax((1, 2)), scaled.abs().amax((1, 2)))
    torch.testing.assert_close(peak, torch.tensor([0.9, 0.9]))
    with pytest.raises(ValueError, match="silent"):
        mix_at_snr(clean, 0 * direct, noise, snr)


def test_labels_of_ace_are_published_ones(caches, speech):
    signals = drawn(caches, speech)
    cache = ResponseCache(caches["ACE"])
    seen = set()
    for index in range(20):
        item = signals[index]
        number = signals._rng(index).randint(len(cache.responses) * 3)
        response = cache.responses[number // 3]
        one, other = cache.pairs("Mobile")[number % 3].tolist()
        labels = {k: float(v) for k, v in item["labels"].items()}
        t60 = (response.published["t60"][[one, other]]).mean().item()
        assert labels["T60"] == pytest.approx(t60, rel=1e-6)
        assert labels["DRR"] == pytest.approx(response.measured["drr"][one])
        assert labels["C50"] == pytest.approx(response.measured["c50"][one])
        x, y, z = cache.rooms[item["room"]].size
        surface = 2 * (x * y + x * z + y * z)
        # The full surface, as for simulated rooms.
        absorption = 0.161 * x * y * z / (surface * t60)
        assert labels["ABS"] == pytest.approx(absorption, rel=1e-5)
        assert labels["SUR"] == pytest.approx(math.log10(surface), rel=1e-5)
        assert labels["VOL"] == pytest.approx(math.log10(x * y * z), rel=1e-5)
        assert math.isnan(labels["TDOA"]) and 15 <= labels["SNR"] <= 30
        spacing = (
            response.microphones[one] - response.microphones[other]
        ).norm()
        assert item["spacing"] == pytest.approx(float(spacing))
        assert all(v.dtype == torch.float32 for v in item["labels"].values())
        seen.add((item["room"], item["spacing"]))
    assert len(seen) > 6


def test_time_differences_come_from_positions(caches, speech):
    signals = drawn(caches, speech, "BUTReverb", noise="none")
    cache = ResponseCache(caches["BUTReverb"])
    by_id = {one.id: one for one in cache.responses}
    assert {one.split for one in cache.responses} == {"train", "val"}
    for index in range(10):
        item = signals[index]
        assert item["room"] == "VUT_FIT_L207"
        assert math.isnan(item["labels"]["SNR"])
        number = signals._rng(index).randint(2 * 28)
        response = by_id[
            f"VUT_FIT_L207/spherical/SPSpkID0{number // 28 + 1}_MP"
        ]
        channels = cache.pairs("spherical")[number % 28].tolist()
        distances = response.source - response.microphones[channels]
        far, near = distances.norm(dim=-1).flip(0) / 343 * FS
        assert float(item["labels"]["TDOA"]) == pytest.approx(
            float(far - near), abs=1e-4
        )
        # The direct path is where geometry puts it.
        measured = response.measured["direct"][channels].diff()
        assert abs(float(measured) - item["labels"]["TDOA"]) < 1.5


def table(folder, responses):
    """A corpus of one's own; each response [time, 2]."""
    folder.mkdir()
    rows = ["path,azimuth,elevation,condition"]
    for number, rir in enumerate(responses):
        write_audio(folder / f"{number}.wav", rir, FS, subtype="FLOAT")
        rows.append(f"{number}.wav,90,0,lab")
    (folder / "responses.csv").write_text("\n".join(rows))
    (folder / "array.csv").write_text("x,y,z\n0,0.05,0\n0,-0.05,0\n")
    return write_response_caches({"TABLE": folder}, folder)


def test_a_loud_reflection_is_not_the_direct_path(tmp_path, speech):
    rir = torch.zeros(900, 2)
    rir[[100, 400], 0] = torch.tensor([-0.7, 0.9])
    rir[[105, 400], 1] = torch.tensor([-0.7, 0.9])
    caches = table(tmp_path / "TABLE", [rir])
    item = drawn(caches, speech, "TABLE")[0]
    signals = drawn(caches, speech, "TABLE", compat=True)
    old = signals[0]
    rng = signals._rng(0)
    rng.randint(1)
    source = signals.source.draw(rng)
    for found, delay, sign in ((item, 100, -1), (old, 400, 1)):
        direct = found["direct"][:, 0]
        expected = torch.nn.functional.pad(source, (delay, 0))[:8000]
        cosine = torch.nn.functional.cosine_similarity(direct, expected, dim=0)
        assert float(cosine) == pytest.approx(sign, abs=1e-3)
    # 90 degrees is the side of the first microphone; positions say so too.
    assert float(item["labels"]["TDOA"]) == pytest.approx(4.66, abs=0.01)
    assert math.isnan(item["labels"]["ABS"])
    assert math.isnan(item["labels"]["SNR"])


def test_noise_of_other_kinds(tmp_path, speech):
    rir = torch.zeros(900, 2)
    rir[100] = 0.9
    caches = table(tmp_path / "TABLE", [rir])
    coherence = {}
    for kind in ("white", "diffuse"):
        options = {"noise": kind, "snr_range": (-60, -60)}
        item = drawn(caches, speech, "TABLE", **options)[1]
        spectra = torch.fft.rfft(item["waveform"].T)[:, 1:200]
        one, other = spectra
        coherence[kind] = (
            (one * other.conj()).real.sum()
            / (one.abs().square().sum() * other.abs().square().sum()).sqrt()
        ).item()
        assert item["labels"]["SNR"] == -60
    assert abs(coherence["white"]) < 0.2 and coherence["diffuse"] > 0.7


def test_rooms_and_splits(caches, speech):
    held_out = drawn(caches, speech, rooms=["Office_1"], stage="test")
    assert {held_out[i]["room"] for i in range(9)} == {"Office_1"}
    others = drawn(caches, speech, rooms=["Office_2", "Lecture_Room_2"])
    assert {others[i]["room"] for i in range(20)} == {
        "Office_2",
        "Lecture_Room_2",
    }
    val = drawn(caches, speech, "BUTReverb", "preval")
    assert {val[i]["room"] for i in range(9)} == {"VUT_FIT_E112"}
    every = drawn(caches, speech, "BUTReverb", split="all")
    assert {every[i]["room"] for i in range(20)} == {
        "VUT_FIT_E112",
        "VUT_FIT_L207",
    }
    with pytest.raises(ValueError, match="rooms Office_3 are wanted"):
        drawn(caches, speech, rooms=["Office_3"])
    with pytest.raises(ValueError, match="no responses of split val"):
        drawn(caches, speech, stage="preval")
    for options, text in [
        ({"split": "dev"}, "split must be one of"),
        ({"noise": "pink"}, "noise must be one of"),
        ({"snr_range": (30, 15)}, "snr_range"),
        ({"compat": ["argmin"]}, "unknown compat argmin"),
        ({"stage": "dev"}, "unknown stage"),
    ]:
        with pytest.raises(ValueError, match=text):
            drawn(caches, speech, **options)


def test_noise_that_is_too_short_is_not_used(caches, speech):
    signals = drawn(caches, speech, T=0.7)
    assert signals.facts()["responses without noise"] == 6
    item = signals[0]
    assert math.isnan(item["labels"]["SNR"])
    assert item["waveform"].abs().max() == pytest.approx(0.9)
    assert "responses without noise" not in drawn(caches, speech).facts()


STAGES = {
    "pretrain": {"size": 7, "with_direct": True},
    "preval": {"size": 4},
}


@pytest.mark.parametrize("storage", ["shards", "wav"])
def test_stored_signals_are_the_drawn_ones(
    caches, speech, tmp_path, storage, caplog
):
    options = {"stages": STAGES, "T": T}
    with caplog.at_level(logging.INFO):
        fly = prepare_response_signals(
            caches, speech, tmp_path / "fly", **options
        )
    assert "1 without responses for preval (ACE)" in caplog.text
    assert "pretrain ACE: 3 rooms, 1 array, 3 pairs, 6 responses" in caplog.text
    assert set(fly["preval"]) == {"BUTReverb"}
    for rank in (1, 0):
        held = prepare_response_signals(
            caches,
            speech,
            tmp_path / "held",
            storage=storage,
            items_per_file=3,
            rank=rank,
            num_ranks=2,
            **options,
        )
    for stage, corpora in fly.items():
        for corpus, path in corpora.items():
            direct = {"with_direct": stage == "pretrain"}
            expected = open_response_signals(path, **direct)
            stored = open_response_signals(held[stage][corpus], **direct)
            assert len(stored) == len(expected) == STAGES[stage]["size"]
            for index in range(len(stored)):
                same(expected[index], stored[index], atol=6e-4, rtol=0)
    check_choices(held["pretrain"]["ACE"], fly["pretrain"]["ACE"])


def check_choices(held, fly):
    """Rooms by name, crops, and what cannot be chosen."""
    rooms = {item["room"] for item in open_response_signals(held)}
    room = sorted(rooms)[0]
    some = open_response_signals(held, rooms=[room], crop=0.1)
    every = [open_response_signals(held)[i] for i in range(7)]
    assert len(some) == sum(item["room"] == room for item in every) > 0
    assert some[0]["room"] == room and some[0]["waveform"].shape == (1600, 2)
    one = open_response_signals(fly, rooms=[room], renew=True)
    assert one.renew and one[0]["room"] == room
    for path in (held, fly):
        with pytest.raises(ValueError, match="rooms den are wanted"):
            open_response_signals(path, rooms=["den"])
    with pytest.raises(ValueError, match="renew cannot be chosen"):
        open_response_signals(held, renew=True)


def test_what_a_stage_cannot_have(caches, speech, tmp_path):
    for own, text in [
        ({"corpora": ["MIR"]}, "corpora MIR are not among"),
        ({"corpora": ["ACE"]}, "no corpus has responses of split val"),
        ({"crop": 1.0}, "crop: chosen when signals are opened"),
    ]:
        with pytest.raises(ValueError, match=text):
            prepare_response_signals(
                caches, speech, tmp_path, stages={"preval": {"size": 1, **own}}
            )
    with pytest.raises(ValueError, match="storage must be one of"):
        prepare_response_signals(caches, speech, tmp_path, storage="tape")


def write_mir(folder):
    write_synthetic_mir(folder / "MIR", times=["0.160"], distances=["1m"])


def write_mesh(folder):
    write_synthetic_meshrir(folder / "Mesh", points=5, num_sources=2)


def write_dcase(folder):
    rooms = ["gym", "tb103"]
    write_synthetic_dcase(
        folder / "DCASE", rooms=rooms, num_points=1, noise_duration=1.0
    )


def write_dechorate(folder):
    write_synthetic_dechorate(
        folder / "dEchorate", rooms=["000000"], noises=["noise"]
    )


@pytest.mark.parametrize(
    ("name", "writer", "noisy"),
    [
        ("MIR", write_mir, False),
        ("MeshRIR", write_mesh, False),
        ("DCASE", write_dcase, True),
        ("dEchorate", write_dechorate, True),
    ],
)
def test_every_corpus_of_responses(name, writer, noisy, speech, tmp_path):
    writer(tmp_path)
    caches = write_response_caches({name: tmp_path}, tmp_path / "cache")
    signals = drawn(caches, speech, name)
    batch = next(iter(torch.utils.data.DataLoader(signals, batch_size=8)))
    assert batch["waveform"].isfinite().all()
    assert batch["labels"]["SNR"].isfinite().all() == noisy
    labels = batch["labels"]
    assert all(labels[key].isfinite().all() for key in ("T60", "DRR", "ABS"))
    assert ((batch["spacing"] > 0.0299) & (batch["spacing"] < 0.2001)).all()
    # Pauses around the noise are left out: 7 s have 1.6 s of them twice.
    lengths = [noise.num_samples / FS for noise in signals.cache.noises]
    assert name != "dEchorate" or max(lengths) < 5.5
    # Geometry and sound agree, in both channels of every pair.
    for one in signals.responses:
        pairs = signals.cache.pairs(one.array)
        tdoa = tdoa_samples(one.microphones[pairs], one.source[None])
        direct = one.measured["direct"][pairs].diff()[:, 0]
        assert (direct - tdoa).abs().max() < 1.5
