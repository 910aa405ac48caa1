"""Directions of talkers from the microphones of an array."""

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from spatial_brain.dataio.audio import audio_info, read_audio
from spatial_brain.inference.pretrained import PretrainedModel

MEANINGS = {
    "cone": "angle from the +x axis of the array",
    "azimuth": "azimuth from the +x axis, left and right folded",
}
# How many of a talker's latest windows say where it is expected next.
MEMORY = 5


def follow_talkers(degrees, confidence, silent):
    """Order the answers of all windows so that talker 1 stays talker 1.

    Each window's directions are assigned to the talkers' running medians
    with the least total change; in the end talkers are ordered by direction.

    Arguments
    ---------
    degrees : numpy.ndarray
        Directions in any order, [window, talker], in [0, 180].
    confidence : numpy.ndarray
        Moves along with the directions, [window, talker].
    silent : numpy.ndarray
        Windows to leave out, bool, [window]; they become NaN.

    Returns
    -------
    tuple of numpy.ndarray
        Ordered directions and confidence, [window, talker].

    Example
    -------
    >>> degrees = np.array([[40.0, 120], [118, 42], [45, 110]])
    >>> ones, quiet = np.ones((3, 2)), np.zeros(3, dtype=bool)
    >>> follow_talkers(degrees, ones, quiet)[0]
    array([[ 40., 120.],
           [ 42., 118.],
           [ 45., 110.]])
    """
    directions = np.full_like(degrees, np.nan)
    weights = np.full_like(degrees, np.nan)
    for index in np.flatnonzero(~silent):
        known = directions[:index][~silent[:index]][-MEMORY:]
        if len(known):
            expected = np.median(known, axis=0)
        else:
            expected = np.sort(degrees[index])
        cost = np.abs(expected[:, None] - degrees[index][None])
        order = linear_sum_assignment(cost)[1]
        directions[index] = degrees[index][order]
        weights[index] = confidence[index][order]
    if not silent.all():
        order = np.argsort(np.median(directions[~silent], axis=0))
        directions, weights = directions[:, order], weights[:, order]
    return directions, weights


@dataclass
class Localization:
    """Directions of the talkers of one recording.

    Arguments
    ---------
    path : str
        The recording.
    target : str
        What the degrees mean, a key of ``MEANINGS``.
    duration : float
        Seconds.
    starts : numpy.ndarray
        Where each window starts, seconds, [window].
    stops : numpy.ndarray
        Where each window ends, seconds, [window].
    directions : numpy.ndarray
        Degrees, [window, talker]; NaN where a window is silent.
    confidence : numpy.ndarray
        Probability within 10 degrees of the direction, [window, talker].

    Example
    -------
    >>> found = Localization("a.wav", "cone", 4.5, np.array([0.0, 1.5]),
    ...                      np.array([3.0, 4.5]),
    ...                      np.array([[40.0, 120.0], [44.0, 120.0]]),
    ...                      np.full((2, 2), 0.5))
    >>> found.talkers[0]
    {'direction': 42.0, 'spread': 2.0, 'confidence': 0.5}
    """

    path: str
    target: str
    duration: float
    starts: np.ndarray
    stops: np.ndarray
    directions: np.ndarray
    confidence: np.ndarray

    @property
    def silent(self):
        """Windows without sound, bool, [window]."""
        return np.isnan(self.directions).all(axis=1)

    @property
    def talkers(self):
        """Summary of each talker over the recording.

        Returns
        -------
        list of dict
            ``direction`` (median, degrees), ``spread`` (median absolute
            deviation from it, degrees; None with a single window) and
            ``confidence`` (mean).
        """
        heard = self.directions[~self.silent]
        sure = self.confidence[~self.silent]
        summary = []
        for talker in range(self.directions.shape[1]):
            track = heard[:, talker]
            direction = np.median(track)
            spread = float(np.median(np.abs(track - direction)))
            summary.append(
                {
                    "direction": float(direction),
                    "spread": spread if len(track) > 1 else None,
                    "confidence": float(sure[:, talker].mean()),
                }
            )
        return summary

    def to_dict(self):
        """Everything as plain values for JSON; silent windows are null.

        Returns
        -------
        dict
            ``path, target, meaning, duration, talkers, windows``; a window
            has ``start, stop, directions, confidence``.
        """
        windows = [
            {
                "start": float(start),
                "stop": float(stop),
                "directions": None if quiet else directions.tolist(),
                "confidence": None if quiet else confidence.tolist(),
            }
            for start, stop, directions, confidence, quiet in zip(
                self.starts,
                self.stops,
                self.directions,
                self.confidence,
                self.silent,
                strict=True,
            )
        ]
        return {
            "path": self.path,
            "target": self.target,
            "meaning": MEANINGS[self.target],
            "duration": self.duration,
            "talkers": self.talkers,
            "windows": windows,
        }


SILENCE_DBFS = -80.0
# A window holding less than this share of its length is too short to trust.
SHORTEST_SHARE = 0.5
CONFIDENCE_WIDTH = 10.0


class Directions(NamedTuple):
    """Answer for a batch.

    Arguments
    ---------
    degrees : torch.Tensor
        Directions of the talkers, ascending, [batch, talker]; NaN for a
        silent signal.
    confidence : torch.Tensor
        Probability within 10 degrees of each direction, [batch, talker].
    """

    degrees: torch.Tensor
    confidence: torch.Tensor


class SoundLocalizer(PretrainedModel):
    """Tells from which directions the talkers of a recording speak.

    The folder's YAML gives ``modules: {model}``, called with a waveform
    [batch, time, microphone] for logits [batch, talker, class];
    ``decoder``, from logits to degrees [batch, talker]; ``sample_rate`` (Hz);
    ``microphone_positions`` (metres, [microphone][3], in the order of the
    channels); ``window_length`` and ``hop_length`` (seconds); and ``target``,
    the meaning of the degrees: ``"cone"`` (angle from the +x axis of the
    array) or ``"azimuth"`` (the same in the horizontal plane, left and right
    folded), both in [0, 180].

    Arguments
    ---------
    *args, **kwargs
        Those of :class:`spatial_brain.inference.pretrained.PretrainedModel`.

    Example
    -------
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Flatten(), torch.nn.Linear(16, 72),
    ...     torch.nn.Unflatten(1, (2, 36)))
    >>> localizer = SoundLocalizer({"model": model}, {
    ...     "sample_rate": 8, "window_length": 1.0, "hop_length": 0.5,
    ...     "microphone_positions": [[-0.05, 0, 0], [0.05, 0, 0]],
    ...     "target": "cone",
    ...     "decoder": lambda logits: logits.argmax(-1) * 5 + 2.5,
    ... }, {"device": "cpu"})
    >>> localizer.localize_batch(torch.randn(3, 8, 2)).degrees.shape
    torch.Size([3, 2])
    """

    HPARAMS_NEEDED = [
        "sample_rate",
        "microphone_positions",
        "window_length",
        "hop_length",
        "target",
        "decoder",
    ]
    MODULES_NEEDED = ["model"]
    MAX_BATCH = 16

    @property
    def num_microphones(self):
        """Channels that the model takes."""
        return len(self.hparams.microphone_positions)

    def localize_batch(self, waveform, lengths=None):
        """Directions of the talkers of each signal of a batch.

        Signals longer than a window are cut into windows; the answer is the
        median over them.

        Arguments
        ---------
        waveform : torch.Tensor
            [batch, time, microphone], at the model's sampling rate.
        lengths : torch.Tensor, optional
            Relative lengths in (0, 1], [batch]; what lies behind is ignored.

        Returns
        -------
        Directions
            ``degrees`` and ``confidence``, both [batch, talker].

        Raises
        ------
        ValueError
            For a wrong shape, NaN samples, or a signal shorter than half a
            window.
        """
        if waveform.ndim != 3 or waveform.shape[-1] != self.num_microphones:
            raise ValueError(
                "expected a waveform [batch, time, "
                f"{self.num_microphones} microphones], got "
                f"{list(waveform.shape)}"
            )
        if not torch.isfinite(waveform).all():
            raise ValueError("the waveform holds NaN or infinite samples")
        if lengths is None:
            lengths = torch.ones(len(waveform))
        window, hop = self._window(None, None)
        windows, rows = [], []
        for row, (signal, length) in enumerate(
            zip(waveform, lengths.tolist(), strict=True)
        ):
            total = round(length * len(signal))
            self._check_length(total, window, f"signal {row} of the batch")
            for start, stop in _cut(total, window, hop):
                windows.append(signal[start:stop])
                rows.append(row)
        degrees, confidence, silent = self._estimate(windows)
        answers = []
        for row in range(len(waveform)):
            mine = [i for i, owner in enumerate(rows) if owner == row]
            answer = follow_talkers(
                degrees[mine], confidence[mine], silent[mine]
            )
            answers.append([_median(part) for part in answer])
        degrees, confidence = np.array(answers).swapaxes(0, 1)
        return Directions(
            torch.from_numpy(degrees).float(),
            torch.from_numpy(np.nan_to_num(confidence)).float(),
        )

    def localize_file(
        self,
        path,
        channels=None,
        resample=False,
        window_length=None,
        hop_length=None,
    ):
        """Directions of the talkers of a recording, over time.

        The file is read window by window: memory does not grow with it.

        Arguments
        ---------
        path : str or Path
            Recording whose channels are the microphones.
        channels : sequence of int, optional
            Which channels to use, from 0, in the order of the model's
            microphones. Needed if the file has others beside.
        resample : bool
            Convert a file of another sampling rate.
        window_length : float, optional
            Seconds; default that of the model.
        hop_length : float, optional
            Seconds between windows; default that of the model, or half a
            window if only the window is given.

        Returns
        -------
        Localization
            Directions and confidence for each window, and their summary.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it has another rate or other channels (with the remedy), is
            too short, silent, or the same in all channels.
        """
        info = audio_info(path)
        channels = self._choose_channels(info, channels)
        rate = self.hparams.sample_rate
        if info.fs != rate and not resample:
            raise ValueError(
                f"{path}: sampling rate is {info.fs} Hz, the model needs "
                f"{rate} Hz; let it be converted (--resample, or "
                "resample=True)"
            )
        window, hop = self._window(window_length, hop_length)
        total = math.ceil(info.num_samples * rate / info.fs)
        self._check_length(total, window, path)
        cuts = _cut(total, window, hop)
        directions, confidence = follow_talkers(
            *self._hear(path, cuts, channels)
        )
        return Localization(
            path=str(path),
            target=self.hparams.target,
            duration=total / rate,
            starts=np.array([start / rate for start, _ in cuts]),
            stops=np.array([stop / rate for _, stop in cuts]),
            directions=directions,
            confidence=confidence,
        )

    def forward(self, waveform, lengths=None):
        """Same as ``localize_batch``."""
        return self.localize_batch(waveform, lengths)

    def _hear(self, path, cuts, channels):
        """Degrees, confidence and silence of the windows of a file."""
        check = _ChannelCheck(channels)
        found = []
        for first in range(0, len(cuts), self.MAX_BATCH):
            windows = []
            for start, stop in cuts[first : first + self.MAX_BATCH]:
                waveform, _ = read_audio(
                    path,
                    start,
                    stop - start,
                    self.hparams.sample_rate,
                    resample=True,
                )
                windows.append(waveform[:, channels])
                check.see(windows[-1])
            found.append(self._estimate(windows))
        check.conclude(path)
        return [np.concatenate(part) for part in zip(*found, strict=True)]

    def _window(self, window_length, hop_length):
        """Window and hop in samples."""
        if hop_length is None:
            hop_length = (
                self.hparams.hop_length
                if window_length is None
                else window_length / 2
            )
        if window_length is None:
            window_length = self.hparams.window_length
        if not 0 < hop_length <= window_length:
            raise ValueError(
                "the window must be longer than 0 s and the hop at most a "
                f"window, got {window_length} s and {hop_length} s"
            )
        rate = self.hparams.sample_rate
        return round(window_length * rate), max(1, round(hop_length * rate))

    def _check_length(self, total, window, name):
        """Refuse signals too short for the model."""
        rate = self.hparams.sample_rate
        shortest = math.ceil(SHORTEST_SHARE * window)
        if total < shortest:
            raise ValueError(
                f"{name}: {total / rate:.2f} s is too short, the model needs "
                f"at least {shortest / rate:.2f} s"
            )

    def _choose_channels(self, info, channels):
        """Channels to use, after checking them against file and model."""
        wanted = self.num_microphones
        if channels is None:
            if info.num_channels != wanted:
                remedy = (
                    "choose them with --channels "
                    + ",".join(str(i) for i in range(wanted))
                    + " (channels=[...])"
                    if info.num_channels > wanted
                    else "record with that array, or use another model"
                )
                raise ValueError(
                    f"{info.path}: has {info.num_channels} channel(s), the "
                    f"model needs {wanted} microphones; {remedy}"
                )
            return list(range(wanted))
        channels = [int(channel) for channel in channels]
        outside = [c for c in channels if not 0 <= c < info.num_channels]
        if (
            outside
            or len(channels) != wanted
            or len(set(channels)) != len(channels)
        ):
            raise ValueError(
                f"{info.path}: channels {channels} do not do: {wanted} "
                f"different ones from 0 to {info.num_channels - 1} are needed"
            )
        return channels

    def _estimate(self, windows):
        """Degrees and confidence [window, talker], and which are silent."""
        degrees = [None] * len(windows)
        confidence = [None] * len(windows)
        groups = defaultdict(list)
        for index, window in enumerate(windows):
            groups[len(window)].append(index)
        for members in groups.values():
            for first in range(0, len(members), self.MAX_BATCH):
                batch = members[first : first + self.MAX_BATCH]
                answers = self._ask(torch.stack([windows[i] for i in batch]))
                for index, *answer in zip(batch, *answers, strict=True):
                    degrees[index], confidence[index] = answer
        silent = [bool(_level(w).max() < SILENCE_DBFS) for w in windows]
        return np.array(degrees), np.array(confidence), np.array(silent)

    @torch.no_grad()
    def _ask(self, waveform):
        """Degrees and confidence of windows of one length, as arrays."""
        with self.inference_ctx:
            logits = self.mods.model(waveform.to(self.device))
        logits = logits.float()
        degrees = self.hparams.decoder(logits)
        width = 180.0 / logits.shape[-1]
        centres = torch.arange(logits.shape[-1], device=logits.device)
        near = (
            (centres + 0.5) * width - degrees[..., None]
        ).abs() <= CONFIDENCE_WIDTH
        confidence = (logits.softmax(-1) * near).sum(-1)
        return degrees.cpu().double().numpy(), confidence.cpu().numpy()


def _cut(total, window, hop):
    """Starts and stops of windows which cover a signal to its end."""
    if total <= window:
        return [(0, total)]
    starts = list(range(0, total - window + 1, hop))
    if starts[-1] + window < total:
        starts.append(total - window)
    return [(start, start + window) for start in starts]


def _level(waveform):
    """Level of each channel about its mean, dBFS (a full sine has -3)."""
    return 10 * torch.log10(waveform.double().var(0, correction=0) + 1e-20)


def _median(values):
    """Median of each column, NaN where there is no value."""
    active = ~np.isnan(values).all(axis=1)
    if not active.any():
        return np.full(values.shape[1], np.nan)
    return np.median(values[active], axis=0)


class _ChannelCheck:
    """Finds recordings that cannot tell a direction."""

    def __init__(self, channels):
        self.channels = channels
        self.loudest = np.full(len(channels), -np.inf)
        self.identical = True

    def see(self, waveform):
        """Look at one window [time, channel]."""
        self.loudest = np.maximum(self.loudest, _level(waveform).numpy())
        if not torch.equal(waveform, waveform[:, :1].expand_as(waveform)):
            self.identical = False

    def conclude(self, path):
        """Raise ValueError for a silent, a dead or a doubled channel."""
        if self.loudest.max() < SILENCE_DBFS:
            raise ValueError(
                f"{path}: is silent (below {SILENCE_DBFS:.0f} dBFS "
                "throughout); check the recording or raise its level"
            )
        for channel, level in zip(self.channels, self.loudest, strict=True):
            if level < SILENCE_DBFS:
                raise ValueError(
                    f"{path}: channel {channel} is silent; check that "
                    "microphone, or choose others with --channels"
                )
        if self.identical and len(self.channels) > 1:
            raise ValueError(
                f"{path}: all channels are the same (a mono recording?), so "
                "no direction can be heard from them"
            )
