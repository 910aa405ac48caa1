"""Writing scenes: complete, resumable, the same for any number of workers."""

import numpy as np
import pytest
import torch

from spatial_brain.dataio.audio import read_audio
from spatial_brain.dataio.parallel import run_jobs
from spatial_brain.datasets.seld.event_bank import (
    EventBank,
    make_scene,
    write_scenes,
)

BANK = EventBank(["knock", "bell", "water"])


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


OPTIONS = {"formats": ("foa", "mic"), "seed": 3, "scene": {"room_seed": 4}}


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


def test_labels_are_those_of_the_sounds():
    """Labels end where short recordings end, not where they were planned."""

    class Short(EventBank):
        def load(self, label, source, duration=None, fs=24000):
            return super().load(label, source, 0.3, fs)

    rng = np.random.default_rng(0)
    _, table = make_scene(Short(["bell"]), rng, duration=8.0, max_overlap=1)
    for source in set(table.source):
        assert (table.source == source).sum() == 3
    assert table.num_frames == 80


def fail(number):
    raise ValueError(f"job {number}")


def test_errors_of_workers_arrive():
    with pytest.raises(ValueError, match="job 1"):
        list(run_jobs(fail, [1, 2]))


def test_threads_are_given_back():
    before = torch.get_num_threads()
    [(_, inside)] = run_jobs(lambda _: torch.get_num_threads(), [0])
    assert inside == 1 and torch.get_num_threads() == before
