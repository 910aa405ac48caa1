"""Noise of one transform: coherence of its field, colour and power."""

import pytest
import torch

from spatial_brain.simulation.coloured_noise import coloured_noise
from spatial_brain.simulation.noise_field import target_coherence

FS, SAMPLES = 16000, 64000
ARRAY = torch.tensor([[0.0, 0, 0], [0.06, 0, 0], [0.0, 0.2, 0]])


def measured_coherence(noise, frames=512):
    """Real part of the coherence of microphones 0 and the others, [bin, M]."""
    parts = noise.T.unfold(-1, frames, frames // 2)
    spectra = torch.fft.rfft(parts * torch.hann_window(frames))
    cross = (spectra[:1] * spectra.conj()).mean(1)
    power = spectra.abs().square().mean(1)
    return (cross / (power[:1] * power).sqrt()).real.T


@pytest.mark.parametrize("kind", ["spherical", "cylindrical"])
def test_coherence_is_that_of_the_field(kind):
    generator = torch.Generator().manual_seed(1)
    noise = coloured_noise(
        ARRAY, SAMPLES, fs=FS, kind=kind, generator=generator
    )
    found = measured_coherence(noise)
    frequency = torch.linspace(0, FS / 2, len(found))
    wanted = target_coherence(ARRAY, frequency, kind)[:, 0].float()
    error = (found - wanted)[3:-3].square().mean(0).sqrt()
    assert (error < 0.1).all()
    # Twice that far off the field of the other kind would be.
    other = {"spherical": "cylindrical", "cylindrical": "spherical"}[kind]
    others = target_coherence(ARRAY, frequency, other)[:, 0].float()
    off = (found - others)[3:-3].square().mean(0).sqrt()
    assert off[1] > 1.5 * error[1]


def test_microphones_of_their_own_have_none():
    generator = torch.Generator().manual_seed(1)
    options = {"fs": FS, "kind": "independent", "generator": generator}
    found = measured_coherence(coloured_noise(ARRAY, SAMPLES, **options))
    assert found[3:-3, 1:].square().mean().sqrt() < 0.1


def test_colour_and_power():
    frequency = torch.fft.rfftfreq(SAMPLES, 1 / FS)
    colour = (frequency > 1000).float() + 0.1
    noise = coloured_noise(ARRAY, SAMPLES, colour, fs=FS)
    assert noise.shape == (SAMPLES, 3) and noise.dtype == torch.float32
    assert float(noise.square().mean()) == pytest.approx(1, abs=1e-4)
    power = torch.fft.rfft(noise.T).abs().square().mean(0)
    ratio = power[frequency > 1000].mean() / power[frequency < 1000].mean()
    assert float(ratio) == pytest.approx((1.1 / 0.1) ** 2, rel=0.05)
    assert abs(float(noise.mean())) < 1e-6


def test_a_seed_repeats_and_odd_lengths_do():
    first, second = (
        coloured_noise(
            ARRAY, 1001, fs=FS, generator=torch.Generator().manual_seed(3)
        )
        for _ in range(2)
    )
    assert first.equal(second) and first.shape == (1001, 3)
    with pytest.raises(ValueError, match="kind must be"):
        coloured_noise(ARRAY, 1000, fs=FS, kind="wind")
