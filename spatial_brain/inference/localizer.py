"""Directions of talkers from the microphones of an array."""

import math
from collections import defaultdict

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from spatial_brain.dataio.audio import read_audio
from spatial_brain.inference.localization import (
    CONFIDENCE_WIDTH,
    LIMITS,
    MEANINGS,
    Directions,
    Localization,
    median_direction,
    wrap_direction,
)
from spatial_brain.inference.pretrained import PretrainedModel
from spatial_brain.inference.recordings import (
    SHORTEST_SHARE,
    RecordingCheck,
    check_output,
    counted,
    is_silent,
    median,
    window_bounds,
)

# How many of a talker's latest windows show where it is expected next.
MEMORY = 5


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

    @staticmethod
    def from_array(array, method=None, **options):
        """A localiser of an array that needs no training.

        Arguments
        ---------
        array : MicrophoneArray, str or Path
            The array, its name, or its file.
        method : str, optional
            Such as ``"srp-phat"``; default: the best.
        **options
            Those of ``array_directions.finder.DirectionFinder``.

        Returns
        -------
        spatial_brain.inference.array_directions.finder.DirectionFinder
            Has ``localize_file`` and ``localize_batch`` as well.

        Example
        -------
        >>> SoundLocalizer.from_array("circular:4x0.05").method
        'mixture'
        """
        from spatial_brain.inference.array_directions.finder import (
            DirectionFinder,
        )

        options = options if method is None else {"method": method, **options}
        return DirectionFinder(array, **options)

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
            found.append(
                [median_direction(directions, target), median(weights)]
            )
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
        show_progress=False,
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
        shown = counted(
            range(0, len(bounds), self.MAX_BATCH),
            -(-len(bounds) // self.MAX_BATCH),
            show_progress,
        )
        directions, confidence = _follow_talkers(
            *self._estimate_file(path, bounds, channels, shown),
            self.hparams.target,
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

    def _estimate_file(self, path, bounds, channels, batches):
        """Degrees, confidence and silence of the windows of a file."""
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
        offset = wrap_direction(centres - degrees[..., None], target)
        near = offset.abs() <= CONFIDENCE_WIDTH
        confidence = (logits.softmax(-1) * near).sum(-1)
        return degrees.cpu().double().numpy(), confidence.cpu().numpy()


def _follow_talkers(degrees, confidence, silent, target):
    """Order the talkers [window, talker] of all windows alike, by direction."""
    directions = np.full_like(degrees, np.nan)
    weights = np.full_like(degrees, np.nan)
    # Each window's directions go to the nearest of the running medians.
    for index in np.flatnonzero(~silent):
        known = directions[:index][~silent[:index]][-MEMORY:]
        if len(known):
            expected = median_direction(known, target)
        else:
            expected = np.sort(degrees[index])
        cost = np.abs(
            wrap_direction(expected[:, None] - degrees[index][None], target)
        )
        order = linear_sum_assignment(cost)[1]
        directions[index] = degrees[index][order]
        weights[index] = confidence[index][order]
    if not silent.all():
        order = np.argsort(median_direction(directions[~silent], target))
        directions, weights = directions[:, order], weights[:, order]
    return directions, weights
