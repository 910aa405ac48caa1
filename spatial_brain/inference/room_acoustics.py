"""Acoustics of the room in which a recording was made."""

import math
import warnings
from dataclasses import dataclass
from itertools import groupby, islice

import numpy as np
import torch

from spatial_brain.dataio.audio import describe, open_audio, read_audio
from spatial_brain.geometry import SPEED_OF_SOUND
from spatial_brain.inference.pretrained import ModelCard, PretrainedModel
from spatial_brain.inference.pretrained.saving import require_names
from spatial_brain.inference.recordings import (
    SHORTEST_SHARE,
    RecordingCheck,
    RecordingWarning,
    check_output,
    counted,
    is_silent,
    median,
    window_bounds,
)
from spatial_brain.inference.room_parameters import (
    IntervalCalibration,
    Track,
)
from spatial_brain.metrics.room_acoustics import find_quantity

NUM_MICROPHONES = 2


@dataclass
class RoomAcoustics:
    """What one model estimated from a recording.

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
    card : spatial_brain.inference.pretrained.card.ModelCard, optional
        Of the model.

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
    card: ModelCard | None = None

    @property
    def test_error(self):
        """Error of the model on its test set, a Measure, or None.

        It, and not the spread over windows, is what an estimate is worth.
        """
        if self.card is None or self.card.task != self.task:
            return None
        return next(iter(self.card.measures), None)

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
            Distance of the microphones, metres. Given, the direction of a
            far source follows from a TDOA.

        Returns
        -------
        list of Track
            The task's own first. TDOA is positive where sound reaches the
            second microphone later; it adds ``delay`` (µs) and, with a spacing,
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
            has ``unit, median, quartiles, values`` under its name;
            ``test_error``, the model's on its test set, with
            ``beats_constant``, and ``card``, None where they are not known.
        """
        error = self.test_error
        if error is not None:
            error = {
                **error.to_dict(),
                "beats_constant": error.beats_constant,
            }
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
            "test_error": error,
            "card": self.card and self.card.to_dict(),
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


class RoomAcousticsEstimator(PretrainedModel):
    """Estimates acoustic quantities of a room from a recording made in it.

    The folder's YAML gives ``modules: {model}``, ``sample_rate`` (Hz),
    ``duration``, the seconds of a window, those of the training, and
    ``hop_length``, the seconds from one window to the next.

    * A model of one quantity, from two microphones: ``task``, a key of
      ``spatial_brain.metrics.room_acoustics.TASKS``, and ``features``, from a
      waveform [batch, time, 2] to what the model takes; its output is one
      number a signal, [batch, 1].
    * A model of several, from one or two microphones: ``quantities`` and
      ``calibration``, see
      :class:`spatial_brain.inference.room_parameters.IntervalCalibration`; its
      output are quantiles [batch, channel, quantity, 3].

    Arguments
    ---------
    *args, **kwargs
        Those of :class:`spatial_brain.inference.pretrained.PretrainedModel`.

    Raises
    ------
    ValueError
        If the task is not known, or neither it nor quantities are given.

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

    HPARAMS_NEEDED = ["sample_rate", "duration", "hop_length"]
    MODULES_NEEDED = ["model"]
    MAX_BATCH = 8
    # Of a model of several quantities.
    calibration = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        hparams = vars(self.hparams)
        require_names("keys", self.needed_keys(hparams), hparams)
        if "quantities" in hparams:
            self.calibration = IntervalCalibration(
                hparams["quantities"], hparams["calibration"]
            )
            return
        find_quantity(self.hparams.task)
        self.hparams.features = self.hparams.features.to(self.device).eval()

    @classmethod
    def needed_keys(cls, hparams):
        """Those of a model of one quantity, or of several.

        Arguments
        ---------
        hparams : dict
            The hyper-parameters.

        Returns
        -------
        list of str
        """
        several = "quantities" in hparams
        keys = (
            ("quantities", "calibration") if several else ("task", "features")
        )
        return [*cls.HPARAMS_NEEDED, *keys]

    def estimate_batch(self, waveform, lengths=None):
        """The quantity for each signal of a batch.

        Signals longer than a window are cut into windows; the estimate is the
        median over them, or what the calibration makes of them.

        Arguments
        ---------
        waveform : torch.Tensor
            [batch, time, channel], at the model's sampling rate.
        lengths : torch.Tensor, optional
            Relative lengths in (0, 1], [batch]; what lies behind is ignored.

        Returns
        -------
        torch.Tensor
            In the unit of the task, [batch], on the CPU; NaN for a silent
            signal. Of a model of several quantities lower end, estimate and
            upper end of each, [batch, quantity, 3].

        Raises
        ------
        ValueError
            For a wrong shape, NaN samples, or a signal shorter than half a
            window. A RecordingWarning names what is suspicious.
        """
        window, hop = self._window(None)
        number = NUM_MICROPHONES
        if self.calibration is not None and waveform.shape[-1] == 1:
            number = 1
        check = self._check(window, number)
        totals = check.check_batch(waveform, lengths)
        bounds = [window_bounds(total, window, hop) for total in totals]
        values = self._predict_all(
            signal[start:stop]
            for signal, some in zip(waveform, bounds, strict=True)
            for start, stop in some
        )
        found = [list(islice(values, len(some))) for some in bounds]
        if self.calibration is None:
            return torch.tensor([float(median(some)) for some in found])
        return torch.stack(
            [self.calibration.combine(torch.stack(some)) for some in found]
        )

    def estimate_file(
        self,
        path,
        channels=None,
        resample=False,
        hop_length=None,
        spacing=None,
        show_progress=False,
    ):
        """The quantities over the course of a recording.

        The file is read window by window: memory does not grow with it.

        Arguments
        ---------
        path : str or Path
            Recording of two microphones; of one, if the model takes it.
        channels : sequence of int, optional
            Which channels to use, from 0. Needed if the file has more.
        resample : bool
            Convert a file of another sampling rate.
        hop_length : float, optional
            Seconds between windows; default: the model's.
        spacing : float, optional
            Distance of the microphones, metres, to compare with the card.
        show_progress : bool
            Draw a progress bar on standard error.

        Returns
        -------
        RoomAcoustics or RoomParameters
            One value a window, with median and quartiles; of a model of
            several quantities those, with their intervals.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it has another rate or other channels (with the remedy), is
            too short, or holds NaN. A RecordingWarning names what is
            suspicious, such as silence, and what contradicts the card.
        """
        rate = self.hparams.sample_rate
        window, hop = self._window(hop_length)
        check = self._check(window, self._count_channels(path, channels))
        channels, total = check.check_file(path, channels, resample)
        bounds = window_bounds(total, window, hop)

        def windows():
            for start, stop in counted(bounds, len(bounds), show_progress):
                waveform, _ = read_audio(
                    path, start, stop - start, rate, resample=True
                )
                yield waveform[:, channels]

        values = list(self._predict_all(windows()))
        starts, stops = np.array(bounds).T / rate
        facts = {
            "path": str(path),
            "duration": total / rate,
            "starts": starts,
            "stops": stops,
            "card": self.card,
        }
        if self.calibration is not None:
            share = min(1.0, hop / (rate * self.hparams.hop_length))
            found = self.calibration.parameters(
                torch.stack(values), share, **facts
            )
            self._warn(found.path, spacing, None, "estimates")
            return found
        found = RoomAcoustics(
            task=self.hparams.task,
            sample_rate=rate,
            values=np.array(values),
            **facts,
        )
        self._warn(found.path, spacing, found.median, found.task)
        return found

    def _warn(self, path, spacing, estimate, what):
        """Warn of what contradicts the card."""
        if self.card is None:
            return
        for text in self.card.contradictions(spacing, estimate):
            warnings.warn(
                f"{path}: {text}; do not trust the {what} of it",
                RecordingWarning,
                stacklevel=3,
            )

    def _count_channels(self, path, channels):
        """How many channels of a recording are used."""
        if self.calibration is None:
            return NUM_MICROPHONES
        if channels is not None:
            return min(len(channels), NUM_MICROPHONES)
        with open_audio(path) as file:
            return min(describe(file, path).num_channels, NUM_MICROPHONES)

    def forward(self, waveform, lengths=None):
        """Same as ``estimate_batch``."""
        return self.estimate_batch(waveform, lengths)

    def _check(self, window, num_channels):
        """What recordings must be like, for windows of so many samples."""
        return RecordingCheck(
            fs=self.hparams.sample_rate,
            num_channels=num_channels,
            window=window,
            shortest=math.ceil(SHORTEST_SHARE * window),
            channel_name="microphones",
            recorded="with one microphone"
            if num_channels == 1
            else "with two microphones",
            output="estimates",
        )

    def _window(self, hop_length):
        """Window and hop in samples."""
        duration, rate = self.hparams.duration, self.hparams.sample_rate
        hop = self.hparams.hop_length if hop_length is None else hop_length
        if not 0 < hop <= duration:
            raise ValueError(
                "the hop must be longer than 0 s and at most a window of "
                f"{duration} s, got {hop} s"
            )
        return round(duration * rate), max(1, round(hop * rate))

    def _predict_all(self, windows):
        """The output for each of a stream of windows [time, channel]."""
        for _, same in groupby(windows, key=len):
            while batch := list(islice(same, self.MAX_BATCH)):
                yield from self._predict(torch.stack(batch))

    @torch.no_grad()
    def _predict(self, waveform):
        """Outputs for windows of one length; NaN for silent ones."""
        if self.calibration is not None:
            return self._predict_quantiles(waveform)
        features = self.hparams.features(waveform.to(self.device))
        with self.inference_ctx:
            values = self.mods.model(features)
        if values.shape != (len(waveform), 1):
            raise ValueError(
                f"the model's output is {list(values.shape)} for "
                f"{len(waveform)} signals, expected one number each, [batch, 1]"
            )
        values, silent = values[:, 0].double().cpu(), is_silent(waveform)
        check_output(values[~silent])
        return values.masked_fill(silent, math.nan).tolist()

    def _predict_quantiles(self, waveform):
        """Quantiles [channel, quantity, 3] for windows of one length."""
        with self.inference_ctx:
            found = self.mods.model(waveform.to(self.device)).double().cpu()
        number, channels = len(waveform), waveform.shape[-1]
        wanted = (number, channels, len(self.calibration.quantities), 3)
        if found.shape != wanted:
            raise ValueError(
                f"the model's output is {list(found.shape)}, expected "
                f"quantiles [signal, channel, quantity, 3], {list(wanted)}"
            )
        silent = is_silent(waveform)
        check_output(found[~silent])
        return list(found.masked_fill(silent[:, None, None, None], math.nan))
