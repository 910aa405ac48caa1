"""Room responses at the two ears of a head, simulated.

Image sources are found once; each is a plane wave that reaches the head from
its own direction, with the response of the head for it. After them comes a
diffuse field with the cross-spectra that the head's ears have in one.

The cross-spectra of both ears in a diffuse field are those of its impulse
responses, averaged over all directions. Independent signals get them by the
mixer of ``spatial_brain.simulation.noise_field``. At low frequencies the ears
hear the same, at high ones independent noise; two ears that always hear the
same would place all noise in the middle of the head.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from spatial_brain.geometry import SPEED_OF_SOUND, rotation_matrix
from spatial_brain.simulation.hrtf.interpolation import shift_responses
from spatial_brain.simulation.noise_field import N_FFT, mix_coherent
from spatial_brain.simulation.rir.fractional_delay import (
    high_pass,
    high_pass_cutoff,
)
from spatial_brain.simulation.rir.tail import sphere_directions
from spatial_brain.simulation.sound_scenes.receivers import seeded
from spatial_brain.simulation.sound_scenes.render import ArrayRoom

# Directions of reflections, and steps of their delay in a sample.
_DIRECTIONS, _STEPS = 1024, 8
# Zeros behind a response, for its ringing when it is shifted.
_SPARE = 16
# Image sources at a time.
_BLOCK = 4096
# Time over which the level of the images is taken where the tail takes over.
_JOIN = 0.02


def direction_weights(heads):
    """Share of the sphere for which each direction of a grid stands.

    Arguments
    ---------
    heads : HrtfSet
        On an interaural-polar grid.

    Returns
    -------
    torch.Tensor
        Shape [lateral, polar], float64, of sum 1.

    Example
    -------
    >>> from spatial_brain.simulation.hrtf import spherical_head_hrtfs
    >>> direction_weights(spherical_head_hrtfs(8000, 1)).sum()
    tensor(1.0000, dtype=torch.float64)
    """
    laterals = heads.laterals.double()
    middle = (laterals[1:] + laterals[:-1]) / 2.0
    end = middle.new_tensor([90.0])
    borders = torch.deg2rad(torch.cat((-end, middle, end)))
    # A ring around the axis of the ears, in equal parts.
    ring = torch.sin(borders).diff()
    weights = ring[:, None].expand(-1, len(heads.polars))
    return weights / weights.sum()


def ear_mixing(responses, weights, n_fft=N_FFT):
    """Factors of the cross-spectra of two ears in a diffuse field.

    Arguments
    ---------
    responses : torch.Tensor
        Impulse responses of plane waves, shape [D, 2, L].
    weights : torch.Tensor
        Share of the sphere of each direction, shape [D], of sum 1.
    n_fft : int
        Even length of the transform.

    Returns
    -------
    torch.Tensor
        Hermitian, complex128, shape [n_fft / 2 + 1, 2, 2], for
        ``mix_coherent``: white signals of power 1 become noise whose mean
        power at both ears is 1.

    Raises
    ------
    ValueError
        If all responses are silent, or longer than the transform.

    Example
    -------
    >>> from spatial_brain.simulation.hrtf import spherical_head_hrtfs
    >>> heads = spherical_head_hrtfs(8000, 1)
    >>> mixing = ear_mixing(
    ...     heads.responses[0].flatten(0, 1),
    ...     direction_weights(heads).flatten(),
    ... )
    >>> power = (mixing.mH @ mixing).diagonal(dim1=1, dim2=2).real.mean()
    >>> power.round(decimals=2)
    tensor(1., dtype=torch.float64)
    """
    if responses.shape[-1] > n_fft:
        raise ValueError(
            f"responses of {responses.shape[-1]} samples do not fit a "
            f"transform of {n_fft}; cut the room from them"
        )
    spectra = torch.fft.rfft(responses.double(), n=n_fft)
    weights = weights.to(spectra)
    field = torch.einsum("d,dif,djf->fij", weights, spectra, spectra.conj())
    # Bins 0 and Nyquist stand for half a bin, which does not matter here.
    power = field.diagonal(dim1=1, dim2=2).real.mean()
    if not power > 0:
        raise ValueError("all impulse responses of the head are silent")
    values, vectors = torch.linalg.eigh(field / power)
    root = values.clamp_min(0.0).sqrt().to(vectors)
    return (vectors * root[:, None]) @ vectors.mH


def diffuse_at_ears(signals, mixing):
    """Give two independent signals the cross-spectra of two ears.

    Arguments
    ---------
    signals : torch.Tensor
        Shape [2, N], of equal power.
    mixing : torch.Tensor
        From ``ear_mixing``.

    Returns
    -------
    torch.Tensor
        Shape [N, 2], float32, ear 0 left; without constant component.

    Raises
    ------
    ValueError
        If there are not two signals.

    Example
    -------
    >>> mixing = torch.eye(2, dtype=torch.complex128).expand(513, 2, 2)
    >>> diffuse_at_ears(torch.randn(2, 900), mixing).shape
    torch.Size([900, 2])
    """
    return mix_coherent(signals.float(), mixing).T.contiguous()


@dataclass(frozen=True)
class HeadRoom(ArrayRoom):
    """A room and a head in it, ready to be asked for responses.

    Arguments
    ---------
    size : sequence of float
        Metres.
    t60 : float
        Seconds.
    center : sequence of float
        Of the head, metres.
    fs : int
        Sampling rate, Hz.
    diffuse_from : float
        Decay in dB after which the diffuse tail replaces the images.
    head : callable
        From directions [K, 3] (x where the head looks, y left, z up) to
        responses [K, 2, L] at ``fs``, such as ``functools.partial(hrtf_for,
        heads=heads, subject="subject03")``.
    yaw : float
        Where the head looks, degrees counter-clockwise from the x axis.

    Example
    -------
    >>> from functools import partial
    >>> from spatial_brain.simulation.hrtf.sphere import (
    ...     spherical_head_responses)
    >>> head = partial(spherical_head_responses, fs=8000)
    >>> room = HeadRoom((5, 4, 3), 0.2, (2, 2, 1.5), 8000, head=head)
    >>> left = room.binaural(torch.tensor([[2.0, 3.0, 1.5]]), seed=0)[0]
    >>> left.shape, bool(left[0].abs().max() > 2 * left[1].abs().max())
    (torch.Size([2, 1600]), True)
    """

    head: Callable = None
    yaw: float = 0.0

    @cached_property
    def _bank(self):
        """Responses for all directions and delays, [D, steps, 2, L]."""
        responses = self.head(sphere_directions(_DIRECTIONS)).double()
        responses = torch.nn.functional.pad(responses, (0, _SPARE))
        delays = torch.arange(_STEPS, dtype=torch.float64) / _STEPS
        return shift_responses(
            responses[:, None], delays[:, None].expand(-1, 2)
        ).float()

    def binaural(self, sources, seed):
        """Responses of both ears to sources.

        Arguments
        ---------
        sources : torch.Tensor
            Positions, shape [K, 3], metres.
        seed : int
            Decides the diffuse tails; those of the sources are independent.

        Returns
        -------
        torch.Tensor
            float32 [K, 2, N], ear 0 left. A source at 1 m in the free field
            has the response of the head; sample 0 is the moment of emission,
            but for the time that the head's responses take.

        Raises
        ------
        ValueError
            If the room cannot have this T60.
        """
        _, decay, shape = self._decays
        begin, images = self._images(sources)
        length = self._length(begin)
        result = torch.zeros(len(sources), 2, length + self._bank.shape[-1])
        for index, (offset, gain) in enumerate(images):
            self._add_images(result[index], offset.double(), gain)
        self._add_tails(result, begin, (decay, shape), seed)
        cutoff = high_pass_cutoff(self.size)
        result = high_pass(result, self.fs, cutoff)
        return result[..., :length].contiguous()

    def _add_images(self, response, offset, gain):
        """Add plane waves of image sources to a response [2, N]."""
        turn = rotation_matrix(yaw=-self.yaw).to(offset)
        distance = torch.linalg.vector_norm(offset, dim=-1)
        direction = offset @ turn.T / distance[:, None]
        first = int(distance.argmin())
        self._add_direct(
            response, direction[first], distance[first], gain[first]
        )
        gain = gain.clone()
        gain[first] = 0.0
        steps = distance * (self.fs / SPEED_OF_SOUND * _STEPS)
        steps = steps.round().long()
        grid = sphere_directions(_DIRECTIONS).to(direction)
        taps = torch.arange(self._bank.shape[-1])
        for rows in torch.arange(len(gain)).split(_BLOCK):
            nearest = (direction[rows] @ grid.T).argmax(-1)
            waves = self._bank[nearest, steps[rows] % _STEPS]
            waves = waves * gain[rows, None, None]
            start = steps[rows].div(_STEPS, rounding_mode="floor")
            place = (start[:, None] + taps).clamp_max(response.shape[-1] - 1)
            for ear in range(2):
                response[ear].index_add_(
                    0, place.flatten(), waves[:, ear].flatten()
                )

    def _add_direct(self, response, direction, distance, gain):
        """Add the direct sound, from its exact direction and at its time."""
        delay = float(distance) * self.fs / SPEED_OF_SOUND
        wave = self.head(direction[None])[0].double() * float(gain)
        wave = torch.nn.functional.pad(wave, (0, _SPARE))
        wave = shift_responses(wave, delay - int(delay)).float()
        response[:, int(delay) : int(delay) + wave.shape[-1]] += wave

    def _add_tails(self, result, begin, decays, seed):
        """Add diffuse sound that goes on where the images stop."""
        decay, shape = decays
        total = result.shape[-1]
        mean = torch.from_numpy(decay.samples(decay.mean, total, self.fs))
        energy = shape.samples(shape.energy, total, self.fs)
        window = slice(max(begin - int(_JOIN * self.fs), 0), begin)
        envelope = energy[begin:] / float(energy[window].mean())
        envelope = torch.from_numpy(np.sqrt(envelope)).float()
        field = self._bank[:, 0].double()
        # Images are all positive: their mean goes on, or its end is audible.
        level = field.sum(-1).mean(0)[:, None] * mean
        share = torch.full((len(field),), 1.0 / len(field))
        mixing = ear_mixing(field, share)
        images = result[..., window] - level[:, window]
        gain = images.var(-1).mean(-1).mean().sqrt()
        for index, response in enumerate(result):
            generator = torch.Generator().manual_seed(
                int(np.random.SeedSequence((seed, index)).generate_state(1)[0])
            )
            noise = torch.randn(2, total - begin, generator=generator)
            noise = diffuse_at_ears(noise, mixing).T
            response[:, begin:] += gain * envelope * noise
            response[:, begin:] += level[:, begin:]


class HeadReceiver:
    """Two ears as a receiver of ``spatial_brain.simulation.sound_scenes``.

    Arguments
    ---------
    head : callable
        As for :class:`HeadRoom`.
    fs : int
        Sampling rate, Hz.

    Example
    -------
    >>> from functools import partial
    >>> from spatial_brain.simulation.hrtf.sphere import (
    ...     spherical_head_responses)
    >>> ears = HeadReceiver(partial(spherical_head_responses, fs=8000), 8000)
    >>> left = torch.tensor([[0.0, 2.0, 0.0]])
    >>> found = ears.response(left, torch.ones(1), 400)
    >>> bool(found[0].abs().max() > 2 * found[1].abs().max())
    True
    """

    num_channels = 2
    # Both ears of noise from ``ear_mixing`` have power 1 on average.
    power = 2.0

    def __init__(self, head, fs):
        # Of the room only what belongs to the head is used.
        self._room = HeadRoom((1, 1, 1), 0.0, (0, 0, 0), fs, head=head)

    @cached_property
    def _field(self):
        """Responses from everywhere, float64 [D, 2, L]."""
        return self._room._bank[:, 0].double()

    @cached_property
    def mean_gain(self):
        """Gain of each ear averaged over directions, [2]."""
        return self._field.sum(-1).mean(0).float()

    @cached_property
    def _mixing(self):
        """Factors of the cross-spectra of the ears."""
        count = len(self._field)
        return ear_mixing(self._field, torch.full((count,), 1.0 / count))

    def response(self, offset, gain, num_samples):
        """What the ears receive of image sources.

        Arguments
        ---------
        offset : torch.Tensor
            Seen from the middle of the head, metres, [I, 3].
        gain : torch.Tensor
            Amplitudes there, [I].
        num_samples : int
            Length N.

        Returns
        -------
        torch.Tensor
            Shape [2, N].
        """
        longest = self._room._bank.shape[-1]
        result = torch.zeros(2, num_samples + longest)
        self._room._add_images(result, offset.double(), gain.float())
        return result[:, :num_samples]

    def noise(self, num_samples, seed):
        """White noise from everywhere.

        Arguments
        ---------
        num_samples : int
            Length N.
        seed : int
            The same gives the same noise.

        Returns
        -------
        torch.Tensor
            Shape [2, N].
        """
        white = torch.randn(2, num_samples, generator=seeded(seed))
        return diffuse_at_ears(white, self._mixing).T
