"""Ctrl-C and SIGTERM end in one line, and workers end with their parent."""

import signal
import sys
from pathlib import Path

import pytest
import running

from spatial_brain import stopping

SCRIPT = """
import os, time
from pathlib import Path
from spatial_brain.dataio.parallel import run_jobs
from spatial_brain.stopping import one_line_when_stopped

def job(number):
    Path(f"{os.getpid()}.pid").touch()
    time.sleep(100)

if __name__ == "__main__":
    with one_line_when_stopped("run it again"):
        for _ in run_jobs(job, range(4), 2):
            pass
"""


@pytest.mark.skipif(
    not Path("/proc/self").is_dir(), reason="processes are read from /proc"
)
@pytest.mark.parametrize(
    ("number", "word"),
    [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")],
)
def test_one_line_and_no_worker_is_left(tmp_path, number, word):
    (tmp_path / "work.py").write_text(SCRIPT)
    done = running.run(
        [sys.executable, "work.py", "--start"],
        tmp_path,
        stop=(lambda: len(list(tmp_path.glob("*.pid"))) == 2, number),
    )
    assert done.returncode == 128 + number
    assert done.stderr == f"{word}; run it again\n"
    for path in tmp_path.glob("*.pid"):
        assert not Path("/proc", path.stem).exists()


def test_what_waits_is_left_and_work_is_not_cut():
    done, before = [], signal.getsignal(signal.SIGINT)
    with stopping.ending_when_stopped() as request:
        assert request.wait(lambda: 3) == 3
        signal.raise_signal(signal.SIGTERM)
        done.append("work")
        assert request.received == signal.SIGTERM
        assert request.wait(lambda: done.append("wait")) is None
    with stopping.ending_when_stopped() as request:
        request.wait(
            lambda: [signal.raise_signal(signal.SIGINT), done.append("wait")]
        )
    assert done == ["work"]
    assert signal.getsignal(signal.SIGINT) is before
