"""Weights of frequencies as filters of time: filter and sum."""

import torch
from scipy.fft import next_fast_len

# Share of a filter, on both sides together, that is faded out.
_FADED = 0.5


def filters_of(weights):
    """Impulse responses of the channels, zero delay in their middle.

    The responses of conj(w), of which the outer half is faded out, so that
    no response wraps around to the other end.

    Arguments
    ---------
    weights : torch.Tensor
        At the frequencies of a transform of n_fft samples, complex,
        [n_fft / 2 + 1, channel].

    Returns
    -------
    torch.Tensor
        float32, [channel, n_fft]; zero delay is sample n_fft / 2.

    Example
    -------
    >>> filters = filters_of(torch.ones(9, 1, dtype=torch.complex128))
    >>> filters.shape, filters.argmax().item()
    (torch.Size([1, 16]), 8)
    """
    response = torch.fft.irfft(weights.conj().T)
    n_fft = response.shape[-1]
    ramp = round(_FADED * n_fft / 2)
    rise = torch.hann_window(2 * ramp, dtype=response.dtype)[:ramp]
    taper = torch.ones_like(response[0])
    taper[:ramp], taper[-ramp:] = rise, rise.flip(0)
    return (response.roll(n_fft // 2, dims=-1) * taper).float()


def filter_and_sum(waveform, filters):
    """Filter each channel and add them up.

    Arguments
    ---------
    waveform : torch.Tensor
        [..., channel, n_fft + time - 1]: the samples that are wanted, with
        n_fft / 2 - 1 before and n_fft / 2 behind them.
    filters : torch.Tensor
        Of :func:`filters_of`, [channel, n_fft].

    Returns
    -------
    torch.Tensor
        [..., time].

    Example
    -------
    >>> filters = filters_of(torch.full((9, 2), 0.5, dtype=torch.complex128))
    >>> signal = torch.randn(2, 16 + 9)
    >>> output = filter_and_sum(signal, filters)
    >>> torch.allclose(output, signal[:, 7:-8].mean(0), atol=1e-6)
    True
    """
    n_fft = filters.shape[-1]
    total = waveform.shape[-1]
    size = next_fast_len(total, real=True)
    spectra = torch.fft.rfft(waveform, n=size)
    spectra = (spectra * torch.fft.rfft(filters.to(waveform), n=size)).sum(-2)
    # The first n_fft - 1 samples are wrapped around.
    return torch.fft.irfft(spectra, n=size)[..., n_fft - 1 : total]
