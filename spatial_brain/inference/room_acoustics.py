"""Acoustics of the room in which a recording was made with two microphones."""

import math
from dataclasses import dataclass
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np
import torch

from spatial_brain.dataio.audio import audio_info, read_audio
from spatial_brain.dataio.dataset import chunk_bounds
from spatial_brain.geometry import SPEED_OF_SOUND
from spatial_brain.inference.pretrained import PretrainedModel
from spatial_brain.metrics.room_acoustics import find_quantity


class Track(NamedTuple):
    """One quantity over the windows of a recording.

    Arguments
    ---------
    name : str
        Short, such as "T60".
    unit : str
        Empty without one.
    digits : int
        Decimal places worth printing.
    values : numpy.ndarray
        [window]; NaN where a window is silent.

    Example
    -------
    >>> track = Track("T60", "s", 3, np.array([0.4, np.nan, 0.6]))
    >>> track.median, track.quartiles
    (0.5, (0.45, 0.55))
    """

    name: str
    unit: str
    digits: int
    values: np.ndarray

    @property
    def median(self):
        """Median over the windows with sound."""
        return float(np.nanmedian(self.values))

    @property
    def quartiles(self):
        """Lower and upper quartile over the windows with sound."""
        low, high = np.nanpercentile(self.values, (25, 75))
        return float(low), float(high)

    def to_dict(self):
        """Everything but the name as plain values; silence is None.

        Returns
        -------
        dict
            ``unit, median, quartiles, values``.
        """
        return {
            "unit": self.unit,
            "median": self.median,
            "quartiles": list(self.quartiles),
            "values": [
                None if math.isnan(value) else value
                for value in self.values.tolist()
            ],
        }


@dataclass
class RoomAcoustics:
    """What one model found in a recording.

    Arguments
    ---------
    path : str
        The recording.
    task : str
        Key of ``spatial_brain.metrics.room_acoustics.TASKS``.
    duration : float
        Seconds.
    sample_rate : int
        Of the model, Hz: TDOA counts its samples.
    starts : numpy.ndarray
        Where each window starts, seconds, [window].
    stops : numpy.ndarray
        Where each window ends, seconds, [window].
    values : numpy.ndarray
        In the unit of the task, [window]; NaN where a window is silent.

    Example
    -------
    >>> found = RoomAcoustics("a.wav", "TDOA", 2.0, 16000, np.array([0.0, 1]),
    ...                       np.array([1.0, 2]), np.array([-1.5, -2.5]))
    >>> found.median, found.quartiles
    (-2.0, (-2.25, -1.75))
    >>> [(t.name, t.unit, round(t.median, 1)) for t in found.tracks(0.1)]
    [('TDOA', 'samples', -2.0), ('delay', 'µs', -125.0), ('angle', '°', 64.4)]
    """

    path: str
    task: str
    duration: float
    sample_rate: int
    starts: np.ndarray
    stops: np.ndarray
    values: np.ndarray

    @property
    def silent(self):
        """Windows without sound, bool, [window]."""
        return np.isnan(self.values)

    @property
    def median(self):
        """Median over the windows with sound."""
        return self.tracks()[0].median

    @property
    def quartiles(self):
        """Lower and upper quartile over the windows with sound."""
        return self.tracks()[0].quartiles

    def tracks(self, spacing=None):
        """The quantity, and what follows from it.

        Arguments
        ---------
        spacing : float, optional
            Distance of the microphones, metres. Given, a TDOA tells the
            direction of a far source.

        Returns
        -------
        list of Track
            The task's own first. TDOA is positive where the second channel
            hears later; it adds ``delay`` (µs) and, with a spacing,
            ``angle``: degrees between the source and the line from the first
            microphone to the second, 0 at the side of the second. SUR and
            VOL, which are logarithms, add ``surface`` (m²) and ``volume``
            (m³).

        Raises
        ------
        ValueError
            If the spacing is not positive.
        """
        quantity = find_quantity(self.task)
        values = self.values
        tracks = [Track(self.task, quantity.unit, quantity.digits, values)]
        if self.task == "TDOA":
            seconds = values / self.sample_rate
            tracks.append(Track("delay", "µs", 1, 1e6 * seconds))
            if spacing is not None:
                angle = _angle(seconds, spacing)
                tracks.append(Track("angle", "°", 1, angle))
        elif self.task == "SUR":
            tracks.append(Track("surface", "m²", 0, 10**values))
        elif self.task == "VOL":
            tracks.append(Track("volume", "m³", 0, 10**values))
        return tracks

    def to_dict(self, spacing=None):
        """Everything as plain values for JSON; silent windows are null.

        Arguments
        ---------
        spacing : float, optional
            As ``tracks`` takes it.

        Returns
        -------
        dict
            ``path, task, meaning, duration, starts, stops, tracks``; a track
            has ``unit, median, quartiles, values`` under its name.
        """
        return {
            "path": self.path,
            "task": self.task,
            "meaning": find_quantity(self.task).name,
            "duration": self.duration,
            "starts": self.starts.tolist(),
            "stops": self.stops.tolist(),
            "tracks": {
                track.name: track.to_dict() for track in self.tracks(spacing)
            },
        }


def _angle(seconds, spacing):
    """Angle of a far source from its delay (TDOA), degrees."""
    if not 0 < spacing < math.inf:
        raise ValueError(
            "the distance of the microphones must be positive, in metres, "
            f"got {spacing}"
        )
    cosine = -seconds * SPEED_OF_SOUND / spacing
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


NUM_MICROPHONES = 2
SILENCE_DBFS = -80.0
# Of a window; a signal holding less is too short to trust.
SHORTEST_SHARE = 0.5


class RoomAcousticsEstimator(PretrainedModel):
    """Tells one acoustic quantity of a room from a recording made in it.

    The folder's YAML gives ``modules: {model}``, called with features for one
    number a signal, [batch, 1]; ``features``, from a waveform [batch, time,
    2] to what the model takes; ``task``, the meaning of the number: a key of
    ``spatial_brain.metrics.room_acoustics.TASKS``; ``sample_rate`` (Hz);
    ``duration``, the seconds heard at once, those of the training; and
    ``hop_length``, the seconds from one window to the next.

    Arguments
    ---------
    *args, **kwargs
        Those of :class:`spatial_brain.inference.pretrained.PretrainedModel`.

    Raises
    ------
    ValueError
        If the task is not known.

    Example
    -------
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Flatten(), torch.nn.Linear(16, 1))
    >>> estimator = RoomAcousticsEstimator({"model": model}, {
    ...     "sample_rate": 8, "duration": 1.0, "hop_length": 0.5,
    ...     "task": "T60", "features": torch.nn.Identity(),
    ... }, {"device": "cpu"})
    >>> estimator.estimate_batch(torch.randn(3, 20, 2)).shape
    torch.Size([3])
    """

    HPARAMS_NEEDED = [
        "sample_rate",
        "duration",
        "hop_length",
        "task",
        "features",
    ]
    MODULES_NEEDED = ["model"]
    MAX_BATCH = 8

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        find_quantity(self.hparams.task)
        self.hparams.features = self.hparams.features.to(self.device).eval()

    def estimate_batch(self, waveform, lengths=None):
        """The quantity for each signal of a batch.

        Signals longer than a window are cut into windows; the answer is the
        median over them.

        Arguments
        ---------
        waveform : torch.Tensor
            [batch, time, 2], at the model's sampling rate.
        lengths : torch.Tensor, optional
            Relative lengths in (0, 1], [batch]; what lies behind is ignored.

        Returns
        -------
        torch.Tensor
            In the unit of the task, [batch], on the CPU; NaN for a silent
            signal.

        Raises
        ------
        ValueError
            For a wrong shape, NaN samples, or a signal shorter than half a
            window.
        """
        if waveform.ndim != 3 or waveform.shape[-1] != NUM_MICROPHONES:
            raise ValueError(
                f"expected a waveform [batch, time, {NUM_MICROPHONES} "
                f"microphones], got {list(waveform.shape)}"
            )
        if not torch.isfinite(waveform).all():
            raise ValueError("the waveform holds NaN or infinite samples")
        totals = [waveform.shape[1]] * len(waveform)
        if lengths is not None:
            totals = [round(n * waveform.shape[1]) for n in lengths.tolist()]
        cuts = [
            self._cut(total, None, f"signal {row} of the batch")
            for row, total in enumerate(totals)
        ]
        values = self._answers(
            signal[start:stop]
            for signal, some in zip(waveform, cuts, strict=True)
            for start, stop in some
        )
        answers = [list(islice(values, len(some))) for some in cuts]
        return torch.tensor([_median(answer) for answer in answers])

    def estimate_file(
        self, path, channels=None, resample=False, hop_length=None
    ):
        """The quantity over the course of a recording.

        The file is read window by window: memory does not grow with it.

        Arguments
        ---------
        path : str or Path
            Recording of two microphones.
        channels : sequence of int, optional
            Which two channels to use, from 0. Needed if the file has more.
        resample : bool
            Convert a file of another sampling rate.
        hop_length : float, optional
            Seconds between windows; default: the model's.

        Returns
        -------
        RoomAcoustics
            One value a window, with median and quartiles.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it has another rate or other channels (with the remedy), is
            too short, silent, or the same in both channels.
        """
        info = audio_info(path)
        channels = _choose_channels(info, channels)
        rate = self.hparams.sample_rate
        if info.fs != rate and not resample:
            raise ValueError(
                f"{path}: sampling rate is {info.fs} Hz, the model needs "
                f"{rate} Hz; let it be converted (--resample, or "
                "resample=True)"
            )
        total = math.ceil(info.num_samples * rate / info.fs)
        cuts = self._cut(total, hop_length, path)
        check = _PairCheck(channels)

        def windows():
            for start, stop in cuts:
                window, _ = read_audio(
                    path, start, stop - start, rate, resample=True
                )
                yield check.see(window[:, channels])

        values = np.array(list(self._answers(windows())))
        check.conclude(path)
        return RoomAcoustics(
            path=str(path),
            task=self.hparams.task,
            duration=total / rate,
            sample_rate=rate,
            starts=np.array([start / rate for start, _ in cuts]),
            stops=np.array([stop / rate for _, stop in cuts]),
            values=values,
        )

    def forward(self, waveform, lengths=None):
        """Same as ``estimate_batch``."""
        return self.estimate_batch(waveform, lengths)

    def _answers(self, windows):
        """One number for each of a stream of windows [time, 2]."""
        for _, same in groupby(windows, key=len):
            while batch := list(islice(same, self.MAX_BATCH)):
                yield from self._ask(torch.stack(batch))

    @torch.no_grad()
    def _ask(self, waveform):
        """Numbers for windows of one length; NaN for silent ones."""
        features = self.hparams.features(waveform.to(self.device))
        with self.inference_ctx:
            answer = self.mods.model(features)
        if answer.shape != (len(waveform), 1):
            raise ValueError(
                f"the model answers {list(answer.shape)} for {len(waveform)} "
                "signals, expected one number each, [batch, 1]"
            )
        silent = _level(waveform).amax(-1) < SILENCE_DBFS
        answer = answer[:, 0].double().cpu().masked_fill(silent, math.nan)
        return answer.tolist()

    def _cut(self, total, hop_length, name):
        """Starts and stops of windows which cover a signal to its end."""
        duration, rate = self.hparams.duration, self.hparams.sample_rate
        hop = self.hparams.hop_length if hop_length is None else hop_length
        if not 0 < hop <= duration:
            raise ValueError(
                "the hop must be longer than 0 s and at most a window of "
                f"{duration} s, got {hop} s"
            )
        window = round(duration * rate)
        shortest = math.ceil(SHORTEST_SHARE * window)
        if total < shortest:
            raise ValueError(
                f"{name}: {total / rate:.2f} s is too short, the model needs "
                f"at least {shortest / rate:.2f} s"
            )
        chunks = chunk_bounds(total, window, max(1, round(hop * rate)))
        # The last window is moved back rather than padded.
        return [(max(0, c.start - c.pad), c.stop) for c in chunks]


def _choose_channels(info, channels):
    """Two channels of a file, after checking that it has them."""
    if channels is None:
        if info.num_channels != NUM_MICROPHONES:
            remedy = (
                "choose two with --channels 0,1 (channels=[0, 1])"
                if info.num_channels > NUM_MICROPHONES
                else "record with two microphones"
            )
            raise ValueError(
                f"{info.path}: has {info.num_channels} channel(s), the model "
                f"needs {NUM_MICROPHONES}; {remedy}"
            )
        return [0, 1]
    channels = [int(channel) for channel in channels]
    known = set(range(info.num_channels))
    if len(channels) != NUM_MICROPHONES or len(known & set(channels)) != 2:
        raise ValueError(
            f"{info.path}: channels {channels} do not do: two different ones "
            f"from 0 to {info.num_channels - 1} are needed"
        )
    return channels


def _level(waveform):
    """Level of each channel about its mean, dBFS (a full sine has -3)."""
    variance = waveform.double().var(-2, correction=0).cpu()
    return 10 * torch.log10(variance + 1e-20)


def _median(values):
    """Median of the numbers among values, NaN if there are none."""
    numbers = [value for value in values if not math.isnan(value)]
    return float(np.median(numbers)) if numbers else math.nan


class _PairCheck:
    """Finds recordings that are not those of two microphones."""

    def __init__(self, channels):
        self.channels = channels
        self.loudest = torch.full((NUM_MICROPHONES,), -math.inf)
        self.identical = True

    def see(self, window):
        """Look at one window [time, 2], and pass it on."""
        self.loudest = torch.maximum(self.loudest, _level(window).float())
        self.identical &= torch.equal(*window.unbind(-1))
        return window

    def conclude(self, path):
        """Raise ValueError for a silent, a dead or a doubled channel."""
        dead = (self.loudest < SILENCE_DBFS).tolist()
        if all(dead):
            problem = (
                f"is silent (below {SILENCE_DBFS:.0f} dBFS throughout); check "
                "the recording or raise its level"
            )
        elif any(dead):
            problem = (
                f"channel {self.channels[dead.index(True)]} is silent; check "
                "that microphone, or choose others with --channels"
            )
        elif self.identical:
            problem = (
                "both channels are the same (a mono recording?); the "
                "acoustics are heard from the differences between two "
                "microphones"
            )
        else:
            return
        raise ValueError(f"{path}: {problem}")
