"""Whether four channels are the first-order Ambisonics they are said to be.

Of any sum of plane waves the powers of Y, Z and X add up to that of W (SN3D),
to twice (FuMa) or three times it (N3D), and as the channels stand at one place
their coherence does not depend on frequency. Four microphones have alike powers
and a coherence that is high at low frequencies and falls.
"""

import math

import torch

from spatial_brain.geometry import CHANNEL_ORDERS, find_channel_order
from spatial_brain.inference.array_checks.finding import Finding

# Stands for first-order Ambisonics where an array is named.
FOA = "foa"
# Hertz: where microphones of a small array still record the same; where not.
_LOW, _HIGH = (100.0, 500.0), (2000.0, 4000.0)
_USED = (300.0, 4000.0)
# Seconds of a frame.
_FRAME = 0.064
# Decibels between low powers, up to which channels may be microphones.
_ALIKE = 4.0
# Coherence of microphones at low frequencies at least, and the share of it
# that is left at high ones at most.
_COHERENT, _LEFT = 0.5, 0.6
# Factor by which the power of Y, Z and X over that of W may be off.
_TOLERANCE = math.sqrt(3)


def assumed_order(channel_order):
    """Note on what the channels of a recording are taken for.

    Arguments
    ---------
    channel_order : str
        See :func:`spatial_brain.geometry.find_channel_order`.

    Returns
    -------
    Finding

    Example
    -------
    >>> assumed_order("fuma").message
    'the channels are taken as W, X, Y, Z (fuma)'
    """
    letters = CHANNEL_ORDERS.get(channel_order, (channel_order.upper(),))[0]
    message = (
        f"the channels are taken as {', '.join(letters)} ({channel_order})"
    )
    return Finding("assumed", "note", (), message)


def ambisonic_findings(pieces, fs, channel_order):
    """Findings on the powers and coherences of the channels.

    Arguments
    ---------
    pieces : list of tuple
        Start in seconds and waveform [time, 4] of each piece, channels as the
        file has them.
    fs : int
        Sampling rate, hertz.
    channel_order : str
        What they are said to be, see
        :func:`spatial_brain.geometry.find_channel_order`.

    Returns
    -------
    list of Finding

    Example
    -------
    >>> from spatial_brain.simulation.ambisonics import encode_foa
    >>> left = encode_foa(torch.randn(16000), 80.0, 10.0)
    >>> ambisonic_findings([(0.0, left)], 16000, "acn-sn3d")
    []
    >>> ambisonic_findings([(0.0, left)], 16000, "acn-n3d")[0].kind
    'normalization'
    """
    channels, _ = find_channel_order(channel_order)
    pieces = [(start, waveform[:, channels]) for start, waveform in pieces]
    covariance, frequency = _covariance(pieces, fs)
    power = covariance.diagonal(dim1=-2, dim2=-1).real
    if not (power[:, 0].sum() > 0):
        return [
            Finding(
                "silent",
                "error",
                (),
                "channel W is silent; directions need it",
            )
        ]
    if _are_microphones(covariance, power, frequency):
        return [
            Finding(
                "not_ambisonics",
                "warning",
                (),
                "the channels are alike and not at one place: these seem to "
                "be microphones, not Ambisonics; give their --array",
            )
        ]
    used = _between(frequency, _USED) & (power[:, 0] > 0)
    ratio = power[used, 1:].sum(1) / power[used, 0]
    return _ratio_findings(
        float(ratio.clamp(min=1e-6).log().mean().exp()), channel_order
    )


def _ratio_findings(ratio, channel_order):
    """Findings on the power of Y, Z and X over that of W."""
    known = {name: _ratio_of(name) for name in CHANNEL_ORDERS}
    nearest = min(known, key=lambda name: abs(math.log(ratio / known[name])))
    expected = _ratio_of(channel_order)
    near = 1 / _TOLERANCE < ratio / known[nearest] < _TOLERANCE
    if near and math.isclose(known[nearest], expected):
        return []
    return [
        Finding(
            "normalization",
            "warning",
            (),
            f"Y, Z and X have {ratio:.2g} times the power of W, where "
            f"{channel_order} has {expected:.0f}; "
            + (
                f"--channel-order {nearest} fits"
                if near
                else "check that the channels are W, Y, Z and X"
            ),
            ratio,
        )
    ]


def _ratio_of(channel_order):
    """Power of Y, Z and X over that of W of plane waves."""
    gains = find_channel_order(channel_order)[1]
    return (gains[0] / gains[1]) ** 2


def _covariance(pieces, fs):
    """Mean outer products of the frames, [bin, 4, 4], and frequencies."""
    size = 2 ** max(4, round(math.log2(_FRAME * fs)))
    total = torch.zeros(size // 2 + 1, 4, 4, dtype=torch.complex128)
    window = torch.hann_window(size)
    for _, waveform in pieces:
        short = max(0, size - len(waveform))
        waveform = torch.nn.functional.pad(waveform, (0, 0, 0, short))
        frames = waveform.unfold(0, size, size // 2) * window
        spectra = torch.fft.rfft(frames).permute(2, 1, 0)
        total += spectra @ spectra.mH
    return total, torch.arange(size // 2 + 1) * (fs / size)


def _between(frequency, band):
    """Bins of a band."""
    return (frequency >= band[0]) & (frequency <= band[1])


def _are_microphones(covariance, power, frequency):
    """Whether the channels are those of microphones at several places."""
    low, high = (_between(frequency, band) for band in (_LOW, _HIGH))
    level = 10 * power[low].clamp(min=1e-20).log10().mean(0)
    if level.max() - level.min() > _ALIKE:
        return False
    scale = (power[:, :, None] * power[:, None, :]).sqrt()
    coherence = covariance / scale.clamp(min=1e-20)
    first, second = torch.triu_indices(4, 4, 1)
    coherence = coherence[:, first, second]
    near = coherence[low].real.mean(0)
    far = coherence[high].real.mean(0)
    return bool((near > _COHERENT).all() and (far < _LEFT * near).any())
