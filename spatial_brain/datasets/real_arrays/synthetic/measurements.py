"""Responses and noises of shoebox rooms, for the writers of corpora."""

import torch

from spatial_brain.simulation import diffuse_noise, simulate_rir

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


def measured_response(size, source, microphones, *, t60, fs, seed, seconds):
    """Response of a room, as a file of a corpus holds it.

    Arguments
    ---------
    size : sequence of float
        Of the room, metres.
    source : torch.Tensor
        Position, metres from a corner, [3].
    microphones : torch.Tensor
        Positions, metres from a corner, [M, 3].
    t60 : float
        Seconds.
    fs : int
        Sampling rate, Hz.
    seed : int
        Of the diffuse tail.
    seconds : float
        Length.

    Returns
    -------
    torch.Tensor
        float32 [time, M], not larger than 0.9.

    Example
    -------
    >>> response = measured_response(
    ...     (4.0, 3.0, 2.5),
    ...     torch.tensor([1.0, 1.0, 1.2]),
    ...     torch.tensor([[2.0, 1.5, 1.2], [2.1, 1.5, 1.2]]),
    ...     t60=0.3,
    ...     fs=16000,
    ...     seed=0,
    ...     seconds=0.25,
    ... )
    >>> response.shape
    torch.Size([4000, 2])
    """
    [rir] = simulate_responses(
        size, t60, source[None], microphones, fs=fs, duration=seconds, seed=seed
    )
    return 0.9 * rir.T / max(rir.abs().max().item(), 0.9)


def measured_noise(microphones, *, seconds, fs, seed, level=0.01):
    """Diffuse noise at an array, as a file of a corpus holds it.

    Arguments
    ---------
    microphones : torch.Tensor
        Positions, metres, [M, 3].
    seconds : float
        Length.
    fs : int
        Sampling rate, Hz.
    seed : int
        Of the noise.
    level : float
        Standard deviation.

    Returns
    -------
    torch.Tensor
        float32 [time, M].

    Example
    -------
    >>> measured_noise(torch.eye(3), seconds=0.1, fs=16000, seed=1).shape
    torch.Size([1600, 3])
    """
    noise = diffuse_noise(
        microphones,
        int(seconds * fs),
        fs=fs,
        generator=torch.Generator().manual_seed(seed),
    )
    return level * noise.T
