"""Noise floor of impulse responses, and their energy without it.

A measured response decays until it drowns in noise. Integrated backward, that
noise makes every decay look longer. The floor is found by iteration (A.
Lundeby, T. E. Vigran, H. Bietz and M. Vorlaender, "Uncertainties of
measurements in room acoustics", Acustica 81, 1995); its power is subtracted,
the response ends where decay and floor meet, and what is missing behind is
added (ISO 3382-1:2009, 5.3.3; M. Guski and M. Vorlaender, "Comparison of noise
compensation methods for room acoustic impulse response evaluations", Acta
Acustica united with Acustica 100, 2014, method E).
"""

import math
from dataclasses import dataclass

import torch

# Blocks whose energy is looked at, seconds; at least so many samples.
_BLOCK, _LEAST_SAMPLES = 5e-3, 40
_LEAST_BLOCKS = 20
# The end of a response that may be noise: at least this share of it.
_TAIL = 0.1
# A decay that goes on for longer may be cut, not covered.
_LATEST = 0.85
# Decibels over the floor between which the end of the decay is fitted.
_LOWER, _UPPER = 6.0, 26.0
# A floor falls by less than this, dB, and lies no deeper under the peak than
# the rounding of 16 bits.
_FLAT, _DEEPEST = 3.0, 100.0
_ITERATIONS = 6
# Seconds before the onset that belong to the response; before them is noise.
_LEAD = 5e-3
# Channels of an array rather than samples, and samples rather than channels.
_CHANNELS, _SAMPLES = 64, 512


@dataclass(frozen=True)
class NoiseFloor:
    """Floors of impulse responses, [...] each.

    Arguments
    ---------
    power : torch.Tensor
        Mean square of the noise; NaN where no floor was found.
    knee : torch.Tensor
        Sample at which decay and floor meet; the length without a floor.
    late_t60 : torch.Tensor
        Reverberation time of the end of the decay, seconds; NaN without a
        floor.
    """

    power: torch.Tensor
    knee: torch.Tensor
    late_t60: torch.Tensor

    @classmethod
    def absent(cls, rir):
        """No floor, for responses known to have none, such as simulated ones.

        Arguments
        ---------
        rir : torch.Tensor
            Floating, [..., time].

        Returns
        -------
        NoiseFloor
            With which measures take the responses as they are.

        Example
        -------
        >>> NoiseFloor.absent(torch.ones(2, 100)).found
        tensor([False, False])
        """
        nothing = torch.full(
            rir.shape[:-1], math.nan, dtype=torch.float64, device=rir.device
        )
        return cls(nothing, torch.full_like(nothing, rir.shape[-1]), nothing)

    @property
    def found(self):
        """Where a floor was found, bool."""
        return self.power.isfinite()


def check_response(rir):
    """Refuse what is no impulse response, or lies with time first.

    Arguments
    ---------
    rir : torch.Tensor
        Floating, [..., time].

    Raises
    ------
    ValueError
        If it is not floating or has less than two samples, or if the last
        axis is as short as a number of channels (64 or less) while another
        one is as long as a response (512 or more).

    Example
    -------
    >>> check_response(torch.zeros(32000, 2))
    Traceback (most recent call last):
    ValueError: impulse responses are [..., time], got (32000, 2), ...
    """
    if not rir.is_floating_point() or rir.ndim == 0 or rir.shape[-1] < 2:
        raise ValueError(
            "an impulse response must be a floating tensor [..., time] of at "
            f"least 2 samples, got {rir.dtype} {tuple(rir.shape)}"
        )
    *others, samples = rir.shape
    if samples <= _CHANNELS and max(others, default=0) >= _SAMPLES:
        raise ValueError(
            f"impulse responses are [..., time], got {tuple(rir.shape)}, in "
            "which time does not seem to be last; give rir.transpose(-1, -2) "
            "or rir.movedim(axis of time, -1)"
        )


def find_noise_floor(rir, fs):
    """The floor of each response, if its decay reaches one.

    Arguments
    ---------
    rir : torch.Tensor
        Floating, [..., time].
    fs : int
        Sampling rate, hertz.

    Returns
    -------
    NoiseFloor
        None is found where the response still decays at its end, as
        simulated ones do, or where it is too short to tell (0.1 s).

    Raises
    ------
    ValueError
        If time is not last, see :func:`check_response`.

    Example
    -------
    >>> generator = torch.Generator().manual_seed(0)
    >>> time = torch.arange(16000) / 16000
    >>> decay = torch.randn(16000, generator=generator) * 10 ** (-7.5 * time)
    >>> noise = 1e-3 * torch.randn(16000, generator=generator)
    >>> floor = find_noise_floor(torch.stack((decay, decay + noise)), 16000)
    >>> floor.found.tolist(), (floor.knee[1] / 16000).round(decimals=1)
    ([False, True], tensor(0.4000, dtype=torch.float64))
    """
    check_response(rir)
    shape, total = rir.shape[:-1], rir.shape[-1]
    size = max(_LEAST_SAMPLES, round(_BLOCK * fs))
    blocks = rir.reshape(-1, total)[:, : total // size * size].double()
    energy = blocks.square().unflatten(-1, (-1, size)).mean(-1)
    if energy.shape[-1] < _LEAST_BLOCKS:
        power = late = torch.full(shape, math.nan, dtype=torch.float64)
        return NoiseFloor(power, torch.full_like(power, total), late)
    power, knee, slope = _iterate(energy)
    found = power.isfinite()
    knee = torch.where(found, (knee + 0.5) * size, float(total))
    late = torch.where(found, -60.0 / slope * size / fs, math.nan)
    return NoiseFloor(*(part.reshape(shape) for part in (power, knee, late)))


def _iterate(energy):
    """Power of the noise, block of the knee, slope in dB a block; [row]."""
    index = torch.arange(energy.shape[-1], device=energy.device)
    # Zeros behind the end are padding.
    used = energy.flip(-1).cumsum(-1).flip(-1) > 0
    end = used.sum(-1, keepdim=True)
    level = 10 * torch.log10(energy.clamp_min(1e-300))
    peak = energy.argmax(-1, keepdim=True)
    latest = ((1 - _TAIL) * end).floor()
    begin = latest
    for _ in range(_ITERATIONS):
        tail = (index >= begin) & (index < end)
        power = _mean(energy, tail)
        floor = 10 * torch.log10(power)
        after = (index > peak) & (index < end)
        above = after & (level > floor + _LOWER)
        last = torch.where(above, index, -1).amax(-1, keepdim=True)
        higher = after & (level > floor + _UPPER)
        first = torch.where(higher, index, peak).amax(-1, keepdim=True)
        first = torch.minimum(first, last - 3).clamp_min(peak)
        fitted = (index >= first) & (index <= last)
        slope, value = _line(level, index, fitted)
        knee = (floor - value) / slope
        # Behind the knee the decay still adds to the floor.
        begin = torch.minimum(knee - _LOWER / slope, latest)
        begin = torch.where(begin.isfinite(), begin, latest)
    fall, _ = _line(level, index, tail)
    deep = level.amax(-1, keepdim=True) - floor
    found = (slope < 0) & (knee < _LATEST * end) & (last - first >= 2)
    found &= (fall * (end - begin)).abs() < _FLAT
    found &= (deep > _LOWER) & (deep < _DEEPEST)
    decay = 10 * torch.log10((energy - power).clamp_min(1e-300))
    slope, _ = _line(decay, index, fitted)
    return (
        torch.where(found, power, math.nan)[:, 0],
        knee[:, 0],
        slope[:, 0],
    )


def _mean(values, where):
    """Mean of some values of each row, [row, 1]."""
    kept = torch.where(where, values, 0.0)
    return kept.sum(-1, keepdim=True) / where.sum(-1, keepdim=True)


def _line(level, index, where):
    """Slope and value at block 0 of the least-squares line, [row, 1] each."""
    centre = _mean(index.double().expand_as(level), where)
    away = torch.where(where, index - centre, 0.0)
    slope = (away * torch.where(where, level, 0.0)).sum(-1, keepdim=True)
    slope = slope / away.square().sum(-1, keepdim=True)
    return slope, _mean(level, where) - slope * centre


def decay_energy(rir, fs, floor=None):
    """Energy of responses, sample by sample, without their noise.

    Arguments
    ---------
    rir : torch.Tensor
        Floating, [..., time].
    fs : int
        Sampling rate, hertz.
    floor : NoiseFloor, optional
        Of the responses; default: found.

    Returns
    -------
    torch.Tensor
        float64, [..., time]: squares where there is no floor. Else zeros up
        to 5 ms before the onset, squares less the power of the noise up to
        the knee (single values may be negative), what the decay would go on
        with at the knee, then zeros.

    Raises
    ------
    ValueError
        If time is not last, see :func:`check_response`.

    Example
    -------
    >>> decay_energy(torch.tensor([2.0, 1.0]), 16000)
    tensor([4., 1.], dtype=torch.float64)
    """
    check_response(rir)
    energy = rir.double().square()
    floor = floor or find_noise_floor(rir, fs)
    if not floor.found.any():
        return energy
    inside, knee, rest = _decay_span(rir, fs, floor)
    power = floor.power.nan_to_num()[..., None]
    cut = torch.where(inside, energy - power, 0.0)
    cut = torch.where(knee, rest, cut)
    return torch.where(floor.found[..., None], cut, energy)


def _decay_span(rir, fs, floor):
    """Samples of the decay, that of the knee, and the energy from there on."""
    sample = torch.arange(rir.shape[-1], device=rir.device)
    size = rir.abs()
    loud = size >= 0.1 * size.amax(-1, keepdim=True)
    onset = loud.int().argmax(-1, keepdim=True)
    knee = floor.knee[..., None].round()
    inside = (sample >= onset - round(_LEAD * fs)) & (sample < knee)
    rest = floor.power * floor.late_t60 * fs / (6 * math.log(10))
    return inside, sample == knee, rest.nan_to_num()[..., None]
