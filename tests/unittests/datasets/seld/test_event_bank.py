"""Banks of sound events: embedded kinds, folders, manifests; their scenes.

Scenes are written complete, resumable, the same for any number of workers.
"""

import pickle

import numpy as np
import pytest
import torch

from spatial_brain.dataio.audio import read_audio, write_audio
from spatial_brain.datasets.seld.event_bank import (
    EventBank,
    Recording,
    write_scenes,
)
from spatial_brain.simulation.variation import SoundVariation

FS = 24000
BANK = EventBank(["knock", "bell", "water"])
OPTIONS = {"formats": ("foa", "mic"), "seed": 3, "scene": {"room_seed": 4}}


def rng(seed=0):
    return np.random.default_rng(seed)


def tone(frequency, seconds, fs=FS):
    return torch.sin(
        2 * torch.pi * frequency * torch.arange(int(seconds * fs)) / fs
    )


def padded(sound, before, after, fs=FS):
    return torch.nn.functional.pad(sound, (int(before * fs), int(after * fs)))


def frequency_of(sound, fs=FS):
    return int(torch.fft.rfft(sound, fs).abs().argmax())


def test_embedded_kinds():
    bank = EventBank(["knock", "bell"], interferers=["engine"])
    assert bank.class_names == ("knock", "bell")
    assert (bank.num_classes, bank.interferers) == (2, (2,))
    source, seconds = bank.pick(1, rng())
    assert (source, seconds) == bank.pick("bell", rng())
    first = bank.load(1, source, 1.0)
    assert first.shape == (FS,) and first.abs().max() == 1.0
    assert torch.equal(first, bank.load("bell", source, 1.0))
    assert not torch.equal(first, bank.load("knock", source, 1.0))
    assert torch.equal(bank.draw(2, rng(), 0.5), bank.draw(2, rng(), 0.5))
    assert bank.draw("engine", rng(), 0.5, fs=32000).shape == (16000,)


@pytest.fixture
def folder(tmp_path):
    """Two classes: tones of 500 Hz and of 900 to 1100 Hz, with silence."""
    write_audio(
        tmp_path / "low" / "a.wav", padded(tone(500, 0.5), 0.3, 0.7), FS
    )
    for number in range(3):
        sound = padded(tone(900 + 100 * number, 0.4, 48000), 0.1, 0.2, 48000)
        stereo = torch.stack((sound, sound), dim=1)
        write_audio(tmp_path / "high" / f"{number}.flac", 0.5 * stereo, 48000)
    return tmp_path


def test_folder_by_class(folder):
    bank = EventBank.from_folder(folder)
    assert bank.class_names == ("high", "low")
    _, seconds = bank.pick("low", rng())
    assert abs(seconds - 0.5) < 0.03
    low = bank.draw("low", rng(), 5.0)
    # Only what is active, at full level, although longer was asked for.
    assert abs(len(low) / FS - 0.5) < 0.03
    assert abs(float(low.abs().max()) - 1.0) < 1e-6
    assert abs(low[:1200]).max() > 0.9
    # Two channels at 48 kHz become one at 24 kHz.
    high = [bank.draw("high", rng(seed)) for seed in range(12)]
    assert {round(frequency_of(s), -1) for s in high} == {900, 1000, 1100}
    assert all(abs(float(sound.abs().max()) - 1.0) < 1e-6 for sound in high)


def test_pauses_divide_a_recording(tmp_path):
    """Two barks, a click, and a pause that is short."""
    bark, click = tone(500, 0.4), 0.5 * tone(500, 0.02)
    sounds = [padded(bark, 0.3, 0.8), padded(bark, 0.0, 0.2)]
    sounds += [padded(bark, 0.0, 0.9), padded(click, 0.0, 0.3)]
    path = tmp_path / "a.wav"
    write_audio(path, torch.cat(sounds), FS)
    first, second = Recording(path).between_pauses(0.5)
    assert (first.start, first.stop) == pytest.approx((0.3, 0.7), abs=0.021)
    assert (second.start, second.stop) == pytest.approx((1.5, 2.5), abs=0.021)
    assert len(Recording(path).between_pauses(0.1)) == 3
    # Where somebody said what is active, it stays inside.
    inside = Recording(path, 0.4, 2.0).between_pauses(0.5)
    assert inside[0].start == 0.4 and inside[1].stop <= 2.0
    # All are clicks: they are what there is.
    write_audio(tmp_path / "b.wav", padded(click, 0.1, 0.1), FS)
    (only,) = Recording(tmp_path / "b.wav").between_pauses(0.5)
    assert only.stop - only.start < 0.1


def test_long_recordings_are_cut_at_places_that_differ(tmp_path):
    sweep = torch.linspace(0.1, 0.9, 4 * FS)
    write_audio(tmp_path / "noise" / "a.wav", sweep * tone(700, 4.0), FS)
    bank = EventBank.from_folder(tmp_path)
    slopes = set()
    for seed in range(4):
        source, _ = bank.pick(0, rng(seed))
        part = bank.load(0, source, 1.0)
        assert len(part) == FS
        assert torch.equal(part, bank.load(0, source, 1.0))
        edges = part[2000:4000].abs().max() / part[-4000:-2000].abs().max()
        slopes.add(round(float(edges), 2))
    assert len(slopes) > 2


def test_recordings_vary_from_use_to_use(folder):
    variation = SoundVariation(max_speed=1.5, max_gain=6.0)
    bank = EventBank.from_folder(folder, variation=variation)
    pitches = []
    for seed in range(5):
        source, seconds = bank.pick("low", rng(seed))
        sound = bank.load("low", source)
        assert abs(len(sound) - seconds * FS) <= 1
        assert abs(float(sound.abs().max()) - 1.0) < 1e-6
        assert torch.equal(sound, bank.load("low", source))
        # A faster sound is higher by what it is shorter.
        assert abs(frequency_of(sound) * seconds - 250) < 12
        pitches.append(frequency_of(sound))
        short = bank.load("low", source, 0.1)
        assert abs(len(short) - 0.1 * FS) <= 1
    assert max(pitches) / min(pitches) > 1.2


def write_manifest(folder, rows, columns=None):
    columns = columns or "label,split,path,active_start,active_end"
    folder.mkdir(exist_ok=True)
    text = "\n".join([columns, *rows]) + "\n"
    (folder / "manifest.csv").write_text(text, encoding="utf-8")


def test_manifest(tmp_path):
    events = tmp_path / "events"
    for name, frequency in (("a", 400), ("b", 800), ("c", 1200)):
        write_audio(events / f"{name}.wav", tone(frequency, 1.0), FS)
    write_manifest(
        events,
        [
            "dog,train,events/a.wav,0.2,0.5",  # relative to the folder above
            "dog,test,events/b.wav,0.0,1.0",
            "cat,train,c.wav,0.0,0.25",  # relative to the folder
        ],
    )
    bank = EventBank.from_folder(events, split="train")
    assert bank.class_names == ("cat", "dog")
    dog = bank.draw("dog", rng())
    assert len(dog) == round(0.3 * FS) and frequency_of(dog) == 400
    bank = EventBank.from_folder(events, split="test", class_names=["dog"])
    assert frequency_of(bank.draw(0, rng())) == 800
    both = EventBank.from_folder(events, class_names=["dog", "cat"])
    assert both.class_names == ("dog", "cat")
    copy = pickle.loads(pickle.dumps(both))
    assert torch.equal(copy.draw(0, rng()), both.draw(0, rng()))


def test_splits_as_folders(folder):
    (folder / "train").mkdir()
    (folder / "low").rename(folder / "train" / "low")
    bank = EventBank.from_folder(folder, split="train")
    assert bank.class_names == ("low",)


def test_real_recordings(shared_data):
    folder = shared_data / "events"
    banks = {
        split: EventBank.from_folder(folder, split=split)
        for split in ("train", "valid", "test")
    }
    names = {bank.class_names for bank in banks.values()}
    [names] = names
    assert len(names) == 10
    for label in range(10):
        for fs in (24000, 32000):
            event = banks["test"].draw(label, rng(label), 2.0, fs)
            assert 0 < len(event) <= 2 * fs
            assert event.isfinite().all() and event.abs().max() == 1.0
            assert event[: fs // 10].abs().max() > 1e-3


def test_errors(tmp_path, folder):
    with pytest.raises(ValueError, match="kind must be one of"):
        EventBank(["sneeze"])
    with pytest.raises(ValueError, match="differ"):
        EventBank(["knock", "knock"])
    with pytest.raises(ValueError, match="needs classes"):
        EventBank(["knock"], interferers=["knock"])
    with pytest.raises(FileNotFoundError, match="no such folder"):
        EventBank.from_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="'middle' has no recordings"):
        EventBank.from_folder(folder, class_names=["low", "middle"])
    bank = EventBank.from_folder(folder)
    with pytest.raises(ValueError, match="no class 'middle'"):
        bank.pick("middle", rng())
    with pytest.raises(ValueError, match=r"in \[0, 2\)"):
        bank.pick(2, rng())
    write_audio(tmp_path / "silent.wav", torch.zeros(1000), FS)
    with pytest.raises(ValueError, match="silent.wav: silent"):
        Recording(tmp_path / "silent.wav").located()


def test_manifest_errors(tmp_path):
    events = tmp_path / "events"
    write_manifest(events, [], "label,path")
    with pytest.raises(ValueError, match="active_start, active_end"):
        EventBank.from_folder(events)
    write_manifest(events, ["dog,train,a.wav,0.5,0.2"])
    with pytest.raises(ValueError, match="line 2: expected 0 <="):
        EventBank.from_folder(events)
    write_manifest(events, ["dog,train,a.wav,0.0,0.2"])
    with pytest.raises(FileNotFoundError, match="line 2: .*a.wav does not"):
        EventBank.from_folder(events)
    with pytest.raises(FileNotFoundError, match="nothing for 'x' in it"):
        EventBank.from_folder(events, split="x")


def write_csv(path, table):
    """Annotation as plain text."""
    rows = zip(table.frame, table.label, table.azimuth.round(), strict=True)
    path.write_text("\n".join(f"{f},{c},{a:g}" for f, c, a in rows))


def clips_in(folder, names=("one", "two")):
    return [
        {
            "name": name,
            "paths": {
                form: folder / form / f"{name}.wav" for form in ("foa", "mic")
            },
            "annotation": folder / "metadata" / f"{name}.csv",
            "write_annotation": write_csv,
            "duration": 5.0,
            "scene": {"max_overlap": number + 1},
        }
        for number, name in enumerate(names)
    ]


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    assert write_scenes(clips_in(folder), BANK, **OPTIONS) == 2
    return folder, contents(folder)


def test_what_is_written(written):
    folder, files = written
    assert len(files) == 6
    for name in ("one", "two"):
        for form in ("foa", "mic"):
            waveform, fs = read_audio(folder / form / f"{name}.wav")
            assert waveform.shape == (120000, 4) and fs == 24000
            assert 0.001 < float(waveform.abs().max()) <= 0.951
        lines = files[f"metadata/{name}.csv"].decode().split()
        frames, labels, azimuths = np.array(
            [line.split(",") for line in lines], float
        ).T
        assert frames.min() >= 0 and frames.max() < 50
        assert set(labels) <= {0, 1, 2}
        assert np.abs(azimuths).max() <= 180
        overlap = np.bincount(frames.astype(int))
        assert overlap.max() <= {"one": 1, "two": 2}[name]


def test_finished_clips_are_left_alone(written):
    folder, files = written
    assert write_scenes(clips_in(folder), BANK, **OPTIONS) == 0
    assert contents(folder) == files


@pytest.mark.parametrize("lost", ["mic/two.wav", "metadata/two.csv"])
def test_a_killed_run_goes_on(written, lost):
    folder, files = written
    (folder / lost).unlink()
    # What a killed process leaves behind.
    (folder / "mic" / ".two.wav.123.tmp").write_bytes(b"half")
    assert write_scenes(clips_in(folder), BANK, **OPTIONS) == 1
    assert contents(folder) == files


@pytest.mark.slow
def test_any_number_of_workers(written, tmp_path):
    _, files = written
    options = {**OPTIONS, "num_workers": 2}
    assert write_scenes(clips_in(tmp_path), BANK, **options) == 2
    assert contents(tmp_path) == files


def test_seeds_and_places_differ(tmp_path):
    clips = clips_in(tmp_path)[:1]
    clips[0]["duration"] = 1.0
    both = []
    for seed in (1, 2):
        write_scenes(clips, BANK, seed=seed, formats=("foa",))
        both.append(clips[0]["paths"]["foa"].read_bytes())
        clips[0]["paths"]["foa"].unlink()
    assert both[0] != both[1]


def test_a_clip_without_annotation(tmp_path):
    clip = {
        "name": "mix001",
        "paths": {"foa": tmp_path / "mix001.wav"},
        "annotation": None,
        "duration": 1.0,
    }
    assert write_scenes([clip], BANK, fs=32000) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mix001.wav"]
    assert read_audio(tmp_path / "mix001.wav")[0].shape == (32000, 4)


def test_a_path_for_each_format(tmp_path):
    clip = {"name": "a", "paths": {"foa": tmp_path / "a.wav"}, "duration": 1.0}
    with pytest.raises(ValueError, match="'a' has no path for mic"):
        write_scenes([clip], BANK, formats=("foa", "mic"))


def test_labels_are_those_of_the_sounds(tmp_path):
    """Labels end where short recordings end, not where they were planned."""

    class Short(EventBank):
        def load(self, label, source, duration=None, fs=24000):
            return super().load(label, source, 0.3, fs)

    tables = []
    [clip] = clips_in(tmp_path, ["one"])
    clip |= {"write_annotation": lambda path, table: tables.append(table)}
    write_scenes([clip | {"duration": 8.0}], Short(["bell"]))
    [table] = tables
    assert len(table)
    for source in set(table.source):
        assert (table.source == source).sum() == 3
    assert table.num_frames == 80


def test_interferers_of_a_folder(tmp_path):
    for name in ("bark", "hum", "ring"):
        write_audio(tmp_path / name / "a.wav", torch.rand(800), 8000)
    bank = EventBank.from_folder(tmp_path, interferers=["hum"])
    assert bank.class_names == ("bark", "ring")
    assert (bank.interferers, list(bank.sounds)[2:]) == ((2,), ["hum"])
    with pytest.raises(ValueError, match="'buzz' has no recordings"):
        EventBank.from_folder(tmp_path, interferers=["buzz"])
