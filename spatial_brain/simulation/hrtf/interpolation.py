"""Responses between measured directions.

Responses of neighbouring directions differ most in their delays. Mixed as
they are, they would comb-filter each other, and the time difference between
the ears would jump instead of moving. So they are aligned in time, ear by
ear, before they are mixed, and the mixture gets the mean of their delays.

Responses have the axes [..., ear, time], ear 0 is the left one. Everything
here is a pure function of tensors on the CPU.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.signal import firwin, resample_poly, upfirdn
from scipy.spatial import ConvexHull, QhullError

from spatial_brain.geometry import SPEED_OF_SOUND

# No head of a human delays sound by more between its ears, seconds.
MAX_ITD = 1e-3
# Points of a correlation a sample, before a parabola refines its peak.
_OVERSAMPLING = 8
# Kaiser-windowed sinc of the resampler: about 80 dB of stop band.
_HALF_WIDTH, _KAISER_BETA, _CUTOFF = 32, 8.0, 0.95
# Phases of the resampler's filter that are tabulated, 64 entries each: 8 MB.
_MOST_PHASES = 1 << 14
METHODS = ("barycentric", "nearest")
# Directions closer than this to a measured one take its response, degrees.
SAME_DIRECTION = 0.2
# A wave crosses two places of an ear's surroundings, metres a radian apart,
# at most this much later; generous for any head.
_REACH = 0.15
# Directions at a time, which bounds the memory.
_BLOCK = 256


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
    return _delay_between(left, right, fs, max_itd, band)


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


def _delay_between(first, second, fs, max_delay, band=None):
    """Seconds [...] by which one signal [..., L] comes later than another."""
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
    # Samples of the new rate in front, for the ringing of the filter; as many
    # of the old one behind.
    lead = math.ceil(_HALF_WIDTH * up / min(up, down))
    behind = math.ceil(lead * down / up)
    total = math.ceil((values.shape[-1] + behind) * up / down) + lead
    convert = _polyphase if max(up, down) <= _MOST_PHASES else _by_sample
    result = np.zeros((*values.shape[:-1], total))
    convert(values, result, (up, down), lead)
    return torch.from_numpy(result)


def _polyphase(values, result, ratio, lead):
    """Resample by a filter that is tabulated at all its phases."""
    up, down = ratio
    slower = max(up, down)
    lowpass = firwin(
        2 * _HALF_WIDTH * slower + 1,
        _CUTOFF / slower,
        window=("kaiser", _KAISER_BETA),
    )
    # Whole samples in front are a little more than half of the filter.
    late = np.zeros(lead * down - _HALF_WIDTH * slower)
    filtered = upfirdn(
        np.concatenate((late, lowpass * up)), values, up, down, axis=-1
    )
    count = min(filtered.shape[-1], result.shape[-1])
    np.multiply(filtered[..., :count], down / up, out=result[..., :count])


def _by_sample(values, result, ratio, lead):
    """Resample by the filter of ``_polyphase``, computed for each sample.

    Its table would have millions of entries where rates share no factor.
    """
    up, down = ratio
    slower = max(up, down)
    # The sum of the table, from as fine a grid as its band asks for.
    fine = np.arange(-_HALF_WIDTH * 64, _HALF_WIDTH * 64) / 64
    level = down / slower / (_windowed(fine).sum() / 64)
    for index in range(result.shape[-1]):
        # In steps of the common multiple of both rates.
        place, reach = (index - lead) * down, _HALF_WIDTH * slower
        first = max(0, math.ceil((place - reach) / up))
        last = min(values.shape[-1], (place + reach) // up + 1)
        if first < last:
            steps = place - np.arange(first, last) * up
            weights = _windowed(steps / slower) * level
            result[..., index] = values[..., first:last] @ weights


def _windowed(time):
    """Low-pass at times in samples of the lower rate, not normalised."""
    share = np.clip(time / _HALF_WIDTH, -1.0, 1.0)
    window = np.i0(_KAISER_BETA * np.sqrt(1.0 - share**2))
    return np.sinc(_CUTOFF * time) * window


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


@dataclass(frozen=True)
class Neighbours:
    """Measured directions around wanted ones.

    Arguments
    ---------
    index : torch.Tensor
        Shape [Q, 3], int64, the nearest first.
    weight : torch.Tensor
        Shape [Q, 3], float64, not negative, of sum 1.
    angle : torch.Tensor
        To the nearest one, shape [Q], degrees.

    Example
    -------
    >>> find_neighbours(torch.eye(3), torch.eye(3)[:1]).index[0, 0].item()
    0
    """

    index: torch.Tensor
    weight: torch.Tensor
    angle: torch.Tensor


def find_neighbours(measured, wanted, method="barycentric", max_gap=30.0):
    """Measured directions, with weights, that stand for wanted ones.

    Arguments
    ---------
    measured : torch.Tensor
        Shape [M, 3].
    wanted : torch.Tensor
        Shape [Q, 3].
    method : str
        ``"nearest"`` takes the direction at the least angle;
        ``"barycentric"`` the corners of the triangle (of the convex hull of
        all measured directions) in which a wanted direction lies, and the
        nearest one where there is no triangle with corners within
        ``max_gap``: beyond the edge of a grid.
    max_gap : float
        Largest angle between a wanted direction and a measured one, degrees.

    Returns
    -------
    Neighbours
        Indices into ``measured`` and weights.

    Raises
    ------
    ValueError
        If the method is unknown, or nothing was measured within ``max_gap``
        of a direction.

    Example
    -------
    >>> measured = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1],
    ...                          [-1, -1, -1]])
    >>> wanted = torch.tensor([[1.0, 1.0, 1.0]])
    >>> find_neighbours(measured, wanted, max_gap=60).weight.round(decimals=2)
    tensor([[0.3300, 0.3300, 0.3300]], dtype=torch.float64)
    """
    if method not in METHODS:
        raise ValueError(f"no method {method!r} between directions: {METHODS}")
    unit = torch.nn.functional.normalize
    measured = unit(torch.as_tensor(measured, dtype=torch.float64), dim=-1)
    wanted = unit(torch.as_tensor(wanted, dtype=torch.float64), dim=-1)
    cosine, nearest = (wanted @ measured.T).max(-1)
    # From the chord, as arccos is coarse near zero.
    chord = torch.linalg.vector_norm(wanted - measured[nearest], dim=-1)
    angle = torch.rad2deg(2.0 * torch.asin((chord / 2.0).clamp_max(1.0)))
    if angle.max() > max_gap:
        x, y, z = wanted[angle.argmax()].tolist()
        raise ValueError(
            f"nothing was measured within {max_gap:g} degrees of the "
            f"direction ({x:.2f}, {y:.2f}, {z:.2f}) (x front, y left, z up): "
            f"the nearest of {len(measured)} lies {angle.max():.0f} degrees "
            "away. Take a set that covers the sphere"
        )
    index = nearest[:, None].repeat(1, 3)
    weight = torch.zeros(len(wanted), 3, dtype=torch.float64)
    weight[:, 0] = 1.0
    corners = _triangles(measured) if method == "barycentric" else []
    between = (angle > SAME_DIRECTION).nonzero()[:, 0]
    if len(corners) and len(between):
        for rows in between.split(_BLOCK):
            found, part, share = _locate(
                measured, corners, wanted[rows], max_gap
            )
            index[rows[found]], weight[rows[found]] = part, share
    return Neighbours(index, weight, angle)


def _triangles(measured):
    """Corners of the hull of directions [F, 3], none if they are flat."""
    try:
        return torch.from_numpy(ConvexHull(measured.numpy()).simplices).long()
    except QhullError:
        return []


def _locate(measured, corners, wanted, max_gap):
    """Rows of ``wanted`` in a near triangle, its corners, and weights."""
    first, second, third = measured[corners].unbind(1)
    # Cramer's rule: wanted = sum of weight times corner.
    normals = torch.stack(
        (
            torch.linalg.cross(second, third),
            torch.linalg.cross(third, first),
            torch.linalg.cross(first, second),
        ),
        dim=1,
    )
    volume = (first * normals[:, 0]).sum(-1)
    flat = volume.abs() < 1e-9
    scale = torch.where(flat, 1.0, volume)
    shares = torch.einsum("qd,fkd->qfk", wanted, normals / scale[:, None, None])
    cosine = torch.einsum("qd,fkd->qfk", wanted, measured[corners]).amin(-1)
    inside = (shares.amin(-1) >= -1e-9) & ~flat
    inside &= cosine >= np.cos(np.deg2rad(max_gap))
    score = torch.where(inside, cosine, -torch.inf)
    best = score.argmax(-1)
    found = inside.any(-1).nonzero()[:, 0]
    share = shares[found, best[found]].clamp_min(0.0)
    share = share / share.sum(-1, keepdim=True)
    share, order = share.sort(-1, descending=True)
    return found, corners[best[found]].gather(-1, order), share


def responses_between(responses, measured, neighbours, fs):
    """Mix the responses of neighbours, aligned in time.

    The delay of the second and third neighbour against the first is that of
    their largest cross-correlation, ear by ear, within what the angle
    between them allows. All are brought to the mean delay, with their
    weights, and summed. Where the first has all the weight, its response is
    returned as it is.

    Arguments
    ---------
    responses : torch.Tensor
        Shape [M, 2, L].
    measured : torch.Tensor
        Their directions, shape [M, 3].
    neighbours : Neighbours
        Of ``find_neighbours``.
    fs : int
        Sampling rate, Hz.

    Returns
    -------
    torch.Tensor
        Shape [Q, 2, L], float64.

    Example
    -------
    >>> measured = torch.eye(3)
    >>> near = find_neighbours(measured, measured[:1])
    >>> responses_between(torch.ones(3, 2, 4), measured, near, 8000).shape
    torch.Size([1, 2, 4])
    """
    responses = torch.as_tensor(responses).double()
    measured = torch.nn.functional.normalize(
        torch.as_tensor(measured, dtype=torch.float64), dim=-1
    )
    result = responses[neighbours.index[:, 0]]
    mixed = (neighbours.weight[:, 1:] > 0).any(-1).nonzero()[:, 0]
    for rows in mixed.split(_BLOCK) if len(mixed) else ():
        index, weight = neighbours.index[rows], neighbours.weight[rows]
        parts, places = responses[index], measured[index]
        chord = torch.linalg.vector_norm(places - places[:, :1], dim=-1)
        bound = _REACH * chord / SPEED_OF_SOUND + 0.5 / fs
        delay = _delay_between(
            parts, parts[:, :1], fs, bound[..., None].expand(-1, -1, 2)
        )
        delay[:, 0] = 0.0
        share = weight[..., None]
        mean = (share * delay).sum(1, keepdim=True)
        parts = shift_responses(parts, (mean - delay) * fs)
        result[rows] = (share[..., None] * parts).sum(1)
    return result
