"""Diffuse noise with the spatial coherence of a sound field.

Independent signals are mixed in the short-time Fourier domain by matrices
C(f) with C(f)^H C(f) = Gamma(f), the coherence that the field has between
the microphones (Habets, Cohen and Gannot, JASA 2008; balanced and smooth
mixing matrices after Mirabilii, Schlecht and Habets, JASA 149, 2021).
"""

from functools import lru_cache

import torch
from torch.nn import functional as F

from spatial_brain.geometry import SPEED_OF_SOUND
from spatial_brain.simulation.synthesis.speech import synthetic_babble

KINDS = ("spherical", "cylindrical", "corcos")
N_FFT = 1024
HOP = 256
# Corcos' model: share of the wind speed at which turbulence travels, decay
# along and across the wind.
CONVECTION = 0.8
DECAY_ALONG = 0.125
DECAY_ACROSS = 0.7
# Search for balanced mixing: number of starts, steps, and smallest gain.
STARTS = 20
MAX_STEPS = 1000
MIN_GAIN = 1e-5
# Frames mixed at once; bounds the memory for long signals.
BLOCK = 2048


def _array_positions(microphones):
    """Positions [M, 3] as float64, checked."""
    microphones = torch.as_tensor(microphones, dtype=torch.float64)
    if microphones.ndim != 2 or microphones.shape[-1] != 3:
        raise ValueError(
            f"microphones must be [M, 3], got {tuple(microphones.shape)}"
        )
    return microphones


def target_coherence(
    microphones,
    frequencies,
    kind="spherical",
    *,
    sound_speed=SPEED_OF_SOUND,
    wind_speed=5.0,
    wind_direction=(1.0, 0.0, 0.0),
):
    """Coherence between microphones in a noise field.

    With x = 2 pi f d / c: sin(x) / x in a spherically diffuse field, J0(x)
    in a cylindrically diffuse one, whose waves travel horizontally, so that
    d is the horizontal distance. The Corcos model of wind noise is
    exp((-0.125 |l| - 0.7 |q| - i l) 2 pi f / (0.8 v)), where microphone i
    lies l behind microphone j along and q across the wind of speed v.

    Arguments
    ---------
    microphones : torch.Tensor
        Positions, shape [M, 3], metres. They may coincide.
    frequencies : torch.Tensor
        Shape [K], Hz.
    kind : str
        "spherical", "cylindrical" or "corcos".
    sound_speed : float
        Metres per second.
    wind_speed : float
        Metres per second, for "corcos".
    wind_direction : sequence
        Where the wind blows to, shape [3], for "corcos".

    Returns
    -------
    torch.Tensor
        E[X_i X_j*] of signals of power 1, shape [K, M, M], Hermitian,
        float64 or (corcos) complex128.

    Raises
    ------
    ValueError
        If the kind is unknown or a shape or a speed is wrong.

    Example
    -------
    >>> positions = [[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]]
    >>> target_coherence(positions, [0.0, 1715.0])[:, 0, 1].abs().round()
    tensor([1., 0.], dtype=torch.float64)
    """
    microphones = _array_positions(microphones)
    frequencies = torch.as_tensor(
        frequencies, dtype=torch.float64, device=microphones.device
    )
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
    if not sound_speed > 0 or not wind_speed > 0:
        raise ValueError(
            "sound_speed and wind_speed must be positive, got "
            f"{sound_speed} and {wind_speed}"
        )
    omega = 2.0 * torch.pi * frequencies[:, None, None]
    lag = microphones[:, None, :] - microphones[None, :, :]
    if kind == "corcos":
        wind = torch.as_tensor(wind_direction).to(lag)
        wind = wind / torch.linalg.vector_norm(wind)
        along = lag @ wind
        across = torch.linalg.vector_norm(lag - along[..., None] * wind, dim=-1)
        decay = DECAY_ALONG * along.abs() + DECAY_ACROSS * across
        return torch.exp(
            -torch.complex(decay, along) * omega / (CONVECTION * wind_speed)
        )
    if kind == "cylindrical":
        lag = lag[..., :2]
    phase = omega * torch.linalg.vector_norm(lag, dim=-1) / sound_speed
    if kind == "cylindrical":
        return torch.special.bessel_j0(phase)
    return torch.sinc(phase / torch.pi)


def mixing_matrices(
    microphones, *, fs, kind="spherical", n_fft=N_FFT, **field_options
):
    """Balanced and smooth factors of the coherence, one per frequency.

    Every microphone gets about equal shares of all inputs (balanced), and
    neighbouring frequencies nearly the same matrix (smooth), which keeps the
    filters short; only at Nyquist, where it must be real, it is one of its
    own. The rank may be deficient: microphones may coincide. The result is
    kept per geometry, so that a second call costs nothing.

    Arguments
    ---------
    microphones : torch.Tensor
        Positions, shape [M, 3], metres.
    fs : int
        Sampling rate, Hz.
    kind : str
        See :func:`target_coherence`.
    n_fft : int
        Length of the transform, even.
    **field_options
        Further arguments of :func:`target_coherence`.

    Returns
    -------
    torch.Tensor
        C, complex128, shape [n_fft / 2 + 1, M, M], on the device of
        ``microphones``, with C^H C equal to the coherence; at the Nyquist
        frequency to the real part of it.

    Raises
    ------
    ValueError
        As :func:`target_coherence`, or if ``n_fft`` is odd or ``fs`` is not
        positive.

    Example
    -------
    >>> mixing = mixing_matrices([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]], fs=16000)
    >>> (mixing.mH @ mixing)[0].real.round(decimals=6)
    tensor([[1., 1.],
            [1., 1.]], dtype=torch.float64)
    """
    microphones = _array_positions(microphones)
    if n_fft < 4 or n_fft % 2:
        raise ValueError(f"n_fft must be even, at least 4, got {n_fft}")
    if not fs > 0:
        raise ValueError(f"fs must be positive, got {fs}")
    options = {
        name: tuple(map(float, value)) if name == "wind_direction" else value
        for name, value in field_options.items()
    }
    mixing = _mixing_matrices(
        tuple(map(tuple, microphones.tolist())),
        fs,
        kind,
        n_fft,
        tuple(sorted(options.items())),
    )
    return mixing.to(microphones.device, copy=True)


@lru_cache(maxsize=64)
def _mixing_matrices(microphones, fs, kind, n_fft, options):
    """Compute what :func:`mixing_matrices` hands out."""
    frequencies = torch.linspace(0.0, fs / 2, n_fft // 2 + 1).double()
    gamma = target_coherence(microphones, frequencies, kind, **dict(options))
    gamma = torch.cat((gamma[:-1], gamma[-1:].real)).to(torch.complex128)
    values, vectors = torch.linalg.eigh(gamma)
    factor = values.clamp_min(0.0).sqrt()[..., None] * vectors.mH
    # Real factors could only change signs by way of zeros, so the complex
    # ones get a start of their own beside the real one at Nyquist.
    factor[-1] = _balanced(factor[-1].real)
    factor[-2] = _balanced(factor[-2])
    for index in range(len(factor) - 3, -1, -1):
        smooth = _align(factor[index], factor[index + 1])
        factor[index] = _align(smooth, torch.sgn(smooth))
    return factor


def _align(matrix, target):
    """Turn ``matrix`` by the unitary that brings it nearest to ``target``.

    Procrustes: argmin ||U A - B|| = W V^H with B A^H = W S V^H. Works on
    batches.
    """
    left, _, right = torch.linalg.svd(target @ matrix.mH)
    return left @ right @ matrix


def _balanced(factor):
    """Rotate a factor [M, M] so that the magnitudes are about equal.

    Maximises the sum of magnitudes by turns of alignment to phases (signs
    for a real factor); the random starts come from a fixed seed, all are
    refined at once.
    """
    size = len(factor)
    generator = torch.Generator().manual_seed(0)
    phases = torch.randn(
        STARTS, size, size, generator=generator, dtype=factor.dtype
    ).sgn()
    phases[0] = 1.0
    best = 0.0
    for _ in range(MAX_STEPS):
        turned = _align(factor.expand(STARTS, size, size), phases)
        balance = turned.abs().sum((-2, -1)) / size**1.5
        gain = balance.max().item() - best
        best += gain
        if gain < MIN_GAIN:
            break
        phases = torch.sgn(turned)
    return turned[balance.argmax()]


def mix_coherent(signals, mixing, *, hop_length=HOP):
    """Give independent signals the coherence of mixing matrices.

    X(f) = C(f)^H N(f) in a short-time Fourier transform with Hann analysis
    and synthesis windows. The constant component is removed.

    Arguments
    ---------
    signals : torch.Tensor
        Independent signals of equal power, shape [..., M, N].
    mixing : torch.Tensor
        C, shape [n_fft / 2 + 1, M, M], see :func:`mixing_matrices`.
    hop_length : int
        Step between frames, samples; at most a third of n_fft, and a
        divisor of it.

    Returns
    -------
    torch.Tensor
        Shape [..., M, N], the power of ``signals``.

    Raises
    ------
    ValueError
        If the channels do not match or the hop does not fit.

    Example
    -------
    >>> positions = [[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]]
    >>> mixing = mixing_matrices(positions, fs=16000)
    >>> mix_coherent(torch.randn(2, 8000), mixing).shape
    torch.Size([2, 8000])
    """
    n_fft = 2 * (len(mixing) - 1)
    channels, num_samples = signals.shape[-2:]
    if channels != mixing.shape[-1]:
        raise ValueError(
            f"{channels} signals do not fit mixing matrices for "
            f"{mixing.shape[-1]} microphones"
        )
    if n_fft % hop_length or n_fft < 3 * hop_length:
        raise ValueError(
            f"hop_length must divide n_fft = {n_fft} in three parts or more, "
            f"got {hop_length}"
        )
    window = torch.hann_window(n_fft).to(signals)
    mixing = mixing.to(signals.device, torch.complex64).clone()
    mixing[0] = 0.0
    # A frame of zeros before and after, and full frames only.
    frames = -(-(num_samples + n_fft) // hop_length)
    length = (frames - 1) * hop_length + n_fft
    padded = F.pad(signals, (n_fft, length - num_samples - n_fft))
    padded = padded.reshape(-1, channels, length)
    output = torch.zeros_like(padded)
    for start in range(0, frames, BLOCK):
        count = min(BLOCK, frames - start)
        part = slice(
            start * hop_length, (start + count - 1) * hop_length + n_fft
        )
        framed = padded[..., part].unfold(-1, n_fft, hop_length)
        spectrum = torch.fft.rfft(framed * window)
        spectrum = torch.einsum("kij,bitk->bjtk", mixing.conj(), spectrum)
        framed = torch.fft.irfft(spectrum, n=n_fft) * window
        output[..., part] += _overlap_add(framed, hop_length)
    output = output * (hop_length / window.square().sum())
    return output[..., n_fft : n_fft + num_samples].reshape(signals.shape)


def _overlap_add(frames, hop_length):
    """Add frames [batch, channel, frame, time] up: [batch, channel, time]."""
    batch, channels, count, n_fft = frames.shape
    length = (count - 1) * hop_length + n_fft
    columns = frames.reshape(-1, count, n_fft).transpose(1, 2)
    added = F.fold(columns, (1, length), (1, n_fft), stride=(1, hop_length))
    return added.reshape(batch, channels, length)


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
    microphones = _array_positions(microphones)
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
