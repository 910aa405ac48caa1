import pytest
import torch

from spatial_brain.processing.stft import STFT, ConvSTFT


def reference(waveform, n_fft, hop_length):
    rows = waveform.transpose(1, 2).flatten(0, 1).double()
    spectrum = torch.stft(
        rows,
        n_fft,
        hop_length,
        window=torch.hann_window(n_fft, dtype=torch.float64),
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    return spectrum.transpose(1, 2).unflatten(
        0, (len(waveform), waveform.shape[2])
    )


@pytest.mark.parametrize("transform", [STFT, ConvSTFT])
@pytest.mark.parametrize("n_fft, hop", [(512, 160), (64, 64), (32, 7)])
def test_equals_textbook(transform, n_fft, hop):
    waveform = torch.randn(2, 1999, 3)
    real, imag = transform(n_fft, hop)(waveform)
    expected = reference(waveform, n_fft, hop)
    assert real.shape == (2, 3, 1 + 1999 // hop, n_fft // 2 + 1)
    assert (real - expected.real).abs().max() < 1e-4
    assert (imag - expected.imag).abs().max() < 1e-4


@pytest.mark.parametrize("samples, frames", [(48000, 301), (59199, 370)])
def test_number_of_frames(samples, frames):
    real, _ = STFT()(torch.zeros(1, samples, 2))
    assert real.shape == (1, 2, frames, 257)


def test_kernels_learn_only_when_asked():
    learned, fixed = ConvSTFT(64, 32), ConvSTFT(64, 32, trainable=False)
    real, imag = learned(torch.randn(1, 200, 1))
    (real.square().mean() + imag.mean()).backward()
    assert all(p.grad.abs().max() > 0 for p in learned.parameters())
    assert not any(p.requires_grad for p in fixed.parameters())
    names = ["conv_real.weight", "conv_imag.weight"]
    assert list(fixed.state_dict()) == names
    assert not STFT().state_dict()


@pytest.mark.parametrize("transform", [STFT, ConvSTFT])
def test_bad_input(transform):
    with pytest.raises(ValueError, match="at least 33"):
        transform(64, 32)(torch.zeros(1, 32, 2))
    transform(64, 32)(torch.zeros(1, 33, 2))
    with pytest.raises(ValueError, match=r"\(2, 100\)"):
        transform(64, 32)(torch.zeros(2, 100))
    with pytest.raises(ValueError, match="n_fft=63"):
        transform(63, 32)
    with pytest.raises(ValueError, match="hop_length=0"):
        transform(64, 0)
