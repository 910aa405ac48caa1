"""Diffuse noise with the spatial coherence of a sound field.

The factors of the coherence and the mixer are those of
``spatial_brain.simulation.coherence``, reachable from here as well.
"""

import torch

from spatial_brain.simulation.coherence import (
    array_positions,
    mix_coherent,
    mixing_matrices,
    target_coherence,
)
from spatial_brain.simulation.sources import synthetic_babble

__all__ = [
    "diffuse_noise",
    "mix_coherent",
    "mixing_matrices",
    "target_coherence",
]


def diffuse_noise(
    microphones,
    num_samples,
    *,
    fs,
    kind="spherical",
    generator=None,
    noise=None,
    **field_options,
):
    """Noise from everywhere, as an array of microphones receives it.

    Arguments
    ---------
    microphones : torch.Tensor
        Positions, shape [M, 3], metres; any array, coincident microphones
        included.
    num_samples : int
        Length N.
    fs : int
        Sampling rate, Hz.
    kind : str
        "spherical", "cylindrical" or "corcos" (wind).
    generator : torch.Generator, optional
        Source of randomness, on its own device; the same state gives the
        same noise. Without one the global state of torch is used.
    noise : str or torch.Tensor, optional
        What to mix. Nothing or "white": white Gaussian noise of power 1.
        "babble": synthetic talkers, power 1. A tensor [L] with L >= M N:
        one long recording, cut into M independent segments. A tensor [M, N]:
        independent signals, one per microphone. Segments and signals are
        brought to equal power, their mean power.
    **field_options
        ``sound_speed``, ``wind_speed``, ``wind_direction`` of
        :func:`target_coherence`.

    Returns
    -------
    torch.Tensor
        Shape [M, N], float32, on the device of ``microphones``; every
        microphone has the power of the noise put in.

    Raises
    ------
    ValueError
        If the noise given is too short, has another shape, or is silent; if
        ``num_samples`` is not positive; as :func:`target_coherence`.

    Example
    -------
    >>> generator = torch.Generator().manual_seed(1)
    >>> positions = [[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]]
    >>> noise = diffuse_noise(positions, 16000, fs=16000, generator=generator)
    >>> noise.shape, noise.std().round(decimals=1)
    (torch.Size([2, 16000]), tensor(1.))
    """
    microphones = array_positions(microphones)
    if num_samples < 1:
        raise ValueError(f"num_samples must be positive, got {num_samples}")
    mixing = mixing_matrices(microphones, fs=fs, kind=kind, **field_options)
    channels = len(microphones)
    if noise is None or isinstance(noise, str):
        signals = _own_noise(noise, channels, num_samples, fs, generator)
    else:
        signals = _given_noise(noise, channels, num_samples)
    signals = signals.to(microphones.device, torch.float32)
    return mix_coherent(signals, mixing)


def _own_noise(name, channels, num_samples, fs, generator):
    """Make white noise or babble of power 1, shape [channels, time]."""
    if name == "babble":
        return _equal_power(
            synthetic_babble(
                num_samples, fs, num_channels=channels, generator=generator
            ),
            power=1.0,
        )
    if name not in (None, "white"):
        raise ValueError(
            f'noise must be "white", "babble" or a tensor, got {name!r}'
        )
    device = generator.device if generator is not None else "cpu"
    return torch.randn(
        channels, num_samples, generator=generator, device=device
    )


def _given_noise(noise, channels, num_samples):
    """Cut a recording into segments or check signals, at equal power."""
    noise = torch.as_tensor(noise)
    if noise.ndim == 1:
        if len(noise) < channels * num_samples:
            raise ValueError(
                f"noise of {len(noise)} samples is too short: {channels} "
                f"independent segments of {num_samples} samples need "
                f"{channels * num_samples}; give a longer recording or ask "
                "for fewer samples"
            )
        # The segments lie as far apart as the recording allows.
        step = len(noise) // channels
        noise = noise[: channels * step].reshape(channels, step)
        noise = noise[:, :num_samples]
    if noise.shape != (channels, num_samples):
        raise ValueError(
            f"noise must be [L] or [{channels}, {num_samples}] (microphones, "
            f"samples), got {tuple(noise.shape)}"
        )
    return _equal_power(noise)


def _equal_power(signals, power=None):
    """Scale signals [M, N] to one power, by default their mean power."""
    each = signals.square().mean(-1, keepdim=True)
    if not bool((each > 0).all()):
        silent = (each[:, 0] <= 0).nonzero().flatten().tolist()
        raise ValueError(
            f"noise for microphones {silent} is silent; choose another part"
        )
    wanted = each.mean() if power is None else power
    return signals * (wanted / each).sqrt()
