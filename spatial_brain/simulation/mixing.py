"""Filter dry sources and mix them, at levels that are asked for.

Images of sources have the axes [source, microphone, time], like impulse
responses; mixtures are waveforms [time, channel]. Every function takes any
number of batch axes in front, any device, and is differentiable, so that a
training step may mix on its accelerator.
"""

import torch
from scipy.fft import next_fast_len

# ITU-T P.56: speech is active where its envelope is above a threshold that
# lies this far below the active level, dB.
ACTIVITY_MARGIN = 15.9
# Power that stands for silence, so that the logarithm stays finite.
SILENCE = 1e-20


def active_level(waveform, fs=16000):
    """Level of the active parts of signals, dB relative to full scale.

    Pauses do not count, so that speech with many pauses is as loud as speech
    with few. The rule is the one of ITU-T P.56 (activity threshold
    15.9 dB below the active level), applied to the powers of 32 ms frames
    instead of a smoothed envelope. For noise without pauses this is the
    ordinary level.

    Arguments
    ---------
    waveform : torch.Tensor
        Signals with time on the last axis, shape [..., T].
    fs : int
        Sampling rate, Hz.

    Returns
    -------
    torch.Tensor
        dB, shape [...]; a sine of amplitude 1 has -3 dB, silence -200 dB.

    Raises
    ------
    ValueError
        If there is no sample.

    Example
    -------
    >>> tone = torch.sin(torch.arange(16000) * 0.1)
    >>> half = torch.cat((tone, torch.zeros(16000)))
    >>> active_level(torch.stack((half, 0.1 * half))).round()
    tensor([ -3., -23.])
    """
    if waveform.shape[-1] == 0:
        raise ValueError("the level of a signal without samples is undefined")
    frame = min(max(1, round(0.032 * fs)), waveform.shape[-1])
    frames = waveform.unfold(-1, frame, frame).float()
    power = frames.square().mean(-1).clamp_min(SILENCE)
    power = power.sort(dim=-1, descending=True).values
    count = torch.arange(1, power.shape[-1] + 1, device=power.device)
    # With the k strongest frames active, the level is total / k and the
    # threshold is power[k - 1]. The largest k that keeps the margin wins;
    # there is one, as max(k power[k - 1]) is at least total / log(frames).
    level = power.sum(-1, keepdim=True) / count
    ratio = 10.0 ** (ACTIVITY_MARGIN / 10.0)
    active = torch.where(level <= ratio * power, count, 1)
    active = active.amax(-1, keepdim=True)
    return 10.0 * torch.log10(level.gather(-1, active - 1)[..., 0])


def convolve(dry, rirs, num_samples=None):
    """Image of each source at each microphone.

    Arguments
    ---------
    dry : torch.Tensor
        Shape [..., S, T].
    rirs : torch.Tensor
        Shape [..., S, M, N].
    num_samples : int, optional
        Length of the result; T + N - 1, all of it, by default.

    Returns
    -------
    torch.Tensor
        Shape [..., S, M, num_samples].

    Raises
    ------
    ValueError
        If the sources of both do not match or something is empty.

    Example
    -------
    >>> convolve(torch.ones(1, 3), torch.tensor([[[0.0, 2.0]]]))
    tensor([[[0., 2., 2., 2.]]])
    """
    if dry.ndim < 2 or rirs.ndim < 3 or dry.shape[-2] != rirs.shape[-3]:
        raise ValueError(
            "expected dry [..., S, T] and rirs [..., S, M, N] with equal S, "
            f"got {tuple(dry.shape)} and {tuple(rirs.shape)}"
        )
    if dry.shape[-1] == 0 or rirs.shape[-1] == 0:
        raise ValueError("dry signals and responses must not be empty")
    total = dry.shape[-1] + rirs.shape[-1] - 1
    wanted = total if num_samples is None else num_samples
    nfft = next_fast_len(total, real=True)
    spectrum = torch.fft.rfft(dry, n=nfft)[..., None, :]
    spectrum = spectrum * torch.fft.rfft(rirs, n=nfft)
    images = torch.fft.irfft(spectrum, n=nfft)[..., : min(wanted, total)]
    return torch.nn.functional.pad(images, (0, max(0, wanted - total)))


def mix(images, level_db=None, *, fs=16000, reference_microphone=0):
    """Sum the images of sources, at relative levels if asked for.

    Arguments
    ---------
    images : torch.Tensor
        Shape [..., S, M, T].
    level_db : torch.Tensor or sequence, optional
        Active level of each source at the reference microphone relative to
        the first source's own, broadcastable to [..., S], dB; [0, -5] is a
        signal-to-interference ratio of 5 dB. By default nothing is scaled.
    fs : int
        Sampling rate, Hz, for the measure of levels.
    reference_microphone : int
        Where levels are measured.

    Returns
    -------
    tuple of torch.Tensor
        The mixture [..., T, M] and the scaled images [..., S, M, T]. A
        silent image stays silent.

    Example
    -------
    >>> images = torch.randn(2, 2, 16000)
    >>> mixture, images = mix(images, [0.0, -5.0])
    >>> level = active_level(images[:, 0])
    >>> mixture.shape, (level[0] - level[1]).round()
    (torch.Size([16000, 2]), tensor(5.))
    """
    if level_db is not None:
        level = active_level(images[..., reference_microphone, :], fs)
        wanted = torch.as_tensor(level_db).to(level) + level[..., :1]
        images = images * _gain(wanted - level)[..., None, None]
    return images.sum(-3).transpose(-1, -2), images


def _gain(decibel):
    """Amplitude factor of a change of level; silence stays finite."""
    return 10.0 ** (decibel.clamp(-120.0, 120.0) / 20.0)


def mix_batch(
    dry,
    rirs,
    sir_db=0.0,
    *,
    num_samples=None,
    fs=16000,
    reference_microphone=0,
):
    """Mixtures of a batch, to be called within a training step.

    Arguments
    ---------
    dry : torch.Tensor
        Shape [B, S, T].
    rirs : torch.Tensor
        Shape [B, S, M, N].
    sir_db : torch.Tensor or float
        Active level of the first source above each other one at the
        reference microphone, dB: a number, [B] or [B, S - 1].
    num_samples : int, optional
        Length of the mixtures; T by default, without the last reverberation.
    fs : int
        Sampling rate, Hz.
    reference_microphone : int
        Where levels are measured.

    Returns
    -------
    torch.Tensor
        Shape [B, num_samples, M].

    Raises
    ------
    ValueError
        If shapes do not fit.

    Example
    -------
    >>> dry, rirs = torch.randn(4, 2, 8000), torch.randn(4, 2, 3, 100)
    >>> mix_batch(dry, rirs, torch.tensor([0.0, 1.0, 2.0, 3.0])).shape
    torch.Size([4, 8000, 3])
    """
    images = convolve(dry, rirs, num_samples or dry.shape[-1])
    batch, sources = images.shape[:2]
    sir_db = torch.as_tensor(sir_db).to(images)
    if sir_db.ndim == 1:
        sir_db = sir_db[:, None]
    below = -sir_db.expand(batch, sources - 1)
    level_db = torch.cat((below.new_zeros(batch, 1), below), dim=1)
    mixture, _ = mix(
        images, level_db, fs=fs, reference_microphone=reference_microphone
    )
    return mixture


def add_noise(clean, noise, snr_db, *, fs=16000):
    """Add noise at a signal-to-noise ratio.

    The signal counts with its active level, the noise with its power; both
    are means over the channels, so that differences between channels stay.

    Arguments
    ---------
    clean : torch.Tensor
        Shape [..., T, M].
    noise : torch.Tensor
        Broadcastable to ``clean``.
    snr_db : torch.Tensor or float
        Shape [...] (batch axes), dB.
    fs : int
        Sampling rate, Hz.

    Returns
    -------
    torch.Tensor
        Shape [..., T, M]. Silent ``clean`` gets practically no noise.

    Example
    -------
    >>> noisy = add_noise(torch.ones(16000, 1), torch.randn(16000, 1), 20.0)
    >>> (noisy - 1).std().round(decimals=1)
    tensor(0.1000)
    """
    signal = 10.0 ** (active_level(clean.transpose(-1, -2), fs) / 10.0)
    power = noise.square().mean(dim=(-2, -1)).clamp_min(1e-20)
    snr = 10.0 ** (torch.as_tensor(snr_db).to(clean) / 10.0)
    gain = (signal.mean(-1) / (power * snr)).sqrt()
    return clean + noise * gain[..., None, None]
