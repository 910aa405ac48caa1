"""Sounds inside a page."""

import base64
import io

import soundfile
import torch
from torchaudio.functional import resample

MAX_RATE = 16000
PEAK = 0.7


def flac_uri(waveform, fs):
    """A sound as a data URI that browsers play.

    Arguments
    ---------
    waveform : torch.Tensor
        Shape [time], of at least one sample; scaled to a peak of 0.7.
    fs : int
        Sampling rate, Hz; reduced to 16 kHz if it is above.

    Returns
    -------
    str
        16-bit FLAC, half the size of a WAV file.

    Raises
    ------
    ValueError
        If the waveform is empty or has channels.

    Example
    -------
    >>> flac_uri(torch.randn(8000), 16000)[:26]
    'data:audio/flac;base64,Zkx'
    """
    waveform = torch.as_tensor(waveform).detach().cpu().float()
    if waveform.ndim != 1 or not len(waveform):
        raise ValueError(
            "a player needs a waveform [time] with samples, got shape "
            f"{tuple(waveform.shape)}"
        )
    if fs > MAX_RATE:
        waveform, fs = resample(waveform, fs, MAX_RATE), MAX_RATE
    waveform = PEAK * waveform / waveform.abs().max().clamp(min=1e-8)
    stream = io.BytesIO()
    soundfile.write(stream, waveform.numpy(), fs, "PCM_16", format="FLAC")
    content = base64.b64encode(stream.getvalue()).decode()
    return f"data:audio/flac;base64,{content}"
