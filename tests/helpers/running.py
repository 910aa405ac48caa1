"""Recipes as a user runs them: in processes of their own."""

import gc
import json
import multiprocessing
import os
import runpy
import signal
import socket
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
    "spatial_brain.datasets.dual_mic.rir_bank",
    "spatial_brain.datasets.real_arrays.signal_preparation",
    "spatial_brain.models.dual_mic",
    "spatial_brain.models.mc_conformer",
    "spatial_brain.models.seld",
    "spatial_brain.pair_experiment.acoustics",
    "spatial_brain.pair_experiment.reconstruction",
    "spatial_brain.seld_experiment",
)
SECONDS = 300  # allowed for a command
ENVIRONMENT = {"OMP_NUM_THREADS": "1"}


def run(line, cwd, stop=None):
    """Run a Python command to its end; output is captured.

    The process is forked from one that has loaded the packages already.
    ``stop`` is a condition and the signal that the process gets once it is
    true.
    """
    with tempfile.TemporaryDirectory() as folder:
        process = _Process(line[1:], cwd, Path(folder))
        if stop is not None:
            condition, number = stop
            wait_for(condition, lambda: process.exitcode is None)
            os.kill(process.pid, number)
        process.end()
        return subprocess.CompletedProcess(
            line, process.exitcode, *process.printed()
        )


def torchrun(line, cwd):
    """Run a Python command as a user does on two processes."""
    launcher = ["-m", "torch.distributed.run", "--standalone"]
    return subprocess.run(
        [line[0], *launcher, "--nproc_per_node=2", *line[1:]],
        cwd=cwd,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def run_ranks(line, cwd, flags=()):
    """Run a Python command as the two processes of one training.

    They get what a launcher gives to its processes, and are forked as that of
    ``run``. ``flags`` come before the arguments of the script, with the
    process' number for ``{rank}``. Returns the first exit code that is not 0,
    and the output of both.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
    shared |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    processes = []
    with tempfile.TemporaryDirectory() as top:
        for rank in range(2):
            folder = Path(top, f"{rank}")
            folder.mkdir()
            own = {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}"}
            arguments = [flag.format(rank=rank) for flag in flags]
            arguments = [line[1], *arguments, *line[2:]]
            processes.append(_Process(arguments, cwd, folder, shared | own))
        code = _end_of_all(processes)
        printed = [process.printed() for process in processes]
    texts = ["".join(parts) for parts in zip(*printed, strict=True)]
    return subprocess.CompletedProcess(line, code, *texts)


def _end_of_all(processes):
    """First exit code that is not 0; one that fails ends the others."""
    end = time.monotonic() + SECONDS
    codes = [None]
    while None in codes and not any(codes) and time.monotonic() < end:
        time.sleep(0.02)
        codes = [process.exitcode for process in processes]
    for process in processes:
        process.end(0)
    codes += [process.exitcode for process in processes]
    return next(filter(None, codes), 0)


class _Process:
    """A forked Python process with its output in files of a folder."""

    def __init__(self, arguments, cwd, folder, environment=None):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(PRELOADED))
        self.streams = [folder / name for name in ("stdout", "stderr")]
        environment = ENVIRONMENT | (environment or {})
        self.process = context.Process(
            target=_python, args=(arguments, cwd, self.streams, environment)
        )
        self.process.start()

    @property
    def pid(self):
        return self.process.pid

    @property
    def exitcode(self):
        return self.process.exitcode

    def end(self, seconds=SECONDS):
        """Wait for the end, no longer than that."""
        self.process.join(seconds)
        if self.exitcode is None:
            self.process.kill()
            self.process.join()

    def printed(self):
        """What it wrote to standard output and error."""
        return [
            x.read_text(errors="replace") if x.exists() else ""
            for x in self.streams
        ]


def _python(arguments, cwd, streams, environment):
    """What ``python`` does with these arguments, in a forked process."""
    # A collection would copy all that the packages hold.
    gc.freeze()
    torch.set_num_threads(1)
    # The process that forks may have been started by one that blocks it.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.environ.update(environment)
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


def kill_when(condition, line, cwd):
    """Start a command, and kill it as soon as something is there."""
    done = run(line, cwd, stop=(condition, signal.SIGKILL))
    assert done.returncode == -signal.SIGKILL


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
