"""Progress bars speak on the main process alone; workers report errors."""

import io

import pytest
import torch

from spatial_brain.dataio import parallel as module
from spatial_brain.dataio.parallel import is_main_process, progress, run_jobs


@pytest.mark.parametrize("rank", [None, "0", "1"])
def test_one_rank_speaks(monkeypatch, rank):
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    output = io.StringIO()
    monkeypatch.setattr(module.sys, "stderr", output)
    assert list(progress(range(3), description="counting")) == [0, 1, 2]
    assert ("counting" in output.getvalue()) == (rank != "1")
    assert is_main_process() == (rank != "1")


def test_workers_are_silent(monkeypatch):
    monkeypatch.setattr(module.multiprocessing, "parent_process", object)
    assert not is_main_process()
    assert progress(range(3)).disable


def test_resumed_work_counts_from_where_it_stopped():
    with progress(total=10, initial=4, unit="B") as bar:
        bar.update(6)
        assert bar.n == 10


def fail(number):
    raise ValueError(f"job {number}")


def test_errors_of_workers_arrive():
    with pytest.raises(ValueError, match="job 1"):
        list(run_jobs(fail, [1, 2]))


def test_threads_are_given_back():
    before = torch.get_num_threads()
    [(_, inside)] = run_jobs(lambda _: torch.get_num_threads(), [0])
    assert inside == 1 and torch.get_num_threads() == before
