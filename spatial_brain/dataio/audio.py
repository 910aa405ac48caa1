"""Audio files to tensors and back, through soundfile.

Waveforms are float32 tensors of shape [time, channel]. Every error names the
file, what was found and what to do. Read are the containers of libsndfile
whose completeness can be checked (wav, flac, ogg, mp3, NIST sphere, aiff and
more, see ``spatial_brain.dataio.containers``); a file that was cut is never
taken for a shorter one. Rates are never changed unless asked for.
"""

import contextlib
import errno
import math
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from torchaudio.functional import resample as resample_waveform

from spatial_brain.atomic import atomic_path
from spatial_brain.dataio.containers import CONTAINERS, find_loss
from spatial_brain.dataio.parallel import progress

# Suffixes whose libsndfile format has another name.
_FORMATS = {
    "AIF": "AIFF",
    "AIFC": "AIFF",
    "OGA": "OGG",
    "OPUS": "OGG",
    "SPH": "NIST",
    "WV1": "NIST",
    "WV2": "NIST",
}
# Files of these suffixes are looked for in folders.
AUDIO_SUFFIXES = frozenset(
    f".{name.lower()}" for name in (*CONTAINERS, *_FORMATS)
)

# Without a header: neither rate nor channels are known.
_HEADERLESS = ".raw"
# Defaults of torchaudio.functional.resample: half-width of the windowed sinc
# in zero crossings, and its cut-off relative to Nyquist.
_LOWPASS_WIDTH, _ROLLOFF = 6, 0.99
# Weights that torchaudio may tabulate, one set for each phase; and those that
# are computed at once where there would be more, times the channels.
_MAX_TABLE, _MAX_WEIGHTS = 1 << 21, 1 << 22
# Rates of recordings, Hz. Others are not converted.
_RATES = (1000, 1_000_000)
# Unusable files that a message names.
_LISTED = 10


class AudioFileError(ValueError):
    """An audio file is corrupt, empty, or not what was asked for."""


@dataclass(frozen=True)
class AudioInfo:
    """Header of an audio file.

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


@contextlib.contextmanager
def open_audio(path):
    """Open a sound file for reading; errors name the file.

    Arguments
    ---------
    path : str or Path
        File of a container named in ``CONTAINERS``.

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
    _check_kind(path)
    try:
        with _open(path) as file:
            yield file
    except soundfile.LibsndfileError as error:
        raise AudioFileError(
            f"{path}: cannot be decoded as audio ({error.error_string}); the "
            "file is corrupt or of an unknown format"
        ) from error


def _open(path):
    """Open a file and check its header; shortened ones are decoded first."""
    try:
        file = soundfile.SoundFile(path)
    except soundfile.LibsndfileError:
        content = _decode_shortened(path)
        if content is None:
            raise
        return soundfile.SoundFile(content)
    try:
        _check_header(file, path)
    except BaseException:
        file.close()
        raise
    return file


def _decode_shortened(path):
    """A shortened NIST sphere file as a WAV file; None for other files."""
    from spatial_brain.dataio import shorten  # compiles

    if not shorten.is_shortened(path):
        return None
    try:
        return shorten.read_shortened(path)
    except NotImplementedError as error:
        raise AudioFileError(
            f"{path}: shorten-compressed NIST sphere file that {error}, which "
            "is not decoded here. Convert it once, for example with the LDC's "
            f"tool: sph2pipe -f wav '{path}' "
            f"'{Path(path).with_suffix('.wav')}' (or ffmpeg -i with the same "
            "two names) and use the .wav files."
        ) from error
    except ValueError as error:
        raise AudioFileError(
            f"{path}: shorten-compressed NIST sphere file: {error}"
        ) from error


def _check_kind(path):
    """Refuse what is no regular file that can be read, and raw samples."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise FileNotFoundError(
            errno.ENOENT, "audio file does not exist; check the path", path
        ) from None
    if stat.S_ISDIR(mode):
        raise AudioFileError(f"{path}: is a folder, not an audio file")
    if not stat.S_ISREG(mode):
        raise AudioFileError(
            f"{path}: is a pipe or a device, not a regular file; write the "
            "audio to a file first"
        )
    if os.path.splitext(path)[1].lower() == _HEADERLESS:
        raise AudioFileError(
            f"{path}: raw samples without a header, whose rate, channels and "
            "encoding are not known here. Convert it, for example: ffmpeg "
            "-f s16le -ar 16000 -ac 1 -i IN.raw OUT.wav"
        )
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, "audio file may not be read", path)


def _check_header(file, path):
    """Refuse empty files, and those that end before their samples do."""
    if loss := find_loss(path, file):
        raise AudioFileError(f"{path}: {loss}")
    if file.frames <= 0:
        raise AudioFileError(f"{path}: holds no samples; copy it again")


def audio_info(path):
    """Read the header of an audio file.

    Arguments
    ---------
    path : str or Path
        File of a container named in ``CONTAINERS``.

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
        From ``audio_info``. Its rate must be one of recordings.
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
    a.wav: sampling rate is 8000 Hz, expected 16000 Hz; convert the file ...
    """
    if fs is not None and info.fs != fs:
        raise AudioFileError(
            f"{info.path}: sampling rate is {info.fs} Hz, expected {fs} Hz; "
            f"convert the file to {fs} Hz, or use --resample with a command "
            "that has it"
        )
    if not _RATES[0] <= info.fs <= _RATES[1]:
        raise AudioFileError(
            f"{info.path}: its header states a sampling rate of {info.fs} Hz, "
            f"expected {_RATES[0]} to {_RATES[1]} Hz; correct it"
        )
    if num_channels is not None and info.num_channels != num_channels:
        raise AudioFileError(
            f"{info.path}: has {info.num_channels} channels, expected "
            f"{num_channels}; pass a file of {num_channels} channels or select "
            "the channels you want first"
        )


def scan_headers(paths, check=None, num_workers=8):
    """Read the headers of many audio files, in threads, with a progress bar.

    Arguments
    ---------
    paths : sequence of str or Path
        The files.
    check : callable
        Called with the ``AudioInfo`` of each file; raises ``AudioFileError``
        for one that cannot be used. None accepts every audio file.
    num_workers : int
        Number of threads.

    Returns
    -------
    tuple
        List of ``AudioInfo``, one per file, None for the unusable; and list
        of str, what is wrong with these, naming the files, in their order.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.wav"
    >>> write_audio(path, torch.zeros(80), 16000)
    >>> infos, problems = scan_headers([path, "nowhere.wav"])
    >>> infos[0].num_samples, infos[1]
    (80, None)
    >>> print(list_problems(problems, 2, "files"))
    1 of 2 files are unusable:
      [Errno 2] audio file does not exist; check the path: 'nowhere.wav'
    """

    def scan(path):
        try:
            info = audio_info(path)
            if check is not None:
                check(info)
        except (AudioFileError, OSError) as error:
            return None, str(error)
        return info, None

    with ThreadPoolExecutor(num_workers) as pool:
        results = list(
            progress(
                pool.map(scan, paths),
                total=len(paths),
                description="reading headers",
                unit="file",
            )
        )
    problems = [problem for info, problem in results if info is None]
    return [info for info, _ in results], problems


def list_problems(problems, total, what):
    """Message with the number of unusable files and the first problems.

    Arguments
    ---------
    problems : sequence of str
        Each names its file.
    total : int
        Number of files examined.
    what : str
        What was examined, e.g. ``"audio files"``.

    Returns
    -------
    str
        A heading and at most ten problems, one per line.

    Example
    -------
    >>> print(list_problems(["a.wav: truncated"], 3, "audio files"))
    1 of 3 audio files are unusable:
      a.wav: truncated
    """
    lines = list(problems[:_LISTED])
    if len(problems) > _LISTED:
        lines.append(f"... and {len(problems) - _LISTED} more")
    heading = f"{len(problems)} of {total} {what} are unusable:"
    return "\n  ".join([heading, *lines])


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
        File of a container named in ``CONTAINERS``.
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


def resample_audio(waveform, old_fs, fs):
    """Convert the sampling rate of a waveform, with bounded memory.

    A sinc under a squared cosine with six zero crossings on either side, cut
    off at 0.99 of the lower Nyquist frequency: what
    ``torchaudio.functional.resample`` does by default. Its table has an entry
    for each phase, 3 GB from 47,999 to 16,000 Hz; where the rates share no
    large factor, the same weights are computed for each output sample
    instead, exactly.

    Arguments
    ---------
    waveform : torch.Tensor
        Shape [time, channel], float32.
    old_fs, fs : int
        Rates, Hz, from 1,000 to 1,000,000.

    Returns
    -------
    torch.Tensor
        Shape [ceil(time * fs / old_fs), channel]. Sample 0 stays where it is.

    Raises
    ------
    ValueError
        If a rate is out of range.

    Example
    -------
    >>> resample_audio(torch.zeros(47999, 2), 47999, 16000).shape
    torch.Size([16000, 2])
    """
    for rate in (old_fs, fs):
        if not _RATES[0] <= rate <= _RATES[1]:
            raise ValueError(
                f"a sampling rate of {rate} Hz is not that of a recording, "
                f"expected {_RATES[0]} to {_RATES[1]} Hz; correct the file's "
                "header"
            )
    divisor = math.gcd(old_fs, fs)
    old, new = old_fs // divisor, fs // divisor
    if old == new:
        return waveform
    if new * (2 * _filter_reach(old, new) + old) > _MAX_TABLE:
        return _resample_by_sample(waveform, old, new)
    return resample_waveform(
        waveform.T,
        old,
        new,
        lowpass_filter_width=_LOWPASS_WIDTH,
        rolloff=_ROLLOFF,
    ).T.contiguous()


def _filter_reach(old, new):
    """Input samples that the filter needs on either side."""
    return math.ceil(_LOWPASS_WIDTH * old / (min(old, new) * _ROLLOFF))


def _resample_by_sample(waveform, old, new):
    """Resample with weights computed anew for each output sample."""
    reach = _filter_reach(old, new)
    total = math.ceil(len(waveform) * new / old)
    num_channels = waveform.shape[1]
    padded = torch.nn.functional.pad(waveform, (0, 0, reach, reach + 1))
    # All windows that begin at a sample, [time, channel, tap]; no copy.
    windows = padded.unfold(0, 2 * reach + 2, 1)
    taps = torch.arange(-reach, reach + 2, dtype=torch.float64)
    # Cut-off as a share of the old Nyquist frequency.
    cutoff = min(1.0, new / old) * _ROLLOFF
    size = max(1, _MAX_WEIGHTS // (len(taps) * (1 + num_channels)))
    output = waveform.new_empty(total, num_channels)
    for first in range(0, total, size):
        index = torch.arange(first, min(first + size, total))
        whole = index * old // new
        part = (index * old % new).double() / new
        t = (taps - part[:, None]) * cutoff
        weights = torch.sinc(t) * cutoff
        t = t.clamp(-_LOWPASS_WIDTH, _LOWPASS_WIDTH)
        weights *= torch.cos(t * (math.pi / 2 / _LOWPASS_WIDTH)) ** 2
        output[index] = torch.einsum(
            "nct,nt->nc", windows[whole], weights.to(waveform.dtype)
        )
    return output


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
    first, last, offset = resampling_span(
        start, num_samples, fs, info.fs, info.num_samples
    )
    waveform = _decode(file, info, first, last - first)
    waveform = resample_audio(waveform, info.fs, fs)
    return waveform[offset : offset + num_samples].contiguous()


def resampling_span(start, num_samples, fs, old_fs, total):
    """What to read so that a segment equals that of the whole resampled.

    Arguments
    ---------
    start, num_samples : int
        The segment, samples at ``fs``.
    fs, old_fs : int
        Rate of the segment and of the recording, Hz.
    total : int
        Length of the recording, samples at ``old_fs``.

    Returns
    -------
    tuple of int
        First sample to read and the one after the last, at ``old_fs``; and
        where the segment starts in what they become, samples at ``fs``.

    Example
    -------
    >>> whole = torch.rand(4800, 1)
    >>> first, last, offset = resampling_span(500, 100, 16000, 48000, 4800)
    >>> part = resample_audio(whole[first:last], 48000, 16000)
    >>> expected = resample_audio(whole, 48000, 16000)[500:600]
    >>> torch.allclose(part[offset : offset + 100], expected, atol=1e-6)
    True
    """
    divisor = math.gcd(fs, old_fs)
    old, new = old_fs // divisor, fs // divisor
    context = _filter_reach(old, new) + 1
    # Output sample k * new lies exactly on input sample k * old.
    block = max(0, start // new - math.ceil(context / old))
    last = math.ceil((start + num_samples) * old / new) + context
    return block * old, min(total, last), start - block * new


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
        File of a container named in ``CONTAINERS``.
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
    if form not in CONTAINERS:
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
            "waveform, allow it to be clipped, or write floats to a .wav"
        )
    with atomic_path(path) as temporary:
        soundfile.write(temporary, samples, fs, format=form, subtype=subtype)
