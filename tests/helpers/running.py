"""Recipes as a user runs them: in processes of their own."""

import json
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

# What every recipe imports, which takes longer than a small run does.
PRELOADED = (
    "speechbrain",
    "torch._dynamo",
    "torchvision",
    "spatial_brain.experiment",
    "spatial_brain.inference.pretrained",
    "spatial_brain.reporting.report",
)
SECONDS = 300  # allowed for a command
ENVIRONMENT = {"OMP_NUM_THREADS": "1"}


def run(line, cwd, stop=None):
    """Run a Python command to its end; output is captured.

    The process is forked from one that has loaded the packages already;
    launchers of several processes start as usual. ``stop`` is a condition and
    the signal that the process gets once it is true.
    """
    if "torch.distributed" in line[2]:
        return subprocess.run(
            line,
            cwd=cwd,
            env={**os.environ, **ENVIRONMENT},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("stdout", "stderr")]
        process = context.Process(target=_python, args=(line[1:], cwd, streams))
        process.start()
        if stop is not None:
            condition, number = stop
            wait_for(condition, lambda: process.exitcode is None)
            os.kill(process.pid, number)
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
        said = [
            x.read_text(errors="replace") if x.exists() else "" for x in streams
        ]
    return subprocess.CompletedProcess(line, process.exitcode, *said)


def _python(arguments, cwd, streams):
    """What ``python`` does with these arguments, in a forked process."""
    torch.set_num_threads(1)
    os.environ.update(ENVIRONMENT)
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(cwd)
    sys.path.insert(0, str(cwd))
    if arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        exec(arguments[1], {"__name__": "__main__"})
    elif arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        # Absolute: workers look for it from where the tests were started.
        runpy.run_path(str(Path(cwd, arguments[0])), run_name="__main__")


def check(done):
    """What a command printed, if it succeeded."""
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def wait_for(condition, alive, seconds=200):
    """Wait until something is there, as long as the process lives."""
    end = time.monotonic() + seconds
    while not condition():
        assert alive(), "ended too early"
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def kill_when(condition, line, cwd, seconds=200):
    """Start a command, and kill it as soon as something is there."""
    process = subprocess.Popen(
        line,
        cwd=cwd,
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(condition, lambda: process.poll() is None, seconds)
    process.kill()
    process.communicate()


def metrics_of(output):
    """Metrics that a run left in its output folder."""
    return json.loads((output / "metrics.json").read_text())


def weights_of(output):
    """Weights of the model that a run left in its output folder."""
    return load_file(output / "pretrained/model.safetensors")


def same(one, other):
    """Whether two state dicts are equal bit by bit."""
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) for name in one
    )
