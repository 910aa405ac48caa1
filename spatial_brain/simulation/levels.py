"""Level of speech and of other signals with pauses."""

import torch

# ITU-T P.56: speech is active where its envelope is above a threshold that
# lies this far below the active level, dB.
ACTIVITY_MARGIN = 15.9
# Power that stands for silence, so that the logarithm stays finite.
SILENCE = 1e-20


def active_level(waveform, fs=16000):
    """Level of the active parts of signals, dB relative to full scale.

    Pauses do not count, so that a talker who pauses a lot is as loud as one
    who does not. The rule is the one of ITU-T P.56 (activity threshold
    15.9 dB below the active level), applied to the powers of 32 ms frames
    instead of a smoothed envelope. For noise without pauses this is the
    ordinary level.

    Arguments
    ---------
    waveform : torch.Tensor
        Signals with time on the last axis, shape [..., T].
    fs : int
        Sampling rate, Hz.

    Returns
    -------
    torch.Tensor
        dB, shape [...]; a sine of amplitude 1 has -3 dB, silence -200 dB.

    Raises
    ------
    ValueError
        If there is no sample.

    Example
    -------
    >>> tone = torch.sin(torch.arange(16000) * 0.1)
    >>> half = torch.cat((tone, torch.zeros(16000)))
    >>> active_level(torch.stack((half, 0.1 * half))).round()
    tensor([ -3., -23.])
    """
    if waveform.shape[-1] == 0:
        raise ValueError("the level of a signal without samples is undefined")
    frame = min(max(1, round(0.032 * fs)), waveform.shape[-1])
    frames = waveform.unfold(-1, frame, frame).float()
    power = frames.square().mean(-1).clamp_min(SILENCE)
    power = power.sort(dim=-1, descending=True).values
    count = torch.arange(1, power.shape[-1] + 1, device=power.device)
    # With the k strongest frames active, the level is total / k and the
    # threshold is power[k - 1]. The largest k that keeps the margin wins;
    # there is one, as max(k power[k - 1]) is at least total / log(frames).
    level = power.sum(-1, keepdim=True) / count
    ratio = 10.0 ** (ACTIVITY_MARGIN / 10.0)
    active = torch.where(level <= ratio * power, count, 1)
    active = active.amax(-1, keepdim=True)
    return 10.0 * torch.log10(level.gather(-1, active - 1)[..., 0])
