"""Fixtures shared by all tests."""

from pathlib import Path

import pytest
import torch

SHARED_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@pytest.fixture(autouse=True)
def _seed():
    """Give every test the same global random state."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_data():
    """Folder with real recordings kept beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip("real recordings not found beside the checkout")
    return SHARED_DATA
