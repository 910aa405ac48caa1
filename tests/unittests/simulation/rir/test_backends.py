"""Back ends besides the image sources of this package."""

import math
import sys
import types

import numpy as np
import pytest
import torch
from exact_rirs import FS, MICS, SIZE, SOURCES, error_db, exact_rir

from spatial_brain.simulation import acoustics
from spatial_brain.simulation.rir import simulate_rir
from spatial_brain.simulation.rir.fra import _emitted_gain
from spatial_brain.simulation.rir.patterns import resolve_patterns


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_auto_is_image_source():
    auto = simulate_rir(SIZE, SOURCES, MICS, t60=0.3)
    named = simulate_rir(SIZE, SOURCES, MICS, t60=0.3, backend="image_source")
    assert torch.equal(auto, named)


def test_fra_repeats_the_level_and_delay_of_its_reference():
    rir = simulate_rir(
        SIZE, SOURCES, MICS, t60=0.3, backend="fra", generator=generator()
    )
    assert rir.shape == (2, 2, 4800)
    for s in range(2):
        for m in range(2):
            distance = math.sqrt(math.dist(SOURCES[s], MICS[m]) ** 2 + 0.001)
            delay = distance / 340.0 * FS
            near = rir[s, m, int(delay) - 2 : int(delay) + 4].double()
            # Least squares with a wide sinc; the impulse is 1 / 64 high.
            sample = torch.arange(int(delay) - 2, int(delay) + 4)
            shape = torch.sinc(sample.double() - delay)
            amplitude = float(near @ shape / (shape @ shape))
            assert amplitude * distance == pytest.approx(1 / 64, rel=0.1)


def test_fra_decays_more_slowly_than_asked_like_its_reference():
    measured = torch.stack(
        [
            acoustics.t60(
                simulate_rir(
                    SIZE,
                    SOURCES[:1],
                    MICS[:1],
                    t60=0.5,
                    backend="fra",
                    generator=generator(seed),
                ),
                FS,
            )
            for seed in range(4)
        ]
    )
    assert measured.mean().item() == pytest.approx(1.13, abs=0.12)


@pytest.mark.parametrize("t60", [0.2, 0.5, 0.9])
def test_corrected_fra_meets_t60_and_drr(t60):
    source, mic = torch.tensor(SOURCES), torch.tensor(MICS)
    reference = simulate_rir(SIZE, source, mic, t60=t60)
    rirs = torch.cat(
        [
            simulate_rir(
                SIZE,
                source,
                mic,
                t60=t60,
                backend="fra_corrected",
                generator=generator(seed),
            )
            for seed in range(4)
        ]
    )
    assert (acoustics.t60(rirs, FS) / t60 - 1).abs().max() < 0.15
    arrival = acoustics.direct_sample(source, mic, FS)
    wanted = acoustics.drr(reference, FS, arrival).mean()
    drr = acoustics.drr(rirs, FS, arrival.repeat(4, 1))
    assert drr.mean().item() == pytest.approx(wanted.item(), abs=1.5)


def test_corrected_fra_has_exact_early_reflections():
    rir = simulate_rir(
        SIZE,
        SOURCES[:1],
        MICS[:1],
        t60=0.3,
        backend="fra_corrected",
        max_order=2,
        high_pass=False,
    )[0, 0]
    walls = simulate_rir(
        SIZE,
        SOURCES[:1],
        MICS[:1],
        t60=0.3,
        backend="fra_corrected",
        generator=generator(),
        details=True,
    ).info.absorption
    exact = exact_rir(SIZE, SOURCES[0], MICS[0], walls, 2, len(rir))
    assert error_db(rir, exact) < -50


@pytest.mark.parametrize("backend", ["fra", "fra_corrected"])
def test_random_back_ends_are_seeded_and_take_patterns(backend):
    def draw(seed, **options):
        return simulate_rir(
            SIZE,
            SOURCES,
            MICS,
            t60=0.3,
            backend=backend,
            generator=generator(seed),
            **options,
        )

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    looking = torch.tensor(SOURCES[0]) - torch.tensor(MICS[0])
    front, back = (
        draw(1, mic_pattern="card", mic_orientation=way, direct_only=True)[0, 0]
        for way in (looking, -looking)
    )
    assert back.abs().max() < 1e-3 * front.abs().max()
    with pytest.raises(ValueError, match="max_order"):
        draw(1, max_order=7)


@pytest.mark.parametrize(
    ("pattern", "square"),
    [("card", 5 / 16), ("bidir", 1 / 4), ("homni", 1 / 2)],
)
def test_fra_draws_where_virtual_sources_look(pattern, square):
    # Cosines are products of two cosines, of mean square 1 / 4 where uniform
    # directions have 1 / 3; the way the source looks does not change them.
    looking = [1.0, 0.0, 0.0], [0.3, -0.2, 0.9]
    gains = [
        _emitted_gain(resolve_patterns(pattern, way, 1), 0, 10**5, generator())
        for way in looking
    ]
    for gain in gains:
        assert float(gain.square().mean()) == pytest.approx(square, rel=0.02)
    assert ((gains[0] - gains[1]).abs() > 1e-9).float().mean() < 1e-4


def test_fra_sources_look_along_their_direct_path_only():
    def draw(pattern, looking):
        return simulate_rir(
            SIZE,
            SOURCES[:1],
            MICS[:1],
            t60=0.3,
            backend="fra",
            generator=generator(),
            source_pattern=pattern,
            source_orientation=looking,
            details=True,
        )

    way = torch.tensor(MICS[0]) - torch.tensor(SOURCES[0])
    towards, away = (draw("card", part) for part in (way, -way))
    omni = draw("omni", None)
    assert torch.allclose(towards.direct, omni.direct, atol=1e-7)
    assert away.direct.abs().max() < 1e-6
    late = [part.full - part.direct for part in (towards, away, omni)]
    assert error_db(late[0], late[1]) < -50
    # The cardioid sends 5 / 16 of the energy (more where images coincide).
    ratio = late[0].square().sum() / late[2].square().sum()
    assert 0.15 < ratio < 0.45


def test_fra_accepts_what_walls_cannot_do():
    # Its data sets ask for 0.1 s in rooms where Sabine needs more.
    rir = simulate_rir(
        [10.0, 6.0, 4.0],
        [[2.0, 2.0, 2.0]],
        [[5.0, 3.0, 2.0]],
        t60=0.1,
        backend="fra",
        duration=0.3,
        generator=generator(),
    )
    assert rir.shape == (1, 1, 4800)
    assert torch.isfinite(rir).all()


def _fake_gpurir():
    """A stand-in with gpuRIR's conventions: 4 pi, and negated reflections."""

    def t2n(duration, size, c=343.0):
        return [math.ceil(2 * duration * c / length) for length in size]

    def simulate(room_sz, beta, pos_src, pos_rcv, nb_img, Tmax, fs, **options):
        assert (np.asarray(beta) <= 0).all()
        order = 0 if list(nb_img) == [1, 1, 1] else 3
        length = math.ceil(Tmax * fs)
        length += length % 2
        absorption = [1 - b * b for b in beta]
        return np.float32(
            [
                [
                    exact_rir(room_sz, s, m, absorption, order, length)
                    / (4 * math.pi)
                    for m in pos_rcv
                ]
                for s in pos_src
            ]
        )

    module = types.ModuleType("gpuRIR")
    module.t2n, module.simulateRIR = t2n, simulate
    return module


@pytest.mark.parametrize(
    "walls", [0.4, {"bands": [0.6, 0.5, 0.4, 0.4, 0.4, 0.3, 0.2]}]
)
def test_gpurir_is_brought_to_the_contract(monkeypatch, walls):
    monkeypatch.setitem(sys.modules, "gpuRIR", _fake_gpurir())
    options = {"absorption": walls, "duration": 0.0351, "high_pass": False}
    theirs = simulate_rir(SIZE, SOURCES, MICS, backend="gpurir", **options)
    ours = simulate_rir(SIZE, SOURCES, MICS, max_order=3, **options)
    assert theirs.shape == ours.shape == (2, 2, 562)
    assert error_db(theirs, ours) < -50


@pytest.mark.parametrize(
    ("backend", "module"),
    [("gpurir", "gpuRIR"), ("pyroomacoustics", "pyroomacoustics")],
)
def test_missing_packages_say_how_to_get_them(monkeypatch, backend, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match="install"):
        simulate_rir(SIZE, SOURCES, MICS, t60=0.3, backend=backend)


def test_pyroomacoustics_leaves_its_constants_alone():
    import pyroomacoustics as pra

    before = pra.constants.get("rir_hpf_enable"), pra.constants.get("c")
    simulate_rir(
        SIZE,
        SOURCES,
        MICS,
        t60=0.2,
        backend="pyroomacoustics",
        sound_speed=340.0,
        max_order=2,
    )
    after = pra.constants.get("rir_hpf_enable"), pra.constants.get("c")
    assert before == after
