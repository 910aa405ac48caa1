"""Directional microphones and sources, on both implementations."""

import math

import numpy as np
import pytest
import torch
from exact_rirs import FS, MICS, SIZE, SOURCES, error_db, exact_rir

from spatial_brain.geometry import azel_to_unit
from spatial_brain.simulation.rir import lattice, simulate_rir
from spatial_brain.simulation.rir.patterns import FIRST_ORDER, resolve_patterns

WALLS = [0.2, 0.3, 0.25, 0.4, 0.35, 0.5]
COMMON = {"absorption": WALLS, "duration": 0.1, "high_pass": False}


def unit(vector):
    return np.asarray(vector) / np.linalg.norm(vector)


def test_ambisonics_are_exact_gains_of_every_image():
    mic = MICS[0]
    axes = [[0.0, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]
    foa = simulate_rir(
        SIZE,
        SOURCES[:1],
        [mic] * 4,
        mic_pattern=["omni", "bidir", "bidir", "bidir"],
        mic_orientation=axes,
        max_order=4,
        **COMMON,
    )[0]
    for channel, axis in enumerate(axes):
        exact = exact_rir(
            SIZE,
            SOURCES[0],
            mic,
            WALLS,
            4,
            1600,
            gain=lambda received, _, c=channel, a=axis: (
                received @ a if c else 1.0
            ),
        )
        assert error_db(foa[channel], exact) < -50
    omni = simulate_rir(SIZE, SOURCES[:1], [mic], max_order=4, **COMMON)
    assert error_db(foa[:1], omni[0]) < -80


def test_ambisonic_direct_path_points_to_the_source():
    source = torch.tensor(MICS[0]) + 1.2 * azel_to_unit(130.0, 20.0)
    w, y, z, x = simulate_rir(
        SIZE,
        source[None],
        [MICS[0]] * 4,
        mic_pattern=["omni", "bidir", "bidir", "bidir"],
        mic_orientation=[[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]],
        absorption=0.5,
        direct_only=True,
    )[0]
    peak = w.abs().argmax()
    azimuth = torch.rad2deg(torch.atan2(y[peak], x[peak]))
    elevation = torch.rad2deg(torch.asin(z[peak] / w[peak]))
    assert azimuth.item() == pytest.approx(130.0, abs=0.01)
    assert elevation.item() == pytest.approx(20.0, abs=0.01)


@pytest.mark.parametrize("order", [None, 3])
def test_patterns_of_both_ends_match_the_exact_sum(order):
    mic_way, source_way = unit([1.0, 2.0, 0.5]), unit([0.3, -1.0, 0.2])
    rir = simulate_rir(
        SIZE,
        SOURCES,
        MICS,
        mic_pattern=["card", "hypcard"],
        mic_orientation=mic_way,
        source_pattern="subcard",
        source_orientation=source_way,
        max_order=order,
        **{**COMMON, "duration": 0.02},
    )
    for m, name in enumerate(("card", "hypcard")):
        a, b = FIRST_ORDER[name]
        for s in range(2):
            exact = exact_rir(
                SIZE,
                SOURCES[s],
                MICS[m],
                WALLS,
                4 if order is None else order,
                320,
                gain=lambda received, emitted, a=a, b=b: (
                    (a + b * received @ mic_way)
                    * (0.75 + 0.25 * emitted @ source_way)
                ),
            )
            assert error_db(rir[s, m], exact) < -45


def test_functions_give_the_same_as_names():
    front = torch.tensor([1.0, 1.0, 0.0])
    looking = front / front.norm()
    names = simulate_rir(
        SIZE,
        SOURCES,
        MICS,
        mic_pattern=["card", "homni"],
        mic_orientation=front,
        source_pattern="bidir",
        source_orientation=[0.0, 0.0, 1.0],
        **COMMON,
    )
    functions = simulate_rir(
        SIZE,
        SOURCES,
        MICS,
        mic_pattern=[
            lambda u: 0.5 + 0.5 * (u @ looking.to(u)),
            lambda u: (u @ looking.to(u) > 0).float(),
        ],
        source_pattern=lambda u: u[..., 2],
        **COMMON,
    )
    assert error_db(functions, names) < -75


def test_a_function_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="pattern function"):
        simulate_rir(SIZE, SOURCES, MICS, mic_pattern=lambda u: u, **COMMON)


@pytest.mark.parametrize("order", [None, 5])
@pytest.mark.parametrize("patterns", [False, True])
def test_tensor_code_equals_compiled_loops(monkeypatch, patterns, order):
    options = {"t60": 0.25, "max_order": order, "high_pass": False}
    if patterns:
        options |= {
            "mic_pattern": "card",
            "mic_orientation": [[1.0, 0.2, 0.3], [0, 1, 0]],
            "source_pattern": "hypcard",
            "source_orientation": [0.0, 1.0, 1.0],
        }
    for size in (SIZE, [3.0, 5.0, 4.0]):
        places = torch.tensor(size) / torch.tensor(SIZE)
        sources, mics = (
            torch.tensor(part) * places for part in (SOURCES, MICS)
        )
        compiled = simulate_rir(size, sources, mics, **options)
        with monkeypatch.context() as patch:
            patch.setattr(lattice, "_compiled", lambda *_: None)
            tensors = simulate_rir(size, sources, mics, **options)
        assert error_db(tensors, compiled) < -75


def test_without_numba_the_tensor_code_takes_over(monkeypatch):
    wanted = simulate_rir(SIZE, SOURCES, MICS, **COMMON)
    name = "spatial_brain.simulation.rir.kernels"
    monkeypatch.setitem(__import__("sys").modules, name, None)
    monkeypatch.delattr("spatial_brain.simulation.rir.kernels")
    assert error_db(simulate_rir(SIZE, SOURCES, MICS, **COMMON), wanted) < -75


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_nothing(threads):
    before = torch.get_num_threads()
    wanted = simulate_rir(SIZE, SOURCES, MICS, **COMMON)
    torch.set_num_threads(threads)
    try:
        assert error_db(simulate_rir(SIZE, SOURCES, MICS, **COMMON), wanted) < (
            -120
        )
    finally:
        torch.set_num_threads(before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_equals_cpu():
    options = {"t60": 0.4, "mic_pattern": "card", "mic_orientation": [1, 0, 0]}
    here = simulate_rir(SIZE, SOURCES, MICS, **options)
    there = simulate_rir(SIZE, SOURCES, MICS, device="cuda", **options)
    assert there.is_cuda and error_db(there.cpu(), here) < -60


def test_resolved_gains_follow_the_named_formulas():
    angle = torch.linspace(0, math.pi, 7, dtype=torch.float64)
    ways = torch.stack((angle.cos(), angle.sin(), 0 * angle), dim=-1)
    for name, (a, b) in FIRST_ORDER.items():
        gains = resolve_patterns(name, [3.0, 0.0, 0.0], 1).gain(0, ways)
        assert torch.allclose(gains, a + b * angle.cos())
    half = resolve_patterns("homni", [1.0, 0.0, 0.0], 1).gain(0, ways)
    assert half.tolist() == [1, 1, 1, half[3].item(), 0, 0, 0]
    with pytest.raises(ValueError, match="non-zero"):
        resolve_patterns("card", [0.0, 0.0, 0.0], 1)
    assert FS == 16000
