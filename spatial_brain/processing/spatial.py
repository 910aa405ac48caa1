"""Differences between microphones: phase, level, correlation, steering.

One sign convention holds throughout. For a pair (i, j) the phase difference is
phase j minus phase i, and a positive delay says that the sound reaches
microphone j first. For positions p and a unit vector u towards a distant
source the delay is therefore (p_j - p_i) . u / c.
"""

import math
from itertools import combinations

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from spatial_brain.geometry import SPEED_OF_SOUND
from spatial_brain.processing.stft import STFT


def microphone_pairs(num_microphones):
    """All pairs (i, j) with i < j, in lexicographic order.

    Arguments
    ---------
    num_microphones : int
        At least 2.

    Returns
    -------
    list of tuple of int

    Raises
    ------
    ValueError
        If there are fewer than two microphones.

    Example
    -------
    >>> microphone_pairs(3)
    [(0, 1), (0, 2), (1, 2)]
    """
    if num_microphones < 2:
        raise ValueError(
            f"a pair needs two microphones, got {num_microphones} channel(s)"
        )
    return list(combinations(range(num_microphones), 2))


def _both(pairs, num_microphones):
    """First and second microphones of pairs, of all pairs by default."""
    pairs = pairs or microphone_pairs(num_microphones)
    return ([pair[k] for pair in pairs] for k in (0, 1))


class _UnitPhasor(torch.autograd.Function):
    """Divide by the magnitude; silent bins get phase zero and no gradient."""

    @staticmethod
    def forward(ctx, real, imag):
        """Cosine and sine of the phase."""
        # Unlike the root of a sum of squares, it holds for very quiet bins.
        magnitude = torch.hypot(real, imag)
        silent = magnitude < 1e-30
        scale = torch.where(silent, 0.0, magnitude.reciprocal())
        cos, sin = torch.where(silent, 1.0, real * scale), imag * scale
        ctx.save_for_backward(cos, sin, scale)
        return cos, sin

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_cos, grad_sin):
        """A change of phase turns (cos, sin) by a right angle."""
        cos, sin, scale = ctx.saved_tensors
        turn = (grad_sin * cos - grad_cos * sin) * scale
        return -sin * turn, cos * turn


def phase_difference(real, imag, pairs=None):
    """Cosine and sine of the phase difference between microphones.

    Arguments
    ---------
    real : torch.Tensor
        Real part of the spectra, [batch, channel, frame, bin].
    imag : torch.Tensor
        Imaginary part, same shape.
    pairs : list of tuple of int
        Microphone pairs; all of them by default.

    Returns
    -------
    tuple of torch.Tensor
        Cosine and sine of phase j - phase i, [batch, pair, frame, bin].
        A silent bin counts as phase 0.

    Example
    -------
    >>> real, imag = torch.ones(1, 2, 1, 1), torch.zeros(1, 2, 1, 1)
    >>> imag[0, 1] = 1.0
    >>> cos, sin = phase_difference(real, imag)
    >>> round(math.degrees(torch.atan2(sin, cos).item()))
    45
    """
    first, second = _both(pairs, real.shape[1])
    real, imag = _UnitPhasor.apply(real, imag)
    real_i, imag_i = real[:, first], imag[:, first]
    real_j, imag_j = real[:, second], imag[:, second]
    cos = real_j * real_i + imag_j * imag_i
    sin = imag_j * real_i - real_j * imag_i
    return cos, sin


def ipd_features(real, imag, pairs=None, num_bins=None):
    """Interchannel phase difference as network input, without the DC bin.

    Arguments
    ---------
    real : torch.Tensor
        Real part of the spectra, [batch, channel, frame, bin].
    imag : torch.Tensor
        Imaginary part, same shape.
    pairs : list of tuple of int
        Microphone pairs; all of them by default.
    num_bins : int
        Use bins 1 ... num_bins; all but DC by default.

    Returns
    -------
    torch.Tensor
        [batch, 2 * pairs, frame, num_bins]: cosines first, then sines.

    Example
    -------
    >>> ipd_features(*STFT()(torch.randn(1, 4800, 2))).shape
    torch.Size([1, 2, 31, 256])
    """
    used = slice(1, None if num_bins is None else num_bins + 1)
    cos, sin = phase_difference(real[..., used], imag[..., used], pairs)
    return torch.cat((cos, sin), dim=1)


def log_magnitude(real, imag, floor=1e-10):
    """Natural logarithm of the magnitude.

    Arguments
    ---------
    real : torch.Tensor
        Real part of the spectra, any shape.
    imag : torch.Tensor
        Imaginary part, same shape.
    floor : float
        Added to the squared magnitude before the logarithm.

    Returns
    -------
    torch.Tensor
        Same shape.

    Example
    -------
    >>> log_magnitude(torch.tensor([3.0]), torch.tensor([4.0])).exp()
    tensor([5.])
    """
    return 0.5 * torch.log(real * real + imag * imag + floor)


def ild_features(real, imag, pairs=None, floor=1e-10):
    """Interchannel level difference: level j minus level i in decibels.

    Arguments
    ---------
    real : torch.Tensor
        Real part of the spectra, [batch, channel, frame, bin].
    imag : torch.Tensor
        Imaginary part, same shape.
    pairs : list of tuple of int
        Microphone pairs; all of them by default.
    floor : float
        Added to the squared magnitude before the logarithm.

    Returns
    -------
    torch.Tensor
        [batch, pair, frame, bin].

    Example
    -------
    >>> real = torch.tensor([1.0, 10.0]).reshape(1, 2, 1, 1)
    >>> round(ild_features(real, torch.zeros(1, 2, 1, 1)).item(), 3)
    20.0
    """
    first, second = _both(pairs, real.shape[1])
    level = log_magnitude(real, imag, floor) * (20 / math.log(10))
    return level[:, second] - level[:, first]


def pair_delays(microphones, directions, pairs=None, c=SPEED_OF_SOUND):
    """Delays of plane waves between the microphones of pairs.

    Arguments
    ---------
    microphones : torch.Tensor
        Positions, metres, [microphone, 3].
    directions : torch.Tensor
        Unit vectors towards the source, [direction, 3].
    pairs : list of tuple of int
        Microphone pairs; all of them by default.
    c : float
        Speed of sound, m/s.

    Returns
    -------
    torch.Tensor
        Seconds by which microphone j receives the wave before i,
        [pair, direction].

    Example
    -------
    >>> from spatial_brain.geometry import linear_array
    >>> front = torch.tensor([[1.0, 0.0, 0.0]])
    >>> 1e6 * pair_delays(linear_array(2, 0.1), front)
    tensor([[291.5452]])
    """
    microphones = torch.as_tensor(microphones, dtype=torch.float32)
    directions = torch.as_tensor(
        directions, dtype=torch.float32, device=microphones.device
    )
    first, second = _both(pairs, len(microphones))
    baseline = microphones[second] - microphones[first]
    return baseline @ directions.T / c


def bin_frequencies(n_fft, fs, device=None):
    """Centre frequencies of the bins of a real transform, hertz.

    Arguments
    ---------
    n_fft : int
        Length of the transform, samples.
    fs : float
        Sampling rate, hertz.
    device : torch.device
        Where the result lives.

    Returns
    -------
    torch.Tensor
        Shape [n_fft / 2 + 1].

    Example
    -------
    >>> bin_frequencies(4, 16000)
    tensor([   0., 4000., 8000.])
    """
    return torch.arange(n_fft // 2 + 1, device=device) * (fs / n_fft)


def _average_cross_phase(waveform, n_fft, hop_length, pairs):
    """Whitened cross spectra averaged over frames: cos, sin [B, P, F]."""
    stft = STFT(n_fft, hop_length).to(waveform.device)
    real, imag = stft(waveform)
    cos, sin = phase_difference(real, imag, pairs)
    # A silent bin has no phase and must not vote.
    power = real * real + imag * imag
    first, second = _both(pairs, real.shape[1])
    sounding = (power[:, first] * power[:, second] > 0).to(cos.dtype)
    return (cos * sounding).mean(2), (sin * sounding).mean(2)


def gcc_phat(
    waveform,
    *,
    fs=16000,
    max_delay=None,
    interpolation=8,
    n_fft=1024,
    hop_length=256,
    pairs=None,
):
    """Generalised cross-correlation with phase transform, over frames.

    The whitened cross spectra of all frames are averaged and transformed
    back on a grid `interpolation` times finer than the samples (Knapp and
    Carter, 1976).

    Arguments
    ---------
    waveform : torch.Tensor
        [batch, time, channel].
    fs : float
        Sampling rate, hertz.
    max_delay : float
        Largest delay of interest, seconds; half a frame by default.
    interpolation : int
        Grid points per sample.
    n_fft : int
        Frame length, samples.
    hop_length : int
        Samples from frame to frame.
    pairs : list of tuple of int
        Microphone pairs; all of them by default.

    Returns
    -------
    tuple of torch.Tensor
        Correlation [batch, pair, delay] with values in [-1, 1] and the
        delays [delay] in seconds, ascending; positive: j is reached first.

    Raises
    ------
    ValueError
        If the shape is wrong, the signal too short, or ``max_delay`` is not
        positive or exceeds half a frame.

    Example
    -------
    >>> noise = torch.randn(4003)
    >>> pair = torch.stack((noise[:-3], noise[3:]), dim=-1)[None]
    >>> correlation, delays = gcc_phat(pair)
    >>> round(delays[correlation[0, 0].argmax()].item() * 16000)
    3
    """
    pairs = pairs or microphone_pairs(waveform.shape[-1])
    cos, sin = _average_cross_phase(waveform, n_fft, hop_length, pairs)
    limit = n_fft / (2 * fs)
    max_delay = limit if max_delay is None else max_delay
    if not 0 < max_delay <= limit:
        raise ValueError(
            f"max_delay must be in (0, {limit:g}] s, half a frame of "
            f"{n_fft} samples at {fs} Hz, got {max_delay}"
        )
    steps = math.ceil(max_delay * fs * interpolation)
    delays = torch.arange(-steps, steps + 1, device=waveform.device)
    delays = delays / (fs * interpolation)
    angle = 2 * math.pi * bin_frequencies(n_fft, fs, waveform.device)[1:, None]
    angle = angle * delays
    correlation = cos[..., 1:] @ angle.cos() + sin[..., 1:] @ angle.sin()
    return correlation / (n_fft // 2), delays


class GCCPhat(nn.Module):
    """:func:`gcc_phat` of all pairs as the front end of a network.

    Arguments
    ---------
    num_delays : int
        Delays on an even grid, at least 2.
    max_delay : float
        The grid spans [-max_delay, max_delay], seconds: the largest distance
        of two microphones over the speed of sound, 343 m/s, or a little more.
    fs : float
        Sampling rate, hertz.
    n_fft : int
        Frame length, samples.
    hop_length : int
        Samples from frame to frame.

    Raises
    ------
    ValueError
        If there are less than two delays, or ``max_delay`` is not positive or
        exceeds half a frame.

    Example
    -------
    >>> GCCPhat(num_delays=51, max_delay=0.0003)(torch.randn(2, 8000, 4)).shape
    torch.Size([2, 6, 51])
    """

    def __init__(
        self, num_delays, max_delay, fs=16000, n_fft=1024, hop_length=256
    ):
        super().__init__()
        if num_delays < 2 or not 0 < max_delay <= n_fft / (2 * fs):
            raise ValueError(
                "num_delays must be at least 2 and max_delay in "
                f"(0, {n_fft / (2 * fs):g}] s, half a frame, got {num_delays} "
                f"and {max_delay}"
            )
        self.n_fft, self.hop_length = n_fft, hop_length
        delays = torch.linspace(-max_delay, max_delay, num_delays)
        angle = 2 * math.pi * bin_frequencies(n_fft, fs)[1:, None] * delays
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, waveform):
        """Correlate the microphones of all pairs.

        Arguments
        ---------
        waveform : torch.Tensor
            [batch, time, channel], at least a frame long.

        Returns
        -------
        torch.Tensor
            Averaged over frames, in [-1, 1], [batch, pair, delay]; float32
            also under automatic mixed precision.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            cos, sin = _average_cross_phase(
                waveform.float(),
                self.n_fft,
                self.hop_length,
                microphone_pairs(waveform.shape[-1]),
            )
            correlation = cos[..., 1:] @ self.cos + sin[..., 1:] @ self.sin
        return correlation / (self.n_fft // 2)


def srp_phat(
    waveform,
    microphones,
    directions,
    fs=16000,
    *,
    n_fft=1024,
    hop_length=256,
    pairs=None,
    c=SPEED_OF_SOUND,
):
    """Steered response power with phase transform towards far directions.

    The mean over pairs, frames and bins of
    cos(phase difference - 2 pi f delay) (DiBiase, 2000).

    Arguments
    ---------
    waveform : torch.Tensor
        [batch, time, channel].
    microphones : torch.Tensor
        Positions, metres, [channel, 3].
    directions : torch.Tensor
        Unit vectors towards the candidates, [direction, 3].
    fs : float
        Sampling rate, hertz.
    n_fft : int
        Frame length, samples.
    hop_length : int
        Samples from frame to frame.
    pairs : list of tuple of int
        Microphone pairs; all of them by default.
    c : float
        Speed of sound, m/s.

    Returns
    -------
    torch.Tensor
        [batch, direction], values in [-1, 1].

    Raises
    ------
    ValueError
        If the numbers of channels and positions differ or the signal is
        too short.

    Example
    -------
    >>> from spatial_brain.geometry import azel_to_unit, circular_array
    >>> grid = azel_to_unit(torch.arange(-180.0, 180.0, 5.0), 0.0)
    >>> srp_phat(torch.randn(2, 8000, 4), circular_array(4, 0.05), grid).shape
    torch.Size([2, 72])
    """
    if waveform.shape[-1] != len(microphones):
        raise ValueError(
            f"{waveform.shape[-1]} channels but {len(microphones)} "
            "microphone positions"
        )
    pairs = pairs or microphone_pairs(waveform.shape[-1])
    cos, sin = _average_cross_phase(waveform, n_fft, hop_length, pairs)
    delays = pair_delays(microphones, directions, pairs, c).to(waveform.device)
    omega = 2 * math.pi * bin_frequencies(n_fft, fs, waveform.device)[1:]
    angle = omega[:, None] * delays[:, None]
    response = torch.einsum("bpf,pfd->bd", cos[..., 1:], angle.cos())
    response = response + torch.einsum("bpf,pfd->bd", sin[..., 1:], angle.sin())
    return response / (len(pairs) * (n_fft // 2))
