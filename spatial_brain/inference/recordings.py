"""Checks, windows and levels of recordings, the same for every interface.

A recording that cannot give a meaningful result is refused with a
``ValueError``: it has another number of channels or another sampling rate,
holds no, too few, NaN or infinite samples. One that is suspicious but usable
raises a :class:`RecordingWarning`: it or one of its windows or channels is
silent, it clips, or all of its channels are the same.
"""

import math
import warnings
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from spatial_brain.dataio.audio import describe, open_audio
from spatial_brain.dataio.dataset import chunk_bounds
from spatial_brain.dataio.parallel import progress

# Level of each window about its mean; noise of 16 bits has -101.
SILENCE_DBFS = -80.0
# Below it the loudest window of 16 bits has less than six of them.
QUIET_DBFS = -65.0
# A signal that fills less than this share of a window is too short.
SHORTEST_SHARE = 0.5
# Seconds of work before a progress bar is drawn.
_QUICK = 2.0
# Three equal samples in a row from here on are a wave cut off.
FULL_SCALE = 0.98


class RecordingWarning(UserWarning):
    """A recording can be used, but what is predicted cannot be trusted."""


@dataclass(frozen=True)
class RecordingCheck:
    """What a model needs of its recordings.

    Arguments
    ---------
    fs : int
        Sampling rate of the model, Hz.
    num_channels : int
        Channels that the model takes.
    window : int
        Length of the model's windows, in its samples.
    shortest : int
        Length below which there is no meaningful result, in its samples.
    channel_name : str
        What the channels are, such as ``"microphones"``.
    recorded : str
        How they are recorded, such as ``"with two microphones"``.
    output : str
        What is predicted, such as ``"directions"``.

    Example
    -------
    >>> check = RecordingCheck(16000, 2, 16000, 8000, "microphones",
    ...                        "with two microphones", "directions")
    >>> check.check_batch(torch.randn(1, 16000, 2))
    [16000]
    >>> check.check_batch(torch.randn(1, 4000, 2))
    Traceback (most recent call last):
    ...
    ValueError: signal 0 of the batch: 0.250 s is too short, ...
    """

    fs: int
    num_channels: int
    window: int
    shortest: int
    channel_name: str
    recorded: str
    output: str

    def check_batch(self, waveform, lengths=None):
        """Check the signals of a batch.

        Arguments
        ---------
        waveform : torch.Tensor
            [batch, time, channel] at the model's sampling rate.
        lengths : torch.Tensor, optional
            Relative lengths in (0, 1], [batch]; what lies behind is ignored.

        Returns
        -------
        list of int
            Samples of each signal.

        Raises
        ------
        ValueError
            If the shape or a length does not fit, or a signal is too short or
            holds NaN or infinite samples.
        """
        if waveform.ndim != 3 or waveform.shape[-1] != self.num_channels:
            raise ValueError(
                f"expected a waveform [batch, time, {self.num_channels} "
                f"{self.channel_name}], got {list(waveform.shape)}"
            )
        if not waveform.numel():
            raise ValueError(
                f"a waveform of shape {list(waveform.shape)} holds no samples"
            )
        totals = self._batch_lengths(waveform, lengths)
        waveform = waveform.detach().cpu()
        found = []
        for row, total in enumerate(totals):
            name, faults = f"signal {row} of the batch", _Faults()
            self._check_length(total, name)
            for start, stop in window_bounds(total, self.window, self.window):
                window = waveform[row, start:stop]
                _check_finite(window, start, self.fs, name)
                faults.add(start / self.fs, window)
            found.append((name, faults))
        for name, faults in found:
            self._warn(name, faults, range(self.num_channels))
        return totals

    def check_file(self, path, channels=None, resample=False):
        """Check a recording, decoding it once, window by window.

        Arguments
        ---------
        path : str or Path
            The recording.
        channels : sequence of int, optional
            Channels to use, from 0, in the order of the model's. Needed if
            the file has more than those.
        resample : bool
            Whether another sampling rate is converted.

        Returns
        -------
        tuple
            Channels to use (list of int), and the length in samples at the
            model's sampling rate.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it has another rate or number of channels, is too short, or
            holds NaN or infinite samples, with the remedy.
        """
        faults = _Faults()
        with open_audio(path) as file:
            info = describe(file, path)
            faults.rates = info.fs, self.fs
            channels = self.choose_channels(info, channels)
            if info.fs != self.fs and not resample:
                raise ValueError(
                    f"{path}: sampling rate is {info.fs} Hz, the model needs "
                    f"{self.fs} Hz; let it be converted (--resample, or "
                    "resample=True)"
                )
            total = math.ceil(info.num_samples * self.fs / info.fs)
            self._check_length(total, path)
            size = max(1, round(self.window * info.fs / self.fs))
            for start, stop in window_bounds(info.num_samples, size, size):
                file.seek(start)
                window = torch.from_numpy(
                    file.read(stop - start, dtype="float32", always_2d=True)
                )
                if len(window) < stop - start:
                    raise ValueError(
                        f"{path}: ends at sample {start + len(window)} of "
                        f"{info.num_samples}; copy it again"
                    )
                # Readers refuse a file for what unused channels hold, too.
                _check_finite(window, start, info.fs, path)
                faults.add(start / info.fs, window[:, channels])
        self._warn(path, faults, channels)
        return channels, total

    def _batch_lengths(self, waveform, lengths):
        """Samples of each signal of a batch."""
        number, size = waveform.shape[:2]
        if lengths is None:
            return [size] * number
        if lengths.shape != (number,):
            raise ValueError(
                f"expected lengths [{number}], one a signal, got "
                f"{list(lengths.shape)}"
            )
        totals = (lengths.detach().cpu().double() * size).round()
        for row, total in enumerate(totals.tolist()):
            if not 0 < total <= size:
                raise ValueError(
                    f"signal {row} of the batch: its length must be above 0 "
                    f"and at most 1, got {lengths[row].item():g}"
                )
        return totals.long().tolist()

    def _check_length(self, total, name):
        """Refuse signals too short for the model."""
        if total < self.shortest:
            raise ValueError(
                f"{name}: {total / self.fs:.3f} s is too short, the model "
                f"needs at least {self.shortest / self.fs:.3f} s; record longer"
            )

    def choose_channels(self, info, channels=None):
        """Channels to use of a recording or a live input.

        Arguments
        ---------
        info : AudioInfo
            Its header.
        channels : sequence of int, optional
            As for ``check_file``.

        Returns
        -------
        list of int

        Raises
        ------
        ValueError
            If it has not those that are needed, with the remedy.
        """
        wanted = self.num_channels
        if channels is None:
            if info.num_channels == wanted:
                return list(range(wanted))
            numbers = [str(index) for index in range(wanted)]
            remedy = (
                f"choose them with --channels {','.join(numbers)} "
                f"(channels=[{', '.join(numbers)}])"
                if info.num_channels > wanted
                else f"record {self.recorded}, or use another model"
            )
            raise ValueError(
                f"{info.path}: has {info.num_channels} channel(s), the model "
                f"needs {wanted} {self.channel_name}; {remedy}"
            )
        channels = [int(channel) for channel in channels]
        known = set(range(info.num_channels)) & set(channels)
        if not len(channels) == len(known) == wanted:
            raise ValueError(
                f"{info.path}: channels {channels} do not do: {wanted} "
                f"different ones from 0 to {info.num_channels - 1} are needed"
            )
        return channels

    def _warn(self, name, faults, channels):
        """Warn of each fault of a signal, with its remedy."""
        length = self.window / self.fs
        for fault in faults.describe(channels, length, self.output):
            warnings.warn(f"{name}: {fault}", RecordingWarning, stacklevel=4)


class _Faults:
    """Collects what is suspicious in a signal, window by window."""

    def __init__(self):
        self.levels, self.clipped, self.silent = [], [], []
        self.identical = True
        # Of the file, and of the model, Hz.
        self.rates = None

    def add(self, start, window):
        """Add a window [time, channel] that starts at so many seconds."""
        self.levels.append(_level(window))
        self.clipped.append(_is_clipped(window))
        self.identical &= torch.equal(window, window[:, :1].expand_as(window))
        if self.levels[-1].max() < SILENCE_DBFS:
            self.silent.append(start)

    def describe(self, channels, length, output):
        """A sentence a fault; the windows have a length in seconds."""
        below = f"below {SILENCE_DBFS:.0f} dBFS"
        doubt = f"so do not trust the {output}"
        dead = (torch.stack(self.levels).amax(0) < SILENCE_DBFS).tolist()
        if all(dead):
            yield (
                f"is silent ({below} throughout), without {output}; check "
                "the recording or raise its level"
            )
            return
        if any(dead):
            yield (
                f"{_name(channels, dead)} silent ({below} throughout), "
                f"{doubt}; check the microphone, or use other channels"
            )
        elif self.identical and len(channels) > 1:
            yield (
                f"all channels are the same (a mono recording?), {doubt}; "
                "record with a microphone for each channel"
            )
        loudest = float(torch.stack(self.levels).max())
        if loudest < QUIET_DBFS:
            yield (
                f"is very quiet ({loudest:.0f} dBFS where it is loudest), "
                f"{doubt}; record at a higher level"
            )
        if self.silent:
            number = len(self.silent)
            yield (
                f"{number} of {len(self.levels)} windows of {length:g} s "
                f"{'is' if number == 1 else 'are'} silent ({below}), the first "
                f"from {self.silent[0]:.1f} s on, without {output} there; "
                "check the recording, or cut that stretch out"
            )
        if self.rates is not None and self.rates[0] < self.rates[1]:
            low, high = self.rates
            yield (
                f"sampling rate is {low} Hz: above {low / 2:g} Hz there is "
                f"nothing, where the model was trained with {high} Hz, {doubt}"
            )
        clipped = torch.stack(self.clipped).any(0).tolist()
        if any(clipped):
            yield (
                f"{_name(channels, clipped)} clipped (cut off at full scale), "
                f"{doubt}; record at a lower level"
            )


def _is_clipped(window):
    """Which channels of a window [time, channel] are cut off, bool."""
    same = window[1:] == window[:-1]
    near = window[2:].abs() >= FULL_SCALE
    return (near & same[1:] & same[:-1]).any(0)


def _name(channels, chosen):
    """Subject of a sentence on some channels, with its verb."""
    numbers = [str(c) for c, one in zip(channels, chosen, strict=True) if one]
    if len(numbers) == 1:
        return f"channel {numbers[0]} is"
    return f"channels {', '.join(numbers[:-1])} and {numbers[-1]} are"


def _check_finite(window, start, fs, name):
    """Refuse NaN and infinite samples in a window [time, channel]."""
    bad = (~torch.isfinite(window)).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        place, value = start + row, window[row, column].item()
        raise ValueError(
            f"{name}: holds NaN or infinite samples; sample {place} of channel "
            f"{column} (at {place / fs:.3f} s) is {value}; cut that stretch "
            "out or export the recording again"
        )


def check_output(output):
    """Refuse what a network gives if it is no number.

    Arguments
    ---------
    output : torch.Tensor
        For signals that are not silent.

    Raises
    ------
    ValueError
        If a value is NaN or infinite.

    Example
    -------
    >>> check_output(torch.tensor([0.5, float("nan")]))
    Traceback (most recent call last):
    ...
    ValueError: the model's output holds NaN or infinite values; check its ...
    """
    if not torch.isfinite(output).all():
        raise ValueError(
            "the model's output holds NaN or infinite values; check its weights"
        )


def window_bounds(total, window, hop):
    """Windows that cover a signal to its end.

    Arguments
    ---------
    total, window, hop : int
        Samples of the signal, of a window, and from one to the next.

    Returns
    -------
    list of tuple of int
        First sample and the one after the last. The last window is moved
        back rather than padded; a short signal has a short one.

    Example
    -------
    >>> window_bounds(9, 4, 2)
    [(0, 4), (2, 6), (4, 8), (5, 9)]
    >>> window_bounds(3, 4, 2)
    [(0, 3)]
    """
    return [
        (max(0, chunk.start - chunk.pad), chunk.stop)
        for chunk in chunk_bounds(total, window, hop)
    ]


def counted(items, total, show, description=""):
    """The same items, with a progress bar from the third second on.

    Arguments
    ---------
    items : iterable
        Such as the windows of a recording.
    total : int
        How many they are.
    show : bool
        Whether a bar is wanted.
    description : str
        Text before the bar.

    Returns
    -------
    iterable

    Example
    -------
    >>> sum(counted([1, 2], 2, show=False))
    3
    """
    if not show:
        return items
    return progress(items, total=total, description=description, delay=_QUICK)


@contextmanager
def reading_progress(read, total, show):
    """A reader of parts that moves a progress bar, from the third second on.

    Arguments
    ---------
    read : callable
        Called with first sample and the one after the last.
    total : int
        Samples of the recording.
    show : bool
        Whether a bar is wanted.

    Yields
    ------
    callable
        Does what ``read`` does.

    Example
    -------
    >>> with reading_progress(range, 8, show=False) as read:
    ...     list(read(2, 5))
    [2, 3, 4]
    """
    if not show:
        yield read
        return
    with progress(total=total, unit=" samples", delay=_QUICK) as bar:

        def watched(start, stop):
            bar.update(max(0, min(stop, total) - bar.n))
            return read(start, stop)

        yield watched


def _level(waveform):
    """Level [..., channel] of [..., time, channel] about its mean, dBFS."""
    variance = waveform.double().var(-2, correction=0).cpu()
    return 10 * torch.log10(variance + 1e-20)


def is_silent(waveform):
    """Whether all channels of a signal are silent.

    Arguments
    ---------
    waveform : torch.Tensor
        [..., time, channel].

    Returns
    -------
    torch.Tensor
        bool, [...], on the CPU.

    Example
    -------
    >>> is_silent(torch.full((3, 100, 2), 0.5))  # an offset is no sound
    tensor([True, True, True])
    """
    return _level(waveform).amax(-1) < SILENCE_DBFS


def median(values):
    """Median over windows, without those that have no value.

    Arguments
    ---------
    values : array_like
        [window, ...]; NaN throughout where a window has none.

    Returns
    -------
    numpy.ndarray
        [...]; NaN where no window has a value.

    Example
    -------
    >>> float(median([0.2, np.nan, 0.4, 0.9]))
    0.4
    """
    values = np.asarray(values)
    missing = np.isnan(values).all(axis=tuple(range(1, values.ndim)))
    if missing.all():
        return np.full(values.shape[1:], np.nan)
    return np.median(values[~missing], axis=0)
