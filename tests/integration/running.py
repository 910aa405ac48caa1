"""Recipes as a user runs them: in processes of their own."""

import os
import subprocess
import time


def run(line, cwd):
    """Run a command to its end; output is captured."""
    return subprocess.run(
        line,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def start(line, cwd):
    """Start a command that a test will interrupt."""
    return subprocess.Popen(
        line,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, process, seconds=200):
    """Wait while a process runs, until something is there."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read()[-3000:]
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
