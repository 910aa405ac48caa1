"""The report of a SELD run, its pictures, and the confusion of classes."""

import base64
import io
import itertools
import re

import numpy as np
import pytest
import soundfile
import torch
from event_tracks import TRACKS, track
from pages import Page

from spatial_brain.dataio.events import EventTable, concatenate
from spatial_brain.metrics.seld.scores import SELDScores
from spatial_brain.reporting.plots import figure_to_svg
from spatial_brain.reporting.report import Report
from spatial_brain.reporting.seld import (
    MAX_CLASSES,
    MAX_SHOWN_CLASSES,
    _class_confusion,
    _class_scores,
    _confusion_picture,
    event_trajectories,
    seld_report,
)
from spatial_brain.simulation.ambisonics import encode_foa

NAMES = ["dog", "bell & whistle", "Female_speech_and_woman_speaking", "<door>"]


def table(rows, num_frames=None):
    """Events (frame, class, azimuth, elevation)."""
    columns = np.array(rows, dtype=float).reshape(-1, 4).T
    return EventTable(*columns, num_frames=num_frames)


def random_table(rng, num_frames=40, most=3):
    rows = [
        (frame, rng.integers(4), rng.uniform(-180, 180), rng.uniform(-90, 90))
        for frame in range(num_frames)
        for _ in range(rng.integers(most + 1))
    ]
    return table(rows, num_frames)


def angle(one, two):
    return np.degrees(np.arccos(np.clip(one @ two, -1, 1)))


def brute_force(reference, estimate, num_classes):
    """All assignments of each frame."""
    counts = np.zeros((num_classes + 1, num_classes + 1), dtype=int)
    for frame in set(reference.frame) | set(estimate.frame):
        r = np.flatnonzero(reference.frame == frame)
        e = np.flatnonzero(estimate.frame == frame)
        size = max(len(r), len(e))
        slots = [*e, *[None] * (size - len(e))]
        best = None
        for order in itertools.permutations(slots):
            pairs = [
                (i, j) for i, j in zip(r, order, strict=False) if j is not None
            ]
            same = sum(
                reference.label[i] == estimate.label[j] for i, j in pairs
            )
            total = sum(
                angle(reference.directions[i], estimate.directions[j])
                for i, j in pairs
            )
            if best is None or (-same, total) < best[:2]:
                best = (-same, total, pairs)
        for i, j in best[2]:
            counts[reference.label[i], estimate.label[j]] += 1
        for i in set(r) - {i for i, _ in best[2]}:
            counts[reference.label[i], -1] += 1
        for j in set(e) - {j for _, j in best[2]}:
            counts[-1, estimate.label[j]] += 1
    return counts


@pytest.mark.parametrize("seed", range(4))
def test_confusion_brute_force(seed):
    rng = np.random.default_rng(seed)
    reference, estimate = random_table(rng), random_table(rng)
    found = _class_confusion(reference, estimate, 4)
    assert (found == brute_force(reference, estimate, 4)).all()
    assert found[:-1].sum() == len(reference)
    assert found[:, :-1].sum() == len(estimate)


def test_confusion_of_empty_tables():
    some = table([(0, 1, 0, 0), (5, 3, 0, 0)])
    none = table([])
    assert _class_confusion(none, none, 4).sum() == 0
    missed = _class_confusion(some, none, 4)
    assert missed[1, -1] == missed[3, -1] == 1 and missed.sum() == 2
    assert (_class_confusion(none, some, 4) == missed.T).all()
    with pytest.raises(ValueError, match="class 3, there are 3"):
        _class_confusion(some, none, 3)


def test_pictures_show_the_frequent_classes():
    number = 40
    counts = np.diag(np.arange(number + 1))
    names = [f"class {k}" for k in range(number)]
    axes = _confusion_picture(counts, names).axes[0]
    shown = [text.get_text() for text in axes.get_yticklabels()]
    assert shown == [*names[-MAX_CLASSES:], "nothing"]
    scores = {
        "F": [0.5] * number,
        "LE": [5.0] * number,
        "references": list(range(number)),
    }
    axes = _class_scores(scores, names).axes[0]
    assert len(axes.patches) == MAX_CLASSES


def test_shares_of_the_matrix():
    counts = np.array([[3, 1, 0], [0, 0, 0], [2, 2, 0]])
    axes = _confusion_picture(counts, ["a", "b"]).axes[0]
    # Class b never sounds.
    written = [text.get_text() for text in axes.texts]
    assert written == ["75", "50"]


def test_class_of_which_nothing_was_found():
    scores = {
        "F": [0.5, 0.0, 0.0],
        "LE": [33.0, 180.0, float("nan")],
        "references": [3, 2, 1],
    }
    intervals = {"F": [[0.4, 0.6]] * 3, "LE": [[-5, 300]] * 3}
    figure = _class_scores(scores, list("abc"), intervals)
    left, right = figure.axes
    assert [patch.get_width() for patch in left.patches] == [50.0, 0.0, 0.0]
    assert [patch.get_width() for patch in right.patches] == [33.0]
    assert [text.get_text() for text in right.texts] == ["none found"] * 2
    assert right.get_xlim() == (0, 40)


def make_run(number=4, frames=60):
    """Scores and clips of a made-up network."""
    rng = np.random.default_rng(0)
    references = {
        f"room{k % 2}_{k}": random_table(rng, frames) for k in range(number)
    }
    estimates = {
        clip: reference.select(rng.random(len(reference)) < 0.7)
        for clip, reference in references.items()
    }
    scores = SELDScores(4)
    silence = SELDScores(4)
    for clip, reference in references.items():
        scores.append(reference, estimates[clip], num_frames=frames, name=clip)
        silence.append(reference, table([]), num_frames=frames, name=clip)
    rooms = {clip: clip[:5] for clip in references}
    waveform = encode_foa(torch.randn(frames * 2400), 30.0, 0.0)
    return {
        "scores": {"network": scores.compute(intervals=True)},
        "baselines": {"constant": silence.compute(intervals=True)},
        "references": references,
        "estimates": estimates,
        "by_room": scores.compute(by=rooms)["by"],
        "train_log": [
            {
                "epoch": 1,
                "lr": 1e-3,
                "train loss": 0.2,
                "valid ER": 0.9,
                "valid LE": 60.0,
                "valid LR": 0.3,
                "valid SELD": 0.7,
            },
            {
                "epoch": 2,
                "lr": 1e-4,
                "train loss": 0.1,
                "valid ER": 0.8,
                "valid LE": 40.0,
                "valid LR": 0.4,
                "valid SELD": 0.6,
            },
        ],
        "clips": [
            {
                "name": clip,
                "reference": references[clip],
                "estimate": estimates[clip],
                "waveform": waveform if index == 0 else None,
                "fs": 24000,
            }
            for index, clip in enumerate(list(references)[:2])
        ],
        "class_names": NAMES,
    }


def test_page_is_complete_and_self_contained(tmp_path):
    run = make_run()
    (tmp_path / "command.txt").write_text("python train.py mini.yaml")
    path = seld_report(tmp_path, subtitle="a & b", notes="No data.", **run)
    assert path == tmp_path / "report.html"
    assert [p.name for p in tmp_path.glob("*.html")] == ["report.html"]
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    network = run["scores"]["network"]
    assert f"{network['SELD']:.3f}" in page.text
    low, high = network["intervals"]["SELD"]
    assert f"{low:.3f} to {high:.3f}" in page.text
    for line in network["warnings"]:
        assert line in page.text
    for needed in (
        "best constant prediction",
        "room0",
        "room1",
        "a & b",
        "No data.",
        "python train.py mini.yaml",
        "Scores of the validation",
        "bell & whistle",
        "<door>",
        "Female speech and wom…",
    ):
        assert needed in page.text
    assert "not measured" not in page.text
    assert text.count("<audio") == 1


def test_rooms_without_events_have_no_scores(tmp_path):
    run = make_run(2)
    empty = SELDScores(len(NAMES))
    empty.append([], [(0, 0, 0, 0)])
    empty = empty.compute()
    assert empty["ER"] > 1e14
    room, found = next(iter(run["by_room"].items()))
    run.update(by_room={room: found, "void": empty}, train_log=[], clips=[])
    run["by_overlap"] = {"0": empty}
    text = seld_report(tmp_path, **run).read_text(encoding="utf-8")
    assert "void" in Page(text).text
    assert "4503599627370496" not in text


def test_report_of_little(tmp_path):
    """Neither training nor rooms nor recordings nor intervals."""
    run = make_run(2)
    network = run["scores"]["network"]
    del network["intervals"]
    run.update(by_room=None, train_log=[], clips=[], baselines=None)
    text = seld_report(tmp_path, **run).read_text(encoding="utf-8")
    Page(text)
    for absent in ("Training", "Where it is hard", "Recordings", "interval<"):
        assert absent not in text
    with pytest.raises(ValueError, match="network"):
        seld_report(tmp_path, **{**run, "scores": {"constant": network}})


def test_scores_of_a_log_share_a_picture(tmp_path):
    run = make_run(2)
    text = seld_report(tmp_path, **run).read_text(encoding="utf-8")
    section = text[
        text.index(">Training</h2>") : text.index(">Recordings</h2>")
    ]
    # Loss; ER, LR and SELD; LE; learning rate.
    assert section.count("<figure") == 4


def test_the_busiest_seconds_are_played(tmp_path):
    """A tone where events are, silence elsewhere."""
    fs, seconds = 8000, 30
    waveform = torch.zeros(fs * seconds, 4)
    tone = torch.sin(torch.arange(fs * 10) * 0.3)
    waveform[fs * 15 : fs * 25, 0] = tone
    events = table([(frame, 0, 0, 0) for frame in range(150, 250)], 300)
    run = make_run(2)
    run["clips"] = [
        {
            "name": "a",
            "reference": events,
            "estimate": events,
            "waveform": waveform,
            "fs": fs,
        }
    ]
    text = seld_report(tmp_path, **run).read_text(encoding="utf-8")
    assert "seconds 15.0 to 25.0" in text
    data = re.search(r'src="data:audio/flac;base64,([^"]*)"', text).group(1)
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(data)))
    assert rate == fs and len(samples) == 10 * fs
    assert np.abs(samples - 0.7 * tone.numpy()).max() < 1e-3


def test_player_reduces_the_rate(tmp_path):
    report = Report("t")
    report.add_audio(torch.sin(torch.arange(48000) * 0.05), 48000)
    report.add_audio(torch.zeros(100), 16000)
    text = report.write(tmp_path / "t.html").read_text(encoding="utf-8")
    sound, silence = (
        base64.b64decode(data)
        for data in re.findall(r"data:audio/flac;base64,([^\"]*)", text)
    )
    samples, rate = soundfile.read(io.BytesIO(sound))
    assert rate == 16000 and len(samples) == 16000
    info = soundfile.info(io.BytesIO(sound))
    assert (info.format, info.subtype) == ("FLAC", "PCM_16")
    assert not soundfile.read(io.BytesIO(silence))[0].any()
    for wrong in (torch.zeros(0), torch.zeros(10, 4)):
        with pytest.raises(ValueError, match="player"):
            report.add_audio(wrong, 16000)


def test_table_with_decimals_of_each_column(tmp_path):
    report = Report("t").add_table(["a", "b"], [[1.0, 2.0]], digits=[0, 3])
    text = report.write(tmp_path / "t.html").read_text(encoding="utf-8")
    assert "<td>1</td><td>2.000</td>" in text


def test_picture_shows_truth_and_estimate():
    reference = concatenate(TRACKS, num_frames=80)
    estimate = reference.select(reference.frame % 2 == 0)
    names = ["dog", "male_speech", "bell"]
    figure = event_trajectories(estimate, reference, class_names=names)
    azimuth, elevation = figure.axes
    assert azimuth.get_xlim() == (0, 8.0)
    drawn = sum(len(part.get_offsets()) for part in azimuth.collections)
    assert drawn == len(estimate)
    assert len(azimuth.lines) == 3
    # A line breaks between events, and where the azimuth passes 180 degrees.
    dog = azimuth.lines[0].get_xydata()
    assert np.isnan(dog[:, 1]).sum() == 3
    fast = azimuth.lines[1].get_xydata()
    steps = np.abs(np.diff(fast[:, 1]))
    assert np.nanmax(steps) < 30
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["dog", "male speech", "bell", "truth", "found"]
    assert figure_to_svg(figure).startswith("<svg")


def test_lines_cover_their_frames():
    figure = event_trajectories(
        EventTable([], [], [], []), track(0, 3, 5, 10.0), duration=2.0
    )
    x = figure.axes[0].lines[0].get_xdata()
    assert np.nanmin(x) == pytest.approx(0.3)
    assert np.nanmax(x) == pytest.approx(0.5)
    assert figure.axes[0].get_xlim() == (0, 2.0)


def test_many_classes_and_none():
    parts = [track(label, 0, 100 - label, label) for label in range(20)]
    figure = event_trajectories(concatenate(parts))
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    shown = [f"class {label}" for label in range(MAX_SHOWN_CLASSES)]
    assert texts == [*shown, "other classes"]
    drawn = sum(len(p.get_offsets()) for p in figure.axes[0].collections)
    assert drawn == sum(map(len, parts))
    looks = {
        (tuple(part.get_facecolor()[0]), part.get_paths()[0].vertices.tobytes())
        for part in figure.axes[0].collections
    }
    assert len(looks) == MAX_SHOWN_CLASSES + 1
    empty = event_trajectories(EventTable([], [], [], [], num_frames=50))
    assert empty.axes[0].get_xlim() == (0, 5.0)
    assert not empty.legends
