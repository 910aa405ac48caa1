"""Mel filter banks in the two conventions that are in use.

Slaney's mel scale is linear below 1 kHz and logarithmic above (Auditory
Toolbox, 1998; the default of librosa), HTK's is 2595 log10(1 + f / 700) (the
default of torchaudio). Triangles are always scaled to equal area, 2 over their
width in hertz (Slaney). The scales differ by up to a band: a network trained
on one does not fit the other.
"""

import math

import torch

# Slaney: 200 / 3 Hz a mel up to 1 kHz, then 27 mel to a factor of 6.4.
_LINEAR_STEP = 200.0 / 3.0
_CORNER = 1000.0
_LOG_STEP = math.log(6.4) / 27.0


def _to_mel(frequency, scale):
    """Hertz (a number) to mel."""
    if scale == "htk":
        return 2595.0 * math.log10(1.0 + frequency / 700.0)
    if frequency < _CORNER:
        return frequency / _LINEAR_STEP
    return _CORNER / _LINEAR_STEP + math.log(frequency / _CORNER) / _LOG_STEP


def _to_hertz(mel, scale):
    """Mel (a tensor) to hertz."""
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    corner = _CORNER / _LINEAR_STEP
    above = _CORNER * torch.exp(_LOG_STEP * (mel - corner))
    return torch.where(mel < corner, mel * _LINEAR_STEP, above)


def mel_filter_bank(
    sample_rate, n_fft, n_mels=64, f_min=0.0, f_max=None, scale="htk"
):
    """Triangular filters of equal area, evenly spaced in mel.

    Arguments
    ---------
    sample_rate : int
        Hertz.
    n_fft : int
        Length of the transform, samples.
    n_mels : int
        Number of filters.
    f_min : float
        Lower edge of the first filter, hertz.
    f_max : float, optional
        Upper edge of the last filter, hertz; half the sampling rate by
        default.
    scale : str
        ``"htk"`` or ``"slaney"``.

    Returns
    -------
    torch.Tensor
        float32, shape [n_fft / 2 + 1, n_mels]: power spectra times this are
        mel spectra.

    Raises
    ------
    ValueError
        For another scale, edges out of order or outside of 0 to half the
        sampling rate, or more filters than the transform can resolve.

    Example
    -------
    >>> bank = mel_filter_bank(24000, 1024, 64, f_min=20.0)
    >>> bank.shape, round(bank[:, 18].sum().item(), 4)
    (torch.Size([513, 64]), 0.0427)
    """
    if scale not in ("htk", "slaney"):
        raise ValueError(f"scale must be 'htk' or 'slaney', got {scale!r}")
    f_max = sample_rate / 2 if f_max is None else f_max
    if not 0 <= f_min < f_max <= sample_rate / 2:
        raise ValueError(
            f"mel bands need 0 <= f_min < f_max <= {sample_rate / 2:g} Hz, got "
            f"f_min={f_min} and f_max={f_max}"
        )
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64)
    edges = _to_hertz(
        torch.linspace(
            _to_mel(f_min, scale),
            _to_mel(f_max, scale),
            n_mels + 2,
            dtype=torch.float64,
        ),
        scale,
    )
    slopes = edges - (bins * (sample_rate / n_fft))[:, None]
    widths = edges.diff()
    rising = -slopes[:, :-2] / widths[:-1]
    falling = slopes[:, 2:] / widths[1:]
    bank = torch.minimum(rising, falling).clamp(min=0.0)
    if (bank.sum(0) == 0).any():
        raise ValueError(
            f"{n_mels} mel bands are too many for n_fft={n_fft} at "
            f"{sample_rate} Hz: some hold no bin; use fewer, or a longer "
            "transform"
        )
    return (bank * (2.0 / (edges[2:] - edges[:-2]))).float()
