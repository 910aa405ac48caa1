"""Signals and labels of simulated scenes, one or many at once.

Everything is tensor code on batches: a worker of a data loader renders one
scene, a training step a whole batch on its accelerator. Each scene has its
own seeds, so that it is the same in any batch; CPUs and accelerators have
different random numbers.

Image sources carry the response until it has decayed by ``ism_db``; noise
that decays exponentially with the room's T60 (Sabine) goes on to -40 dB, as in
gpuRIR (D. Diaz-Guerra, A. Miguel and J. R. Beltran, Multimedia Tools and
Applications 80, 2021, arXiv:1810.11359). The noise is drawn again until the
T60 measured in the response (``decay_t60``) differs by less than 0.05 s from
the requested one and the decay correlates with a line by more than 0.5. After
eight attempts the nearest response is taken; its labels are its own in any
case.
"""

import functools
import math
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import torch
from scipy import signal
from scipy.fft import next_fast_len

from spatial_brain.datasets.microphone_pairs.mixing import mix_at_snr
from spatial_brain.simulation.rir.absorption import Decay
from spatial_brain.simulation.rir.fractional_delay import (
    SKIRT,
    TAPS,
    grid_length,
    grid_to_samples,
    high_pass,
)
from spatial_brain.simulation.rir.lattice import (
    accumulate,
    build_lattice,
    lattice_response,
    single_threaded,
)
from spatial_brain.simulation.room_labels import decay_t60, pair_labels

# STFT of the original's generator (after E. Habets' ANF-Generator).
_NFFT, _OVERLAP = 256, 192
# Decay of the whole response, dB; shorter T60 have image sources only.
_END_DB, _SHORT_T60 = 40.0, 0.15
# Time over which the level at the switch is taken, seconds: the original's,
# and a longer one over both microphones, which varies less.
_JOIN_COMPAT, _JOIN = 0.01, 0.02
# The response goes on for so long before the high-pass, by its mean.
_RUN_OUT = 0.1
# What is accepted, and how often late reverberation is drawn for it.
_T60_ERROR, _CORRELATION, _ATTEMPTS = 0.05, 0.5, 8
# Scale of logistic noise of power 1, and its guard.
_LOGISTIC, _GUARD = 0.551329, 1e-6


def _seeded_generator(seed, device):
    """Generator of torch on a device."""
    return torch.Generator(device).manual_seed(int(seed))


def _diffuse_pairs(microphones, spectra, fs, nfft, sound_speed):
    """Mix independent spectra [B, 2, bin] to those of a diffuse field."""
    # With coherence g = sin(k d) / (k d) and a, b = (sqrt(1 + g) +- sqrt(1 -
    # g)) / 2 the signals are a n1 + b n2 and b n1 + a n2, at every frequency:
    # the balanced factor of simulation.noise_field in closed form.
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


def _white_diffuse_pairs(
    microphones, num_samples, generators, *, fs, sound_speed, device
):
    """White noise of power 1 in a diffuse field, float32 [B, 2, time]."""
    nfft = next_fast_len(num_samples, real=True)
    nfft += nfft % 2
    spectra = torch.empty(len(generators), 2, nfft // 2 + 1, 2, device=device)
    for row, generator in zip(spectra, generators, strict=True):
        row.normal_(generator=generator)
    # Spectra of white noise: independent, of variance nfft (nfft / 2 a part).
    spectra = torch.view_as_complex(spectra) * math.sqrt(nfft / 2)
    spectra[..., 0] = 0.0
    mixed = _diffuse_pairs(microphones, spectra, fs, nfft, sound_speed)
    return torch.fft.irfft(mixed, n=nfft)[..., :num_samples]


def _draw_noise(distribution, microphones, seeds, speech):
    """White noise of the kind a distribution asks for, [B, 2, time]."""
    kind, device = distribution.noise_type, speech.device
    num_samples = speech.shape[1]
    if kind == "none":
        return speech.new_zeros(len(speech), 2, num_samples)
    generators = [_seeded_generator(seed, device) for seed in seeds.tolist()]
    if kind == "spatial_white":
        noise = speech.new_empty(len(speech), 2, num_samples)
        for row, generator in zip(noise, generators, strict=True):
            row.normal_(generator=generator)
        return noise
    if kind != "diffuse_white":
        raise ValueError(f"noise_type {kind!r} must be given as signals")
    return _white_diffuse_pairs(
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


def coherent_signals(signals, microphones, fs, sound_speed):
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
    >>> signals = torch.randn(2, 1000)
    >>> coherent_signals(signals, torch.zeros(2, 3), 16000, 343.0).shape
    torch.Size([2, 1000])
    """
    num_samples = signals.shape[-1]
    nfft = next_fast_len(num_samples, real=True)
    nfft += nfft % 2
    spectra = torch.fft.rfft(signals, n=nfft)[None]
    mixed = _diffuse_pairs(microphones[None], spectra, fs, nfft, sound_speed)
    return torch.fft.irfft(mixed, n=nfft)[0, :, :num_samples]


@dataclass(frozen=True)
class _PairResponses:
    """Responses of one source to two microphones in several rooms."""

    # Whole responses and direct paths, float32 [B, 2, samples], zero-padded.
    full: torch.Tensor
    direct: torch.Tensor
    # Measured, mean over the microphones, float64 seconds [B].
    t60: torch.Tensor
    # Whether T60 and straightness of the decay are as requested, [B].
    accepted: torch.Tensor


def _even(value):
    """Smallest even number that is not below ``value``."""
    return 2 * math.ceil(value / 2 - 1e-9)


def _response_samples(distribution, t60):
    """Samples with image sources, and in all, of a response; even."""
    whole = _even(_END_DB / 60 * t60 * distribution.fs)
    if t60 < _SHORT_T60:
        return whole, whole
    return _even(distribution.ism_db / 60 * t60 * distribution.fs), whole


@torch.no_grad()
def _scene_responses(distribution, scenes, seeds, device="cpu"):
    """Impulse responses of scenes, drawn until their T60 is accepted."""
    device = torch.device(device)
    lengths = [_response_samples(distribution, t) for t in scenes.t60.tolist()]
    images = _image_part(distribution, scenes, lengths, device)
    generators = [_seeded_generator(seed, device) for seed in seeds.tolist()]
    requested = scenes.t60_requested.to(device)
    best = None
    for _ in range(_ATTEMPTS):
        full = _complete(distribution, scenes, lengths, images, generators)
        seconds, correlation = decay_t60(full, distribution.fs)
        t60 = seconds.mean(-1)
        error = (t60 - requested).abs().nan_to_num(math.inf)
        straight = (correlation.abs() > _CORRELATION).all(-1)
        accepted = (error < _T60_ERROR) & straight
        if best is None:
            best = [full, t60, accepted, error]
        else:
            # What was accepted at an earlier attempt stays.
            better = ~best[2] & (accepted | (error < best[3]))
            for old, new in zip(
                best, (full, t60, accepted, error), strict=True
            ):
                old[better] = new[better]
        if bool(best[2].all()):
            break
    direct = _direct_paths(distribution, scenes, best[0].shape[-1], device)
    return _PairResponses(best[0], direct, best[1], best[2])


def _image_part(distribution, scenes, lengths, device):
    """Image sources of all pairs, float32 [B, 2, samples]."""
    pairs = 2 * len(lengths)
    most = max(images for images, _ in lengths)
    scale = distribution.fs / distribution.c
    # Images after the last sample still reach into it.
    reach = torch.tensor(
        [(images + SKIRT) / scale for images, _ in lengths],
        dtype=torch.float64,
    )
    tables = [
        part.repeat_interleave(2, dim=0).to(device)
        for part in (scenes.room_size, scenes.source)
    ]
    tables.append(scenes.microphones.reshape(pairs, 3).to(device))
    tables += [
        part.repeat_interleave(2, dim=0).to(device)
        for part in (scenes.absorption, reach)
    ]
    with single_threaded():
        if distribution.has("alternating"):
            response = _alternating(tables, most, scale)
        else:
            response = lattice_response(*tables, num_samples=most, scale=scale)
    return response.view(len(lengths), 2, most)


def _alternating(tables, num_samples, scale):
    """Lattice whose reflections change sign with every wall."""
    lattice = build_lattice(*tables)
    for gain in lattice.gain:
        gain[:, 1 - (gain.shape[1] // 2) % 2 :: 2] *= -1
    device = tables[0].device
    grid = torch.zeros(len(tables[0]), grid_length(num_samples), device=device)
    accumulate(lattice, grid, scale)
    return grid_to_samples(grid, num_samples)


def _complete(distribution, scenes, lengths, images, generators):
    """Add late reverberation to image sources, [B, 2, samples]."""
    device = images.device
    longest = max(whole for _, whole in lengths)
    # Positive reflections build up a mean, which a high-pass removes.
    positive = not distribution.has("alternating")
    after = math.ceil(_RUN_OUT * distribution.fs) if positive else 0
    total = longest + after
    full = images.new_zeros(len(lengths), 2, total)
    noise = _late_noise(distribution, scenes, generators, device)
    mean = _means(distribution, scenes, total, device) if positive else None
    for row, (number, whole) in enumerate(lengths):
        part = images[row, :, :number]
        full[row, :, :number] = part
        if positive:
            full[row, :, number : whole + after] = mean[
                row, number : whole + after
            ]
            part = part - mean[row, :number]
        if whole > number:
            tail = _tail(distribution, scenes, row, part, noise[row], whole)
            full[row, :, number:whole] += tail
    if positive:
        full = high_pass(full, distribution.fs)
        for row, (_, whole) in enumerate(lengths):
            full[row, :, whole:] = 0.0
    return full[..., :longest].contiguous()


def _means(distribution, scenes, num_samples, device):
    """Mean sound pressure of the lattices, float32 [B, samples]."""
    rows = []
    for size, walls in zip(
        scenes.room_size.tolist(), scenes.absorption.tolist(), strict=True
    ):
        decay = Decay(size, walls, distribution.c)
        rows.append(
            torch.from_numpy(
                decay.samples(decay.mean, num_samples, distribution.fs)
            )
        )
    return torch.stack(rows).to(device)


@functools.lru_cache(maxsize=16)
def _late_samples(distribution):
    """Length of the noise drawn for any scene."""
    images, whole = _response_samples(distribution, distribution.T60_range[1])
    return next_fast_len(max(whole - images, 0) + 4, real=True)


def _late_noise(distribution, scenes, generators, device):
    """Noise of power 1 for late reverberation, [B, 2, samples]."""
    num_samples = _late_samples(distribution)
    if distribution.has("independent_tail"):
        noise = torch.empty(len(generators), 2, num_samples, device=device)
        for row, generator in zip(noise, generators, strict=True):
            row.uniform_(generator=generator)
        return _LOGISTIC * (noise / (1 - noise + _GUARD)).log().clamp_min(-40)
    return _white_diffuse_pairs(
        scenes.microphones,
        num_samples,
        generators,
        fs=distribution.fs,
        sound_speed=distribution.c,
        device=device,
    )


def _tail(distribution, scenes, row, images, noise, whole):
    """Late reverberation of one scene, at the level the images left it."""
    fs = distribution.fs
    number = images.shape[-1]
    rate = -6 * math.log(10) / (float(scenes.t60[row]) * fs)
    compat = distribution.has("independent_tail")
    window = int((_JOIN_COMPAT if compat else _JOIN) * fs)
    distances = torch.linalg.vector_norm(
        scenes.source[row] - scenes.microphones[row], dim=-1
    )
    arrival = int((distances.max() * fs / distribution.c).ceil())
    begin = min(max(number - window, arrival), number - 2)
    power = images[:, begin:].square().mean(-1, keepdim=True)
    if not compat:
        power = power.mean(0, keepdim=True)
    middle = (begin + number) / 2
    time = torch.arange(number, whole, device=images.device)
    envelope = (0.5 * rate * (time - middle)).exp()
    return power.sqrt() * envelope * noise[:, : whole - number]


def _direct_paths(distribution, scenes, num_samples, device):
    """Direct paths alone: windowed sincs at the exact delays."""
    distances = torch.linalg.vector_norm(
        scenes.source[:, None] - scenes.microphones, dim=-1
    ).to(device)
    delay = distances * (distribution.fs / distribution.c)
    half = TAPS // 2
    offset = torch.arange(-half, half + 2, device=device)
    first = delay.floor()[..., None]
    time = first + offset - delay[..., None]
    window = 0.5 + 0.5 * (2 * math.pi * time / TAPS).cos()
    taps = torch.sinc(time) * window * (time.abs() < TAPS / 2)
    taps = taps / distances[..., None]
    index = (first + offset).long()
    inside = (index >= 0) & (index < num_samples)
    result = torch.zeros(*delay.shape, num_samples, device=device)
    return result.scatter_add_(
        -1,
        index.clamp(0, num_samples - 1),
        torch.where(inside, taps, 0.0).float(),
    )


@dataclass(frozen=True)
class SceneBatch:
    """Numbers of several scenes, ready to be simulated on a device.

    Arguments
    ---------
    room_size : torch.Tensor
        Metres, float64 [B, 3], like all that follow.
    t60 : torch.Tensor
        By Sabine's formula, seconds, [B].
    t60_requested : torch.Tensor
        Seconds, [B].
    absorption : torch.Tensor
        Of energy, six walls, [B, 6].
    microphones : torch.Tensor
        Metres, [B, 2, 3].
    source : torch.Tensor
        Metres, [B, 3].

    Example
    -------
    >>> from spatial_brain.datasets.wsj0_simu.scenes import *
    >>> scene = draw_room_scene(SceneDistribution(), "pretrain", 0)
    >>> batch = SceneBatch.of([scene, scene])
    >>> batch.pack().shape, SceneBatch.unpack(batch.pack()).t60.shape
    (torch.Size([2, 20]), torch.Size([2]))
    """

    room_size: torch.Tensor
    t60: torch.Tensor
    t60_requested: torch.Tensor
    absorption: torch.Tensor
    microphones: torch.Tensor
    source: torch.Tensor

    @classmethod
    def of(cls, scenes):
        """Join scenes (``PairScene``)."""
        return cls(
            *(
                torch.from_numpy(
                    np.stack([getattr(s, field.name) for s in scenes])
                )
                for field in fields(cls)
            )
        )

    def pack(self):
        """One row of numbers a scene, float64 [B, 20]."""
        parts = [getattr(self, field.name) for field in fields(self)]
        return torch.cat([part.reshape(len(part), -1) for part in parts], 1)

    @classmethod
    def unpack(cls, packed):
        """Take apart what :meth:`pack` made."""
        size, t60, requested, absorption, microphones, source = packed.split(
            [3, 1, 1, 6, 6, 3], dim=1
        )
        return cls(
            size,
            t60[:, 0],
            requested[:, 0],
            absorption,
            microphones.reshape(-1, 2, 3),
            source,
        )


class _RenderedPairs(NamedTuple):
    """What ``render_pairs`` returns."""

    waveform: torch.Tensor
    direct: torch.Tensor
    labels: dict


@torch.no_grad()
def render_pairs(distribution, scenes, speech, snr, seeds, noise=None):
    """Simulate scenes with speech as their source.

    Arguments
    ---------
    distribution : SceneDistribution
        How to simulate.
    scenes : SceneBatch
        What to simulate, B scenes.
    speech : torch.Tensor
        float32 [B, time], ``distribution.num_samples`` long; everything is
        computed on its device.
    snr : torch.Tensor
        Direct sound to noise, dB, [B].
    seeds : torch.Tensor
        int64 [B, 2]: of the late reverberation, and of the noise.
    noise : torch.Tensor, optional
        Noise at the microphones, [B, 2, time]; drawn by default.

    Returns
    -------
    waveform : torch.Tensor
        float32 [B, time, 2], scaled so that it or the direct sound has a peak
        of 0.9.
    direct : torch.Tensor
        The direct sound alone, float32 [B, time, 2].
    labels : dict of torch.Tensor
        float32 [B]: those of ``pair_labels``, and "SNR" (direct sound to
        noise, dB).

    Raises
    ------
    ValueError
        If the speech has another length or is silent.

    Example
    -------
    >>> from spatial_brain.datasets.wsj0_simu.scenes import *
    >>> few = SceneDistribution(T=0.5)
    >>> scene = SceneBatch.of([draw_room_scene(few, "pretrain", 0)])
    >>> rendered = render_pairs(
    ...     few,
    ...     scene,
    ...     torch.randn(1, 8000),
    ...     torch.tensor([20.0]),
    ...     torch.tensor([[1, 2]]),
    ... )
    >>> rendered.waveform.shape, sorted(rendered.labels)
    (torch.Size([1, 8000, 2]), ['ABS', 'C50', 'DRR', 'SNR', 'SUR', 'T60', \
'TDOA', 'VOL'])
    """
    length = distribution.num_samples
    if speech.ndim != 2 or speech.shape[1] != length:
        raise ValueError(
            f"speech must be [batch, {length}] samples, got "
            f"{tuple(speech.shape)}"
        )
    response = _scene_responses(
        distribution, scenes, seeds[:, 0], device=speech.device
    )
    rirs = torch.stack((response.full, response.direct), dim=1)
    clean, direct = _convolve(distribution, speech, rirs).unbind(1)
    if noise is None:
        noise = _draw_noise(
            distribution, scenes.microphones, seeds[:, 1], speech
        )
    mixture, direct = mix_at_snr(clean, direct, noise, snr)
    labels = pair_labels(
        response.full,
        response.direct,
        room_size=scenes.room_size,
        microphones=scenes.microphones,
        source=scenes.source,
        fs=distribution.fs,
        sound_speed=distribution.c,
        t60=response.t60,
        half_surface=distribution.has("half_surface"),
        half_precision=distribution.has("float16"),
    )
    labels["SNR"] = snr.to(labels["T60"])
    return _RenderedPairs(
        mixture.transpose(1, 2).contiguous(),
        direct.transpose(1, 2).contiguous(),
        labels,
    )


def _convolve(distribution, speech, rirs):
    """First samples of the speech in the rooms, [B, 2 kinds, 2, time]."""
    length = distribution.num_samples
    # One size for all scenes: rounding does not depend on the batch.
    _, longest = _response_samples(distribution, distribution.T60_range[1])
    nfft = next_fast_len(length + longest, real=True)
    spectrum = torch.fft.rfft(speech, n=nfft)[:, None, None]
    spectrum = spectrum * torch.fft.rfft(rirs, n=nfft)
    return torch.fft.irfft(spectrum, n=nfft)[..., :length]
