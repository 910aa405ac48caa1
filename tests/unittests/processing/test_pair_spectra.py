"""Spectra of microphone pairs against sums written out, and their inverse."""

import math

import pytest
import torch

from spatial_brain.processing.pair_spectra import (
    PairSpectra,
    pair_examples,
)


def test_spectra_against_the_definition():
    spectra = PairSpectra(16, 8)
    x = torch.randn(2, 50, 3, dtype=torch.float64)
    n = torch.arange(16, dtype=torch.float64)
    window = 0.5 - 0.5 * torch.cos(2 * math.pi * n / 16)
    frames = [x[:, s : s + 16] * window[:, None] for s in range(0, 33, 8)]
    frames = torch.stack(frames)  # [frame, batch, sample, channel]
    kernel = torch.exp(-2j * math.pi * torch.arange(9)[:, None] * n / 16)
    wanted = torch.einsum("fn,lbnc->bcfl", kernel, frames.to(kernel.dtype))
    scale = wanted[:, 0].abs().mean((1, 2)) + 1e-6
    found, divided = spectra.with_scale(x.float())
    torch.testing.assert_close(divided.double(), scale, rtol=1e-5, atol=0)
    wanted = wanted[:, :, 1:] / scale[:, None, None, None]
    assert found.dtype == torch.float32
    torch.testing.assert_close(
        found.double(), torch.view_as_real(wanted), rtol=0, atol=2e-5
    )


@pytest.mark.parametrize(
    "samples, frames", [(512, 1), (767, 1), (768, 2), (16640, 64)]
)
def test_frames_lie_within_the_signal(samples, frames):
    features = PairSpectra()(torch.randn(1, samples, 2))
    assert features.shape == (1, 2, 256, frames, 2)


def test_levels_vanish_but_not_between_channels():
    spectra, x = PairSpectra(), torch.randn(2, 4000, 2)
    louder = x.clone()
    louder[0] *= 30
    torch.testing.assert_close(spectra(louder), spectra(x))
    other = x * torch.tensor([1.0, 3.0])
    torch.testing.assert_close(spectra(other)[:, 1], 3 * spectra(x)[:, 1])
    silent = spectra(torch.zeros(1, 1024, 2))
    assert not silent.any()


def test_lowest_bins_alone():
    whole, part = PairSpectra(), PairSpectra(num_bins=64)
    n = torch.arange(512 * 8)
    x = (2 * math.pi * n[:, None] / 512 * torch.tensor([5.0, 9.0])).sin()[None]
    features, scale = part.with_scale(x)
    assert torch.equal(features, whole(x)[:, :, :64])
    again = part.inverse(features, scale)
    torch.testing.assert_close(
        again[:, 512:-512], x[:, 512:-512], rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("sizes", [(512, 256), (512, 128), (64, 24)])
def test_inverse_returns_the_signal(sizes):
    spectra = PairSpectra(*sizes)
    n_fft, hop = sizes
    n = torch.arange(n_fft + 40 * hop)
    # Whole periods in a frame: nothing in the DC bin, which is not kept.
    turns = 2 * math.pi * n[:, None] / n_fft
    x = (turns * torch.tensor([5.0, 9.0])).sin()[None] * 0.3
    again = spectra.inverse(*spectra.with_scale(x))
    assert again.shape == x.shape
    inside = slice(n_fft, -n_fft)
    torch.testing.assert_close(
        again[:, inside], x[:, inside], rtol=0, atol=1e-5
    )
    assert again.abs().max() < 0.31


def test_the_rectangular_synthesis_averages_frames():
    spectra = PairSpectra(16, 8)
    features = torch.randn(1, 2, 8, 3, 2)
    spectrum = torch.view_as_complex(features)
    spectrum = torch.cat((torch.zeros(1, 2, 1, 3), spectrum), dim=2)
    frames = torch.fft.irfft(spectrum, 16, dim=2)
    wanted = torch.zeros(1, 2, 32)
    for frame in range(3):
        wanted[..., 8 * frame : 8 * frame + 16] += frames[..., frame]
    wanted[..., 8:24] /= 2
    found = spectra.inverse(features, torch.tensor([2.0]), "rectangular")
    torch.testing.assert_close(found.transpose(1, 2), 2 * wanted)


def test_a_spectrum_of_no_signal_gets_the_least_squares_answer():
    """No other signal's spectrum is nearer."""
    spectra = PairSpectra(16, 8)
    features = torch.randn(1, 2, 8, 9, 2)

    def distance(x):
        frames = x.transpose(1, 2).unfold(-1, 16, 8) * spectra.window
        spectrum = torch.view_as_real(torch.fft.rfft(frames)).transpose(2, 3)
        # Of the two-sided spectrum; its inner bins count twice.
        weight = torch.tensor([1.0] + [2.0] * 7 + [1.0])[:, None, None]
        wanted = torch.cat((torch.zeros(1, 2, 1, 9, 2), features), dim=2)
        wanted[:, :, 8, :, 1] = 0  # the bin at fs / 2 is real
        return (weight * (spectrum - wanted).square()).sum()

    best = spectra.inverse(features).requires_grad_()
    distance(best).backward()
    assert best.grad[:, 16:-16].abs().max() < 1e-4


def test_pairs_of_more_channels():
    x = torch.randn(2, 4, 5)
    pairs = pair_examples(x)
    assert pairs.shape == (6, 2, 5)
    for example in range(2):
        for other in range(3):
            pair = pairs[3 * example + other]
            assert torch.equal(pair, x[example, [0, other + 1]])
    assert torch.equal(
        pair_examples(x, "all")[:6],
        x[0, [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]],
    )


def test_bad_input_is_told():
    spectra = PairSpectra()
    with pytest.raises(ValueError, match=r"two channels.*\[1, 1024, 1\]"):
        spectra(torch.zeros(1, 1024, 1))
    with pytest.raises(ValueError, match=r"400 samples.*512"):
        spectra(torch.zeros(1, 400, 2))
    with pytest.raises(ValueError, match="n_fft=511"):
        PairSpectra(511)
    with pytest.raises(ValueError, match="num_bins must be between 1 and 256"):
        PairSpectra(num_bins=257)
    with pytest.raises(ValueError, match="256 bins"):
        spectra.inverse(torch.zeros(1, 2, 257, 3, 2))
    with pytest.raises(ValueError, match="one of window, rectangular"):
        spectra.inverse(torch.zeros(1, 2, 256, 3, 2), synthesis="hann")
    with pytest.raises(ValueError, match="needs two channels"):
        pair_examples(torch.zeros(1, 1, 2))
    with pytest.raises(ValueError, match="reference or all"):
        pair_examples(torch.zeros(1, 2, 2), "some")


def test_the_transform_is_not_run_in_half_precision():
    x, spectra = torch.randn(1, 2000, 2), PairSpectra()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = spectra(x)
    assert torch.equal(low, spectra(x))
    assert not spectra.state_dict()
