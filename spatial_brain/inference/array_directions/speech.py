"""Windows of a recording in which someone speaks."""

import numpy as np
import torch

from spatial_brain.dataio.audio import resample_audio

# The detector of WebRTC: hertz, seconds of a frame, how strict from 0 to 3.
_RATE, _FRAME, _MODE = 16000, 0.02, 2
# Seconds that are looked at together.
_PIECE = 60.0


def speech_shares(read, num_samples, fs, times, length):
    """Share of windows in which someone speaks.

    The voice activity detector of WebRTC, on the loudest channel of each
    minute.

    Arguments
    ---------
    read : callable
        Takes the first sample of a piece and the one after its last; gives
        [1, time, channel].
    num_samples : int
        Length of the recording.
    fs : float
        Sampling rate, hertz.
    times : numpy.ndarray
        Centres of the windows, seconds, [window].
    length : float
        Of a window, seconds.

    Returns
    -------
    numpy.ndarray
        In [0, 1], [window].

    Raises
    ------
    ImportError
        Without the package webrtcvad.
    """
    try:
        import webrtcvad
    except ImportError as error:
        raise ImportError(
            "speech is found by the package webrtcvad: pip install "
            "webrtcvad-wheels, or leave --speech-only out"
        ) from error
    detector = webrtcvad.Vad(_MODE)
    piece, spoken = round(_PIECE * fs), []
    for start in range(0, num_samples, piece):
        waveform = read(start, min(start + piece, num_samples))[0]
        loudest = waveform.square().sum(0).argmax()
        sound = resample_audio(waveform[:, loudest, None], fs, _RATE)[:, 0]
        frames = sound.clamp(-1, 1).mul(32767).to(torch.int16).numpy()
        size = round(_FRAME * _RATE)
        frames = frames[: len(frames) // size * size].reshape(-1, size)
        spoken += [
            detector.is_speech(frame.tobytes(), _RATE) for frame in frames
        ]
    total = np.concatenate(([0], np.cumsum(spoken)))
    first, last = (
        np.clip(np.round((times + side * length / 2) / _FRAME), 0, len(spoken))
        for side in (-1, 1)
    )
    first, last = first.astype(int), last.astype(int)
    return (total[last] - total[first]) / np.maximum(last - first, 1)
