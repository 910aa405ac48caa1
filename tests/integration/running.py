"""Recipes as a user runs them: in processes of their own."""

import multiprocessing
import os
import runpy
import subprocess
import sys
import time

# What every recipe imports, which takes longer than a small run does.
PRELOADED = (
    "speechbrain",
    "torch._dynamo",
    "torchvision",
    "spatial_brain.experiment",
    "spatial_brain.inference.pretrained",
    "spatial_brain.reporting.report",
)


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


def run_script(script, arguments, log):
    """Run a recipe in a process that has the packages loaded already.

    Returns its exit code; what it says goes to a file.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    process = context.Process(target=_script, args=(script, arguments, log))
    process.start()
    process.join(300)
    if process.exitcode is None:
        process.kill()
        process.join()
    return process.exitcode


def _script(script, arguments, log):
    """What ``python script arguments`` does, in the folder of the script."""
    import torch

    torch.set_num_threads(1)
    file = os.open(log, os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.chdir(script.parent)
    sys.path.insert(0, str(script.parent))
    sys.argv = [script.name, *arguments]
    runpy.run_path(str(script), run_name="__main__")
