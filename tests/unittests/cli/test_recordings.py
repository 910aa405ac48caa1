"""Several recordings: named, counted, written apart, nothing replaced."""

import json
import os
import signal
from argparse import Namespace
from pathlib import Path

import pytest

from spatial_brain.atomic import atomic_path
from spatial_brain.cli import recordings
from spatial_brain.cli.recordings import Result, process_recordings
from spatial_brain.cli.recordings.outputs import Output, choose_format

FORMATS = {"csv": ".csv", "rttm": ".rttm", "dcase": ".csv"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Recordings in a folder and below, one broken, and a text file."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "b/a.FLAC", "b/broken.wav", "b/notes.txt"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.stem)
    return "in"


def process(path, files):
    """Write the name of a recording; refuse what is broken."""
    text = Path(path).read_text()
    if text == "broken":
        raise ValueError(f"{path}: cannot be decoded")
    if files.get("output"):
        with atomic_path(files["output"]) as part:
            part.write_text(text)
    return Result({"path": path}, f"{path}: done", ["note: odd"])


def work(paths, output=None, process=process, **options):
    """Go through recordings as a command would."""
    options = {"json": False, "force": False, **options}
    args = Namespace(recordings=paths, prog="test", **options)
    outputs = {"output": Output("--output", output, (".csv",))}
    process_recordings(args, process, outputs)


def test_a_folder_is_done_but_for_what_fails(folder, capsys):
    with pytest.raises(ValueError, match="^1 of 3 recordings failed"):
        work([folder], "out")
    captured = capsys.readouterr()
    assert captured.out == "in/a.wav: done\n\nin/b/a.FLAC: done\n"
    assert captured.err.splitlines() == [
        "test: in: 3 recordings; left out as no audio: notes.txt",
        "test: in/a.wav: note: odd",
        "test: in/b/a.FLAC: note: odd",
        "test: error: in/b/broken.wav: cannot be decoded",
    ]
    files = [str(path) for path in sorted(Path("out").rglob("*.*"))]
    assert files == ["out/a.csv", "out/b/a.csv"]


def test_one_recording_fails_with_its_own_error(folder, capsys):
    with pytest.raises(ValueError, match="^in/b/broken.wav: cannot"):
        work(["in/b/broken.wav"])
    work(["in/a.wav"])
    captured = capsys.readouterr()
    assert captured.out == "in/a.wav: done\n"
    assert captured.err == "test: note: odd\n"


def test_an_error_of_the_options_ends_all(folder, capsys):
    def refuse(path, files):
        raise ValueError("--hop must be positive")

    with pytest.raises(ValueError, match="^--hop must be positive"):
        work([folder], process=refuse)

    def full(path, files):
        raise OSError(28, "the disk is full", path)

    with pytest.raises(OSError, match="disk is full"):
        work([folder], process=full)
    assert "error" not in capsys.readouterr().err


def test_json_lines_hold_every_recording(folder, capsys):
    with pytest.raises(ValueError, match="1 of 3"):
        work([folder], json=True)
    lines = [json.loads(one) for one in capsys.readouterr().out.splitlines()]
    assert [one["path"] for one in lines] == [
        "in/a.wav", "in/b/a.FLAC", "in/b/broken.wav"
    ]  # fmt: skip
    assert "cannot be decoded" in lines[2]["error"]


def test_nothing_is_replaced_without_force(folder):
    work(["in/a.wav"], "new.csv")
    Path("new.csv").write_text("old")
    done = []

    def count(path, files):
        done.append(path)
        return process(path, files)

    with pytest.raises(ValueError, match=r"new\.csv: is there already; --fo"):
        work(["in/a.wav"], "new.csv", count)
    # The last of several is there: none is begun.
    Path("out/b").mkdir(parents=True)
    Path("out/b/a.csv").write_text("old")
    with pytest.raises(ValueError, match=r"out/b/a\.csv: is there already"):
        work([folder], "out", count)
    assert not done and Path("new.csv").read_text() == "old"
    work(["in/a.wav"], "new.csv", count, force=True)
    assert Path("new.csv").read_text() == "a"


def test_two_results_never_share_a_name(folder):
    with pytest.raises(ValueError, match=r"a\.csv: would be written for in/"):
        work(["in/a.wav", "in/b/a.FLAC"], "out")
    with pytest.raises(ValueError, match="is a recording itself"):
        work(["in/a.wav"], "in/a.wav", force=True)
    assert not Path("out").exists()


@pytest.mark.parametrize("output", ["all.csv", "all.PNG", "there"])
def test_several_recordings_need_a_folder(folder, output):
    Path("there").write_text("old")
    with pytest.raises(ValueError, match="name a folder for several record"):
        work([folder], output)


def test_one_recording_may_go_into_a_folder(folder):
    work(["in/a.wav"], "new/")
    Path("there").mkdir()
    work(["in/a.wav"], "there")
    assert Path("new/a.csv").exists() and Path("there/a.csv").exists()


def test_a_kill_before_the_rename_leaves_no_half_file(folder, monkeypatch):
    Path("out").mkdir()
    Path("out/a.csv").write_text("old")
    child = os.fork()
    if child == 0:
        os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        work(["in/a.wav"], "out/a.csv", force=True)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
    assert Path("out/a.csv").read_text() == "old"
    # What is left is hidden: the folder is no worse for a second run.
    work(["in/a.wav"], "out/a.csv", force=True)
    assert [path.name for path in Path("out").glob("[!.]*")] == ["a.csv"]


def test_empty_folders_and_missing_files(folder, capsys):
    Path("empty").mkdir()
    with pytest.raises(ValueError, match="empty: 0 files, no audio"):
        work(["empty"])
    with pytest.raises(FileNotFoundError):
        work(["nowhere.wav"])
    with pytest.raises(ValueError, match="1 of 2 recordings failed"):
        work(["in/a.wav", "nowhere.wav"])
    assert "error: nowhere.wav: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "name", "several", "expected"),
    [
        (None, None, False, "csv"),
        ("a.rttm", None, False, "rttm"),
        ("a.CSV", None, False, "csv"),
        ("a.txt", "dcase", False, "dcase"),
        ("out", None, True, "csv"),
        ("out/", None, False, "csv"),
        ("out", "rttm", True, "rttm"),
    ],
)
def test_formats(output, name, several, expected):
    args = Namespace(output=output, format=name)
    assert choose_format(args, FORMATS, several) == expected


@pytest.mark.parametrize(
    ("output", "name", "message"),
    [
        ("a.txt", None, "files end in .csv, .rttm; or give --format, one of"),
        ("a", None, "files end in .csv, .rttm"),
        ("a.csv", "xls", "xls is not known; use one of csv, rttm, dcase"),
        (None, "csv", "is that of --output"),
    ],
)
def test_unknown_formats(output, name, message):
    with pytest.raises(ValueError, match=message):
        choose_format(Namespace(output=output, format=name), FORMATS, False)


def test_bars_only_on_a_terminal_and_not_in_the_first_seconds(
    folder, capsys, monkeypatch
):
    monkeypatch.setattr(recordings, "shows_progress", lambda: True)
    work(["in/a.wav", "in/b/a.FLAC"])
    assert capsys.readouterr().err.count("\n") == 2
    made = {}

    def progress(items, **options):
        made.update(options)
        return items

    monkeypatch.setattr("spatial_brain.dataio.parallel.progress", progress)
    work(["in/a.wav", "in/b/a.FLAC"])
    assert made == {"total": 2, "unit": "recording", "delay": 2.0}
