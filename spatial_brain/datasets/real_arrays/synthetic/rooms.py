"""Impulse responses and noise for the writers of synthetic data."""

import torch

from spatial_brain.simulation import simulate_rir

# Decay in dB behind which the tail is diffuse; keeps writers fast.
_TAIL = 15.0


def simulate_responses(
    room_size, t60, sources, microphones, *, fs, duration=None, seed=0
):
    """Responses of a room; delays, levels and T60 are true.

    Arguments
    ---------
    room_size : sequence of float
        Metres.
    t60 : float
        Seconds.
    sources, microphones : torch.Tensor
        Positions in metres in the room, [S, 3] and [M, 3].
    fs : int
        Sampling rate, Hz.
    duration : float, optional
        Seconds; default: as long as the reverberation.
    seed : int
        Of the diffuse tail.

    Returns
    -------
    torch.Tensor
        float32 [S, M, time].

    Example
    -------
    >>> import torch
    >>> simulate_responses(
    ...     (5, 4, 3), 0.3, torch.ones(1, 3), 2 * torch.ones(2, 3), fs=8000
    ... ).shape
    torch.Size([1, 2, 2400])
    """
    return simulate_rir(
        room_size,
        torch.as_tensor(sources),
        torch.as_tensor(microphones),
        fs=fs,
        t60=t60,
        duration=duration,
        diffuse_from=_TAIL,
        generator=torch.Generator().manual_seed(seed),
    )
