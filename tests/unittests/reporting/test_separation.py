"""The page of a separation run: numbers, pictures, and sounds with cues."""

import base64
import io
import re

import numpy as np
import pytest
import soundfile

from spatial_brain.metrics.separation.errors import SeparationErrors
from spatial_brain.reporting.report import Report
from spatial_brain.reporting.separation import (
    _delay_scatter,
    _error_by_angle,
    _level_error_bands,
    _separation_spectrograms,
    separation_report,
)

FS = 8000


def run_of(number=8, time=2400):
    """Collected errors of a made-up network, and one example of it."""
    rng = np.random.default_rng(0)
    errors = SeparationErrors(FS, sdr=False)
    for k in range(number):
        reference = rng.standard_normal((1, time, 2, 2))
        reference[:, :, 1, 0] *= 0.25
        noise = rng.standard_normal(reference.shape)
        estimate = (reference + 0.02 * (k + 1) * noise)[..., ::-1]
        mixture = reference.sum(-1)
        errors.append(
            [f"mixture-{k:02d}"],
            estimate,
            reference,
            mixture,
            azimuths=[[-40.0, 5.0 * k - 30.0]],
            listener=["odd" if k % 2 else "even"],
        )
    example = {
        "id": "the <example>",
        "mixture": mixture[0],
        "reference": reference[0],
        "estimate": estimate[0],
        "fs": FS,
        "azimuths": [-40.0, 35.0],
    }
    return errors, example


def cells(page):
    """All tables of a page as lists of rows of texts."""
    tables = re.findall(r"<table>.*?</table>", page, re.DOTALL)
    return [
        [
            [
                re.sub("<[^>]*>", "", c)
                for c in re.findall("<t[hd].*?</t[hd]>", row)
            ]
            for row in re.findall("<tr.*?</tr>", table)
        ]
        for table in tables
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Summary, example and page of a run, with a silent estimate in it."""
    folder = tmp_path_factory.mktemp("run")
    errors, example = run_of()
    reference = example["reference"][None]
    errors.append(
        ["silent"],
        0 * reference,
        reference,
        reference.sum(-1),
        azimuths=[[0, 10]],
        listener=["odd"],
    )
    summary = errors.summarize(num_bootstrap=50)
    (folder / "command.txt").write_text("python train.py")
    path = separation_report(
        folder,
        {"network": summary, "oracle mask": summary},
        [{"epoch": 1, "train loss": 1.0}, {"epoch": 2, "train loss": 0.5}],
        errors.rows(),
        [example],
        notes="Of a test.",
    )
    assert path == folder / "report.html"
    return summary, example, path.read_text()


def test_numbers_of_the_page(run):
    summary, _, page = run
    results, angles, listeners, worst = cells(page)
    assert [row[0] for row in results[1:]] == [
        "network",
        "oracle mask",
        "mixture",
        "network, as the original counts",
        "oracle mask, as the original counts",
    ]
    columns = {name: k for k, name in enumerate(results[0])}
    network, _, mixture, compat, _ = results[1:]
    for name, key, digits in (
        ("SNRi, dB", "snr_i", 2),
        ("ITD error, µs", "itd_error", 1),
        ("ILD error, dB", "ild_error", 2),
    ):
        place = columns[name]
        assert network[place] == f"{summary[key]:.{digits}f}"
        before = summary["mixture"].get(key, 0.0)
        assert mixture[place] == f"{before:.{digits}f}"
    assert compat[columns["ITD error, µs"]] == (
        f"{summary['compat']['delta_ITD']:.1f}"
    )
    assert compat[columns["SI-SNRi, dB"]] == "not measured"
    assert len(angles) == len(summary["by"]["angle"]) + 1
    assert [row[0] for row in listeners[1:]] == ["even", "odd"]
    # Nothing at all is worse than something; then, noise grows with k.
    assert [row[0] for row in worst[1:4]] == [
        "silent",
        "mixture-07",
        "mixture-06",
    ]
    assert not any("nan" in text for row in results for text in row)


def test_texts_of_the_page(run):
    summary, _, page = run
    assert f"<b>{summary['snr_i']:.2f} dB</b>" in page
    assert summary["missing"]["itd_error"] == 2
    assert "ITD error: 2" in page and "leave out" in page
    assert "python train.py" in page and "Of a test." in page
    assert "the &lt;example&gt;" in page and "the <example>" not in page
    assert "talker 1, 40° right" in page and "talker 2, 35° left" in page


def sounds_of(page):
    """Waveforms of the players of a page."""
    return [
        soundfile.read(io.BytesIO(base64.b64decode(content)))
        for content in re.findall(r"audio/flac;base64,([^\"]*)", page)
    ]


def test_players_keep_cues_levels_and_order(run):
    _, example, page = run
    sounds = sounds_of(page)
    assert [fs for _, fs in sounds] == [FS] * 5
    reference, estimate = example["reference"], example["estimate"]
    expected = [example["mixture"]]
    # The made-up network estimates in reverse order.
    for k in range(2):
        expected += [reference[..., k], estimate[..., 1 - k]]
    gain = 0.7 / max(np.abs(signal).max() for signal in expected)
    for (signal, _), truth in zip(sounds, expected, strict=True):
        assert signal == pytest.approx(gain * truth, abs=1e-4)


def test_players_of_silence(tmp_path):
    report = Report("Ears")
    report.add_players({"silence": np.zeros((80, 2))}, FS)
    page = report.write(tmp_path / "a.html").read_text()
    assert not sounds_of(page)[0][0].any()


def test_what_a_page_needs(tmp_path):
    errors, _ = run_of(2)
    with pytest.raises(ValueError, match="metrics of the 'network'"):
        separation_report(tmp_path, {}, [], errors.rows())
    with pytest.raises(ValueError, match="0 rows"):
        separation_report(
            tmp_path, {"network": errors.summarize(num_bootstrap=0)}, [], []
        )


def test_spectrograms_share_one_scale():
    rng = np.random.default_rng(0)
    quiet = 0.01 * rng.standard_normal((4000, 3))
    figure = _separation_spectrograms(
        rng.standard_normal(4000), quiet, 100 * quiet, 16000, list("abc")
    )
    panels = [axes for axes in figure.axes if axes.images]
    titles = [axes.get_title("left") for axes in panels]
    assert titles[0] == "mixture" and titles[-1] == "c, separated"
    assert len({axes.images[0].get_clim() for axes in panels}) == 1
    levels = [axes.images[0].get_array().mean() for axes in panels]
    assert levels[2] - levels[1] == pytest.approx(40, abs=0.01)
    assert panels[0].get_ylim() == (0, 8)
    assert panels[0].get_xlim() == (0, 0.25)


def test_angle_lines_are_means_of_ranges():
    angles = np.repeat([10.0, 30.0, 90.0], 20)
    errors = np.concatenate((np.full(20, 8.0), np.full(20, 4.0), [1.0] * 20))
    errors[3] = np.nan
    other = np.full(60, np.nan)
    figure = _error_by_angle(
        angles, {"network": errors, "nothing": other}, "error, µs", "Time"
    )
    (line,) = figure.axes[0].lines
    assert line.get_xdata().tolist() == [10, 30, 90]
    assert line.get_ydata().tolist() == [8, 4, 1]
    errors[0] = 1e5
    figure = _error_by_angle(angles, {"network": errors}, "µs", None)
    assert figure.axes[0].get_ylim()[1] < 1e4
    empty = _error_by_angle(angles, {"network": other}, "µs", None)
    assert not empty.axes[0].lines


def test_cue_pictures_draw_what_they_are_given():
    figure = _delay_scatter(
        [0.0, 100.0, np.nan], {"mixture": [1, 2, 3], "network": [4, 5, np.nan]}
    )
    drawn = [
        part.get_offsets()[0].tolist() for part in figure.axes[0].collections
    ]
    assert drawn == [[0, 1], [0, 4]]
    bands = {"frequency": [100, 2000], "network": [1, 2], "mixture": [3, 4]}
    figure = _level_error_bands(bands)
    assert [list(line.get_ydata()) for line in figure.axes[0].lines] == [
        [1, 2],
        [3, 4],
    ]
