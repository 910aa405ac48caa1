"""Recordings that can and cannot be separated, told before work begins."""

import math
import warnings

import numpy as np

from spatial_brain.dataio.audio_header import describe, open_audio
from spatial_brain.inference.recordings import RecordingWarning

NUM_EARS = 2
SILENCE_DBFS = -80.0
# Convolutions that mirror the ends of a signal need 129 frames of 1 ms.
SHORTEST = 0.13
BLOCK = 1 << 16


def check_recording(path, rate, channels=None, resample=False):
    """Look through a recording for what a separation cannot do with.

    The whole file is decoded once, block by block, which takes far less time
    than a network does.

    Arguments
    ---------
    path : str or Path
        Recording of two ears.
    rate : int
        Sampling rate of the model, hertz.
    channels : sequence of int, optional
        Left and right ear, from 0. Needed if the file has more than two.
    resample : bool
        Whether another sampling rate is welcome.

    Returns
    -------
    tuple
        Left and right channel (list of int), and the length in samples at
        the rate of the model.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it has another rate or other channels, is too short, silent, or
        holds NaN or infinite samples. A RecordingWarning tells if an ear is
        silent or both are the same.

    Example
    -------
    >>> import soundfile
    >>> path = getfixture("tmp_path") / "pair.wav"
    >>> noise = np.random.default_rng(0).uniform(-0.5, 0.5, (16000, 2))
    >>> soundfile.write(path, noise, 16000)
    >>> check_recording(path, 8000, resample=True)
    ([0, 1], 8000)
    >>> check_recording(path, 8000)
    Traceback (most recent call last):
    ...
    ValueError: ...: sampling rate is 16000 Hz, the model needs 8000 Hz; ...
    """
    with open_audio(path) as file:
        info = describe(file, path)
        channels = _choose_ears(info, channels)
        if info.fs != rate and not resample:
            raise ValueError(
                f"{path}: sampling rate is {info.fs} Hz, the model needs "
                f"{rate} Hz; let it be converted (--resample, or "
                "resample=True)"
            )
        total = math.ceil(info.num_samples * rate / info.fs)
        if total < SHORTEST * rate:
            raise ValueError(
                f"{path}: {total / rate:.3f} s is too short, a separation "
                f"needs at least {SHORTEST} s; record longer"
            )
        _look_through(file, info, channels)
    return channels, total


def _choose_ears(info, channels):
    """Two channels of a file, after checking that it has them."""
    if channels is None:
        if info.num_channels != NUM_EARS:
            remedy = (
                "choose left and right with --channels 0,1 (channels=[0, 1])"
                if info.num_channels > NUM_EARS
                else "record with a microphone in each ear"
            )
            raise ValueError(
                f"{info.path}: has {info.num_channels} channel(s), the model "
                f"needs {NUM_EARS} ears; {remedy}"
            )
        return [0, 1]
    channels = [int(channel) for channel in channels]
    known = set(range(info.num_channels))
    if len(channels) != NUM_EARS or len(known & set(channels)) != NUM_EARS:
        raise ValueError(
            f"{info.path}: channels {channels} do not do: two different ones "
            f"from 0 to {info.num_channels - 1} are needed"
        )
    return channels


def _look_through(file, info, channels):
    """Refuse NaN and silence, warn of what leaves no interaural cues."""
    peaks, identical, start = np.zeros(NUM_EARS), True, 0
    for block in file.blocks(BLOCK, dtype="float32", always_2d=True):
        # A channel that is not used must be sound, too: blocks are read whole.
        if not np.isfinite(block).all():
            row, column = np.argwhere(~np.isfinite(block))[0]
            raise ValueError(
                f"{info.path}: sample {start + row} of channel {column} (at "
                f"{(start + row) / info.fs:.3f} s) is {block[row, column]}; "
                "cut that stretch out or export the recording again"
            )
        ears = block[:, channels]
        peaks = np.maximum(peaks, np.abs(ears).max(0))
        identical = identical and np.array_equal(ears[:, 0], ears[:, 1])
        start += len(block)
    level = 20 * np.log10(peaks + 1e-20)
    dead = level < SILENCE_DBFS
    if dead.all():
        raise ValueError(
            f"{info.path}: is silent (peak {max(level):.0f} dBFS, below "
            f"{SILENCE_DBFS:.0f} dBFS); check the recording or raise its level"
        )
    problem = None
    if dead.any():
        problem = (
            f"channel {channels[int(dead.argmax())]} is silent (peak "
            f"{min(level):.0f} dBFS); check that ear, or choose others with "
            "--channels"
        )
    elif identical:
        problem = (
            f"channels {channels[0]} and {channels[1]} are the same (a mono "
            "recording?); record with a microphone in each ear"
        )
    if problem:
        warnings.warn(
            f"{info.path}: {problem}. There are no interaural cues to go by: "
            "do not trust the separation",
            RecordingWarning,
            stacklevel=4,
        )
