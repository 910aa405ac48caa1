"""Compiled loops of the simulator do what their source says, bit by bit."""

import numpy as np
import pytest

from spatial_brain.simulation.rir import kernels


@pytest.mark.parametrize("patterns", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_compiled_loops_equal_interpreted_ones(monkeypatch, patterns, seed):
    # Otherwise a room could differ from run to run: vector and scalar forms
    # of a loop would round differently.
    rng = np.random.default_rng(seed)
    draw = [(1, count) for count in (7, 9, 13)]
    tables = [
        *(np.sort(rng.uniform(-9, 9, shape)) for shape in draw),
        *(rng.uniform(0.1, 1, shape) for shape in draw),
    ]
    kernel = kernels.accumulate_omni
    if patterns:
        kernel = kernels.accumulate_first_order
        tables += [rng.uniform(-1, 1, (1, 4)) for _ in range(2)]
    tables = [table.astype(np.float32) for table in tables]
    spacing, reach, scale = (
        np.array([value], np.float32) for value in (0.1, 12.0, 40.0)
    )
    grids = np.zeros((2, 1, 4000), np.float32)
    kernel(*tables, spacing, reach, 99, scale, grids[0], 0)
    inner = kernels._inner_range.py_func
    monkeypatch.setattr(kernels, "_inner_range", inner)
    kernel.py_func(*tables, spacing, reach, 99, scale, grids[1], 0)
    assert grids[0].any() and np.array_equal(*grids)
