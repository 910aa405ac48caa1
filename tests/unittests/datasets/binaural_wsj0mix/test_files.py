"""Binaural mixtures: physics of the rendering, and files that survive kills."""

import json
import os
import pickle
from dataclasses import replace

import binaural_trees as tiny
import numpy as np
import pytest
import soundfile
import torch

from spatial_brain.datasets.binaural_wsj0mix import files as binaural_files
from spatial_brain.datasets.binaural_wsj0mix.brirs import load_rooms
from spatial_brain.datasets.binaural_wsj0mix.files import generate_mixtures
from spatial_brain.datasets.binaural_wsj0mix.rendering import (
    BinauralMixture,
    MixtureRenderer,
    mixture_entry,
)
from spatial_brain.simulation.hrtf import load_hrtfs
from spatial_brain.simulation.hrtf.interpolation import itd

MIXTURE = BinauralMixture(
    name="left_right",
    utterances=("a.wav", "b.wav"),
    speakers=("a", "b"),
    gains=(0.8, 0.5),
    laterals=(-65.0, 40.0),
    head="subject08",
)


@pytest.fixture
def speech(tmp_path):
    for seed, (name, length) in enumerate({"a": 5000, "b": 4001}.items()):
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, tiny.wave(seed, length, 8000), 16000)
    return tmp_path


@pytest.fixture(scope="module")
def hrtfs():
    return load_hrtfs(None, 8000, subjects=["subject08"])


def energy(signal):
    return signal.double().square().sum().item()


def test_each_source_has_twice_its_dry_energy(speech, hrtfs):
    renderer = MixtureRenderer(speech, hrtfs, 8000, "max")
    sources = renderer.render(MIXTURE)["sources"]
    for index, dry in enumerate(renderer.dry(MIXTURE)):
        expected = 2 * float((dry**2).sum())
        assert energy(sources[..., index]) == pytest.approx(expected, rel=1e-5)


def test_a_source_on_the_left_is_louder_and_earlier_on_the_left(speech, hrtfs):
    sources = MixtureRenderer(speech, hrtfs, 8000).render(MIXTURE)["sources"]
    left, right = sources[..., 0].T
    assert energy(left) > 2 * energy(right)
    left, right = sources[..., 1].T
    assert energy(right) > 1.5 * energy(left)
    # Positive: later at the left ear.
    delays = itd(sources.permute(2, 1, 0), 8000)
    assert delays[0] < -3e-4 and delays[1] > 2e-4
    assert MIXTURE.azimuths[0] > 0 > MIXTURE.azimuths[1]


@pytest.mark.parametrize("level", [1.0, 30.0])
def test_the_mixture_is_the_sum_and_below_full_scale(speech, hrtfs, level):
    mixture = replace(MIXTURE, speech_gain=level)
    signals = MixtureRenderer(speech, hrtfs, 8000).render(mixture)
    torch.testing.assert_close(
        signals["mix"], signals["sources"].sum(-1), rtol=0, atol=0
    )
    assert max(s.abs().max() for s in (signals["mix"], signals["sources"])) < 1
    assert (signals["gain"] < 1) == (level > 1)
    quiet = MixtureRenderer(speech, hrtfs, 8000).render(MIXTURE)
    torch.testing.assert_close(
        signals["mix"], quiet["mix"] * level * signals["gain"]
    )


def test_overflow_wraps_where_the_original_is_wanted(speech, hrtfs):
    loud = replace(MIXTURE, speech_gain=6.0)
    fine = MixtureRenderer(speech, hrtfs, 8000, compat=["same_convolution"])
    theirs = MixtureRenderer(speech, hrtfs, 8000, compat=True).render(loud)
    signals = fine.render(loud)
    whole = signals["mix"].double() / signals["gain"] * 32768
    assert whole.abs().max() > 40000
    wrapped = (whole.trunc() + 32768) % 65536 - 32768
    # Rounding of floats decides about a few integers.
    difference = theirs["mix"] * 32768 - wrapped
    assert (difference.abs() % 65535 <= 1).all()


def test_direct_sound_stays_where_the_utterance_has_it(tmp_path, hrtfs):
    dry = np.zeros(4000, np.int16)
    dry[[0, 1500]] = 9000
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", dry, 8000)
    ours = MixtureRenderer(tmp_path, hrtfs, 8000).render(MIXTURE)["sources"]
    for index in range(2):
        nearer = ours[..., index].abs().amax(1)
        for start in (0, 1500):
            peak = nearer[start : start + 100].argmax().item()
            assert peak <= 3
    # The original keeps the middle: by 18 samples earlier.
    theirs = MixtureRenderer(tmp_path, hrtfs, 8000, compat=True).render(MIXTURE)
    nearer = theirs["sources"][..., 0].abs().amax(1)
    assert nearer[1400:1600].argmax().item() + 1400 < 1500


def test_each_ear_has_its_own_room_response(speech):
    rooms = load_rooms(tiny.write_rooms(speech / "r"), 16000)
    mixture = replace(
        MIXTURE, head="", room="0_2s", laterals=(-65.0, 40.0), t60=0.2
    )
    renderer = MixtureRenderer(speech, rooms, 16000, "max")
    sources = renderer.render(mixture)["sources"].double().numpy()
    for index, dry in enumerate(renderer.dry(mixture)):
        name = f"CATT_0_2s_{int(mixture.laterals[index])}.wav"
        path = speech / "r/CATT_RIRs/Binaural/16k/0_2s" / name
        response = soundfile.read(path)[0]
        dry = np.pad(dry, (0, 5000 - len(dry)))
        expected = np.stack(
            [np.convolve(dry, response[:, ear]) for ear in range(2)], 1
        )[30:5030]
        scale = np.sqrt((sources[..., index] ** 2).sum() / (expected**2).sum())
        np.testing.assert_allclose(
            sources[..., index], expected * scale, atol=1e-6
        )


def test_legacy_room_convolution_sums_both_responses_at_the_right_ear(speech):
    rooms = load_rooms(tiny.write_rooms(speech / "r"), 16000)
    mixture = replace(MIXTURE, head="", room="0_2s")
    images = {}
    for compat in ("legacy_2d_conv", "same_convolution"):
        renderer = MixtureRenderer(speech, rooms, 16000, compat=[compat])
        images[compat] = renderer.render(mixture)["sources"].double()
    theirs, ears = images["legacy_2d_conv"], images["same_convolution"]
    # Scales differ; the left ear gives their ratio.
    ratio = theirs[:, 0].norm(dim=0) / ears[:, 0].norm(dim=0)
    torch.testing.assert_close(
        theirs[:, 1], ears.sum(1) * ratio, atol=1e-6, rtol=1e-4
    )


def test_rooms_of_one_file_name_are_called_by_their_folders(tmp_path):
    for place in ("a/room.sofa", "b/room.SOFA", "b/hall.sofa"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).touch()
    with pytest.raises(ValueError, match=r"there are a-room, b-room, hall$"):
        load_rooms(tmp_path, 8000, rooms=["none"])
    # Named like those of the published set, beside it.
    (tmp_path / "CATT_0_4s_0.wav").touch()
    (tmp_path / "b" / "0_4s.sofa").touch()
    with pytest.raises(ValueError, match="room 0_4s is there twice"):
        load_rooms(tmp_path, 8000)


def test_rooms_and_directions_that_are_not_there(speech):
    folder = tiny.write_rooms(speech / "r")
    renderer = MixtureRenderer(speech, load_rooms(folder, 8000), 8000)
    room = replace(MIXTURE, head="", room="0_2s")
    with pytest.raises(ValueError, match=r"no room '0_9s'.*0_5s"):
        renderer.render(replace(room, room="0_9s"))
    with pytest.raises(ValueError, match="27 degrees away"):
        renderer.render(replace(room, polars=(0.0, 37.0)))
    with pytest.raises(ValueError, match="no room 0_9s"):
        load_rooms(folder, 8000, rooms=["0_9s"])
    with pytest.raises(FileNotFoundError, match="CATT_RIRs"):
        load_rooms(speech / "nowhere", 8000)
    copy = folder / "again" / "CATT_0_2s_-90.wav"
    copy.parent.mkdir()
    copy.write_bytes(next(folder.rglob(copy.name)).read_bytes())
    with pytest.raises(ValueError, match="twice"):
        load_rooms(folder, 8000)


def test_surrey_rooms_are_oriented(shared_data, speech):
    rooms = load_rooms(shared_data / "rir" / "surrey_brir", 8000)
    [(name, t60)] = rooms.t60s.items()
    assert 0.2 < t60 < 0.45
    mixture = replace(MIXTURE, head="", room=name)
    sources = MixtureRenderer(speech, rooms, 8000).render(mixture)["sources"]
    levels = sources.square().sum(0)
    assert levels[0, 0] > levels[1, 0] and levels[1, 1] > levels[0, 1]


def test_part_of_an_utterance(speech, hrtfs):
    renderer = MixtureRenderer(speech, hrtfs, 16000 // 2)
    part = replace(MIXTURE, starts=(1000, 500), num_samples=2000)
    whole = renderer.dry(MIXTURE)
    for index, signal in enumerate(renderer.dry(part)):
        assert len(signal) == 1000
        start = part.starts[index] // 2
        np.testing.assert_allclose(
            signal[20:-20],
            whole[index][start + 20 : start + 980],
            atol=1e-9,
        )


def test_noise_begins_before_speech(speech, hrtfs):
    soundfile.write(speech / "noise.wav", tiny.wave(9, 30000, 900), 16000)
    mixture = replace(
        MIXTURE,
        noise="noise.wav",
        noise_start=100,
        noise_length=12000,
        speech_start=3001,
        noise_gain=0.5,
    )
    longest = MixtureRenderer(speech, hrtfs, 8000, "max", noise=speech)
    signals = longest.render(mixture)
    assert signals["mix"].shape == (6000, 2)
    assert not signals["sources"][:1500].any()
    assert signals["sources"][1500:1520].any()
    torch.testing.assert_close(
        signals["mix"],
        signals["sources"].sum(-1) + signals["noise"],
        rtol=0,
        atol=1e-7,
    )
    shortest = MixtureRenderer(speech, hrtfs, 8000, "min", noise=speech)
    noise = shortest.render(mixture)["noise"]
    torch.testing.assert_close(noise, signals["noise"][1500 : 1500 + 2001])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"utterances": ("a.wav", "c.wav")}, "does not exist"),
        ({"head": "subject99"}, "subject99"),
        ({"noise": "n.wav"}, "no folder of noise"),
        ({"gains": (0.0, 1.0)}, "a.wav: is silent"),
    ],
)
def test_what_cannot_be_rendered_is_named(speech, hrtfs, change, message):
    renderer = MixtureRenderer(speech, hrtfs, 8000)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        renderer.render(replace(MIXTURE, **change))


def test_wrong_arguments(speech, hrtfs):
    with pytest.raises(ValueError, match="16000 Hz"):
        MixtureRenderer(speech, hrtfs, 16000)
    with pytest.raises(ValueError, match="mode must be"):
        MixtureRenderer(speech, hrtfs, 8000, "mean")
    with pytest.raises(ValueError, match="wrap_int8"):
        MixtureRenderer(speech, hrtfs, 8000, compat=["wrap_int8"])
    with pytest.raises(ValueError, match="one value a source"):
        replace(MIXTURE, gains=(1.0,))
    with pytest.raises(ValueError, match="twice"):
        replace(MIXTURE, speakers=("a", "a"))


def test_names_of_files():
    mixture = binaural_files._parse_name("0_4s_01aa0101_-80_02bb0202_65", 2)
    assert (mixture.room, mixture.t60) == ("0_4s", 0.4)
    assert mixture.azimuths == [80.0, -65.0]
    name = "subject08_01aa0101_-80_0_02bb0202_65_62"
    mixture = binaural_files._parse_name(name, 2)
    assert mixture.head == "subject08" and mixture.speakers == ("01a", "02b")
    assert mixture.azimuths == [80.0, -77.603]
    with pytest.raises(ValueError, match=r"expected <subject>_.* of 3 talkers"):
        binaural_files._parse_name(name, 3)


@pytest.fixture
def job(speech, hrtfs):
    """Folder, entries and renderer of five mixtures."""
    entries = {}
    for number in range(5):
        name = f"mix{number}"
        mixture = replace(MIXTURE, name=name, gains=(0.2 * number + 0.1, 0.3))
        entries[name] = mixture_entry(mixture, 4001 / 16000)
    return speech / "tr", entries, MixtureRenderer(speech, hrtfs, 8000)


def snapshot(folder):
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.glob("*/*.wav"))
    }


def test_integers_in_files_sum_up(job):
    entries = generate_mixtures(*job)
    for name, entry in entries.items():
        mix = soundfile.read(entry["mix_wav"], dtype="int16")[0]
        parts = [
            soundfile.read(path, dtype="int16")[0]
            for path in entry["sources_wav"]
        ]
        np.testing.assert_array_equal(mix, parts[0] + parts[1])
        mixture = BinauralMixture.from_dict(job[1][name]["mixture"])
        rendered = job[2].render(mixture)
        assert np.abs(mix / 32768 - rendered["mix"].numpy()).max() < 3.1e-5


def test_a_killed_generation_goes_on(job, monkeypatch):
    folder, _, _ = job
    write, count = binaural_files._write_wav, []

    def killed(path, samples, fs):
        if len(count) == 7:
            raise KeyboardInterrupt
        count.append(path)
        write(path, samples, fs)

    monkeypatch.setattr(binaural_files, "_write_wav", killed)
    with pytest.raises(KeyboardInterrupt):
        generate_mixtures(*job)
    monkeypatch.setattr(binaural_files, "_write_wav", write)
    before = snapshot(folder)
    assert len(before) == 7
    # What a kill or a bad disk may leave.
    (folder / "mix" / ".mix4.wav.123.tmp").write_bytes(b"half")
    half = folder / "s2" / "mix1.wav"
    half.write_bytes(half.read_bytes()[:500])
    entries = generate_mixtures(*job)
    after = snapshot(folder)
    assert len(after) == 15 and not list(folder.glob("*/.*.tmp"))
    for path in (folder / part / "mix0.wav" for part in ("mix", "s1", "s2")):
        assert after[path] == before[path]
    assert after[half][1] == before[half][1]
    assert generate_mixtures(*job) == entries
    assert snapshot(folder) == after


def test_other_processes_write_the_same(job):
    folder, entries, renderer = job
    generate_mixtures(folder, entries, renderer)
    # What a process is sent.
    copy = pickle.loads(pickle.dumps(renderer))
    generate_mixtures(folder.with_name("cv"), entries, copy)
    contents = [
        [content for _, content in snapshot(path).values()]
        for path in (folder, folder.with_name("cv"))
    ]
    assert len(contents[0]) == 15 and contents[0] == contents[1]


def test_folders_of_something_else_are_refused(job):
    folder, entries, renderer = job
    generate_mixtures(*job)
    other = MixtureRenderer(
        renderer.speech_root, renderer.hrtfs, 8000, compat=["wrap_int16"]
    )
    with pytest.raises(ValueError, match="compat differ"):
        generate_mixtures(folder, entries, other)
    changed = json.loads(json.dumps(entries))
    changed["mix0"]["mixture"]["laterals"] = [10.0, 40.0]
    with pytest.raises(ValueError, match="mixtures differ"):
        generate_mixtures(folder, changed, renderer)
    os.remove(folder / "generation.json")
    with pytest.raises(ValueError, match="not generated here"):
        generate_mixtures(*job)


def test_full_disk_and_changed_speech(job, monkeypatch):
    folder, entries, renderer = job
    with monkeypatch.context() as patch:
        patch.setattr(
            "shutil.disk_usage", lambda path: type("Disk", (), {"free": 10})
        )
        with pytest.raises(OSError, match="generating"):
            generate_mixtures(*job)
    assert not list(folder.glob("*/*.wav"))
    soundfile.write(renderer.speech_root / "b.wav", np.ones(100), 16000)
    with pytest.raises(ValueError, match="have changed"):
        generate_mixtures(*job)
