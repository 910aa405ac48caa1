"""Tiny SELD data sets on disk, for the tests of their preparation."""

import numpy as np
import soundfile

SECONDS = 2


def write_clip(path, fs=24000, channels=4, seconds=SECONDS, seed=0):
    """Write quiet noise, 16 bit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(
        size=(round(seconds * fs), channels)
    )
    soundfile.write(path, 0.05 * noise, fs, subtype="PCM_16")
    return path


def write_silence(path, seconds, fs=24000, channels=4):
    """Write a long file that takes little space on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    zeros = np.zeros((round(seconds * fs), channels), dtype=np.int16)
    soundfile.write(path, zeros, fs, subtype="PCM_16")


def write_rows(path, rows):
    """Write the rows of an annotation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(map(str, row)) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def tree(folder):
    """Content and identity of all files below a folder."""
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_ino,
            path.stat().st_mtime_ns,
            path.read_bytes(),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
