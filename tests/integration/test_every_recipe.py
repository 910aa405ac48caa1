"""Every YAML of every recipe runs from preparation to report."""

import csv
import importlib
import json
import os
import shlex
import sys
from pathlib import Path

import pytest
import running
from own_scenes import write_own_scenes

from spatial_brain.datasets.binaural_wsj0mix.synthetic import (
    write_synthetic_noise,
    write_synthetic_rooms,
)
from spatial_brain.datasets.speech.synthetic import write_synthetic_librispeech

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    row
    for table in sorted((ROOT / "tests" / "recipes").glob("*.csv"))
    for row in csv.DictReader(table.read_text(encoding="utf-8").splitlines())
]


@pytest.mark.parametrize(
    "row",
    ROWS,
    ids=[f"{row['Dataset']}-{Path(row['Hparam_file']).stem}" for row in ROWS],
)
def test_recipe_runs(row, tmp_path):
    script = ROOT / row["Script_file"]
    yaml = os.path.relpath(ROOT / row["Hparam_file"], script.parent)
    speakers = dict(part.split(":") for part in row["test_speech"].split())
    if speakers:
        counts = {split: int(count) for split, count in speakers.items()}
        write_synthetic_librispeech(
            tmp_path / "speech", counts, 2, duration=(2.0, 3.5)
        )
    if row.get("test_scenes"):
        name, duration, *clips = row["test_scenes"].split()
        module = importlib.import_module(f"spatial_brain.datasets.seld.{name}")
        getattr(module, f"write_synthetic_{name}")(
            tmp_path / "synthetic_data",
            clips={k: int(n) for k, n in (part.split(":") for part in clips)},
            duration=float(duration),
        )
    if row.get("test_own_scenes"):
        write_own_scenes(tmp_path / "own", int(row["test_own_scenes"]))
    for name, options in json.loads(row.get("test_corpora") or "{}").items():
        package = "spatial_brain.datasets.real_arrays.synthetic"
        module = importlib.import_module(f"{package}.{name.lower()}")
        write = getattr(module, f"write_synthetic_{name.lower()}")
        write(tmp_path / "corpora" / name, **options)
    if row.get("test_sounds") == "noise":
        write_synthetic_noise(tmp_path, seconds=8.0)
    elif row.get("test_sounds") == "rooms":
        write_synthetic_rooms(tmp_path, [0.2, 0.25, 0.3], [-60, 0, 60])
    flags = row["test_debug_flags"].replace("<output>", str(tmp_path))
    line = [sys.executable, script.name, yaml, *shlex.split(flags)]
    line += ["--output_folder", str(tmp_path), "--noprogressbar"]
    done = running.run(line, script.parent)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    for name in row["test_debug_files"].split():
        assert (tmp_path / name).stat().st_size > 0, name
    metrics = running.metrics_of(tmp_path)
    assert metrics
    if row["Dataset"] in ("L3DAS22", "STARSS23"):
        # The files hold the network's events, but for whole degrees.
        ours, theirs = metrics["methods"]["network"], metrics["challenge"]
        assert theirs["F"] == pytest.approx(ours["F"], abs=0.02)
        assert theirs["LR"] == pytest.approx(ours["LR"], abs=0.02)
    assert "valid loss" in (tmp_path / "train_log.txt").read_text()
