"""Sound in a room and noise, mixed as SAR-SSL does it."""

import torch

# Largest sample of mixture and direct sound.
_PEAK = 0.9
_GUARD = 1e-10


def mix_at_snr(clean, direct, noise, snr):
    """Add noise to sound in a room, relative to the direct sound.

    Arguments
    ---------
    clean : torch.Tensor
        Sound with all reflections, [B, 2, time]; it is changed.
    direct : torch.Tensor
        The direct sound alone, [B, 2, time].
    noise : torch.Tensor
        Noise of any level, [B, 2, time].
    snr : torch.Tensor
        Power of the direct sound to that of the noise, both averaged over
        time and microphones, dB, [B].

    Returns
    -------
    tuple of torch.Tensor
        Mixture and direct sound, scaled so that the larger peak is 0.9.

    Raises
    ------
    ValueError
        If the direct sound is silent.

    Example
    -------
    >>> direct = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    >>> noise = torch.ones(1, 2, 2)
    >>> mixed, _ = mix_at_snr(direct.clone(), direct, noise, torch.zeros(1))
    >>> mixed
    tensor([[[0.3728, 0.9000],
             [0.9000, 0.3728]]])
    """
    power = direct.square().mean((-2, -1))
    if not bool((power > 0).all()):
        silent = (power == 0).nonzero().flatten().tolist()
        raise ValueError(f"speech of items {silent} of the batch is silent")
    wanted = power / 10.0 ** (snr.to(power) / 10.0)
    gain = wanted.sqrt() / (noise.square().mean((-2, -1)).sqrt() + _GUARD)
    clean += gain[:, None, None] * noise
    peak = torch.maximum(clean.abs().amax((1, 2)), direct.abs().amax((1, 2)))
    scale = (_PEAK / peak)[:, None, None]
    return clean * scale, direct * scale
