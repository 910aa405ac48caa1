"""Where live sound comes from: a device, a file in real time, or a pipe.

Each input is a context manager with ``info`` (an ``AudioInfo``; its path is
the input's name), which iterates over chunks [time, channel] as they come.
``lost`` counts the seconds of sound that came too fast to be taken, ``behind``
is the longest time that sound had to wait, seconds.
"""

import os
import time

import numpy as np
import torch

from spatial_brain.dataio.audio import (
    AUDIO_SUFFIXES,
    AudioInfo,
    describe,
    open_audio,
)

# Seconds of a chunk: what live results come later for it at most.
CHUNK = 0.05
# Bytes of a sample of a pipe.
_WIDTH = 2


class FileInput:
    """A file played in real time.

    Arguments
    ---------
    path : str or Path
        The file.
    clock : object, optional
        With ``monotonic()`` and ``sleep(seconds)``; default: ``time``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no audio.

    Example
    -------
    >>> from spatial_brain.dataio.audio import write_audio
    >>> path = getfixture("tmp_path") / "a.wav"
    >>> write_audio(path, torch.zeros(1000, 2), 8000)
    >>> with FileInput(path) as sound:
    ...     [len(chunk) for chunk in sound]
    [400, 400, 200]
    """

    lost = 0.0

    def __init__(self, path, clock=None):
        self._path, self._clock = path, clock or time
        with open_audio(path) as file:
            self.info = describe(file, path)
        self.behind = 0.0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def __iter__(self):
        start, given, fs = self._clock.monotonic(), 0, self.info.fs
        size = max(1, round(CHUNK * fs))
        with open_audio(self._path) as file:
            for block in file.blocks(size, dtype="float32", always_2d=True):
                given += len(block)
                late = self._clock.monotonic() - start - given / fs
                self.behind = max(self.behind, late)
                if late < 0:
                    self._clock.sleep(-late)
                yield torch.from_numpy(block.copy())


class PipeInput:
    """Raw samples of 16 bits, little-endian, from a pipe.

    Arguments
    ---------
    stream : io.BufferedIOBase
        Such as ``sys.stdin.buffer``.
    fs : int
        Sampling rate, hertz.
    num_channels : int
        Channels, interleaved.

    Example
    -------
    >>> import io
    >>> samples = io.BytesIO(np.array([[0, 16384]], "<i2").tobytes())
    >>> [chunk.tolist() for chunk in PipeInput(samples, 8000, 2)]
    [[[0.0, 0.5]]]
    """

    lost = behind = 0.0

    def __init__(self, stream, fs, num_channels):
        self._stream = stream
        self.info = AudioInfo(
            "standard input", 0, fs, num_channels, "RAW", "PCM_16"
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def __iter__(self):
        channels = self.info.num_channels
        frame = _WIDTH * channels
        size = max(1, round(CHUNK * self.info.fs)) * frame
        while content := self._stream.read(size):
            # Of the last frame of a pipe that was cut, a part is missing.
            whole = content[: len(content) // frame * frame]
            samples = np.frombuffer(whole, "<i2").astype(np.float32)
            yield torch.from_numpy(samples.reshape(-1, channels) / 2**15)


def is_file(name):
    """Whether the name of a live input is that of a file.

    Arguments
    ---------
    name : str
        A path, or the name or number of a device.

    Returns
    -------
    bool
        True for what exists, and for what has a folder or an audio suffix.

    Example
    -------
    >>> is_file("talk.wav"), is_file("hw:2,0"), is_file("3")
    (True, False, False)
    """
    suffix = os.path.splitext(name)[1].lower()
    return os.path.exists(name) or suffix in AUDIO_SUFFIXES
