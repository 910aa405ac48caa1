"""Responses and noises, read once."""

import logging
import shutil

import numpy as np
import pytest
import torch

from spatial_brain.dataio.audio import read_audio, resample_audio, write_audio
from spatial_brain.dataio.files import read_json
from spatial_brain.datasets.real_arrays.registry import open_corpus
from spatial_brain.datasets.real_arrays.response_cache import (
    ResponseCache,
    write_response_caches,
)
from spatial_brain.datasets.real_arrays.responses.ace import ACE
from spatial_brain.datasets.real_arrays.synthetic.ace import (
    write_synthetic_ace,
)
from spatial_brain.simulation.room_labels import decay_t60

ARRAYS = ["Chromebook", "Mobile"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Two rooms, two arrays, two positions: 8 responses, 24 noises."""
    folder = tmp_path_factory.mktemp("data") / "ACE"
    rooms = ["Office_1", "Lecture_Room_2"]
    write_synthetic_ace(folder, rooms=rooms, arrays=ARRAYS, seconds=0.3)
    return folder


def write(tree, folder, **options):
    given = {"folder": tree, "arrays": ARRAYS}
    return write_response_caches({"ACE": given}, folder, **options)["ACE"]


@pytest.fixture(scope="module")
def cache(tree, tmp_path_factory):
    return ResponseCache(write(tree, tmp_path_factory.mktemp("cache")))


def content(cache):
    """Everything that is in a cache."""
    found = {}
    for one in cache.responses:
        rir = cache.read_response(one.id, range(len(one.microphones)))
        found[one.id] = rir, one.measured["drr"], one.published["t60"]
    for noise in cache.noises:
        found[noise.id] = cache.read_noise(
            noise.id, [0, 1], 0, noise.num_samples
        )
    return found


def test_every_response_once_with_all_its_microphones(tree, cache):
    corpus = open_corpus("ACE", tree, arrays=ARRAYS)
    assert [one.id for one in cache.responses] == [
        one.id for one in corpus.responses()
    ]
    for one, source in zip(cache.responses, corpus.responses(), strict=True):
        rir, fs = corpus.read_response(source)
        expected = resample_audio(rir.T, fs, 16000).T
        last = len(rir) - 1
        found = cache.read_response(one.id, [last, 0])
        torch.testing.assert_close(found, expected[[last, 0]])
        assert (one.room, one.array, one.position, one.split) == (
            *(source.room, source.array, source.position),
            "train",
        )
        assert one.t60 == source.t60 and one.source is None
        assert one.published["band_drr"].shape == (last + 1, 3)
        torch.testing.assert_close(one.microphones.float(), source.microphones)
    assert cache.rooms["Office_1"].size == [3.32, 4.83, 2.95]
    assert cache.pairs("Mobile").tolist() == [[0, 1], [0, 2], [1, 2]]


def test_noises_at_the_same_rate(tree, cache):
    assert len(cache.noises) == 24
    one = cache.responses[0]
    matching = cache.matching(one)
    assert {noise.kind for noise in matching} == {"ambient", "babble", "fan"}
    noise = matching[1]
    assert noise.fs == 16000 and noise.num_samples == 4800
    name = f"{one.array}_{one.room}_{one.position}_Noise_Babble.wav"
    [path] = tree.rglob(name)
    expected = read_audio(path, fs=16000, resample=True)[0].T
    found = cache.read_noise(noise.id, [1, 0], 1000, 1100)
    torch.testing.assert_close(found, expected[[1, 0], 1000:1100])


def test_labels_are_measured_in_each_channel(cache):
    for one in cache.responses:
        rir = cache.read_response(one.id, range(len(one.microphones)))
        for channel, h in enumerate((rir / rir.abs().max()).numpy()):
            middle = int(one.measured["direct"][channel])
            near = np.abs(np.arange(len(h)) - middle) <= 40
            drr = 10 * np.log10((h[near] ** 2).sum() / (h[~near] ** 2).sum())
            early = np.arange(len(h)) <= middle + 800
            c50 = 10 * np.log10((h[early] ** 2).sum() / (h[~early] ** 2).sum())
            # Half precision would be off by up to 0.008 dB.
            assert one.measured["drr"][channel] == pytest.approx(drr, abs=1e-3)
            assert one.measured["c50"][channel] == pytest.approx(c50, abs=1e-3)
        t60 = decay_t60(rir, 16000)[0]
        torch.testing.assert_close(one.measured["t60"], t60)
        # What was published was measured at 48 kHz in the same way.
        difference = one.measured["drr"] - one.published["drr"]
        assert difference.abs().max() < 1.0


def test_labels_do_not_depend_on_the_level(tree, cache, tmp_path):
    copy = shutil.copytree(tree, tmp_path / "ACE")
    for wav in copy.rglob("*_RIR.wav"):
        write_audio(wav, 1e-5 * read_audio(wav)[0], 48000, subtype="FLOAT")
    quiet = ResponseCache(write(copy, tmp_path, kinds=["rir"]))
    for one, other in zip(quiet.responses, cache.responses, strict=True):
        torch.testing.assert_close(
            one.measured, other.measured, atol=1e-3, rtol=1e-3
        )


def test_ranks_and_workers_give_the_same(tree, cache, tmp_path):
    for rank in (1, 0):
        path = write(
            tree, tmp_path, responses_per_file=3, rank=rank, num_ranks=2
        )
        if rank == 1:
            with pytest.raises(FileNotFoundError, match="ACE_rir_0000.json"):
                ResponseCache(path)
    torch.testing.assert_close(content(ResponseCache(path)), content(cache))
    workers = write(tree, tmp_path / "w", kinds=["noise"], num_workers=2)
    found = content(ResponseCache(workers))
    assert len(found) == 24
    expected = {name: content(cache)[name] for name in found}
    torch.testing.assert_close(found, expected)


def test_a_killed_run_goes_on_and_a_second_reads_nothing(
    tree, cache, tmp_path, monkeypatch
):
    read = []
    original = ACE.read_noise

    def counted(self, noise, *part):
        if len(read) == 5:
            raise KeyboardInterrupt
        read.append(noise.id)
        return original(self, noise, *part)

    monkeypatch.setattr(ACE, "read_noise", counted)
    with pytest.raises(KeyboardInterrupt):
        write(tree, tmp_path)

    def go_on(self, noise, *part):
        read.append(noise.id)
        return original(self, noise, *part)

    monkeypatch.setattr(ACE, "read_noise", go_on)
    path = write(tree, tmp_path)
    assert len(read) == len(set(read)) == 24
    write(tree, tmp_path)
    assert len(read) == 24
    torch.testing.assert_close(content(ResponseCache(path)), content(cache))


def test_changed_files_are_read_again(tree, tmp_path):
    copy = shutil.copytree(tree, tmp_path / "ACE")
    path = write(copy, tmp_path / "out")
    before = ResponseCache(path)
    name = "Mobile_Office_1_1_RIR.wav"
    [wav] = copy.rglob(name)
    rir = torch.zeros(5000, 3)
    rir[100] = 0.5
    write_audio(wav, rir, 48000)
    after = ResponseCache(write(copy, tmp_path / "out"))
    found = after.read_response("Office_1/Mobile/SP1_MP1", [0])
    assert found.shape == (1, 1667)
    assert after.checksum != before.checksum


def test_kinds_one_after_the_other(tree, cache, tmp_path):
    path = write(tree, tmp_path, kinds=["rir"])
    assert ResponseCache(path).noises == []
    path = write(tree, tmp_path, kinds=["noise"])
    torch.testing.assert_close(content(ResponseCache(path)), content(cache))
    for kinds in ([], ["mic"]):
        with pytest.raises(ValueError, match="kinds must be some of"):
            write(tree, tmp_path, kinds=kinds)
    with pytest.raises(ValueError, match="rank below num_ranks"):
        write(tree, tmp_path, rank=2, num_ranks=2)


def test_damage_is_noticed(tree, tmp_path):
    path = write(tree, tmp_path)
    volume = tmp_path / "ACE_rir_0000.npy"
    samples = volume.read_bytes()
    volume.write_bytes(samples[:-4] + b"\1\2\3\4")
    damaged = ResponseCache(path)
    with pytest.raises(ValueError, match="is damaged"):
        content(damaged)
    volume.write_bytes(samples[:-400])
    with pytest.raises(ValueError, match="bytes"):
        ResponseCache(path)
    # The preparation repairs it.
    assert len(content(ResponseCache(write(tree, tmp_path)))) == 32
    entries = read_json(tmp_path / "ACE_noise_0000.json")
    assert len(entries) == 24
    path.write_text("{}")
    with pytest.raises(ValueError, match="is no cache of responses"):
        ResponseCache(path)


def test_what_cannot_be_read_is_named(tree, tmp_path, caplog):
    empty = tmp_path / "ACE"
    empty.mkdir()
    with pytest.raises(ValueError, match="has no responses; .* no RIRN"):
        write(empty, tmp_path)
    copy = shutil.copytree(tree, tmp_path / "more" / "ACE")
    [wav] = copy.rglob("Mobile_Office_1_1_RIR.wav")
    rir = read_audio(wav)[0]
    rir[:, 1] = 0
    write_audio(wav, rir, 48000)
    with pytest.raises(ValueError, match=r"channels \[1\] .* are silent"):
        write(copy, tmp_path)
    wav.with_name("Noise_Fan.wav").write_bytes(wav.read_bytes())
    with pytest.raises(ValueError, match="Office_1/Mobile/MP1_fan twice"):
        write(copy, tmp_path)
    with caplog.at_level(logging.INFO):
        write(tree, tmp_path / "good")
    warning, line = [record.message for record in caplog.records][-2:]
    assert "rooms Building_Lobby, " in warning and "are missing" in warning
    assert "ACE: 2 rooms, 2 arrays, 4 pairs, 8 responses, 24 noises" in line


def test_noise_of_a_measurement_is_no_reverberation(tmp_path):
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(16000)[:, None] / 16000
    noise = torch.randn(2, 16000, 2, generator=generator)
    rir = 0.1 * noise[0] * 10 ** (-3 * time / 0.4)
    rir[0] = 1.0
    clean, noisy = rir, rir + 10 ** (-45 / 20) * noise[1]
    for name, samples in (("clean", clean), ("noisy", noisy)):
        write_audio(tmp_path / f"{name}.wav", samples, 16000, subtype="FLOAT")
    (tmp_path / "array.csv").write_text("x,y,z\n0,0,0\n0,.05,0\n")
    (tmp_path / "responses.csv").write_text(
        "path,azimuth,elevation,distance,condition\n"
        "clean.wav,30,0,2,hall\nnoisy.wav,30,0,2,hall\n"
    )
    found = {}
    for compat in (False, True):
        out = tmp_path / f"cache_{compat}"
        [path] = write_response_caches(
            {"TABLE": tmp_path}, out, label_compat=compat
        ).values()
        cache = ResponseCache(path)
        assert ("labels" in cache.options) != compat
        found[compat] = [one.measured for one in cache.responses]
    for name, tolerance in (("t60", 0.03), ("drr", 0.3), ("c50", 0.3)):
        ours, truth = found[False][1][name], found[False][0][name]
        assert (ours - truth).abs().max() < tolerance, name
        # As the original takes them: what is clean is the same.
        torch.testing.assert_close(found[True][0][name], truth)
    assert (found[True][1]["c50"] - found[True][0]["c50"]).max() < -1.0
    assert (found[True][1]["drr"] - found[True][0]["drr"]).max() < -0.3
    # Other labels are another cache: it is written anew.
    again = write_response_caches({"TABLE": tmp_path}, tmp_path / "cache_True")
    one = ResponseCache(again["TABLE"]).responses[1]
    torch.testing.assert_close(one.measured["c50"], found[False][1]["c50"])
