"""Diffuse tails: coherence between microphones and level at the switch."""

import math

import pytest
import torch
from exact_rirs import FS, SIZE

from spatial_brain.simulation import acoustics
from spatial_brain.simulation.rir import simulate_rir, simulate_rir_batch
from spatial_brain.simulation.rir.patterns import resolve_patterns
from spatial_brain.simulation.rir.tail import (
    coherence_matrix,
    diffuse_noise_field,
    sphere_directions,
)
from spatial_brain.simulation.rooms import Room, sample_room

PLACES = torch.tensor(
    [[0.0, 0, 0], [0.05, 0, 0], [0.0, 0.12, 0.03]], dtype=torch.float64
)


def welch(x, length=512):
    """Cross-spectra [F, M, M] of signals [..., M, N]."""
    frames = x.unfold(-1, length, length // 2) * torch.hann_window(length)
    spectra = torch.fft.rfft(frames).movedim(-3, 0).flatten(1, -2)
    return torch.einsum("anf,bnf->fab", spectra, spectra.conj())


def coherence(cross):
    power = cross.diagonal(dim1=1, dim2=2).real
    return cross / (power[:, :, None] * power[:, None]).sqrt()


def test_noise_has_the_coherence_of_a_diffuse_field():
    noise = diffuse_noise_field(
        PLACES,
        resolve_patterns("omni", None, 3),
        40,
        8192,
        fs=FS,
        generator=torch.Generator().manual_seed(0),
    )
    measured = coherence(welch(noise))
    distance = torch.cdist(PLACES, PLACES).float()
    frequency = torch.fft.rfftfreq(512, 1 / FS)[:, None, None]
    wanted = torch.sinc(2 * frequency * distance / 343.0)
    assert (measured - wanted).abs().max() < 0.12
    assert (measured - wanted).abs().square().mean().sqrt() < 0.03
    assert noise.std().item() == pytest.approx(1.0, abs=0.01)


def test_first_order_coherence_equals_the_sum_over_directions():
    looking = [[1.0, 0, 0], [0.3, -1.0, 0.4], [0, 0, 1.0]]
    wave = torch.tensor([0.0, 1e-3, 0.4, 5.0, 40.0, 120.0]).double()
    closed = coherence_matrix(
        PLACES, resolve_patterns(["card", "bidir", "hypcard"], looking, 3), wave
    )
    ways = sphere_directions(20000)
    patterns = resolve_patterns(["card", "bidir", "hypcard"], looking, 3)
    gains = torch.stack([patterns.gain(m, ways) for m in range(3)])
    phase = wave[:, None, None] * (PLACES @ ways.T)
    steering = gains * torch.polar(torch.ones_like(phase), phase)
    summed = steering @ steering.mH / len(ways)
    assert (closed - summed).abs().max() < 1e-3


def test_ambisonic_tails_are_uncorrelated_at_a_third_of_the_power():
    noise = diffuse_noise_field(
        torch.zeros(4, 3).double(),
        resolve_patterns(
            ["omni", "bidir", "bidir", "bidir"],
            [[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]],
            4,
        ),
        1,
        200000,
        fs=FS,
        generator=torch.Generator().manual_seed(0),
    )[0]
    covariance = noise @ noise.T / noise.shape[1]
    wanted = torch.diag(torch.tensor([1.0, 1 / 3, 1 / 3, 1 / 3]))
    assert (covariance - wanted).abs().max() < 0.02


def test_functions_and_names_give_the_same_coherence():
    wave = torch.tensor([0.0, 3.0, 30.0]).double()
    named = coherence_matrix(
        PLACES, resolve_patterns("card", [1.0, 0, 0], 3), wave
    )
    function = coherence_matrix(
        PLACES,
        resolve_patterns(lambda u: 0.5 + 0.5 * u[..., 0], None, 3),
        wave,
    )
    assert (named - function).abs().max() < 0.01


def test_late_part_of_rirs_has_the_coherence_of_a_diffuse_field():
    generator = torch.Generator().manual_seed(4)
    rooms = [
        sample_room(generator, t60_range=(0.5, 0.7), num_sources=4)
        for _ in range(12)
    ]
    rirs = simulate_rir_batch(
        rooms, diffuse_from=15, generator=generator, duration=0.5
    )
    # The same weight for all of a decaying signal.
    time = torch.arange(8000) / FS
    late = (rirs * 10 ** (3 * time / 0.6))[..., 3200:]
    measured = coherence(welch(late))[:, 0, 1]
    frequency = torch.fft.rfftfreq(512, 1 / FS)
    wanted = torch.sinc(2 * frequency * 0.1 / 343.0)
    assert (measured - wanted)[4:].abs().max() < 0.12


@pytest.mark.parametrize("pattern", ["omni", "card"])
def test_level_is_smooth_at_the_switch(pattern):
    generator = torch.Generator().manual_seed(6)
    steps, slopes = [], []
    for _ in range(6):
        room = sample_room(generator, t60_range=(0.5, 0.8), num_sources=3)
        room.mic_pattern = pattern
        room.mic_orientation = [1.0, 0.0, 0.0]
        full, tailed = (
            simulate_rir_batch([room], diffuse_from=part, generator=generator)
            for part in (None, 15)
        )
        # Where they part, and the energies of 20 ms around it.
        switch = (
            int(
                (full[0] - tailed[0]).abs().amax((0, 1)).gt(1e-6).int().argmax()
            )
            + 320
        )
        energy = tailed[0, ..., : switch + 3200].square()
        before = energy[..., switch - 320 : switch].sum()
        after = energy[..., switch : switch + 320].sum()
        natural = full[0].square()
        natural = (
            natural[..., switch : switch + 320].sum()
            / natural[..., switch - 320 : switch].sum()
        )
        steps.append(10 * math.log10(after / before / natural))
        late = slice(switch, switch + 1600)
        slopes.append(
            10
            * math.log10(
                tailed[0, ..., late].square().sum()
                / full[0, ..., late].square().sum()
            )
        )
    assert abs(sum(steps) / len(steps)) < 1.0
    assert abs(sum(slopes) / len(slopes)) < 1.5


def test_tail_keeps_drr_and_needs_the_direct_path_first():
    # 12 m away the direct path comes after the decay of 5 dB.
    room = Room(
        [14.0, 6.0, 3.0], [[1.0, 2.0, 1.5]], [[13.0, 3.0, 1.4]], t60=0.4
    )
    rir = simulate_rir(
        room.size,
        room.sources,
        room.microphones,
        t60=0.4,
        diffuse_from=5,
        generator=torch.Generator().manual_seed(0),
    )
    arrival = int(
        acoustics.direct_sample(room.sources, room.microphones, FS)[0, 0]
    )
    assert rir[0, 0, arrival - 2 : arrival + 3].abs().max() * 12.04 > 0.6
    full = simulate_rir(room.size, room.sources, room.microphones, t60=0.4)
    drr = acoustics.drr(torch.stack((full, rir))[:, 0, 0, :6000], FS)
    assert abs(float(drr[0] - drr[1])) < 3.0


def test_seed_decides_about_the_tail():
    def draw(seed):
        return simulate_rir(
            SIZE,
            [[1.0, 1.0, 1.0]],
            [[2.0, 2.0, 2.0]],
            t60=0.3,
            diffuse_from=20,
            generator=torch.Generator().manual_seed(seed),
        )

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_tail_of_a_dry_room_is_silent():
    rir = simulate_rir(
        SIZE,
        [[1.0, 1.0, 1.0]],
        [[2.0, 2.0, 2.0]],
        absorption=1.0,
        duration=0.2,
        diffuse_from=15,
        high_pass=False,
    )
    assert torch.isfinite(rir).all()
    assert rir[..., 400:].abs().max() < 1e-3
