"""Labels of impulse responses as SAR-SSL defines them.

The definitions differ a little from those of ``acoustics``: the reverberation
time comes from the straightest of 80 pieces of the decay curve, and the early
energy of C50 begins with the response. See B. Yang and X. Li, IEEE/ACM TASLP
32, 2024 (arXiv:2312.00476). All functions take any leading axes and any
device, and compute in double precision.
"""

import torch

from spatial_brain.geometry import SPEED_OF_SOUND
from spatial_brain.simulation.acoustics import volume_and_surface
from spatial_brain.simulation.noise_floor import check_response, decay_energy

# Levels at which pieces of the decay curve begin, and how far they fall, dB.
_STARTS = tuple(range(-5, -20, -2))
_SPANS = tuple(range(-10, -29, -2))
_EPS = 1e-10
# Guard of energy ratios, and Sabine's constant, as the original has them.
_RATIO_EPS, _SABINE = 1e-8, 0.161
_DIRECT_WINDOW, _EARLY = 2.5e-3, 0.05


def _response(rir):
    """Check a response; return it in double precision."""
    rir = torch.as_tensor(rir)
    check_response(rir)
    return rir.double()


def _energy(rir, fs, floor):
    """Energy sample by sample, without noise where a floor is given."""
    rir = _response(rir)
    return rir.square() if floor is None else decay_energy(rir, fs, floor)


def decay_t60(rir, fs, floor=None):
    """Reverberation time from the straightest piece of the decay curve.

    EDC(n) = 10 log10(sum over k >= n of h^2 / sum over k >= argmax h of h^2).
    Pieces begin at -5, -7, ... -19 dB and fall by 10, 12, ... 28 dB; a line
    is fitted to each, and the one with the largest correlation counts.

    Arguments
    ---------
    rir : torch.Tensor
        Shape [..., time].
    fs : int
        Sampling rate in Hz.
    floor : NoiseFloor, optional
        Of measured responses, whose noise is then no reverberation; default:
        none, as in the original.

    Returns
    -------
    tuple of torch.Tensor
        Seconds, and the correlation of level and time (negative), both
        float64 [...]; NaN where no piece has two samples.

    Example
    -------
    >>> time = torch.arange(8000) / 16000
    >>> seconds, correlation = decay_t60(10 ** (-3 * time / 0.5), 16000)
    >>> seconds.round(decimals=3), correlation.round(decimals=3)
    (tensor(0.5000, dtype=torch.float64), tensor(-1., dtype=torch.float64))
    """
    energy = _energy(rir, fs, floor)
    rir = _response(rir)
    shape, size = rir.shape[:-1], rir.shape[-1]
    rir = rir.reshape(-1, size)
    left = energy.reshape(-1, size).flip(-1).cumsum(-1).flip(-1)
    if floor is not None:
        # Energy without noise rises a little where it is all but gone.
        left = left.cummin(-1).values.clamp_min(0)
    whole = left.gather(-1, rir.argmax(-1, keepdim=True))
    level = 10 * torch.log10(left / (whole + _EPS) + _EPS)
    starts = torch.tensor(_STARTS, dtype=torch.float64, device=rir.device)
    spans = torch.tensor(_SPANS, dtype=torch.float64, device=rir.device)
    wanted = torch.cat((starts, (starts[:, None] + spans).flatten()))
    crossed = _nearest(level, wanted)
    count = len(_SPANS)
    begin = crossed[:, : len(_STARTS)].repeat_interleave(count, dim=1)
    stop = crossed[:, len(_STARTS) :]
    slope, correlation = _line(level, begin, stop)
    strength = correlation.abs().nan_to_num(-1.0)
    best = strength.argmax(-1, keepdim=True)
    seconds = -60.0 / (slope.gather(1, best) * fs + _EPS)
    return seconds.view(shape), correlation.gather(1, best).view(shape)


def _nearest(level, wanted):
    """First samples of falling curves [R, N] nearest to levels [K]: [R, K]."""
    falling = (-level).contiguous()
    aims = (-wanted).expand(len(level), -1).contiguous()
    after = torch.searchsorted(falling, aims)
    last = level.shape[-1] - 1
    after = after.clamp(max=last)
    before = (after - 1).clamp(min=0)
    nearer = (falling.gather(1, before) - aims).abs() <= (
        falling.gather(1, after) - aims
    ).abs()
    found = torch.where(nearer, before, after)
    # The first of equal values.
    return torch.searchsorted(falling, falling.gather(1, found))


def _line(level, begin, stop):
    """Slope per sample and correlation of level[begin:stop], both [R, K]."""
    sample = torch.arange(
        level.shape[-1], dtype=torch.float64, device=level.device
    )

    def total(values):
        summed = torch.nn.functional.pad(values.cumsum(-1), (1, 0))
        return summed.gather(1, stop) - summed.gather(1, begin)

    count = (stop - begin).double()
    middle = (begin + stop - 1) / 2
    mean = total(level) / count
    covariance = total(level * sample) - count * middle * mean
    spread = count * (count.square() - 1) / 12
    variance = total(level.square()) - count * mean.square()
    valid = count >= 2
    correlation = covariance / (spread * variance.clamp_min(_EPS)).sqrt()
    nan = torch.full_like(mean, torch.nan)
    return (
        torch.where(valid, covariance / spread, nan),
        torch.where(valid, correlation, nan),
    )


def first_arrival(rir, ratio=0.5):
    """Where a response begins: its direct path, if nothing hides that.

    The first local maximum of the absolute value that reaches a part of the
    largest one. A reflection may be louder than the direct path, and either
    may be negative, so that the largest value alone is no sign of it.

    Arguments
    ---------
    rir : torch.Tensor
        Shape [..., time].
    ratio : float
        Part of the largest absolute value; what a resampling filter puts
        before a pulse stays below 0.22 of it.

    Returns
    -------
    torch.Tensor
        Sample, int64 [...].

    Example
    -------
    >>> rir = torch.zeros(100)
    >>> rir[[20, 50]] = torch.tensor([-0.7, 1.0])
    >>> first_arrival(rir)
    tensor(20)
    """
    size = torch.nn.functional.pad(_response(rir).abs(), (1, 1))
    middle = size[..., 1:-1]
    peak = (middle > size[..., :-2]) & (middle >= size[..., 2:])
    peak &= middle >= ratio * middle.amax(-1, keepdim=True)
    return peak.byte().argmax(-1)


def _energy_until(energy, index):
    """Energy of the samples up to and with ``index``, and of all."""
    summed = energy.cumsum(-1)
    last = index.clamp(0, energy.shape[-1] - 1)
    part = summed.gather(-1, last[..., None])[..., 0]
    return torch.where(index < 0, 0.0, part), summed[..., -1]


def direct_to_reverberant(rir, fs, direct, floor=None):
    """Energy within 2.5 ms of the direct path to all other energy.

    Arguments
    ---------
    rir : torch.Tensor
        Shape [..., time].
    fs : int
        Sampling rate in Hz.
    direct : torch.Tensor
        Sample of the direct path, integers [...].
    floor : NoiseFloor, optional
        Of measured responses, whose noise is then no reverberation; default:
        none, as in the original.

    Returns
    -------
    torch.Tensor
        Decibels, float64 [...].

    Example
    -------
    >>> rir = torch.zeros(1000)
    >>> rir[10], rir[70] = 1.0, 0.1
    >>> direct_to_reverberant(rir, 1000, torch.tensor(10)).round()
    tensor(20., dtype=torch.float64)
    """
    energy = _energy(rir, fs, floor)
    half = int(_DIRECT_WINDOW * fs)
    upper, whole = _energy_until(energy, direct + half)
    lower, _ = _energy_until(energy, direct - half - 1)
    inside = upper - lower
    rest = (whole - inside).clamp_min(0)
    return 10 * torch.log10(inside / (rest + _RATIO_EPS) + _RATIO_EPS)


def early_to_late(rir, fs, direct, floor=None):
    """Energy up to 50 ms after the direct path to what comes later (C50).

    Arguments
    ---------
    rir : torch.Tensor
        Shape [..., time].
    fs : int
        Sampling rate in Hz.
    direct : torch.Tensor
        Sample of the direct path, integers [...].
    floor : NoiseFloor, optional
        Of measured responses, whose noise is then no reverberation; default:
        none, as in the original.

    Returns
    -------
    torch.Tensor
        Decibels, float64 [...].

    Example
    -------
    >>> rir = torch.zeros(1000)
    >>> rir[10], rir[70] = 1.0, 0.1
    >>> early_to_late(rir, 1000, torch.tensor(10)).round()
    tensor(20., dtype=torch.float64)
    """
    energy = _energy(rir, fs, floor)
    early, whole = _energy_until(energy, direct + int(_EARLY * fs))
    late = (whole - early).clamp_min(0)
    return 10 * torch.log10(early / (late + _RATIO_EPS) + _RATIO_EPS)


def absorption_from_t60(room_size, t60, half_surface=False):
    """Mean absorption of the walls by Sabine's formula.

    Arguments
    ---------
    room_size : torch.Tensor
        Metres, [..., 3].
    t60 : torch.Tensor or float
        Seconds, [...].
    half_surface : bool
        Take half of the walls' area, xy + xz + yz.

    Returns
    -------
    torch.Tensor
        0.161 V / (S T60), [...].

    Example
    -------
    >>> absorption_from_t60(torch.tensor([5.0, 4.0, 3.0]), 0.5)
    tensor(0.2055)
    """
    volume, surface = volume_and_surface(room_size)
    if half_surface:
        surface = surface / 2
    return _SABINE * volume / (surface * t60)


def pair_labels(
    rir,
    direct,
    *,
    room_size,
    microphones,
    source,
    fs=16000,
    sound_speed=SPEED_OF_SOUND,
    t60=None,
    half_surface=False,
    half_precision=False,
):
    """All labels of responses from one source to two microphones.

    Arguments
    ---------
    rir : torch.Tensor
        Shape [..., 2, time].
    direct : torch.Tensor
        Direct path alone, [..., 2, time].
    room_size : torch.Tensor
        Metres, [..., 3].
    microphones : torch.Tensor
        Metres, [..., 2, 3].
    source : torch.Tensor
        Metres, [..., 3].
    fs : int
        Sampling rate, Hz.
    sound_speed : float
        Metres per second.
    t60 : torch.Tensor, optional
        Seconds, [...], if known; default: :func:`decay_t60`, averaged over
        the microphones.
    half_surface : bool
        Take half of the walls' area for "ABS", xy + xz + yz, as the
        original's simulated data do: twice the mean absorption.
    half_precision : bool
        Round DRR and C50 to half precision.

    Returns
    -------
    dict of torch.Tensor
        float32 [...]: "TDOA" ((|s - m1| - |s - m0|) / c in samples), "T60"
        (s), "DRR" and "C50" (dB, microphone 0), "ABS" (mean absorption),
        "SUR" (log10 of the walls' area in m^2) and "VOL" (log10 of m^3).

    Example
    -------
    >>> direct = torch.zeros(2, 8000)
    >>> direct[:, 100] = 1.0
    >>> late = torch.exp(-torch.arange(8000) / 1000.0)
    >>> labels = pair_labels(
    ...     direct + 0.1 * late,
    ...     direct,
    ...     room_size=torch.tensor([5.0, 4.0, 3.0]),
    ...     microphones=torch.tensor([[1.0, 1.0, 1.0], [1.1, 1.0, 1.0]]),
    ...     source=torch.tensor([3.0, 1.0, 1.0]),
    ... )
    >>> round(labels["TDOA"].item(), 3), round(labels["VOL"].item(), 3)
    (-4.665, 1.778)
    """
    room_size = torch.as_tensor(room_size, dtype=torch.float64).to(rir.device)
    if t60 is None:
        t60 = decay_t60(rir, fs)[0].mean(-1)
    arrival = direct[..., 0, :].argmax(-1)
    first = rir[..., 0, :]
    drr = direct_to_reverberant(first, fs, arrival)
    clarity = early_to_late(first, fs, arrival)
    if half_precision:
        drr, clarity = drr.half(), clarity.half()
    volume, surface = volume_and_surface(room_size)
    labels = {
        "TDOA": tdoa_samples(microphones, source, sound_speed, fs),
        "T60": t60,
        "DRR": drr,
        "C50": clarity,
        "ABS": absorption_from_t60(room_size, t60, half_surface),
        "SUR": surface.log10(),
        "VOL": volume.log10(),
    }
    return {
        name: value.to(rir.device, torch.float32)
        for name, value in labels.items()
    }


def tdoa_samples(microphones, source, sound_speed=SPEED_OF_SOUND, fs=16000):
    """Time difference of arrival from positions.

    Arguments
    ---------
    microphones : torch.Tensor
        Metres, [..., 2, 3].
    source : torch.Tensor
        Metres, [..., 3].
    sound_speed : float
        Metres per second.
    fs : int
        Sampling rate, Hz.

    Returns
    -------
    torch.Tensor
        (|s - m1| - |s - m0|) / c in samples, float64 [...].

    Example
    -------
    >>> microphones = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.1, 0.0]])
    >>> tdoa_samples(microphones, torch.tensor([0.0, 2.0, 0.0])).item()
    -4.664...
    """
    microphones = torch.as_tensor(microphones, dtype=torch.float64)
    source = torch.as_tensor(source, dtype=torch.float64)
    distance = torch.linalg.vector_norm(
        source[..., None, :] - microphones, dim=-1
    )
    return (distance[..., 1] - distance[..., 0]) / sound_speed * fs
