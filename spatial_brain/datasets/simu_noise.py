"""Noise at two microphones, with the coherence of a diffuse field."""

import functools
import math

import numpy as np
import torch
from scipy import signal
from scipy.fft import next_fast_len

# STFT of the original's generator (after E. Habets' ANF-Generator).
_NFFT, _OVERLAP = 256, 192


def seeded_generator(seed, device):
    """Generator of torch on a device.

    Arguments
    ---------
    seed : int
        Any integer of 63 bits.
    device : torch.device
        Where numbers are drawn.

    Returns
    -------
    torch.Generator

    Example
    -------
    >>> seeded_generator(1, torch.device("cpu")).initial_seed()
    1
    """
    return torch.Generator(device).manual_seed(int(seed))


def diffuse_pairs(microphones, spectra, fs, nfft, sound_speed):
    """Mix independent spectra to those of a diffuse field at two microphones.

    With coherence g = sin(k d) / (k d) and a, b = (sqrt(1 + g) +- sqrt(1 -
    g)) / 2 the signals are a n1 + b n2 and b n1 + a n2, at every frequency:
    the balanced factor of ``spatial_brain.simulation.coherence`` in closed
    form.

    Arguments
    ---------
    microphones : torch.Tensor
        Metres, [B, 2, 3].
    spectra : torch.Tensor
        Of two signals of equal power, complex [B, 2, nfft / 2 + 1].
    fs : int
        Sampling rate, Hz.
    nfft : int
        Length of the signals.
    sound_speed : float
        Metres per second.

    Returns
    -------
    torch.Tensor
        Shape of ``spectra``.

    Example
    -------
    >>> places = torch.tensor([[[0.0, 0, 0], [0.0, 0, 0]]])
    >>> spectra = torch.ones(1, 2, 3, dtype=torch.complex64)
    >>> spectra[:, 1] = -1.0
    >>> diffuse_pairs(places, spectra, 16000, 4, 343.0).abs().max()
    tensor(0.)
    """
    spacing = torch.linalg.vector_norm(microphones.diff(dim=1), dim=-1)
    spacing = spacing.to(spectra.device, torch.float32)
    frequency = torch.arange(
        spectra.shape[-1], dtype=torch.float32, device=spectra.device
    )
    coherence = torch.sinc(frequency * (2 * fs / nfft / sound_speed) * spacing)
    coherence = coherence.clamp(-1, 1)
    together, apart = (1 + coherence).sqrt(), (1 - coherence).sqrt()
    half_sum = 0.5 * together * (spectra[:, 0] + spectra[:, 1])
    half_difference = 0.5 * apart * (spectra[:, 0] - spectra[:, 1])
    return torch.stack(
        (half_sum + half_difference, half_sum - half_difference), dim=1
    )


def white_diffuse_pairs(
    microphones, num_samples, generators, *, fs, sound_speed, device
):
    """White noise of power 1 as a diffuse field gives it to two microphones.

    Arguments
    ---------
    microphones : torch.Tensor
        Metres, [B, 2, 3].
    num_samples : int
        Length.
    generators : list of torch.Generator
        One for each of the B pairs, on ``device``.
    fs : int
        Sampling rate, Hz.
    sound_speed : float
        Metres per second.
    device : torch.device
        Where to compute.

    Returns
    -------
    torch.Tensor
        float32 [B, 2, num_samples].

    Example
    -------
    >>> noise = white_diffuse_pairs(
    ...     torch.tensor([[[0.0, 0, 0], [0.1, 0, 0]]]),
    ...     16000,
    ...     [torch.Generator().manual_seed(0)],
    ...     fs=16000,
    ...     sound_speed=343.0,
    ...     device=torch.device("cpu"),
    ... )
    >>> noise.shape, noise.std().round(decimals=1)
    (torch.Size([1, 2, 16000]), tensor(1.))
    """
    nfft = next_fast_len(num_samples, real=True)
    nfft += nfft % 2
    spectra = torch.empty(len(generators), 2, nfft // 2 + 1, 2, device=device)
    for row, generator in zip(spectra, generators, strict=True):
        row.normal_(generator=generator)
    # Spectra of white noise: independent, of variance nfft (nfft / 2 a part).
    spectra = torch.view_as_complex(spectra) * math.sqrt(nfft / 2)
    spectra[..., 0] = 0.0
    mixed = diffuse_pairs(microphones, spectra, fs, nfft, sound_speed)
    return torch.fft.irfft(mixed, n=nfft)[..., :num_samples]


def draw_noise(distribution, microphones, seeds, speech):
    """White noise of the kind a distribution asks for.

    Arguments
    ---------
    distribution : SceneDistribution
        ``noise_type`` is "diffuse_white", "spatial_white" or "none"; babble
        is made by whoever has the talkers.
    microphones : torch.Tensor
        Metres, [B, 2, 3].
    seeds : torch.Tensor
        int64 [B].
    speech : torch.Tensor
        [B, time]; only shape and device count.

    Returns
    -------
    torch.Tensor
        float32 [B, 2, time].

    Raises
    ------
    ValueError
        If the kind is another one.

    Example
    -------
    >>> from spatial_brain.datasets.simu_scenes import SceneDistribution
    >>> draw_noise(
    ...     SceneDistribution(noise_type="spatial_white"),
    ...     torch.zeros(1, 2, 3),
    ...     torch.tensor([5]),
    ...     torch.zeros(1, 100),
    ... ).shape
    torch.Size([1, 2, 100])
    """
    kind, device = distribution.noise_type, speech.device
    num_samples = speech.shape[1]
    if kind == "none":
        return speech.new_zeros(len(speech), 2, num_samples)
    generators = [seeded_generator(seed, device) for seed in seeds.tolist()]
    if kind == "spatial_white":
        noise = speech.new_empty(len(speech), 2, num_samples)
        for row, generator in zip(noise, generators, strict=True):
            row.normal_(generator=generator)
        return noise
    if kind != "diffuse_white":
        raise ValueError(f"noise_type {kind!r} must be given as signals")
    return white_diffuse_pairs(
        microphones,
        num_samples,
        generators,
        fs=distribution.fs,
        sound_speed=distribution.c,
        device=device,
    )


@functools.lru_cache(maxsize=8)
def _anf_frequencies(fs):
    """Angular frequencies of the bins of the original's generator."""
    return 2 * np.pi * fs * np.arange(_NFFT // 2 + 1) / _NFFT


def anf_noise(signals, spacing, fs=16000, sound_speed=343.0):
    """Diffuse noise exactly as the original's generator mixes it.

    After E. Habets' ANF-Generator: STFT of 256 samples (Hann, overlap 192),
    mixed in every bin by the upper Cholesky factor of the coherence, nothing
    at 0 Hz; divided by the largest sample.

    Arguments
    ---------
    signals : numpy.ndarray
        Independent signals of equal power, [time, 2].
    spacing : float
        Of the microphones, metres.
    fs : int
        Sampling rate, Hz.
    sound_speed : float
        Metres per second.

    Returns
    -------
    numpy.ndarray
        float64 [time, 2].

    Example
    -------
    >>> signals = np.random.RandomState(0).standard_normal((6400, 2))
    >>> noise = anf_noise(signals, 0.1)
    >>> noise.shape, round(float(noise.max()), 6)
    ((6400, 2), 1.0)
    """
    omega = _anf_frequencies(fs)
    coherence = np.sinc(omega * spacing / (np.pi * sound_speed))
    other = np.sqrt(np.clip(1 - coherence**2, 0, None))
    first = np.ones_like(coherence)
    first[0] = coherence[0] = other[0] = 0.0
    options = {"fs": fs, "nperseg": _NFFT, "noverlap": _OVERLAP}
    _, _, spectra = signal.stft(signals.T, window="hann", **options)
    mixed = np.stack(
        (
            first[:, None] * spectra[0],
            coherence[:, None] * spectra[0] + other[:, None] * spectra[1],
        )
    )
    _, noise = signal.istft(mixed, window="hann", **options)
    noise = noise.T[: len(signals)]
    return noise / (noise.max() + 1e-8)


def coherent_talkers(signals, microphones, fs, sound_speed):
    """Give independent signals the coherence of a diffuse field.

    Arguments
    ---------
    signals : torch.Tensor
        float32 [2, time], of about equal power.
    microphones : torch.Tensor
        Metres, [2, 3].
    fs : int
        Sampling rate, Hz.
    sound_speed : float
        Metres per second.

    Returns
    -------
    torch.Tensor
        float32 [2, time].

    Example
    -------
    >>> talkers = torch.randn(2, 1000)
    >>> coherent_talkers(talkers, torch.zeros(2, 3), 16000, 343.0).shape
    torch.Size([2, 1000])
    """
    num_samples = signals.shape[-1]
    nfft = next_fast_len(num_samples, real=True)
    nfft += nfft % 2
    spectra = torch.fft.rfft(signals, n=nfft)[None]
    mixed = diffuse_pairs(microphones[None], spectra, fs, nfft, sound_speed)
    return torch.fft.irfft(mixed, n=nfft)[0, :, :num_samples]
