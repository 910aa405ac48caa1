"""Covariances of what comes from a direction and of all the rest."""

import torch

from spatial_brain.processing.stft import check_transform

# Microphone noise that is assumed beside the diffuse field, share of power.
_NOISE_SHARE = 1e-2
# Frames over which powers are averaged before they are compared.
_SMOOTHED = 3
# Exponent of the shares: bins that are clearly one or the other decide.
_SHARPNESS = 4
# Numbers of a block of frames.
_BLOCK = 2**22
_TINY = 1e-30


def direction_mask(spectra, look, diffuse):
    """Share of the sound that comes from a direction.

    Each bin is taken as a plane wave from there in a diffuse field with some
    microphone noise; their powers are the maximum likelihood estimates of
    Ye and DeGroat (IEEE TSP 43, 1995), averaged over three frames.

    Arguments
    ---------
    spectra : torch.Tensor
        [bin, channel, frame], complex.
    look : torch.Tensor
        Response to the direction, [bin, channel].
    diffuse : torch.Tensor
        Coherence of the field, [bin, channel, channel].

    Returns
    -------
    torch.Tensor
        In [0, 1], [bin, frame].

    Example
    -------
    >>> look = torch.ones(1, 2, dtype=torch.complex128)
    >>> spectra = torch.ones(1, 2, 1, dtype=torch.complex128)
    >>> mask = direction_mask(spectra, look, torch.eye(2).to(look)[None])
    >>> mask.round(decimals=2)
    tensor([[1.]], dtype=torch.float64)
    """
    channels = look.shape[-1]
    eye = torch.eye(channels, dtype=diffuse.dtype)
    inverse = torch.linalg.inv(diffuse + _NOISE_SHARE * eye)
    matched = (inverse @ look[..., None])[..., 0].to(spectra)
    strength = (look.conj() * matched).sum(-1).real[:, None].to(spectra.real)
    inverse = inverse.to(spectra)
    total = (spectra.conj() * (inverse @ spectra)).sum(1).real
    wave = (matched.conj()[:, None] @ spectra)[:, 0].abs().square() / strength
    total, wave = _smoothed(total), _smoothed(wave)
    noise = (total - wave).clamp_min(0.0) / max(1, channels - 1)
    source = (wave - noise).clamp_min(0.0) / strength
    return source / (source + noise + _TINY)


def _smoothed(power):
    """Mean [bin, frame] over neighbouring frames."""
    return torch.nn.functional.avg_pool1d(
        power[None],
        _SMOOTHED,
        stride=1,
        padding=_SMOOTHED // 2,
        count_include_pad=False,
    )[0]


def masked_covariances(waveform, look, diffuse, n_fft):
    """Covariances of the sound from a direction and of the rest.

    Arguments
    ---------
    waveform : torch.Tensor
        [channel, time].
    look : torch.Tensor
        Response to the direction, [n_fft / 2 + 1, channel].
    diffuse : torch.Tensor
        Coherence of a diffuse field, [n_fft / 2 + 1, channel, channel].
    n_fft : int
        Length of the frames (Hann window), which follow each other by a
        quarter; samples.

    Returns
    -------
    tuple of torch.Tensor
        Sums over frames, weighted by the fourth powers of the mask and of
        the rest to 1, each complex128 [bin, channel, channel].

    Example
    -------
    >>> look = torch.ones(33, 2, dtype=torch.complex128)
    >>> diffuse = torch.eye(2).to(look).expand(33, 2, 2)
    >>> same = torch.randn(1, 400).expand(2, 400)
    >>> signal, noise = masked_covariances(same, look, diffuse, 64)
    >>> bool(signal.abs().sum() > 100 * noise.abs().sum())
    True
    """
    hop = n_fft // 4
    check_transform(n_fft, hop, n_fft)
    channels, total = waveform.shape
    frames = max(1, 1 + -(-(total - n_fft) // hop))
    missing = (frames - 1) * hop + n_fft - total
    padded = torch.nn.functional.pad(waveform, (0, missing))
    framed = padded.unfold(-1, n_fft, hop)
    taper = torch.hann_window(n_fft).to(waveform)
    sums = [torch.zeros_like(diffuse) for _ in range(2)]
    size = max(8, _BLOCK // (channels * n_fft))
    for block in framed.split(size, dim=1):
        spectra = torch.fft.rfft(block * taper).permute(2, 0, 1)
        mask = direction_mask(spectra, look, diffuse)
        for index, share in enumerate((mask, 1 - mask)):
            weight = share[:, None] ** _SHARPNESS
            sums[index] += (spectra * weight) @ spectra.mH
    return tuple(sums)
