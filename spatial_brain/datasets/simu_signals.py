"""Signals and labels of simulated scenes, alone or many at once.

Everything is tensor code on batches: a worker of a data loader renders one
scene, a training step a whole batch on its accelerator. Each scene has its
own seeds, so that it sounds the same in any batch; CPUs and accelerators have
different random numbers.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from scipy.fft import next_fast_len

from spatial_brain.datasets.simu_noise import draw_noise
from spatial_brain.datasets.simu_responses import (
    response_samples,
    scene_responses,
)
from spatial_brain.simulation.room_labels import pair_labels

_PEAK = 0.9


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
    >>> from spatial_brain.datasets.simu_scenes import *
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


@dataclass(frozen=True)
class RenderedPairs:
    """What two microphones hear, and the truth about it.

    Arguments
    ---------
    waveform : torch.Tensor
        float32 [B, time, 2].
    direct : torch.Tensor
        The direct sound alone, float32 [B, time, 2].
    labels : dict of torch.Tensor
        float32 [B]: those of ``pair_labels``, and "SNR" (direct sound to
        noise, dB).

    Example
    -------
    >>> silence = torch.zeros(1, 8, 2)
    >>> RenderedPairs(silence, silence, {}).waveform.shape
    torch.Size([1, 8, 2])
    """

    waveform: torch.Tensor
    direct: torch.Tensor
    labels: dict


@torch.no_grad()
def render_pairs(distribution, scenes, speech, snr, seeds, noise=None):
    """Simulate scenes with the speech that sounds in them.

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
    RenderedPairs
        Scaled to a peak of 0.9 of mixture or direct sound.

    Raises
    ------
    ValueError
        If the speech has another length or is silent.

    Example
    -------
    >>> from spatial_brain.datasets.simu_scenes import *
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
    response = scene_responses(
        distribution, scenes, seeds[:, 0], device=speech.device
    )
    rirs = torch.stack((response.full, response.direct), dim=1)
    clean, direct = _convolve(distribution, speech, rirs).unbind(1)
    if noise is None:
        noise = draw_noise(
            distribution, scenes.microphones, seeds[:, 1], speech
        )
    power = direct.square().mean((-2, -1))
    if not bool((power > 0).all()):
        silent = (power == 0).nonzero().flatten().tolist()
        raise ValueError(f"speech of items {silent} of the batch is silent")
    wanted = power / 10.0 ** (snr.to(power) / 10.0)
    gain = wanted.sqrt() / (noise.square().mean((-2, -1)).sqrt() + 1e-10)
    clean += gain[:, None, None] * noise
    peak = torch.maximum(clean.abs().amax((1, 2)), direct.abs().amax((1, 2)))
    scale = (_PEAK / peak)[:, None, None]
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
    return RenderedPairs(
        (clean * scale).transpose(1, 2).contiguous(),
        (direct * scale).transpose(1, 2).contiguous(),
        labels,
    )


def _convolve(distribution, speech, rirs):
    """First samples of the speech in the rooms, [B, 2 kinds, 2, time]."""
    length = distribution.num_samples
    # One size for all scenes: rounding does not depend on the batch.
    _, longest = response_samples(distribution, distribution.T60_range[1])
    nfft = next_fast_len(length + longest, real=True)
    spectrum = torch.fft.rfft(speech, n=nfft)[:, None, None]
    spectrum = spectrum * torch.fft.rfft(rirs, n=nfft)
    return torch.fft.irfft(spectrum, n=nfft)[..., :length]


def simulate_pair(distribution, scene, speech, *, snr, seed=0, noise=None):
    """Simulate one scene.

    Arguments
    ---------
    distribution : SceneDistribution
        How to simulate.
    scene : PairScene
        Room, microphones and source.
    speech : torch.Tensor
        float32 [time], ``distribution.num_samples`` long.
    snr : float
        Direct sound to noise, dB.
    seed : int
        Of late reverberation and noise.
    noise : torch.Tensor, optional
        Noise at the microphones, [2, time]; drawn by default.

    Returns
    -------
    dict
        "waveform" and "direct", float32 [time, 2]; "labels", a dict of
        float32 scalars (see :class:`RenderedPairs`).

    Raises
    ------
    ValueError
        As :func:`render_pairs`.

    Example
    -------
    >>> from spatial_brain.datasets.simu_scenes import *
    >>> few = SceneDistribution(T=0.5)
    >>> scene = draw_room_scene(few, "pretrain", 0)
    >>> pair = simulate_pair(few, scene, torch.randn(8000), snr=20.0)
    >>> pair["waveform"].shape, pair["labels"]["SNR"]
    (torch.Size([8000, 2]), tensor(20.))
    """
    rendered = render_pairs(
        distribution,
        SceneBatch.of([scene]),
        speech[None],
        torch.tensor([float(snr)]),
        torch.tensor([[seed, seed + 1]]),
        None if noise is None else noise[None],
    )
    return {
        "waveform": rendered.waveform[0],
        "direct": rendered.direct[0],
        "labels": {name: value[0] for name, value in rendered.labels.items()},
    }
