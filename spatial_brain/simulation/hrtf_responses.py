"""What can be measured in, and done to, head-related impulse responses.

Responses have the axes [..., ear, time], ear 0 is the left one. Everything
here is a pure function of tensors on the CPU.
"""

import math

import numpy as np
import torch
from scipy.signal import firwin, resample_poly

# No head of a human delays sound by more between its ears, seconds.
MAX_ITD = 1e-3
# Points of a correlation a sample, before a parabola refines its peak.
_OVERSAMPLING = 8
# Kaiser-windowed sinc of the resampler: about 80 dB of stop band.
_HALF_WIDTH, _KAISER_BETA, _CUTOFF = 32, 8.0, 0.95


def itd(responses, fs, band=None, max_itd=MAX_ITD):
    """Interaural time difference, at a fraction of a sample.

    The lag of the largest cross-correlation between the ears, on a grid
    eight times finer than the samples and refined by a parabola.

    Arguments
    ---------
    responses : torch.Tensor
        Shape [..., 2, L]: left and right ear.
    fs : float
        Sampling rate, Hz.
    band : tuple of float, optional
        Lowest and highest frequency that count, Hz; all by default. Below
        some 500 Hz a head delays sound by half more than above 3 kHz.
    max_itd : float
        Bound of the search, seconds.

    Returns
    -------
    torch.Tensor
        Seconds, shape [...], float64: arrival at the left ear minus arrival
        at the right one, positive for sound from the right.

    Raises
    ------
    ValueError
        If there are not two ears, or the band holds no frequency.

    Example
    -------
    >>> responses = torch.zeros(2, 32)
    >>> responses[0, 9] = responses[1, 5] = 1.0
    >>> round(itd(responses, 8000).item() * 1e6)
    500
    """
    left, right = _two_ears(responses).double().unbind(-2)
    return delay_between(left, right, fs, max_itd, band)


def ild(responses, fs=None, band=None):
    """Interaural level difference.

    Arguments
    ---------
    responses : torch.Tensor
        Shape [..., 2, L]: left and right ear.
    fs : float, optional
        Sampling rate, Hz; needed for a band.
    band : tuple of float, optional
        Lowest and highest frequency that count, Hz; all by default.

    Returns
    -------
    torch.Tensor
        dB, shape [...], float64: energy at the left ear over that at the
        right one, positive where the left ear is louder.

    Raises
    ------
    ValueError
        If there are not two ears, or a band comes without ``fs`` or holds no
        frequency.

    Example
    -------
    >>> ild(torch.tensor([[0.0, 1.0], [0.1, 0.0]])).round()
    tensor(20., dtype=torch.float64)
    """
    responses = _two_ears(responses).double()
    if band is None:
        energy = responses.square().sum(-1)
    elif fs is None:
        raise ValueError("a band in Hz needs the sampling rate fs")
    else:
        nfft = _odd_length(2 * responses.shape[-1])
        inside = _bins(nfft, fs, band)[1]
        energy = torch.fft.rfft(responses, n=nfft)[..., inside]
        energy = energy.abs().square().sum(-1)
    energy = energy.clamp_min(torch.finfo(torch.float64).tiny)
    return 10.0 * torch.log10(energy[..., 0] / energy[..., 1])


def delay_between(first, second, fs, max_delay, band=None):
    """By how much one signal comes later than another alike.

    Arguments
    ---------
    first : torch.Tensor
        Shape [..., L].
    second : torch.Tensor
        Shape broadcastable to ``first``.
    fs : float
        Sampling rate, Hz.
    max_delay : float or torch.Tensor
        Bound of the search, seconds, broadcastable to [...].
    band : tuple of float, optional
        Lowest and highest frequency that count, Hz; all by default.

    Returns
    -------
    torch.Tensor
        Seconds, shape [...], float64, positive where ``first`` is later.

    Example
    -------
    >>> pulse = torch.eye(16)
    >>> round(delay_between(pulse[7], pulse[5], 1000.0, 0.01).item(), 6)
    0.002
    """
    first, second = torch.as_tensor(first), torch.as_tensor(second)
    nfft = _odd_length(2 * max(first.shape[-1], second.shape[-1]))
    omega, inside = _bins(nfft, fs, band)
    cross = torch.fft.rfft(first.double(), n=nfft)
    cross = cross * torch.fft.rfft(second.double(), n=nfft).conj()
    cross, omega = cross[..., inside], omega[inside]
    step = 1.0 / (_OVERSAMPLING * fs)
    bound = torch.as_tensor(max_delay, dtype=torch.float64)
    count = math.ceil(bound.max().item() / step)
    lags = torch.arange(-count - 1, count + 2, dtype=torch.float64) * step
    phase = omega[:, None] * lags
    # The constant of a correlation has no partner at a negative frequency.
    weight = torch.where(omega == 0, 1.0, 2.0)
    correlation = (cross.real * weight) @ torch.cos(phase)
    correlation = correlation - (cross.imag * weight) @ torch.sin(phase)
    allowed = lags.abs() <= bound[..., None] + 0.5 * step
    searched = correlation.masked_fill(~allowed, -torch.inf)
    peak = searched[..., 1:-1].argmax(-1, keepdim=True) + 1
    before, at, after = (
        correlation.gather(-1, peak + offset)[..., 0] for offset in (-1, 0, 1)
    )
    curvature = before - 2.0 * at + after
    offset = 0.5 * (before - after) / torch.where(curvature < 0, curvature, 1)
    offset = torch.where(curvature < 0, offset, 0.0).clamp(-0.5, 0.5)
    return lags[peak[..., 0]] + offset * step


def shift_responses(responses, samples):
    """Delay responses by any number of samples, whole or not.

    By a linear phase, hence a sinc in time; what leaves the time axis at
    either end is lost.

    Arguments
    ---------
    responses : torch.Tensor
        Shape [..., L].
    samples : torch.Tensor or float
        Broadcastable to [...]; negative advances.

    Returns
    -------
    torch.Tensor
        Shape [..., L], float64.

    Example
    -------
    >>> shift_responses(torch.eye(4)[1], 2).round().abs()
    tensor([0., 0., 0., 1.], dtype=torch.float64)
    """
    responses = torch.as_tensor(responses).double()
    samples = torch.as_tensor(samples, dtype=torch.float64)
    length = responses.shape[-1]
    margin = 64 + math.ceil(samples.abs().max().item())
    nfft = _odd_length(length + 2 * margin)
    omega = torch.arange(nfft // 2 + 1, dtype=torch.float64)
    phase = samples[..., None] * omega * (-2.0 * math.pi / nfft)
    turn = torch.polar(torch.ones_like(phase), phase)
    shifted = torch.fft.irfft(torch.fft.rfft(responses, n=nfft) * turn, n=nfft)
    return shifted[..., :length]


def resample_responses(responses, old_fs, fs, compat=False):
    """Impulse responses at another sampling rate.

    By default the frequency response is what stays: the filter passes all up
    to 87 % of the lower Nyquist frequency within 0.01 dB, samples are scaled
    by ``old_fs / fs`` (those of a filter are worth more, the fewer there
    are), and 32 samples (of the lower rate) are put before and behind, so
    that no ringing is cut off. All responses are delayed alike.

    Arguments
    ---------
    responses : torch.Tensor
        Shape [..., L].
    old_fs : int
        Their rate, Hz.
    fs : int
        Wanted rate, Hz.
    compat : bool
        Resample as the generator of Binaural-WSJ0Mix does
        (``scipy.signal.resample_poly`` of every response with its defaults):
        200 samples of CIPIC become 37 at 8 kHz and 73 at 16 kHz, scaled as
        signals are, and the ringing before the first sample is lost.

    Returns
    -------
    torch.Tensor
        Shape [..., L'], float64; unchanged where the rates are equal.

    Raises
    ------
    ValueError
        If a rate is not a positive whole number.

    Example
    -------
    >>> resample_responses(torch.zeros(2, 200), 44100, 8000, True).shape
    torch.Size([2, 37])
    """
    for rate in (old_fs, fs):
        if rate <= 0 or int(rate) != rate:
            raise ValueError(f"rates must be whole and positive, got {rate} Hz")
    responses = torch.as_tensor(responses).double()
    divisor = math.gcd(int(old_fs), int(fs))
    up, down = int(fs) // divisor, int(old_fs) // divisor
    if up == down:
        return responses
    values = responses.numpy()
    if compat:
        return torch.from_numpy(resample_poly(values, up, down, axis=-1))
    slower = max(up, down)
    lowpass = firwin(
        2 * _HALF_WIDTH * slower + 1,
        _CUTOFF / slower,
        window=("kaiser", _KAISER_BETA),
    )
    # Samples that the filter needs on either side, at the new rate.
    lead = math.ceil(_HALF_WIDTH * up / min(up, down))
    # Whole periods in front, so that the time axes keep a common point.
    periods = math.ceil(lead / up)
    front, back = periods * down, math.ceil(lead * down / up)
    pads = [(0, 0)] * (values.ndim - 1) + [(front, back)]
    values = resample_poly(np.pad(values, pads), up, down, -1, lowpass)
    return torch.from_numpy(values[..., periods * up - lead :] * (down / up))


def _two_ears(responses):
    """Check that the axis before the last one holds two ears."""
    responses = torch.as_tensor(responses)
    if responses.ndim < 2 or responses.shape[-2] != 2:
        raise ValueError(
            f"expected responses [..., 2, L], got {tuple(responses.shape)}"
        )
    return responses


def _odd_length(least):
    """Length of a transform without a bin at the Nyquist frequency."""
    return int(least) | 1


def _bins(nfft, fs, band):
    """Angular frequencies of all bins, rad/s, and which are in a band."""
    frequencies = torch.arange(nfft // 2 + 1, dtype=torch.float64) * fs / nfft
    low, high = (0.0, fs) if band is None else band
    inside = (frequencies >= low) & (frequencies <= high)
    if not inside.any():
        raise ValueError(
            f"no frequency of {len(frequencies)} bins at {fs} Hz lies in the "
            f"band {low} to {high} Hz"
        )
    return 2.0 * math.pi * frequencies, inside
