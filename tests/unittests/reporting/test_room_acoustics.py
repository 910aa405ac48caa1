"""Reports and pictures of pre-training, of one task, and of the grid."""

import math

import numpy as np
import pytest
import torch
from pages import Page

from spatial_brain.metrics.room_acoustics import AcousticErrors, training_mean
from spatial_brain.reporting.acoustics_grid import (
    _grid_table,
    format_grid,
    grid_picture,
    grid_report,
    summarize_grid,
)
from spatial_brain.reporting.pretext import (
    _flatten_embeddings,
    pretext_report,
    reconstruction,
)
from spatial_brain.reporting.room_acoustics import (
    _error_by_condition,
    _value_scatter,
    downstream_report,
)

RECORDS = [
    {"epoch": k, "lr": 1e-3, "train loss": 2 / k, "valid loss": 2.1 / k}
    for k in range(1, 5)
]


def read(path):
    return Page(path.read_text(encoding="utf-8")).text


def speech_like(bins=32, frames=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    spectra = torch.randn(2, bins, frames, 2, generator=generator)
    return spectra * torch.linspace(2, 0.1, bins)[:, None, None]


def example(name="a", channel=1):
    clean = speech_like()
    return {
        "name": name,
        "features": clean,
        "prediction": 0.5 * clean,
        "masked_frames": torch.arange(40) % 2 == 0,
        "masked_channel": torch.tensor(channel),
        "t60": 0.6,
        "snr": 20.0,
        "sounds": {
            "clean": torch.randn(800),
            "reconstructed": torch.randn(800),
        },
    }


def test_pretext_report(tmp_path):
    (tmp_path / "command.txt").write_text("python train.py <a> & b")
    metrics = {
        "test": {"loss": 0.25, "reference": 1.0, "num_examples": 40},
        "T60 0.6 s": {"loss": 0.5, "reference": 1.0},
    }
    path = pretext_report(
        tmp_path,
        metrics=metrics,
        records=RECORDS,
        examples=[example(), example("b & c", 0)],
        notes="Measured on noise.",
    )
    assert path == tmp_path / "report.html"
    text = read(path)
    for part in (
        "6.0 dB",  # 10 log10(1 / 0.25)
        "0.2500",
        "Measured on noise.",
        "a, T60 0.60 s, SNR 20 dB; channel 1 is hidden",
        "b & c: reconstructed",
        "python train.py <a> & b",
        "not measured",  # num_examples of the second set
    ):
        assert part in text
    assert path.read_text().count("data:audio/flac") == 4
    assert path.read_text().count("<svg") == 2 + 2
    with pytest.raises(ValueError, match="'loss' and 'reference'"):
        pretext_report(tmp_path, metrics={"test": {"loss": 1}}, records=[])
    with pytest.raises(ValueError, match="'loss' and 'reference'"):
        pretext_report(tmp_path, metrics={}, records=[])


def pixels(axes):
    return np.ma.filled(axes.images[0].get_array().astype(float), np.nan)


@pytest.mark.parametrize("channel", [0, 1])
def test_reconstruction_shows_what_was_hidden(channel):
    clean = speech_like()
    hidden = torch.arange(40) % 3 == 0
    prediction = torch.zeros_like(clean)
    # Predicted: ten times as loud, and a quarter turn further.
    turned = torch.stack((-clean[channel, ..., 1], clean[channel, ..., 0]), -1)
    prediction[channel] = 10 * turned
    figure = reconstruction(clean, prediction, hidden, channel)
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == 6
    truth, masked, filled = (pixels(axes) for axes in panels[:3])
    energy = clean[channel].square().sum(-1).numpy()
    assert np.allclose(truth, 10 * np.log10(energy), atol=1e-3)
    hidden = hidden.numpy()
    assert np.isnan(masked[:, hidden]).all()
    assert np.array_equal(masked[:, ~hidden], truth[:, ~hidden])
    assert np.allclose(filled[:, hidden], truth[:, hidden] + 20, atol=1e-3)
    assert np.array_equal(filled[:, ~hidden], truth[:, ~hidden])
    truth, masked, filled = (pixels(axes) for axes in panels[3:])
    pair = torch.view_as_complex(clean)
    phase = torch.angle(pair[channel] * pair[1 - channel].conj())
    assert np.allclose(truth, torch.rad2deg(phase).numpy(), atol=1e-3)
    assert np.isnan(masked).all(0).tolist() == hidden.tolist()
    turn = (filled - truth)[:, hidden] % 360
    assert np.allclose(turn, 90, atol=1e-2)


def test_reconstruction_refuses_other_shapes():
    clean = speech_like()
    frames = torch.zeros(40, dtype=torch.bool)
    for features, prediction, mask in (
        (clean, clean[:, :9], frames),
        (clean[..., 0], clean[..., 0], frames),
        (clean, clean, frames[:9]),
    ):
        with pytest.raises(ValueError, match="expected spectra"):
            reconstruction(features, prediction, mask, 0)


def downstream(task="TDOA", number=60):
    rng = np.random.default_rng(0)
    reference = rng.normal(0, 3, number)
    estimates = {
        "network": reference + rng.normal(0, 0.3, number),
        "training_mean": training_mean(reference, number),
        "gcc_phat": reference + rng.normal(0, 2, number),
    }
    conditions = {
        "t60": rng.uniform(0.3, 1.2, number),
        "snr": rng.uniform(15, 30, number),
        "distance": rng.uniform(0.5, 6, number),
    }
    metrics = {}
    for method, estimate in estimates.items():
        errors = AcousticErrors(task)
        errors.append(
            [f"e{k}" for k in range(number)], estimate, reference, **conditions
        )
        metrics[method] = errors.summarize(200)
        if method == "network":
            rows = errors.rows()
    for row, estimate in zip(rows, estimates["gcc_phat"], strict=True):
        row["gcc_phat"] = estimate
    return metrics, rows


def test_downstream_report(tmp_path):
    metrics, rows = downstream()
    path = downstream_report(
        tmp_path,
        task="TDOA",
        metrics=metrics,
        records=RECORDS,
        rows=rows,
        embeddings=torch.randn(len(rows), 8),
        embedding_method="pca",
        subtitle="Simulated <rooms>.",
    )
    text = read(path)
    network = metrics["network"]
    for part in (
        "Time difference of arrival (TDOA)",
        f"{network['mae']:.2f} samples",
        f"{network['mae_low']:.2f} to {network['mae_high']:.2f}",
        "GCC-PHAT",
        "training mean",
        "Where it is hard",
        "Largest errors",
        "Coloured by T60, s.",
        "Simulated <rooms>.",
    ):
        assert part in text
    # Two scatters, three conditions, two curves, four embeddings.
    assert path.read_text().count("<svg") == 2 + 3 + 2 + 4
    worst = max(rows, key=lambda row: abs(row["estimate"] - row["reference"]))
    table = text[text.index("signal truth network") :]
    assert worst["id"] in table.split("<")[0][:200].split()


def test_downstream_report_with_little(tmp_path):
    rows = [{"id": "<a>", "reference": 0.3, "estimate": 0.2}]
    metrics = {"network": {"mae": 0.1}}
    path = downstream_report(
        tmp_path, task="ABS", metrics=metrics, records=[], rows=rows
    )
    text = read(path)
    assert "Mean absorption (ABS)" in text and "Where it is hard" not in text
    for wrong, message in (
        ({"metrics": {}}, "metrics of the 'network'"),
        ({"rows": []}, "0 rows"),
        ({"embeddings": torch.zeros(2, 3)}, "2 embeddings for 1 rows"),
        ({"task": "EDT"}, "no task 'EDT'"),
    ):
        arguments = {"task": "ABS", "metrics": metrics, "rows": rows} | wrong
        with pytest.raises(ValueError, match=message):
            downstream_report(tmp_path, records=[], **arguments)


def test_scatter_shows_every_point_between_equal_axes():
    figure = _value_scatter([1.0, 2.0, 3.0], [1.5, 9.0, 3.0], "C50", "network")
    axes = figure.axes[0]
    dots = axes.collections[0].get_offsets()
    assert np.allclose(dots, [[1, 1.5], [2, 9], [3, 3]])
    assert axes.get_xlim() == axes.get_ylim()
    assert axes.get_xlim()[0] < 1 and axes.get_xlim()[1] > 9
    _value_scatter([1.0, 1.0], [1.0, 1.0], "C50", "network")


def test_error_by_condition_draws_values_and_gaps():
    parts = {
        "network": {
            "< 1": {"mae": 0.5, "mae_low": 0.4, "mae_high": 0.7},
            ">= 1": {"mae": 1.0},
        },
        "mean": {"< 1": {"mae": 2.0}},
    }
    axes = _error_by_condition(parts, "T60", "By distance", "m").axes[0]
    lines = [container[0].get_ydata() for container in axes.containers]
    assert lines[0].tolist() == [0.5, 1.0]
    assert lines[1][0] == 2.0 and math.isnan(lines[1][1])
    bars = axes.containers[0][2][0].get_segments()
    assert np.allclose(bars[0][:, 1], [0.4, 0.7])


def grid_rows():
    rows = []
    for mode, scale in (("scratch", 2.0), ("finetune", 1.0), ("mine", 3.0)):
        for rooms in (32, 8):
            trials = 1 if rooms == 32 else 3
            for trial in range(trials):
                rows.append(
                    {
                        "task": "T60",
                        "mode": mode,
                        "num_rooms": rooms,
                        "trial": trial,
                        "mae": scale / rooms + 0.01 * trial,
                    }
                )
    flat = {"task": "T60", "mode": "training_mean", "num_rooms": None}
    gcc = {"task": "TDOA", "mode": "gcc_phat", "num_rooms": None}
    return [*rows, {**flat, "mae": 0.25}, {**gcc, "mae": 1.5}]


def test_grid_means_and_deviations():
    cells = summarize_grid(grid_rows())
    # TDOA comes first in the list of tasks.
    assert [cell["task"] for cell in cells] == ["TDOA", *["T60"] * 7]
    modes = list(dict.fromkeys(cell["mode"] for cell in cells[1:]))
    assert modes == ["finetune", "scratch", "training_mean", "mine"]
    eight, many = cells[1:3]
    assert (eight["num_rooms"], eight["num_trials"]) == (8, 3)
    assert eight["mae"] == pytest.approx(0.135)
    assert eight["deviation"] == pytest.approx(0.01)  # of 0, 1, 2 hundredths
    assert many["num_trials"] == 1 and many["deviation"] is None
    header, body = _grid_table(cells, "T60")
    assert header == [
        "rooms", "fine-tuned", "from scratch", "training mean", "mine"
    ]  # fmt: skip
    assert [row[0] for row in body] == ["8", "32"]
    assert body[0][1] == "0.135 ± 0.010" and body[1][1] == "0.031"
    assert [row[3] for row in body] == ["0.250"] * 2
    assert _grid_table(cells, "TDOA")[1] == [["–", "1.50"]]
    for key in ("task", "mode", "num_rooms", "mae"):
        row = {k: v for k, v in grid_rows()[0].items() if k != key}
        with pytest.raises(ValueError, match=f"lacks {key}"):
            summarize_grid([row])
    for wrong in ({"mae": math.nan}, {"task": "EDT"}):
        with pytest.raises(ValueError, match="not a number|no task"):
            summarize_grid([{**grid_rows()[0], **wrong}])


def test_grid_as_markdown_and_report(tmp_path):
    lines = format_grid(grid_rows()).splitlines()
    assert lines[0].startswith("TDOA (time difference of arrival, samples)")
    tables = [line for line in lines if line.startswith("|")]
    assert len(tables) == 3 + 4
    assert len({len(line) for line in tables[3:]}) == 1
    missing = [row for row in grid_rows() if row["num_rooms"] != 32]
    extra = {"task": "T60", "mode": "finetune", "num_rooms": 2, "mae": 0.2}
    assert "not measured" in format_grid([*missing, extra])
    path = grid_report(tmp_path / "out" / "grid.html", grid_rows())
    text = read(path)
    assert "0.135 ± 0.010" in text and "trials a cell: 1, 3" in text
    assert path.read_text().count("<svg") == 1  # TDOA has no rooms to plot
    with pytest.raises(ValueError, match="no finished runs"):
        grid_report(tmp_path / "grid.html", [])


def test_grid_picture_has_a_line_a_mode():
    cells = summarize_grid(grid_rows())
    axes = grid_picture(cells, "T60").axes[0]
    assert [c.get_label() for c in axes.containers] == [
        "fine-tuned", "from scratch", "mine"
    ]  # fmt: skip
    fine = axes.containers[0][0]
    assert fine.get_xdata().tolist() == [8, 32]
    assert np.allclose(fine.get_ydata(), [0.135, 1 / 32])
    level = [line for line in axes.lines if line.get_label() == "training mean"]
    assert level[0].get_ydata() == [0.25, 0.25]
    assert grid_picture(cells, "TDOA") is None
    # The mean of other training rooms is another number.
    known = [
        {"task": "T60", "mode": mode, "num_rooms": rooms, "mae": mae}
        for mode, rooms, mae in (
            ("scratch", 2, 0.3),
            ("training_mean", 2, 0.5),
            ("training_mean", 8, 0.4),
        )
    ]
    axes = grid_picture(summarize_grid(known), "T60").axes[0]
    mean = [line for line in axes.lines if line.get_label() == "training mean"]
    assert np.allclose(mean[0].get_xydata(), [[2, 0.5], [8, 0.4]])


def test_pca_keeps_the_plane_of_largest_variance():
    generator = torch.Generator().manual_seed(0)
    plane = torch.randn(50, 2, generator=generator) * torch.tensor([5.0, 2.0])
    basis, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator))
    points, used = _flatten_embeddings(plane @ basis[:2] + 7.0, "pca")
    assert used == "PCA" and points.shape == (50, 2)
    # Distances in the plane are those of the data.
    expected = torch.cdist(plane.double(), plane.double()).numpy()
    found = np.linalg.norm(points[:, None] - points[None], axis=-1)
    assert np.allclose(found, expected, atol=1e-4)
    assert points[:, 0].var() > points[:, 1].var()
    for bad, method in ((plane[:2], "pca"), (plane, "umap"), (plane[0], "pca")):
        with pytest.raises(ValueError, match="embeddings|no method"):
            _flatten_embeddings(bad, method)


def test_tsne_keeps_clusters_apart_and_is_optional(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    clusters = torch.randn(2, 20, 5, generator=generator) * 0.1
    clusters[1] += 10
    values = clusters.flatten(0, 1)
    monkeypatch.setitem(__import__("sys").modules, "sklearn.manifold", None)
    assert _flatten_embeddings(values)[1] == "PCA"
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        _flatten_embeddings(values, "tsne")
    monkeypatch.undo()
    pytest.importorskip("sklearn", reason="t-SNE needs scikit-learn")
    points, used = _flatten_embeddings(values)
    assert used == "t-SNE"
    assert np.array_equal(points, _flatten_embeddings(values, "tsne")[0])
    first, second = points[:20], points[20:]
    gap = np.linalg.norm(first.mean(0) - second.mean(0))
    assert gap > 2 * max(first.std(), second.std())


@pytest.mark.parametrize("high", [0.1, 0.3])
def test_a_network_that_does_not_beat_a_constant_is_named(high, tmp_path):
    network = {"mae": 0.09, "mae_high": high, "correlation": 0.25}
    row = {"id": "a", "reference": 0.4, "estimate": 0.5}
    path = downstream_report(
        tmp_path,
        task="T60",
        metrics={"network": network, "best_constant": {"mae": 0.2}},
        records=[],
        rows=[row],
    )
    text = read(path)
    assert "0.25" in text and "correlation of estimate and truth" in text
    assert "best constant of the test set" in text
    assert ("does not beat the best constant" in text) is (high > 0.2)
