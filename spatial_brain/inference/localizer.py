"""Directions of talkers from the microphones of an array."""

import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from spatial_brain.dataio.audio import read_audio
from spatial_brain.geometry import MicrophoneArray
from spatial_brain.geometry.array_match import array_mismatch
from spatial_brain.inference.localization import (
    MEANINGS,
    Directions,
    Localization,
    median_direction,
)
from spatial_brain.inference.pretrained import PretrainedModel
from spatial_brain.inference.recordings import (
    SHORTEST_SHARE,
    RecordingCheck,
    check_output,
    counted,
    is_silent,
    window_bounds,
)
from spatial_brain.inference.talker_tracks import (
    confirmed_talkers,
    follow_talkers,
)
from spatial_brain.inference.talkers import (
    TalkerCalibration,
    estimate_talkers,
)

# Degrees that another array than the model's may cost.
MAX_MISMATCH = 1.0


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
    bins from one end of that range to the other. ``calibration`` of the
    model's card (:class:`spatial_brain.inference.talkers.TalkerCalibration`)
    gives the number of talkers and confidences; without one there are
    neither.

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

    @staticmethod
    def from_array(array, method=None, **options):
        """A localiser of an array, which needs no training.

        Arguments
        ---------
        array : MicrophoneArray, str or Path
            The array, its name, or its file.
        method : str, optional
            Such as ``"srp-phat"``; default: the best. Or a trained model for
            any array, such as ``"any-array"``; or one of a certain array,
            which this has to be: name, folder or hub id.
        **options
            Those of ``array_directions.finder.DirectionFinder``; of a model of
            a certain array those of ``from_hparams``.

        Returns
        -------
        spatial_brain.inference.array_directions.finder.DirectionFinder
            Has ``localize_file`` and ``localize_batch`` as well; of a model a
            SoundLocalizer.

        Raises
        ------
        ValueError
            If array, method or an option is none, or the array is not the
            model's.

        Example
        -------
        >>> SoundLocalizer.from_array("circular:4x0.05").method
        'mixture'
        """
        from spatial_brain.inference.any_array import (
            AnyArrayLocalizer,
            is_any_array,
        )
        from spatial_brain.inference.array_directions.finder import (
            DirectionFinder,
        )
        from spatial_brain.inference.array_directions.methods import names_model

        if method is not None and names_model(method):
            if is_any_array(method):
                model = AnyArrayLocalizer.from_hparams(method)
                return model.finder(array, Path(method).name, **options)
            localizer = SoundLocalizer.from_hparams(method, **options)
            localizer.check_array(array)
            return localizer
        options = options if method is None else {"method": method, **options}
        return DirectionFinder(array, **options)

    @property
    def num_microphones(self):
        """Channels that the model takes."""
        positions = self.hparams.microphone_positions
        if positions is None:
            return self.hparams.num_microphones
        return len(positions)

    @property
    def is_calibrated(self):
        """Whether numbers of talkers and confidences are known."""
        return self.card is not None and bool(self.card.calibration)

    def check_array(self, array=None):
        """Refuse an array that is not the model's.

        Arguments
        ---------
        array : MicrophoneArray, str or Path, optional
            The array that recorded, its name or file, in the order of the
            channels that are used.

        Returns
        -------
        str
            What was checked or is assumed, in one line.

        Raises
        ------
        ValueError
            If the model was trained with another one: directions would
            typically be more than a degree off.

        Example
        -------
        >>> model = SoundLocalizer({"model": torch.nn.Identity()}, {
        ...     "sample_rate": 8, "window_length": 1.0, "hop_length": 0.5,
        ...     "microphone_positions": [[-0.05, 0, 0], [0.05, 0, 0]],
        ...     "target": "cone", "decoder": None}, {"device": "cpu"})
        >>> print(model.check_array())
        assumes the array of the model: 2 microphones 10.0 cm apart
        >>> model.check_array("pair:0.06")
        Traceback (most recent call last):
        ...
        ValueError: array pair:0.06 (2 microphones 6.0 cm apart) is not that ...
        """
        positions = self.hparams.microphone_positions
        if positions is None:
            return (
                "the model does not know its array: that yours is the same is "
                "not checked"
            )
        own = MicrophoneArray(positions, "of the model")
        if array is None:
            return f"assumes the array of the model: {_shape(own)}"
        array = MicrophoneArray.resolve(array)
        text = (
            f"array {array.name} ({_shape(array)}) is not that of the model "
            f"({_shape(own)})"
        )
        remedy = (
            "use a model of your array, or locate by its positions alone "
            "(--array)"
        )
        if len(array) != len(own):
            raise ValueError(f"{text}; {remedy}")
        if _is_reversed(own, array):
            raise ValueError(
                f"array {array.name} has the channels of the model's in "
                "reverse order along x; exchange them (--channels 1,0) and its "
                "positions"
            )
        off = array_mismatch(own, array)
        if off > MAX_MISMATCH:
            raise ValueError(
                f"{text}: directions would typically be {off:.2g} degrees off; "
                + remedy
            )
        return f"array {array.name} is that of the model to {off:.1f} degrees"

    def localize_batch(self, waveform, lengths=None, num_talkers="auto"):
        """Directions of the talkers of each signal of a batch.

        Signals longer than a window are cut into windows; the direction is
        the median over them.

        Arguments
        ---------
        waveform : torch.Tensor
            [batch, time, microphone], at the model's sampling rate.
        lengths : torch.Tensor, optional
            Relative lengths in (0, 1], [batch]; what lies behind is ignored.
        num_talkers : int or str
            As for ``localize_file``.

        Returns
        -------
        Directions
            ``degrees`` and ``confidence``, both [batch, talker].

        Raises
        ------
        ValueError
            For a wrong shape, NaN samples, a signal shorter than half a
            window, or more talkers than the model can find. A
            RecordingWarning names what is suspicious.
        """
        window, hop = self._window(None, None)
        totals = self._check(window).check_batch(waveform, lengths)
        windows, rows = [], []
        for row, total in enumerate(totals):
            for start, stop in window_bounds(total, window, hop):
                windows.append(waveform[row, start:stop])
                rows.append(row)
        logits, silent = self._predict(windows)
        found = []
        for row in range(len(waveform)):
            mine = np.flatnonzero(np.equal(rows, row))
            directions, confidence, _ = self._follow(
                logits[mine], silent[mine], num_talkers
            )
            found.append(
                [
                    median_direction(directions, self.hparams.target),
                    _medians(confidence),
                ]
            )
        width = logits.shape[1] if num_talkers == "auto" else num_talkers
        degrees, confidence = (
            torch.stack([_widen(one[part], width) for one in found])
            for part in (0, 1)
        )
        if self.is_calibrated:
            confidence = confidence.nan_to_num(0.0)
        return Directions(degrees, confidence)

    def localize_file(
        self,
        path,
        channels=None,
        resample=False,
        window_length=None,
        hop_length=None,
        show_progress=False,
        num_talkers="auto",
        array=None,
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
        show_progress : bool
            Draw a progress bar on standard error.
        num_talkers : int or str
            Talkers at once. ``"auto"`` estimates them window by window, gives
            no direction of a confidence below 0.5 and no talker found in a
            single window; of a model without calibration it is as many as the
            network has outputs.
        array : MicrophoneArray, str or Path, optional
            The array that recorded, its name or file; refused if it is not
            the model's.

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
            too short, or holds NaN; if the array is not the model's, or there
            are more talkers than it can find. A RecordingWarning names what
            is suspicious, such as silence.
        """
        assumed = self.check_array(array)
        window, hop = self._window(window_length, hop_length)
        check = self._check(window)
        channels, total = check.check_file(path, channels, resample)
        bounds = window_bounds(total, window, hop)
        shown = counted(
            range(0, len(bounds), self.MAX_BATCH),
            -(-len(bounds) // self.MAX_BATCH),
            show_progress,
        )
        directions, confidence, chances = self._follow(
            *self._predict_file(path, bounds, channels, shown), num_talkers
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
            num_talkers=num_talkers,
            chances=chances,
            notes=(assumed, *self._notes(num_talkers)),
        )

    def forward(self, waveform, lengths=None, num_talkers="auto"):
        """Same as ``localize_batch``."""
        return self.localize_batch(waveform, lengths, num_talkers)

    def _calibration(self, num_outputs):
        """Calibration of the model's card, or None."""
        if not self.is_calibrated:
            return None
        calibration = TalkerCalibration.from_dict(self.card.calibration)
        if calibration.num_outputs != num_outputs:
            raise ValueError(
                "the card's calibration is that of a network with "
                f"{calibration.num_outputs} outputs, this one has {num_outputs}"
            )
        return calibration

    def _notes(self, num_talkers):
        """What holds for the number of talkers and the confidences."""
        if self.is_calibrated:
            return ()
        text = "the model is not calibrated: no confidence is known"
        if num_talkers == "auto":
            text += ", and every output of the network is taken for a talker"
        return (text,)

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

    def _predict_file(self, path, bounds, channels, batches):
        """Logits and silence of the windows of a file."""
        found = []
        for first in batches:
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
            found.append(self._predict(windows))
        logits, silent = zip(*found, strict=True)
        return torch.cat(logits), np.concatenate(silent)

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

    def _predict(self, windows):
        """Logits [window, talker, class] on the CPU, and what is silent."""
        logits = [None] * len(windows)
        groups = defaultdict(list)
        for index, window in enumerate(windows):
            groups[len(window)].append(index)
        for members in groups.values():
            for first in range(0, len(members), self.MAX_BATCH):
                batch = members[first : first + self.MAX_BATCH]
                found = self._run(torch.stack([windows[i] for i in batch]))
                for index, values in zip(batch, found, strict=True):
                    logits[index] = values
        silent = [bool(is_silent(window)) for window in windows]
        return torch.stack(logits), np.array(silent)

    @torch.no_grad()
    def _run(self, waveform):
        """Logits of windows of one length, float32 on the CPU."""
        with self.inference_ctx:
            logits = self.mods.model(waveform.to(self.device))
        logits = logits.float().cpu()
        check_output(logits[~is_silent(waveform)])
        return logits

    def _follow(self, logits, silent, num_talkers):
        """Directions and confidence of the talkers, and chances of numbers.

        All are [window, talker or number], NaN where a window is silent.
        """
        most = logits.shape[1]
        if num_talkers != "auto" and not (
            isinstance(num_talkers, int) and 1 <= num_talkers <= most
        ):
            raise ValueError(
                f"the number of talkers is {num_talkers}, this model finds "
                f"auto or 1 to {most}"
            )
        target, loud = self.hparams.target, np.flatnonzero(~silent)
        calibration = self._calibration(most)
        found = estimate_talkers(
            logits[loud], num_talkers, self.hparams.decoder, target, calibration
        )
        width = most if num_talkers == "auto" else num_talkers
        degrees, confidence = np.full((2, len(logits), width), np.nan)
        degrees[loud] = found.degrees[:, :width]
        confidence[loud] = found.confidence[:, :width]
        degrees, confidence = follow_talkers(degrees, confidence, target)
        chances = None
        if found.chances is not None:
            chances = np.full((len(logits), most + 1), np.nan)
            chances[loud] = found.chances
        if num_talkers == "auto" and calibration is not None:
            sure = confirmed_talkers(degrees, confidence)
            degrees, confidence = degrees[:, sure], confidence[:, sure]
        return degrees, confidence, chances


def _shape(array):
    """An array in a few words."""
    size = f"{100 * array.aperture:.1f} cm"
    if len(array) == 2:
        return f"2 microphones {size} apart"
    return f"{len(array)} microphones within {size}"


def _is_reversed(own, array):
    """Whether two lines along x run in opposite directions."""
    first, second = (
        one.positions[-1] - one.positions[0] for one in (own, array)
    )
    cosine = torch.nn.functional.cosine_similarity(first, second, dim=0)
    return own.dimensions == array.dimensions == 1 and cosine < -0.99


def _medians(values):
    """Medians of columns [window, talker]; NaN where there is nothing."""
    return median_direction(values, "cone")


def _widen(values, width):
    """A row of so many numbers, NaN behind those that are there."""
    row = torch.full((width,), math.nan)
    row[: len(values)] = torch.from_numpy(np.asarray(values)).float()
    return row
