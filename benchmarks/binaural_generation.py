"""Mixtures of Binaural-WSJ0Mix a second: ours beside the original scripts.

    python benchmarks/binaural_generation.py CLONE --mixtures 300 --fs 8000

CLONE is a checkout of github.com/huangzj421/Binaural-WSJ0Mix, whose scripts
run as they are (they need pandas) on the first mixtures of its own test list
and its own heads. As WSJ0 may not be passed on, utterances of the listed
names are made of noise, of a length drawn between 3 and 11 seconds.

All sides write the same files, which is checked at the end: with ``compat``
ours equal the original's in every sample. "once" is what ours does before the
first mixture: reading lists and headers, bringing the heads to the sampling
rate. "ratio" is the time of the original over ours without that, above 1 if
ours is faster: by the clock, and in CPU seconds of all processes, which alone
mean something on a busy machine. More processes pay for their start, a few
seconds, which is nothing for the 28 000 mixtures of the whole set.
"""

import argparse
import csv
import importlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from spatial_brain.datasets.binaural_wsj0mix.files import generate_mixtures
from spatial_brain.datasets.binaural_wsj0mix.prepare import load_responses
from spatial_brain.datasets.binaural_wsj0mix.published import PublishedLists
from spatial_brain.datasets.binaural_wsj0mix.rendering import MixtureRenderer

SPLITS = ("tt", "cv", "tr")


def cut_lists(clone, folder, count):
    """Copy the scripts with lists of ``count`` mixtures; test ones thrice."""
    for script in clone.glob("*.py"):
        shutil.copy(script, folder)
    (folder / "CIPIC_hrtf_database").symlink_to(clone / "CIPIC_hrtf_database")
    (folder / "metadata").mkdir()
    for index, split in enumerate(SPLITS):
        rows = slice(index * count // 3, (index + 1) * count // 3)
        for name in ("mix_2_spk_filenames", "hrtf_meta"):
            with open(clone / "metadata" / f"{name}_tt.csv") as file:
                header, *lines = file.read().splitlines()
            text = "\n".join([header, *lines[rows]]) + "\n"
            (folder / "metadata" / f"{name}_{split}.csv").write_text(text)
        path = clone / "metadata" / "scaling_tt.npz"
        with np.load(path, allow_pickle=False) as file:
            arrays = {
                key: file[key][rows]
                for key in file.files
                if key != "utterance_id"
            }
        np.savez(folder / "metadata" / f"scaling_{split}.npz", **arrays)


def write_speech(metadata, folder):
    """Noise in place of the utterances that the lists name."""
    rng = np.random.default_rng(0)
    for split in SPLITS:
        with open(metadata / f"mix_2_spk_filenames_{split}.csv") as file:
            for row in csv.DictReader(file):
                for name in (row["s1_path"], row["s2_path"]):
                    path = folder / name
                    if path.exists():
                        continue
                    path.parent.mkdir(parents=True, exist_ok=True)
                    length = int(rng.integers(3 * 16000, 11 * 16000))
                    samples = rng.integers(-900, 900, length, dtype=np.int16)
                    soundfile.write(path, samples, 16000)


def run_original(folder, speech, target, fs):
    """Seconds that the original's script takes, by the clock and of CPU."""
    sys.path.insert(0, str(folder))
    script = importlib.import_module("create_wav_2speakers")
    start = clocks()
    script.create_binaural_wsj0mix(
        str(speech), str(target), [f"{fs // 1000}k"], ["min"]
    )
    return clocks() - start


def clocks():
    """Seconds of the clock, and of CPU with finished children."""
    used = os.times()
    return np.array([time.perf_counter(), sum(used[:4])])


def run_ours(folder, speech, target, fs, num_workers):
    """Seconds before the first mixture, and for all of them."""
    start = clocks()
    names = ("test", "valid", "train")
    lists = PublishedLists(folder / "metadata", "clean2", fs, "min", False)
    entries = lists.entries(names, speech, num_workers=num_workers)
    heads = load_responses(
        entries,
        fs,
        hrtfs=folder / "CIPIC_hrtf_database" / "wav_database",
        compat=True,
    )
    renderer = MixtureRenderer("/", heads, fs, compat=True)
    once = clocks() - start
    for name, split in zip(names, SPLITS, strict=True):
        generate_mixtures(
            target / f"wav{fs // 1000}k" / "min" / split,
            entries[name],
            renderer,
            num_workers=num_workers,
        )
    return once, clocks() - start - once


def count_different(first, second):
    """Audio files of two trees, and how many of them differ in a sample."""
    paths = sorted(path.relative_to(first) for path in first.rglob("*.wav"))
    different = sum(
        not np.array_equal(
            soundfile.read(first / path, dtype="int16")[0],
            soundfile.read(second / path, dtype="int16")[0],
        )
        for path in paths
    )
    return len(paths), different


def main():
    """Run all sides one after the other and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("clone", type=Path, help="checkout of the original")
    parser.add_argument(
        "--mixtures", type=int, default=300, help="of the list's 3000"
    )
    parser.add_argument("--fs", type=int, default=8000, choices=[8000, 16000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    if not 3 <= arguments.mixtures <= 3000:
        parser.error("--mixtures must be from 3 to 3000, the list's length")
    with tempfile.TemporaryDirectory() as folder:
        scripts, speech = Path(folder, "scripts"), Path(folder, "speech")
        scripts.mkdir()
        cut_lists(arguments.clone.resolve(), scripts, arguments.mixtures)
        write_speech(scripts / "metadata", speech)
        original = Path(folder, "original")
        seconds = run_original(scripts, speech, original, arguments.fs)
        count = arguments.mixtures
        print(f"original: {count / seconds[0]:.1f} mixtures/s", flush=True)
        for number in arguments.workers:
            target = Path(folder, f"ours{number}")
            once, rest = run_ours(scripts, speech, target, arguments.fs, number)
            ratio = seconds / rest
            print(
                f"ours, {number} processes: {count / rest[0]:.1f} mixtures/s, "
                f"ratio {ratio[0]:.2f}, of CPU {ratio[1]:.2f}; "
                f"once {once[0]:.1f} s",
                flush=True,
            )
            total, different = count_different(original, target)
            print(f"  {different} of {total} files differ", flush=True)


if __name__ == "__main__":
    main()
