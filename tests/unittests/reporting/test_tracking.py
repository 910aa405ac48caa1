"""The picture of direction tracks and the table of their measures."""

import re

import numpy as np
from pages import Page

from spatial_brain.metrics.tracking import TrackingErrors
from spatial_brain.processing.tracks import DirectionTracks
from spatial_brain.reporting.plots import figure_to_svg
from spatial_brain.reporting.report import Report
from spatial_brain.reporting.tracking import (
    MAX_SHOWN,
    _unwrapped,
    add_tracking_measures,
    direction_tracks,
)

NAN = float("nan")
TIMES = np.arange(20) * 0.5


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_tracks_sources_and_activity_are_drawn():
    active = np.arange(20)[None] % 10 < 6
    truth = DirectionTracks(TIMES, [170 + TIMES * 0], None, active)
    tracks = DirectionTracks(
        TIMES, [[10.0] * 20, [NAN] * 10 + [50.0] * 10], [[5.0] * 20] * 2
    )
    figure = direction_tracks(tracks, truth)
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "azimuth, degrees",
        "elevation, degrees",
    ]
    assert legend(figure) == ["track 1", "track 2", "source", "source active"]
    line, shade = figure.axes[0].lines
    assert np.isfinite(line.get_ydata()).all()
    assert np.isfinite(shade.get_ydata()).sum() == active.sum()
    points = figure.axes[0].collections
    drawn = [np.isfinite(p.get_offsets().filled(NAN)[:, 1]) for p in points]
    assert sum(part.sum() for part in drawn) == 30
    assert figure.axes[0].get_xlim() == (0, TIMES[-1])


def test_without_elevation_or_tracks():
    tracks = DirectionTracks(TIMES, [[10.0] * 20])
    assert len(direction_tracks(tracks).axes) == 1
    nothing = DirectionTracks(TIMES, [])
    figure = direction_tracks(nothing, tracks, duration=3.0)
    assert legend(figure) == ["source", "source active"]
    assert figure.axes[0].get_xlim() == (0, 3.0)
    assert not direction_tracks(nothing).legends


def test_many_tracks_and_points_stay_readable():
    times = np.arange(400) * 0.1
    rng = np.random.default_rng(0)
    azimuth = rng.uniform(-180, 180, (MAX_SHOWN + 5, 400))
    azimuth[3, 10:] = NAN
    figure = direction_tracks(DirectionTracks(times, azimuth))
    labels = legend(figure)
    assert len(labels) == MAX_SHOWN + 1 and "track 4" not in labels
    assert labels[-1] == "5 shorter tracks"
    assert len(figure_to_svg(figure)) < 500_000


def test_lines_break_at_the_back():
    times, line = _unwrapped(np.arange(3.0), np.array([170.0, -175.0, -170.0]))
    assert np.isnan(line[1]) and np.isnan(times[1])
    assert line[[0, 2, 3]].tolist() == [170, -175, -170]


def test_table_of_measures(tmp_path):
    errors = TrackingErrors()
    truth = DirectionTracks(TIMES, [[0.0] * 20], None, np.arange(20)[None] > 1)
    errors.append("a", truth, DirectionTracks(TIMES, [[3.0] * 20]), task="1")
    errors.append("b", truth, DirectionTracks(TIMES, [[7.0] * 20]), task="3")
    summary = errors.summarize(num_bootstrap=50)
    report = add_tracking_measures(
        Report("Tracks"), {"all": summary, **summary["by"]["task"]}, "task"
    )
    html = report.write(tmp_path / "report.html").read_text()
    assert "every reference time" in Page(html).text
    lines = re.findall(r"<tr[^>]*>(.*?)</tr>", html, flags=re.DOTALL)
    header, *rows = (
        re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, flags=re.DOTALL)
        for line in lines
    )
    assert header[:2] == ["task", "azimuth error, °"]
    assert not any("elevation" in heading for heading in header)
    assert rows[0][1] == "5.00" and rows[2][1] == "7.00"
    assert rows[1][header.index("within 5°, %")] == "100.00"
    assert rows[0][-1] == "3.00 to 7.00"
