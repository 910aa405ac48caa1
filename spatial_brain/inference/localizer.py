"""Directions of talkers from the microphones of an array."""

import math
from collections import defaultdict
from typing import NamedTuple

import numpy as np
import torch

from spatial_brain.dataio.audio import audio_info, read_audio
from spatial_brain.inference.localization import Localization, follow_talkers
from spatial_brain.inference.pretrained import PretrainedModel

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
