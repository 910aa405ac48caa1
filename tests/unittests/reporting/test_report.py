"""Reports: one file, nothing from outside, nothing left unescaped."""

import math
import re
import xml.etree.ElementTree

import numpy as np
import pytest
from pages import Page

from spatial_brain.reporting import Report, localization_report, read_train_log
from spatial_brain.reporting.localization import _collect_errors
from spatial_brain.reporting.plots import (
    INK,
    figure_to_svg,
    line_plot,
    save_figure,
)


def rows(count=60, seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        truth = rng.uniform(0, 180, 2)
        made.append(
            {
                "id": f"mix-{index}",
                "reference": truth.tolist(),
                "estimate": (truth + rng.normal(0, 3, 2))[::-1].tolist(),
                "gcc_phat": (truth + rng.normal(0, 20, 2)).tolist(),
                "srp_phat": (truth + rng.normal(0, 15, 2)).tolist(),
                "t60": float(rng.uniform(0.1, 0.7)),
                "distance": [1.0, float(rng.uniform(0.5, 4))],
                "separation": float(abs(truth[0] - truth[1])),
                "snr": None,
            }
        )
    return made


METRICS = {
    "network": {
        "num_mixtures": 60,
        "mae": 3.25,
        "accuracy_5": 0.75,
        "odd_name": 2.0,
        "mae_low": 3.0,
        "mae_high": 3.5,
        "by": {"t60": {}},
    },
    "gcc_phat": {"mae": 16.5, "accuracy_5": 0.25},
    "chance": {"mae": 44.0},
}


def test_page_is_complete_closed_and_self_contained(tmp_path):
    (tmp_path / "command.txt").write_text("python train.py a.yaml --x '<b>'\n")
    (tmp_path / "hyperparams.yaml").write_text("seed: 99\nlr: 1e-3\n")
    records = [
        {"epoch": i, "train loss": 3.0 / i, "valid error": 20.0 / i}
        for i in (1, 2, 3)
    ]
    path = localization_report(
        tmp_path, METRICS, records, rows(), subtitle="60 <mixtures> & more"
    )
    assert path == tmp_path / "report.html"
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    for part in (
        "60 <mixtures> & more",
        "3.2°",
        "GCC-PHAT",
        "16.50",
        "not measured",
        "within 5°, %",
        "75.00",
        "odd name",
        "3.00 to 3.50",
        "--x '<b>'",
        "99",
        "By reverberation time",
        "By angle between the talkers",
        "SRP-PHAT",
        "Loss",
    ):
        assert part in page.text, part
    assert "By noise" not in page.text  # was not recorded
    assert "<b>'" not in text and "{" not in page.text.split("Results")[1][:50]
    assert not re.search(r"url\((?!#)|@import", text)
    assert not list(tmp_path.glob(".*"))  # nothing temporary


def test_report_without_run_files_or_epochs(tmp_path):
    text = localization_report(tmp_path, METRICS, [], rows(1)).read_text()
    assert "not recorded" in text and "Training" not in text
    with pytest.raises(ValueError, match="network"):
        localization_report(tmp_path, {"gcc_phat": {"mae": 1}}, [], rows(1))
    with pytest.raises(ValueError, match="0 rows"):
        localization_report(tmp_path, METRICS, [], [])


def test_errors_are_assigned_like_the_best_permutation():
    table = rows(40, seed=3)
    errors = _collect_errors(table, "gcc_phat").rows()
    for row, found in zip(table, errors, strict=True):
        (a, b), (x, y) = row["reference"], row["gcc_phat"]
        best = min(abs(a - x) + abs(b - y), abs(a - y) + abs(b - x))
        assert sum(found["error"]) == pytest.approx(best)
        assert found["distance"] == row["distance"]


def test_tables_tell_numbers_text_and_gaps(tmp_path):
    report = Report("T").add_table(
        ["a", "b", "c", "d"],
        [["<x>", 1.2345, 7, None], ["y", math.nan, 8, -0.001]],
        emphasis=0,
    )
    text = report.write(tmp_path / "deep" / "r.html").read_text()
    assert "<td>0.00</td>" in text and "-0.00" not in text
    assert "&lt;x&gt;" in text and "<td>1.23</td>" in text
    assert "<td>7</td>" in text and text.count("not measured") == 2
    assert '<tr class="main">' in text
    with pytest.raises(ValueError, match="columns"):
        Report("T").add_table(["a"], [[1, 2]])


def test_pictures_follow_the_theme_and_files_are_embedded(tmp_path):
    figure = line_plot({"a": ([1, 2], [1, 2]), "b": ([1, 2], [2, 1])}, "x", "y")
    svg = figure_to_svg(figure)
    xml.etree.ElementTree.fromstring(svg)
    assert INK not in svg and "var(--ink)" in svg
    assert figure_to_svg(figure) == svg  # same names at every call
    save_figure(figure, tmp_path / "a.png")
    report = Report("P").add_figure(tmp_path / "a.png", 'a "caption"')
    text = report.add_figures([figure, figure]).write(tmp_path / "p.html")
    page = Page(text.read_text())
    assert page.links[0].startswith("data:image/png;base64,")
    with pytest.raises(ValueError, match=r"a.tif"):
        report.add_figure(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a.bmp.*\.png"):
        save_figure(figure, tmp_path / "a.bmp")


def test_an_interrupted_write_keeps_the_old_page(tmp_path, monkeypatch):
    path = Report("old").write(tmp_path / "r.html")
    before = path.read_text()

    def dies(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", dies)
    with pytest.raises(KeyboardInterrupt):
        Report("new").write(path)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_train_log_of_a_resumed_run(tmp_path):
    path = tmp_path / "train_log.txt"
    path.write_text(
        "epoch: 1, lr: 2.00e-04 - train loss: 3.45 - valid loss: 3.40, "
        "valid error: 1.23e+02\n"
        "epoch: 2, lr: 1.00e-04 - train loss: 3.00 - valid loss: nan\n"
        "epoch: 2, lr: 1.00e-04 - train loss: 2.90 - valid loss: 3.10\n"
        "Epoch loaded: 2 - test loss: 2.50\n"
        "\n"
    )
    found = read_train_log(path)
    assert [record["epoch"] for record in found] == [1, 2]
    assert found[0]["valid error"] == 123.0
    assert found[1]["train loss"] == 2.9
    with pytest.raises(FileNotFoundError):
        read_train_log(tmp_path / "nothing.txt")
