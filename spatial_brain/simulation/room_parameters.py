"""Parameters of a measured room, broadband and per octave band (ISO 3382).

Bands are octaves around 125 Hz to 8 kHz, cut by Butterworth filters of order 6
(IEC 61260-1, class 1), run backward in time, so that their own decay comes
before the sound and not after it (F. Jacobsen and J. H. Rindel, "Time reversed
decay measurements", J. Sound Vib. 117, 1987). A response may come from a sweep
(:func:`deconvolve`) or a clap (:func:`trim_impulse`).
"""

import math
from dataclasses import dataclass, replace

import torch
from scipy.signal import butter, sosfilt

from spatial_brain.simulation import acoustics
from spatial_brain.simulation.noise_floor import (
    check_response,
    decay_energy,
    find_noise_floor,
)

BANDS = (125, 250, 500, 1000, 2000, 4000, 8000)
# Of what ``room_parameters`` gives: name, unit, decimal places.
PARAMETERS = {
    "t20": ("T20", "s", 2),
    "t30": ("T30", "s", 2),
    "edt": ("EDT", "s", 2),
    "c50": ("C50", "dB", 1),
    "c80": ("C80", "dB", 1),
    "d50": ("D50", "", 2),
    "ts": ("Ts", "ms", 0),
    "drr": ("DRR", "dB", 1),
    "iacc": ("IACC", "", 2),
    "range": ("range", "dB", 0),
}
_ORDER = 6
# Lag of the interaural cross-correlation, seconds.
_LAG = 1e-3


@dataclass(frozen=True)
class BandParameters:
    """Parameters of a response in one band.

    Arguments
    ---------
    band : int or None
        Centre in hertz; None for the whole response.
    values : dict
        Name of ``PARAMETERS`` to a list with one float a channel (one in all
        for "iacc"); NaN where the response does not show it.
    notes : list of str
        Why values are missing.
    decay : torch.Tensor
        Decay curve without noise, decibels, float64 [channel, time].
    """

    band: int | None
    values: dict
    notes: list
    decay: torch.Tensor


def octave_band(rir, fs, centre):
    """One octave of responses, filtered backward in time.

    Arguments
    ---------
    rir : torch.Tensor
        Shape [..., time].
    fs : int
        Sampling rate, hertz.
    centre : float
        Hertz.

    Returns
    -------
    torch.Tensor
        float64, the same shape.

    Raises
    ------
    ValueError
        If the band does not lie below half the sampling rate, or time is
        not last.

    Example
    -------
    >>> time = torch.arange(4800) / 16000
    >>> tone = torch.sin(2 * torch.pi * 1000 * time)
    >>> octave_band(tone, 16000, 1000)[2000:2800].std().round(decimals=2)
    tensor(0.7100, dtype=torch.float64)
    """
    check_response(rir)
    low, high = centre * 10**-0.15, centre * 10**0.15
    if high >= fs / 2:
        raise ValueError(
            f"the octave around {centre:g} Hz reaches {high:.0f} Hz, but a "
            f"rate of {fs} Hz holds less than {fs / 2:g} Hz"
        )
    sections = butter(_ORDER // 2, (low, high), "band", fs=fs, output="sos")
    backward = rir.double().flip(-1).cpu().numpy()
    filtered = torch.from_numpy(sosfilt(sections, backward).copy())
    return filtered.flip(-1).to(rir.device)


def deconvolve(recording, excitation):
    """Impulse response from a recorded sweep and the sweep played.

    Arguments
    ---------
    recording : torch.Tensor
        Shape [channel, time].
    excitation : torch.Tensor
        Shape [time], at the same rate.

    Returns
    -------
    torch.Tensor
        float64 [channel, time], as long as the recording; its height is
        relative to a recording of the excitation itself.

    Raises
    ------
    ValueError
        If the excitation is silent, or time is not last.

    Example
    -------
    >>> sweep = torch.sin(torch.linspace(0.01, 50, 2000) ** 2)
    >>> late = torch.nn.functional.pad(sweep, (100, 900))
    >>> deconvolve(late[None], sweep).argmax()
    tensor(100)
    """
    check_response(recording)
    if not bool(excitation.any()):
        raise ValueError("the excitation is silent; give the sweep played")
    size = recording.shape[-1] + excitation.shape[-1]
    played = torch.fft.rfft(excitation.double(), size)
    power = played.abs().square()
    # Where the sweep has no energy, there is nothing to divide by.
    filtered = played.conj() / (power + 1e-5 * power.max())
    spectrum = torch.fft.rfft(recording.double(), size) * filtered
    return torch.fft.irfft(spectrum, size)[..., : recording.shape[-1]]


def trim_impulse(recording, fs):
    """The response to the loudest clap, shot or balloon of a recording.

    Arguments
    ---------
    recording : torch.Tensor
        Shape [channel, time].
    fs : int
        Sampling rate, hertz.

    Returns
    -------
    torch.Tensor
        From 20 ms before the onset of the loudest to the end.

    Example
    -------
    >>> clap = torch.zeros(1, 3000)
    >>> clap[0, 2000:] = torch.logspace(0, -3, 1000)
    >>> trim_impulse(clap, 1000).shape
    torch.Size([1, 1020])
    """
    begin = int(acoustics.onset(recording, fs).min()) - round(0.02 * fs)
    return recording[..., max(0, begin) :]


def room_parameters(rir, fs, bands=BANDS):
    """Parameters of a response, broadband and per octave.

    Arguments
    ---------
    rir : torch.Tensor
        Floating, shape [channel, time]; two channels are taken for ears.
    fs : int
        Sampling rate, hertz.
    bands : sequence of int
        Centres of octaves, hertz; those that the rate does not hold are left
        out.

    Returns
    -------
    list of BandParameters
        The whole response first.

    Raises
    ------
    ValueError
        If the shape is wrong, or samples are missing, infinite or all zero.

    Example
    -------
    >>> generator = torch.Generator().manual_seed(0)
    >>> decay = 10 ** (-3 * torch.arange(16000) / 16000 / 0.4)
    >>> rir = torch.randn(1, 16000, generator=generator) * decay
    >>> whole, *octaves = room_parameters(rir, 16000)
    >>> round(whole.values["t20"][0], 1), [one.band for one in octaves]
    (0.4, [125, 250, 500, 1000, 2000, 4000])
    """
    if rir.ndim != 2 or rir.shape[0] >= rir.shape[1]:
        raise ValueError(
            "a response must have shape [channel, time], got "
            f"{tuple(rir.shape)}; transpose [time, channel]"
        )
    if not bool(torch.isfinite(rir).all()):
        raise ValueError("the response has samples that are no numbers")
    if not bool(rir.any(-1).all()):
        silent = (~rir.any(-1)).nonzero().flatten().tolist()
        raise ValueError(f"channels {silent} of the response are silent")
    direct = acoustics.onset(rir, fs)
    # What the filters put before the onset needs room.
    lead = round(0.1 * fs)
    rir = torch.nn.functional.pad(rir.double(), (lead, 0))
    direct = direct + lead
    held = [band for band in bands if band * 10**0.15 < fs / 2]
    found = [_measure(rir, fs, direct, None)] + [
        _measure(octave_band(rir, fs, band), fs, direct, band) for band in held
    ]
    return [replace(one, decay=one.decay[:, lead:]) for one in found]


def _measure(rir, fs, direct, band):
    """Parameters of responses [channel, time] in one band."""
    floor = find_noise_floor(rir, fs)
    energy = decay_energy(rir, fs, floor)
    times = {
        name: acoustics.t60(rir, fs, name, floor)
        for name in ("t20", "t30", "edt")
    }
    ratios = {
        name: getattr(acoustics, name)(rir, fs, direct, floor=floor)
        for name in ("c50", "c80", "d50")
    }
    if band is None:
        # An octave spreads the direct path over more than its window.
        ratios["drr"] = acoustics.drr(rir, fs, direct, floor=floor)
    left = energy.flip(-1).cumsum(-1).flip(-1).cummin(-1).values
    decay = 10 * torch.log10(left.clamp_min(0) / left[:, :1])
    knee = floor.knee.round().long().clamp_max(rir.shape[-1] - 1)
    spread = -decay.gather(-1, knee[:, None])[:, 0]
    spread = torch.where(floor.found, spread, math.inf)
    after = (torch.arange(rir.shape[-1]) - direct[:, None]).clamp_min(0) / fs
    ts = 1e3 * (energy * after).sum(-1) / energy.sum(-1)
    values = {**times, **ratios, "ts": ts, "range": spread}
    values = {name: value.tolist() for name, value in values.items()}
    if len(rir) == 2:
        values["iacc"] = [_iacc(rir, fs, int(direct.min()), int(knee.min()))]
    notes = _notes(values, floor)
    return BandParameters(band, values, notes, decay)


def _notes(values, floor):
    """Why values are missing, one line a kind and channel."""
    lines = []
    for name, (_, low) in acoustics.DECAY_RANGES.items():
        for channel, value in enumerate(values[name]):
            if not math.isnan(value):
                continue
            if not bool(floor.found[channel]):
                why = "the response ends before it has decayed so far"
            else:
                have = values["range"][channel]
                why = f"the decay is {have:.0f} dB above the noise"
            lines.append(
                f"{PARAMETERS[name][0]} of channel {channel}: {why}, "
                f"{low + 10:.0f} dB are needed"
            )
    return lines


def _iacc(rir, fs, direct, knee):
    """Largest interaural cross-correlation within 1 ms (ISO 3382-1, A)."""
    left, right = rir[:, direct - round(_LAG * fs) : max(knee, direct + 2)]
    size = 2 * len(left)
    cross = torch.fft.rfft(left, size).conj() * torch.fft.rfft(right, size)
    correlation = torch.fft.irfft(cross, size)
    reach = round(_LAG * fs)
    near = torch.cat((correlation[: reach + 1], correlation[-reach:]))
    norm = (left.square().sum() * right.square().sum()).sqrt()
    return float(near.abs().max() / norm)
