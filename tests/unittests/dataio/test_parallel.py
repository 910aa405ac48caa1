"""Jobs shared among processes; progress bars of the main process alone."""

import io
import os
import signal
from functools import partial

import pytest
import torch

from spatial_brain.dataio import parallel
from spatial_brain.dataio.parallel import progress, run_jobs


def work(number, broken=None, signal_number=None):
    """Square a number with the threads that torch has; or break."""
    if number == broken:
        if signal_number is None:
            raise ValueError(f"job {number}")
        os.kill(os.getpid(), signal_number)
    return number**2, torch.get_num_threads()


@pytest.mark.parametrize("num_workers", [1, 2])
def test_jobs_run_with_one_thread(num_workers):
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        results = dict(run_jobs(work, range(5), num_workers))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert results == {n: (n**2, 1) for n in range(5)}


@pytest.mark.parametrize("num_workers", [1, 2])
def test_error_of_a_job_is_raised(num_workers):
    with pytest.raises(ValueError, match="job 1"):
        list(run_jobs(partial(work, broken=1), range(3), num_workers))


def test_killed_worker_is_reported():
    job = partial(work, broken=1, signal_number=signal.SIGKILL)
    with pytest.raises(
        ChildProcessError, match="worker was killed.*fewer workers"
    ):
        list(run_jobs(job, range(3), 2))


@pytest.mark.parametrize("rank", [None, "0", "1"])
def test_one_rank_shows_progress(monkeypatch, rank):
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    output = io.StringIO()
    monkeypatch.setattr(parallel.sys, "stderr", output)
    assert list(progress(range(3), description="counting")) == [0, 1, 2]
    assert ("counting" in output.getvalue()) == (rank != "1")
    assert progress(range(3)).disable == (rank == "1")


def test_workers_show_no_progress(monkeypatch):
    monkeypatch.setattr(parallel.multiprocessing, "parent_process", object)
    assert progress(range(3)).disable


def test_resumed_work_counts_from_where_it_stopped():
    with progress(total=10, initial=4, unit="B") as bar:
        bar.update(6)
        assert bar.n == 10
