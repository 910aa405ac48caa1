"""SELD scores: how long ours and the challenges' evaluators take.

Writes a folder of one-minute clips with up to three events at once, scores
it with both, prints the scores of both, the times and their ratio; then how
our time grows with the number of clips and with their length.

    python benchmarks/seld_metrics.py --dcase2023 ../seld-dcase2023 \
        --dcase2024 ../DCASE2024_seld_baseline

The folders are clones of github.com/sharathadavanne/seld-dcase2023 and
github.com/partha2409/DCASE2024_seld_baseline; without them ours alone is
timed. Their feature extraction is not needed and not imported.
"""

import argparse
import contextlib
import importlib
import io
import platform
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np

from spatial_brain.metrics.seld.files import score_folders
from spatial_brain.metrics.seld.reading import RowReader
from spatial_brain.metrics.seld.scores import SELDScores

CLASSES, FRAMES = 13, 600
CLIPS = 24
# What the evaluators import besides NumPy and SciPy, and do not use here.
UNUSED = (
    "IPython",
    "librosa",
    "joblib",
    "sklearn",
    "matplotlib",
    "matplotlib.pyplot",
    "cv2",
    "PIL",
    "cls_vid_features",
    "parameters",
)


def draw_clip(rng, num_frames=FRAMES):
    """Rows (frame, class, source, azimuth, elevation, m) of both sides."""
    reference = []
    for source in range(3):
        start = 0
        while start < num_frames:
            start += int(rng.integers(0, 40))
            stop = min(num_frames, start + int(rng.integers(10, 80)))
            label, azimuth = rng.integers(CLASSES), rng.integers(-180, 180)
            fixed = (
                azimuth,
                rng.integers(-40, 41),
                rng.integers(50, 400) / 100,
            )
            reference += [
                (frame, label, source, *fixed) for frame in range(start, stop)
            ]
            start = stop
    estimate = []
    for frame, label, source, azimuth, elevation, metres in reference:
        if rng.random() < 0.15:
            continue
        if rng.random() < 0.1:
            label = rng.integers(CLASSES)
        guess = (azimuth + rng.normal(0, 10), elevation + rng.normal(0, 5))
        estimate.append((frame, label, source, *guess, metres + rng.random()))
    return reference, estimate


def write_clips(root, number):
    """Folders as the evaluators want them; returns them by name."""
    folders = {
        name: root / name for name in ("polar", "centimetres", "estimate")
    }
    for name, folder in folders.items():
        (folder if name == "estimate" else folder / "dev").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = 0
    for index in range(number):
        reference, estimate = draw_clip(rng)
        rows += len(reference)
        texts = {"polar": [], "centimetres": [], "estimate": []}
        for f, c, s, a, e, m in reference:
            texts["polar"].append(f"{f},{c},{s},{a},{e}")
            texts["centimetres"].append(f"{f},{c},{s},{a},{e},{round(100 * m)}")
        for f, c, s, a, e, m in estimate:
            a, e = np.radians((a, e))
            x, y, z = np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)
            texts["estimate"].append(f"{f},{c},{s},{x},{y},{z},{m}")
        for name, lines in texts.items():
            folder = folders[name] / ("" if name == "estimate" else "dev")
            path = folder / f"fold4_room{index % 9}_mix{index:03d}.csv"
            path.write_text("\n".join(lines) + "\n")
    print(f"{number} clips of {FRAMES / 10:.0f} s, {rows} reference rows")
    return folders


class Evaluator:
    """The evaluator in a clone of a challenge's baseline."""

    def __init__(self, folder, frame_wise):
        if not (folder / "cls_compute_seld_results.py").is_file():
            raise FileNotFoundError(
                f"{folder}: no cls_compute_seld_results.py; expected a clone"
            )
        for name in UNUSED:
            sys.modules.setdefault(name, MagicMock())
        # Aliases that NumPy no longer has.
        for name, value in (("float", float), ("NaN", np.nan)):
            setattr(np, name, value)
        sys.path.insert(0, str(folder))
        names = (
            "SELD_evaluation_metrics",
            "cls_feature_class",
            "cls_compute_seld_results",
        )
        for name in names:
            sys.modules.pop(name, None)
        modules = [importlib.import_module(name) for name in names]
        sys.path.pop(0)
        self.metrics, features, self.results = modules
        self.features = _features(features.FeatureClass)
        features.FeatureClass = lambda params: self.features
        self.frame_wise = frame_wise
        self.settings = {
            "lad_doa_thresh": 20,
            "lad_dist_thresh": float("inf"),
            "lad_reldist_thresh": 1.0,
            "average": "macro",
            "segment_based_metrics": not frame_wise,
            "evaluate_distance": frame_wise,
        }

    def score_folders(self, reference, estimate):
        """Read and score, quietly."""
        with contextlib.redirect_stdout(io.StringIO()):
            judge = self.results.ComputeSELDResults(
                self.settings, ref_files_folder=str(reference)
            )
            return judge.get_SELD_Results(str(estimate))

    def load(self, reference, estimate):
        """Dictionaries of all clips, read beforehand."""
        clips = []
        for path in sorted(estimate.glob("*.csv")):
            truth = next(reference.rglob(path.name))
            marks = {"cm2m": True} if self.frame_wise else {}
            read = self.features.load_output_format_file
            tables = [read(str(truth), **marks), read(str(path))]
            if self.frame_wise:
                change = self.features.convert_output_format_polar_to_cartesian
                tables = [change(table) for table in tables]
            else:
                change = self.features.convert_output_format_cartesian_to_polar
                tables[1] = change(tables[1])
            clips.append(tables)
        return clips

    def score(self, clips):
        """Score what ``load`` read."""
        options = {"doa_threshold": 20, "nb_classes": CLASSES}
        group = self.features.segment_labels
        distances = {}
        if self.frame_wise:
            options["reldist_threshold"] = 1.0
            group = self.features.organize_labels
            distances["eval_dist"] = True
        judge = self.metrics.SELDMetrics(**options, average="macro")
        for truth, guess in clips:
            frames = max(truth)
            judge.update_seld_scores(
                group(guess, frames), group(truth, frames), **distances
            )
        return judge.compute_seld_scores()


def _features(kind):
    """The evaluators' file reader without its data set."""
    reader = object.__new__(kind)
    reader._nb_label_frames_1s = 10
    reader._nb_unique_classes = CLASSES
    return reader


def best_time(function, repeats):
    """Shortest of some runs, seconds, and the last result."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return min(times), result


def score_ours(clips, metric):
    """Score what was read beforehand."""
    scores = SELDScores(CLASSES, metric=metric)
    for truth, guess in clips:
        scores.append(truth, guess, num_frames=int(truth.frame.max()))
    return scores.compute()


def compare(year, clone, reference, estimate, repeats):
    """Times of one metric, files included and not."""
    metric, dataset = f"dcase{year}", f"DCASE{year}"
    readers = RowReader(), RowReader(guess="estimate")
    clips = [
        (
            readers[0].read(next(reference.rglob(path.name))),
            readers[1].read(path),
        )
        for path in sorted(estimate.glob("*.csv"))
    ]
    names = ["ER", "F", "LE", "LR", "SELD"]
    runs = {
        "in memory": lambda: score_ours(clips, metric),
        "folders": lambda: score_folders(
            reference, estimate, dataset, intervals=False
        ),
        "folders, intervals": lambda: score_folders(
            reference, estimate, dataset
        ),
    }
    theirs = {}
    if clone:
        evaluator = Evaluator(clone, year == 2024)
        tables = evaluator.load(reference, estimate)
        theirs = {
            "in memory": lambda: evaluator.score(tables),
            "folders": lambda: evaluator.score_folders(reference, estimate),
        }
    if year == 2024:
        names[3:4] = ["DE", "RDE", "LR"]
    for name, run in runs.items():
        run()
        ours, found = best_time(run, repeats)
        line = f"{metric} {name:20} ours {1e3 * ours:8.1f} ms"
        if name in theirs:
            spent, other = best_time(theirs[name], max(1, repeats // 3))
            worst = max(
                abs(found[key] - value)
                for key, value in zip(names, other, strict=False)
            )
            line += (
                f"   evaluator {1e3 * spent:8.1f} ms   ratio "
                f"{spent / ours:6.1f}   largest difference {worst:.1e}"
            )
        print(line)


def growth(repeats):
    """Our time for more and for longer clips, per clip minute."""
    rng = np.random.default_rng(1)

    def rows(number, frames):
        return [draw_clip(rng, frames) for _ in range(number)]

    print("\nper minute of audio, in memory:")
    for number, frames in ((24, 600), (96, 600), (384, 600), (6, 38400)):
        clips = [
            tuple(np.array(side)[:, :5] for side in clip)
            for clip in rows(number, frames)
        ]

        def run(clips=clips):
            scores = SELDScores(CLASSES)
            for truth, guess in clips:
                scores.append(truth, guess)
            return scores.compute(intervals=True)

        run()
        spent, _ = best_time(run, repeats)
        minutes = number * frames / 600
        print(
            f"{number:5} clips of {frames / 600:4.0f} min "
            f"{1e3 * spent:9.1f} ms {1e3 * spent / minutes:8.3f} ms a minute"
        )


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dcase2023", type=Path, help="clone of its baseline")
    parser.add_argument("--dcase2024", type=Path, help="clone of its baseline")
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, Python "
        f"{platform.python_version()}, NumPy {np.__version__}"
    )
    with tempfile.TemporaryDirectory() as root:
        folders = write_clips(Path(root), CLIPS)
        for year, clone, kind in (
            (2023, arguments.dcase2023, "polar"),
            (2024, arguments.dcase2024, "centimetres"),
        ):
            compare(
                year,
                clone,
                folders[kind],
                folders["estimate"],
                arguments.repeats,
            )
    growth(max(1, arguments.repeats // 3))


if __name__ == "__main__":
    main()
