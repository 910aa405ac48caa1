"""What users of LOCATA rely on: tracks, scores, files of the challenge."""

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import running
import torch

from spatial_brain.datasets.real_arrays.recordings.locata import Locata
from spatial_brain.datasets.real_arrays.synthetic.locata import (
    write_synthetic_locata,
)
from spatial_brain.geometry import MicrophoneArray, azel_to_unit
from spatial_brain.processing.spatial import pair_delays

RECIPE = Path(__file__).resolve().parents[2] / "recipes/LOCATA"


@pytest.fixture(scope="module")
def locata(tmp_path_factory):
    return write_synthetic_locata(
        tmp_path_factory.mktemp("data") / "LOCATA",
        sets=("dev",),
        tasks=(1, 5),
        arrays=("benchmark2",),
        duration=3.0,
        t60=0.2,
    )


def track(*arguments):
    return running.run([sys.executable, "track.py", *arguments], RECIPE)


def test_tracks_are_scored_and_submitted(locata, tmp_path):
    folder = tmp_path / "submission/dev/task1/recording1/benchmark2"
    folder.mkdir(parents=True)
    (folder / "source_7.txt").write_text("of a run before")
    done = track(
        *("--data_folder", str(locata), "--output", str(tmp_path)),
        *("--tasks", "1", "5", "--arrays", "benchmark2"),
    )
    running.check(done)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["azimuth_error"] < 5 and metrics["detection"] > 0.5
    assert set(metrics["by"]["task"]) == {"1", "5"}
    assert "<svg" in (tmp_path / "report.html").read_text()
    assert not (folder / "source_7.txt").exists()
    assert float((folder / "telapsed.txt").read_text()) > 0
    header, *rows = (folder / "source_1.txt").read_text().splitlines()
    columns = header.split("\t")
    assert columns[:8] == (
        "year month day hour minute second timestamps azimuth".split()
    )
    values = np.array([row.split("\t") for row in rows], dtype=float)
    corpus = Locata(locata, sets=("dev",), tasks=(1,), arrays=("benchmark2",))
    [recording] = corpus.recordings()
    truth = corpus.truth(recording)
    assert len(values) == len(truth.time)
    # Radians: azimuth from the y axis, elevation from the z axis.
    azimuth, elevation = truth.direction("loudspeaker1")
    found = np.degrees(np.nanmedian(values[:, 7]))
    assert found == pytest.approx(azimuth[0].item(), abs=5)
    found = np.degrees(np.nanmedian(values[:, 8]))
    assert found == pytest.approx(90 - elevation[0].item(), abs=10)


def test_what_cannot_be_tracked(locata, tmp_path):
    for arguments, message in (
        ((), "--data_folder or --synthetic"),
        (("--data_folder", str(tmp_path)), "neither dev nor eval"),
        (
            ("--data_folder", str(locata), "--method", "srp"),
            "neither srp-phat, music nor a folder",
        ),
        (
            ("--data_folder", str(locata), "--tasks", "3"),
            "no recording of the sets",
        ),
        (
            (*("--data_folder", str(locata)), "--channels", "0", "77"),
            "two different channels",
        ),
    ):
        done = track(*arguments, "--output", str(tmp_path / "out"))
        assert done.returncode == 2, done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_directions_from_the_time_differences_of_a_network():
    path = RECIPE / "track.py"
    spec = importlib.util.spec_from_file_location("locata_track", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    array = MicrophoneArray.named("locata_benchmark2")
    direction = azel_to_unit(70.0, 20.0)
    estimated = []

    def estimate_batch(pair):
        index = method.pairs[len(estimated)]
        estimated.append(index)
        # Delay of the second channel behind the first, samples.
        delay = -pair_delays(array.positions, direction[None], [tuple(index)])
        return delay.expand(len(pair), 1) * module.FS

    model = SimpleNamespace(
        hparams=SimpleNamespace(duration=0.5), estimate_batch=estimate_batch
    )
    method = module.NetworkPeaks(model, array, hop=0.25, max_pairs=8)
    peaks = method.peaks(torch.zeros(1, 16000, 12))
    assert peaks.azimuth.shape == (1, 3, 1)
    assert peaks.azimuth.flatten().tolist() == pytest.approx([70] * 3, abs=0.5)
    assert peaks.elevation.flatten().tolist() == pytest.approx(
        [20] * 3, abs=0.5
    )
    assert peaks.times.tolist() == pytest.approx([0.25, 0.5, 0.75])
