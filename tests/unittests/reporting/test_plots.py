"""Pictures show the numbers they were given."""

import matplotlib
import numpy as np
import pytest

from spatial_brain.inference.localizer import Localization
from spatial_brain.reporting.localization import (
    _estimate_scatter,
    direction_trajectory,
    half_plane,
)
from spatial_brain.reporting.plots import (
    cumulative_error,
    figure_to_svg,
    grouped_bars,
    line_plot,
    save_figure,
    training_curves,
)


def test_cumulative_error_counts_talkers():
    figure = cumulative_error({"a": [5.0, 10.0, 15.0, 90.0]})
    x, y = figure.axes[0].lines[0].get_data()
    share = dict(zip(x.tolist(), y.tolist(), strict=True))
    assert share[0.0] == 0 and share[5.0] == 25 and share[60.0] == 75


def test_curves_pair_stages_of_one_quantity():
    records = [
        {"epoch": 1, "lr": 0.1, "train loss": 3.0, "valid loss": 4.0,
         "valid mae": 9.0, "note": "text"},
        {"epoch": 2, "lr": 0.1, "train loss": 2.0, "valid loss": 3.0,
         "valid mae": 8.0},
    ]  # fmt: skip
    figures = training_curves(records)
    titles = [figure.axes[0].get_title(loc="left") for figure in figures]
    assert titles == ["Loss", "Mae", "Learning rate"]
    lines = {
        line.get_label(): line.get_ydata().tolist()
        for line in figures[0].axes[0].lines
    }
    assert lines == {"train": [3.0, 2.0], "valid": [4.0, 3.0]}
    assert training_curves([]) == []


def test_bars_stand_side_by_side():
    axes = grouped_bars(["x", "y"], {"a": [1, 2], "b": [3, np.nan]}, "e").axes[
        0
    ]
    bars = [(bar.get_x(), bar.get_width()) for bar in axes.patches]
    spans = sorted((x, x + width) for x, width in bars)
    assert all(
        first[1] <= second[0] + 1e-9
        for first, second in zip(spans, spans[1:], strict=False)
    )
    assert axes.patches[2].get_height() == 3


def test_half_plane_puts_zero_to_the_right_and_90_on_top():
    axes = half_plane([0.0, 90.0], {"network": [180.0]}).axes[0]
    rays = [line for line in axes.lines if line.get_linewidth() == 2.0]
    ends = [
        (line.get_xdata()[1], line.get_ydata()[1])
        for line in rays
        if line.get_label() == "truth" or line.get_label().startswith("_")
    ]
    assert ends[0] == pytest.approx((1.0, 0.0), abs=1e-9)
    assert ends[1] == pytest.approx((0.0, 1.0), abs=1e-9)
    estimate = next(x for x in axes.lines if x.get_label() == "network")
    assert estimate.get_xdata()[0] < -0.8


def test_trajectory_breaks_at_silence(tmp_path):
    directions = np.array([[40.0, 90], [np.nan, np.nan], [42, 95]])
    found = Localization(
        "a.wav", "cone", 4.0, np.arange(3.0), np.arange(3.0) + 2, directions,
        np.where(np.isnan(directions), np.nan, 0.5),
    )  # fmt: skip
    figure = direction_trajectory(found)
    line = figure.axes[0].lines[0]
    assert line.get_xdata().tolist() == [1.0, 2.0, 3.0]
    assert np.isnan(line.get_ydata()[1])
    for suffix in (".png", ".svg", ".pdf"):
        save_figure(figure, tmp_path / f"a{suffix}")
        assert (tmp_path / f"a{suffix}").stat().st_size > 1000


def test_many_points_are_drawn_as_pixels():
    many = np.linspace(0, 180, 5000)
    axes = _estimate_scatter(many, many).axes[0]
    assert axes.collections[-1].get_rasterized()


def test_global_settings_of_matplotlib_stay():
    before = dict(matplotlib.rcParams)
    cumulative_error({"a": [1.0]})
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("save", [figure_to_svg, None])
def test_long_titles_are_broken_and_short_ones_stay(save, tmp_path):
    long = "Error by the reverberation time of rooms that were not trained in"
    for title in (long, "Short"):
        figure = line_plot({"a": ([0, 1], [0, 1])}, "x", "y", title)
        if save:
            save(figure)
        else:
            save_figure(figure, tmp_path / "a.png")
        lines = figure.axes[0].get_title("left").split("\n")
        assert " ".join(lines) == title
        assert len(lines) == (2 if title == long else 1)
        figure.draw_without_rendering()
        [text] = [
            text
            for text in figure.findobj(matplotlib.text.Text)
            if text.get_text().startswith(lines[0])
        ]
        assert text.get_window_extent().x1 <= figure.bbox.width
