"""Directions of talkers from the microphones of an array."""

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from spatial_brain.dataio.audio import read_audio
from spatial_brain.inference.pretrained import PretrainedModel
from spatial_brain.inference.recordings import (
    SHORTEST_SHARE,
    RecordingCheck,
    check_output,
    is_silent,
    median,
    window_bounds,
)

MEANINGS = {
    "cone": "angle from the +x axis of the array",
    "azimuth": "azimuth from the +x axis, left and right folded",
    "full_azimuth": "azimuth, counter-clockwise from the +x axis (the front)",
}
# Least and greatest direction, degrees; the ends of the last are the same.
LIMITS = {
    "cone": (0.0, 180.0),
    "azimuth": (0.0, 180.0),
    "full_azimuth": (-180.0, 180.0),
}
# How many of a talker's latest windows show where it is expected next.
MEMORY = 5
# The confidence is the probability within so many degrees of a direction.
CONFIDENCE_WIDTH = 10.0


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
    def limits(self):
        """Least and greatest direction that can be, degrees."""
        return LIMITS[self.target]

    @property
    def talkers(self):
        """Summary of each talker over the recording.

        Returns
        -------
        list of dict
            ``direction`` (median, degrees; NaN if all is silent), ``spread``
            (median absolute deviation from it, degrees; None without a
            second window) and ``confidence`` (mean).
        """
        loud = ~self.silent
        summary = []
        directions = _median(self.directions, self.target)
        for talker, direction in enumerate(directions.tolist()):
            track = self.directions[:, talker]
            spread = median(np.abs(_wrap(track - direction, self.target)))
            sure = self.confidence[loud][:, talker]
            summary.append(
                {
                    "direction": direction,
                    "spread": float(spread) if loud.sum() > 1 else None,
                    "confidence": float(sure.mean()) if loud.any() else 0.0,
                }
            )
        return summary

    def to_dict(self):
        """Everything as plain values for JSON; what is silent is null.

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
        talkers = self.talkers
        if self.silent.all():
            talkers = [{**talker, "direction": None} for talker in talkers]
        return {
            "path": self.path,
            "target": self.target,
            "meaning": MEANINGS[self.target],
            "duration": self.duration,
            "talkers": talkers,
            "windows": windows,
        }


class Directions(NamedTuple):
    """Predictions for a batch.

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
    """Finds the directions of the talkers of a recording.

    The folder's YAML gives ``modules: {model}``, called with a waveform
    [batch, time, microphone] for logits [batch, talker, class];
    ``decoder``, from logits to degrees [batch, talker]; ``sample_rate`` (Hz);
    ``microphone_positions`` (metres, [microphone][3], in the order of the
    channels; null if unknown, then there is ``num_microphones``);
    ``window_length`` and ``hop_length`` (seconds); and ``target``, the meaning
    of the degrees: ``"cone"`` (angle from the +x axis of the array) or
    ``"azimuth"`` (the same in the horizontal plane, left and right folded),
    both in [0, 180], or ``"full_azimuth"`` in [-180, 180). Classes are equal
    bins from one end of that range to the other.

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

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.hparams.target not in MEANINGS:
            raise ValueError(
                f"target must be one of {', '.join(MEANINGS)}, found "
                f"'{self.hparams.target}'"
            )
        if self.hparams.microphone_positions is None and not hasattr(
            self.hparams, "num_microphones"
        ):
            raise ValueError(
                "without microphone_positions num_microphones is needed"
            )

    @property
    def num_microphones(self):
        """Channels that the model takes."""
        positions = self.hparams.microphone_positions
        if positions is None:
            return self.hparams.num_microphones
        return len(positions)

    def localize_batch(self, waveform, lengths=None):
        """Directions of the talkers of each signal of a batch.

        Signals longer than a window are cut into windows; the direction is
        the median over them.

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
            window. A RecordingWarning names what is suspicious.
        """
        window, hop = self._window(None, None)
        totals = self._check(window).check_batch(waveform, lengths)
        windows, rows = [], []
        for row, total in enumerate(totals):
            for start, stop in window_bounds(total, window, hop):
                windows.append(waveform[row, start:stop])
                rows.append(row)
        degrees, confidence, silent = self._estimate(windows)
        found = []
        for row in range(len(waveform)):
            mine = np.equal(rows, row)
            target = self.hparams.target
            directions, weights = _follow_talkers(
                degrees[mine], confidence[mine], silent[mine], target
            )
            found.append([_median(directions, target), median(weights)])
        degrees, confidence = np.array(found).swapaxes(0, 1)
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
            too short, or holds NaN. A RecordingWarning names what is
            suspicious, such as silence.
        """
        window, hop = self._window(window_length, hop_length)
        check = self._check(window)
        channels, total = check.check_file(path, channels, resample)
        bounds = window_bounds(total, window, hop)
        directions, confidence = _follow_talkers(
            *self._estimate_file(path, bounds, channels), self.hparams.target
        )
        starts, stops = np.array(bounds).T / self.hparams.sample_rate
        return Localization(
            path=str(path),
            target=self.hparams.target,
            duration=total / self.hparams.sample_rate,
            starts=starts,
            stops=stops,
            directions=directions,
            confidence=confidence,
        )

    def forward(self, waveform, lengths=None):
        """Same as ``localize_batch``."""
        return self.localize_batch(waveform, lengths)

    def _check(self, window):
        """What recordings must be like, for windows of so many samples."""
        return RecordingCheck(
            fs=self.hparams.sample_rate,
            num_channels=self.num_microphones,
            window=window,
            shortest=math.ceil(SHORTEST_SHARE * window),
            channel_name="microphones",
            recorded="with that array",
            output="directions",
        )

    def _estimate_file(self, path, bounds, channels):
        """Degrees, confidence and silence of the windows of a file."""
        found = []
        for first in range(0, len(bounds), self.MAX_BATCH):
            windows = []
            for start, stop in bounds[first : first + self.MAX_BATCH]:
                waveform, _ = read_audio(
                    path,
                    start,
                    stop - start,
                    self.hparams.sample_rate,
                    resample=True,
                )
                windows.append(waveform[:, channels])
            found.append(self._estimate(windows))
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
                found = self._predict(torch.stack([windows[i] for i in batch]))
                for index, *values in zip(batch, *found, strict=True):
                    degrees[index], confidence[index] = values
        silent = [bool(is_silent(window)) for window in windows]
        return np.array(degrees), np.array(confidence), np.array(silent)

    @torch.no_grad()
    def _predict(self, waveform):
        """Degrees and confidence of windows of one length, as arrays."""
        with self.inference_ctx:
            logits = self.mods.model(waveform.to(self.device))
        logits = logits.float()
        check_output(logits.cpu()[~is_silent(waveform)])
        degrees = self.hparams.decoder(logits)
        target = self.hparams.target
        low, high = LIMITS[target]
        width = (high - low) / logits.shape[-1]
        bins = torch.arange(logits.shape[-1], device=logits.device)
        centres = low + (bins + 0.5) * width
        offset = _wrap(centres - degrees[..., None], target)
        near = offset.abs() <= CONFIDENCE_WIDTH
        confidence = (logits.softmax(-1) * near).sum(-1)
        return degrees.cpu().double().numpy(), confidence.cpu().numpy()


def _wrap(degrees, target):
    """Differences of directions: all around, in [-180, 180)."""
    if target != "full_azimuth":
        return degrees
    return (degrees + 180.0) % 360.0 - 180.0


def _median(degrees, target):
    """Median direction over windows [window, ...]: see ``median``."""
    if target != "full_azimuth":
        return median(degrees)
    # About the mean direction, so that both sides of 180 degrees are near.
    radians = np.radians(degrees)
    mean = np.degrees(
        np.arctan2(np.nansum(np.sin(radians), 0), np.nansum(np.cos(radians), 0))
    )
    return _wrap(mean + median(_wrap(degrees - mean, target)), target)


def _follow_talkers(degrees, confidence, silent, target):
    """Order the talkers [window, talker] of all windows alike, by direction."""
    directions = np.full_like(degrees, np.nan)
    weights = np.full_like(degrees, np.nan)
    # Each window's directions go to the nearest of the running medians.
    for index in np.flatnonzero(~silent):
        known = directions[:index][~silent[:index]][-MEMORY:]
        if len(known):
            expected = _median(known, target)
        else:
            expected = np.sort(degrees[index])
        cost = np.abs(_wrap(expected[:, None] - degrees[index][None], target))
        order = linear_sum_assignment(cost)[1]
        directions[index] = degrees[index][order]
        weights[index] = confidence[index][order]
    if not silent.all():
        order = np.argsort(_median(directions[~silent], target))
        directions, weights = directions[:, order], weights[:, order]
    return directions, weights
