"""What the import of the package changes for the process."""

import importlib
import os

import pytest

import spatial_brain


@pytest.mark.parametrize(
    ("given", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")]
)
def test_threads_sleep_unless_the_user_decided(monkeypatch, given, expected):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", given)
    importlib.reload(spatial_brain)
    assert os.environ["OMP_WAIT_POLICY"] == expected
