"""Stationary noise of any colour and of the coherence of a sound field.

Made in one transform of the whole length, whose bins are mixed by the
principal roots of the coherence: a tenth of the time that short-time
transforms take, for training data that are drawn again and again.
"""

import torch

from spatial_brain.simulation.noise_field import target_coherence

# Bins this close share one matrix, hertz.
_STEP = 50.0


def coloured_noise(
    microphones,
    num_samples,
    colour=None,
    *,
    fs,
    kind="spherical",
    generator=None,
):
    """Noise of an array, diffuse or of the microphones themselves.

    Arguments
    ---------
    microphones : torch.Tensor
        Positions, metres, [M, 3].
    num_samples : int
        Length N; the noise is periodic in it.
    colour : torch.Tensor, optional
        Amplitude of each bin of the transform of N samples, [N // 2 + 1];
        default: white.
    fs : int
        Sampling rate, Hz.
    kind : str
        ``"spherical"`` or ``"cylindrical"``, see
        :func:`~spatial_brain.simulation.noise_field.target_coherence`, or
        ``"independent"``.
    generator : torch.Generator, optional
        Source of randomness; default: that of torch.

    Returns
    -------
    torch.Tensor
        [N, M], float32, without constant component; mean power 1.

    Raises
    ------
    ValueError
        If the kind is unknown or a shape is wrong.

    Example
    -------
    >>> pair = torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]])
    >>> noise = coloured_noise(pair, 4000, fs=16000)
    >>> noise.shape, noise.square().mean().round(decimals=3)
    (torch.Size([4000, 2]), tensor(1.))
    """
    if kind not in ("spherical", "cylindrical", "independent"):
        raise ValueError(
            'kind must be "spherical", "cylindrical" or "independent", got '
            f"{kind!r}"
        )
    microphones = torch.as_tensor(microphones, dtype=torch.float64)
    bins, channels = num_samples // 2 + 1, len(microphones)
    spectrum = torch.randn(channels, bins, 2, generator=generator)
    if colour is not None:
        spectrum *= torch.as_tensor(colour).float()[:, None]
    spectrum[:, 0] = 0.0
    if kind != "independent":
        spectrum = _mix(microphones, spectrum, num_samples / fs, kind)
    noise = torch.fft.irfft(torch.view_as_complex(spectrum), n=num_samples)
    return (noise / noise.square().mean().sqrt()).T.contiguous()


def _mix(microphones, spectrum, seconds, kind):
    """Give the rows of a spectrum [M, K, 2] the coherence of a field."""
    channels, bins = spectrum.shape[:2]
    width = max(1, round(_STEP * seconds))
    count = -(-bins // width)
    padded = torch.nn.functional.pad(
        spectrum, (0, 0, 0, count * width - bins)
    ).reshape(channels, count, -1)
    centres = (torch.arange(count) + 0.5) * (width / seconds)
    values, vectors = torch.linalg.eigh(
        target_coherence(microphones, centres, kind)
    )
    # Coherence is real here, and so is its root, the same at both sides.
    roots = (vectors * values.clamp_min(0).sqrt()[:, None]) @ vectors.mT
    mixed = torch.bmm(roots.float(), padded.transpose(0, 1))
    mixed = mixed.transpose(0, 1).reshape(channels, count * width, 2)
    return mixed[:, :bins].contiguous()
