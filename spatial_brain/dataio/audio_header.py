"""Headers of audio files, checked before any sample is decoded."""

import contextlib
import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path

import soundfile

# Headerless files tell nothing about themselves; the others are names of
# formats that libsndfile calls otherwise.
AUDIO_SUFFIXES = frozenset(
    f".{name.lower()}" for name in soundfile.available_formats()
) - {".raw"} | {".aif", ".oga", ".opus", ".sph", ".wv1", ".wv2"}


class AudioFileError(ValueError):
    """An audio file is corrupt, empty, or not what was asked for."""


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says.

    Arguments
    ---------
    path : str
        The file.
    num_samples : int
        Samples per channel.
    fs : int
        Sampling rate, Hz.
    num_channels : int
        Number of channels.
    format : str
        Container, as libsndfile names it (``"WAV"``, ``"FLAC"``, ...).
    subtype : str
        Encoding of the samples (``"PCM_16"``, ``"FLOAT"``, ...).

    Example
    -------
    >>> AudioInfo("a.wav", 8000, 16000, 2, "WAV", "PCM_16").duration
    0.5
    """

    path: str
    num_samples: int
    fs: int
    num_channels: int
    format: str
    subtype: str

    @property
    def duration(self):
        """Duration in seconds."""
        return self.num_samples / self.fs


def _shorten_message(path):
    """Explain a shorten-compressed NIST sphere file; None for other files."""
    with open(path, "rb") as file:
        header = file.read(1024)
    if not header.startswith(b"NIST_1A") or b"shorten" not in header:
        return None
    return (
        f"{path}: shorten-compressed NIST sphere file, which libsndfile cannot "
        "decode. Convert it once, for example with the LDC's tool: "
        f"sph2pipe -f wav '{path}' '{Path(path).with_suffix('.wav')}' "
        "(or ffmpeg -i with the same two names) and use the .wav files."
    )


@contextlib.contextmanager
def open_audio(path):
    """Open a sound file for reading; errors name the file.

    Arguments
    ---------
    path : str or Path
        File of any format libsndfile knows.

    Yields
    ------
    soundfile.SoundFile
        The open file, its header checked.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    AudioFileError
        If it cannot be decoded, also while the samples are read.

    Example
    -------
    >>> with open_audio("nowhere.wav"):
    ...     pass
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] audio file does not exist; ...
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise FileNotFoundError(
            errno.ENOENT, "audio file does not exist; check the path", path
        )
    if os.path.isdir(path):
        raise AudioFileError(f"{path}: is a folder, not an audio file")
    try:
        with soundfile.SoundFile(path) as file:
            _check_header(file, path)
            yield file
    except soundfile.LibsndfileError as error:
        reason = _shorten_message(path) or (
            f"{path}: cannot be decoded as audio ({error.error_string}); the "
            "file is corrupt or of an unknown format"
        )
        raise AudioFileError(reason) from error


def _check_header(file, path):
    """Refuse empty files and RIFF files that end before their data do."""
    if file.frames <= 0:
        raise AudioFileError(f"{path}: holds no samples; copy it again")
    # libsndfile silently shortens a truncated wav and only logs it. Writers to
    # a pipe cannot know the length and leave 0 or the largest number.
    for declared, found in re.findall(
        r"data\s*:\s*(\d+) \(should be (\d+)\)", file.extra_info
    ):
        if int(found) < int(declared) < 0xFFFFFF00:
            raise AudioFileError(
                f"{path}: truncated, its header declares {declared} bytes of "
                f"samples but {found} are there; copy it again"
            )


def audio_info(path):
    """Read the header of an audio file.

    Arguments
    ---------
    path : str or Path
        File of any format libsndfile knows.

    Returns
    -------
    AudioInfo
        Length, rate, channels and encoding; no sample is decoded.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    AudioFileError
        (a ValueError) If it is empty, truncated or no audio file.

    Example
    -------
    >>> path = getfixture("tmp_path") / "tone.flac"
    >>> soundfile.write(path, [[0.0, 0.0]] * 800, 16000)
    >>> info = audio_info(path)
    >>> info.num_samples, info.num_channels, info.fs, info.duration
    (800, 2, 16000, 0.05)
    """
    with open_audio(path) as file:
        return describe(file, path)


def describe(file, path):
    """Header of an open sound file.

    Arguments
    ---------
    file : soundfile.SoundFile
        From ``open_audio``.
    path : str or Path
        Its path.

    Returns
    -------
    AudioInfo
        Length, rate, channels and encoding.

    Example
    -------
    >>> import io
    >>> file = soundfile.SoundFile(io.BytesIO(), "w", 8000, 1, format="WAV")
    >>> describe(file, "memory").fs
    8000
    """
    return AudioInfo(
        os.fspath(path),
        file.frames,
        file.samplerate,
        file.channels,
        file.format,
        file.subtype,
    )


def check_audio(info, *, fs=None, num_channels=None):
    """Compare a header with what is expected.

    Arguments
    ---------
    info : AudioInfo
        From ``audio_info``.
    fs : int
        Expected rate in Hz; None accepts any.
    num_channels : int
        Expected number of channels; None accepts any.

    Raises
    ------
    AudioFileError
        With the file, both values and the remedy.

    Example
    -------
    >>> info = AudioInfo("a.wav", 10, 8000, 1, "WAV", "PCM_16")
    >>> try:
    ...     check_audio(info, fs=16000)
    ... except AudioFileError as error:
    ...     print(error)
    a.wav: sampling rate is 8000 Hz, expected 16000 Hz; convert the file, ...
    """
    if fs is not None and info.fs != fs:
        raise AudioFileError(
            f"{info.path}: sampling rate is {info.fs} Hz, expected {fs} Hz; "
            "convert the file, or ask for resampling (resample=True)"
        )
    if num_channels is not None and info.num_channels != num_channels:
        raise AudioFileError(
            f"{info.path}: has {info.num_channels} channels, expected "
            f"{num_channels}; pass a file of {num_channels} channels or select "
            "the channels you want first"
        )
