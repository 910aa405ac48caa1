"""Audio files to tensors and back, through soundfile.

Waveforms are float32 tensors of shape [time, channel]. Every error names the
file, what was found and what to do. Whatever libsndfile knows can be read:
wav, flac, ogg, mp3, NIST sphere, aiff and more; rates are never changed
unless asked for.
"""

import math
import os
from pathlib import Path

import numpy as np
import soundfile
import torch
from torchaudio.functional import resample as resample_waveform

from spatial_brain.dataio.audio_header import (
    AUDIO_SUFFIXES,
    AudioFileError,
    AudioInfo,
    audio_info,
    check_audio,
    describe,
    open_audio,
)

__all__ = [
    "AUDIO_SUFFIXES",
    "AudioFileError",
    "AudioInfo",
    "audio_info",
    "check_audio",
    "read_audio",
    "stream_blocks",
    "write_audio",
]

# Suffixes whose libsndfile format has another name.
_FORMATS = {"AIF": "AIFF", "OPUS": "OGG", "SPH": "NIST"}

# Defaults of torchaudio.functional.resample: half-width of the windowed sinc
# in zero crossings, and its cut-off relative to Nyquist.
_LOWPASS_WIDTH, _ROLLOFF = 6, 0.99


def read_audio(
    path,
    start=0,
    num_samples=None,
    fs=None,
    *,
    resample=False,
    num_channels=None,
):
    """Read an audio file or a segment of it.

    Only the segment is decoded. With ``resample`` the segment equals that of
    the whole file resampled: enough context is read on both sides.

    Arguments
    ---------
    path : str or Path
        File of any format libsndfile knows.
    start : int
        First sample, counted at the returned rate.
    num_samples : int
        Length at the returned rate; None reads to the end.
    fs : int
        Expected rate in Hz; None accepts any.
    resample : bool
        Convert a file of another rate to ``fs`` instead of refusing it.
    num_channels : int
        Expected number of channels; None accepts any.

    Returns
    -------
    tuple
        Waveform, float32 [time, channel], contiguous; and its rate in Hz.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    AudioFileError
        (a ValueError) If the file is corrupt, holds NaN or infinity, has
        another rate or channel count, or the segment passes its end.

    Example
    -------
    >>> path = getfixture("tmp_path") / "ramp.wav"
    >>> write_audio(path, torch.arange(8.0) / 8, 16000)
    >>> waveform, fs = read_audio(path, start=2, num_samples=3)
    >>> waveform.squeeze(-1), fs
    (tensor([0.2500, 0.3750, 0.5000]), 16000)
    """
    with open_audio(path) as file:
        info = describe(file, path)
        check_audio(
            info, fs=None if resample else fs, num_channels=num_channels
        )
        fs = info.fs if fs is None else fs
        total = math.ceil(info.num_samples * fs / info.fs)
        num_samples = _check_segment(info, fs, start, num_samples, total)
        return _read_segment(file, info, start, num_samples, fs), fs


def _check_segment(info, fs, start, num_samples, total):
    """Length of a segment, after checking that it lies within the file."""
    if start < 0 or (num_samples is not None and num_samples <= 0):
        raise ValueError(
            f"{info.path}: start must be >= 0 and num_samples >= 1, got "
            f"start={start}, num_samples={num_samples}"
        )
    stop = start + 1 if num_samples is None else start + num_samples
    if stop > total:
        wanted = "the end" if num_samples is None else f"sample {stop}"
        raise AudioFileError(
            f"{info.path}: asked for samples {start} to {wanted}, but it has "
            f"{total} at {fs} Hz; check the manifest against the file"
        )
    return total - start if num_samples is None else num_samples


def _read_segment(file, info, start, num_samples, fs):
    """Decode a segment given at rate ``fs`` from an open sound file."""
    if fs == info.fs:
        return _decode(file, info, start, num_samples)
    divisor = math.gcd(fs, info.fs)
    old, new = info.fs // divisor, fs // divisor
    context = math.ceil(_LOWPASS_WIDTH * old / (min(old, new) * _ROLLOFF)) + 1
    # Output sample k * new lies exactly on input sample k * old.
    block = max(0, start // new - math.ceil(context / old))
    first = block * old
    last = min(
        info.num_samples,
        math.ceil((start + num_samples) * old / new) + context,
    )
    waveform = _decode(file, info, first, last - first)
    waveform = resample_waveform(
        waveform.T,
        info.fs,
        fs,
        lowpass_filter_width=_LOWPASS_WIDTH,
        rolloff=_ROLLOFF,
    ).T
    offset = start - block * new
    return waveform[offset : offset + num_samples].contiguous()


def _decode(file, info, start, num_samples):
    """Decode samples at the file's own rate into a float32 tensor."""
    file.seek(start)
    samples = file.read(num_samples, dtype="float32", always_2d=True)
    if len(samples) != num_samples:
        raise AudioFileError(
            f"{info.path}: truncated, only {start + len(samples)} of "
            f"{info.num_samples} samples can be decoded; copy it again"
        )
    if info.subtype in ("FLOAT", "DOUBLE") and not np.isfinite(samples).all():
        raise AudioFileError(f"{info.path}: holds NaN or infinite samples")
    return torch.from_numpy(samples)


def stream_blocks(
    path,
    block_size,
    hop=None,
    *,
    fs=None,
    resample=False,
    num_channels=None,
    pad=False,
):
    """Read a long file window by window, with bounded memory.

    Arguments
    ---------
    path : str or Path
        File of any format libsndfile knows.
    block_size : int
        Length of a window in samples at the returned rate.
    hop : int
        Distance between window starts; None gives windows side by side.
    fs : int
        Expected rate in Hz; None accepts any.
    resample : bool
        Convert a file of another rate to ``fs`` instead of refusing it.
    num_channels : int
        Expected number of channels; None accepts any.
    pad : bool
        Fill the last window with zeros to ``block_size`` (else it is short).

    Yields
    ------
    tuple
        First sample (int) and window, float32 [time, channel]. The last
        window is the first one that reaches the end of the file.

    Example
    -------
    >>> path = getfixture("tmp_path") / "long.wav"
    >>> write_audio(path, torch.zeros(25), 8000)
    >>> [(start, len(block)) for start, block in stream_blocks(path, 10)]
    [(0, 10), (10, 10), (20, 5)]
    """
    hop = block_size if hop is None else hop
    if block_size < 1 or not 1 <= hop <= block_size:
        raise ValueError(
            "block_size must be >= 1 and hop between 1 and block_size, got "
            f"block_size={block_size}, hop={hop}"
        )
    with open_audio(path) as file:
        info = describe(file, path)
        check_audio(
            info, fs=None if resample else fs, num_channels=num_channels
        )
        fs = info.fs if fs is None else fs
        total = math.ceil(info.num_samples * fs / info.fs)
        start = 0
        while True:
            length = min(block_size, total - start)
            block = _read_segment(file, info, start, length, fs)
            if pad and length < block_size:
                block = torch.nn.functional.pad(
                    block, (0, 0, 0, block_size - length)
                )
            yield start, block
            if start + block_size >= total:
                return
            start += hop


def write_audio(path, waveform, fs, *, subtype=None, clip=False):
    """Write a waveform; the file appears complete or not at all.

    Arguments
    ---------
    path : str or Path
        The suffix selects the format; folders are created.
    waveform : torch.Tensor or numpy.ndarray
        Floating, [time] or [time, channel].
    fs : int
        Sampling rate, Hz.
    subtype : str
        Encoding, e.g. ``"PCM_16"``, ``"PCM_24"``, ``"FLOAT"``; None is the
        format's own default (16-bit for wav and flac).
    clip : bool
        Clip samples outside [-1, 1] for integer encodings instead of
        refusing them.

    Raises
    ------
    ValueError
        If samples are not finite, would be clipped, the shape is wrong, or
        the format does not know the encoding.

    Example
    -------
    >>> path = getfixture("tmp_path") / "loud.wav"
    >>> write_audio(path, torch.tensor([0.0, 2.0]), 16000, subtype="FLOAT")
    >>> read_audio(path)[0].max()
    tensor(2.)
    """
    path = Path(path)
    form = path.suffix[1:].upper()
    subtype = subtype or ("OPUS" if form == "OPUS" else None)
    form = _FORMATS.get(form, form)
    if form not in soundfile.available_formats():
        raise ValueError(f"{path}: no audio format is known by this suffix")
    subtype = subtype or soundfile.default_subtype(form)
    if not soundfile.check_format(form, subtype):
        raise ValueError(f"{path}: format {form} cannot hold {subtype} samples")
    samples = torch.as_tensor(waveform).detach().cpu().float().numpy()
    if samples.ndim not in (1, 2) or samples.size == 0:
        raise ValueError(
            f"{path}: waveform must be [time] or [time, channel] and not "
            f"empty, got shape {samples.shape}"
        )
    if not np.isfinite(samples).all():
        raise ValueError(f"{path}: refusing to write NaN or infinite samples")
    peak = float(np.abs(samples).max())
    if peak > 1 and not clip and subtype not in ("FLOAT", "DOUBLE"):
        raise ValueError(
            f"{path}: peak {peak:.4g} would be clipped by {subtype}; scale the "
            'waveform, write subtype="FLOAT" to a .wav, or pass clip=True'
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        soundfile.write(temporary, samples, fs, format=form, subtype=subtype)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
