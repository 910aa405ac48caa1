"""The talkers of binaural recordings, each with the cues of both ears."""

import math
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch

from spatial_brain.dataio.audio import (
    describe,
    open_audio,
    read_audio,
    stream_blocks,
)
from spatial_brain.dataio.dataset import chunk_bounds
from spatial_brain.dataio.parallel import progress
from spatial_brain.inference.pretrained import PretrainedModel
from spatial_brain.inference.recordings import RecordingWarning
from spatial_brain.inference.separation_files import (
    CueMeter,
    Separation,
    TalkerFiles,
)
from spatial_brain.inference.separation_windows import WindowStitcher

NUM_EARS = 2
SILENCE_DBFS = -80.0
# Convolutions that mirror the ends of a signal need 129 frames of 1 ms.
SHORTEST = 0.13
BLOCK = 1 << 16


def check_recording(path, rate, channels=None, resample=False):
    """Look through a recording for what a separation cannot do with.

    The whole file is decoded once, block by block, which takes far less time
    than a network does.

    Arguments
    ---------
    path : str or Path
        Recording of two ears.
    rate : int
        Sampling rate of the model, hertz.
    channels : sequence of int, optional
        Left and right ear, from 0. Needed if the file has more than two.
    resample : bool
        Whether another sampling rate is welcome.

    Returns
    -------
    tuple
        Left and right channel (list of int), and the length in samples at
        the rate of the model.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it has another rate or other channels, is too short, silent, or
        holds NaN or infinite samples. A RecordingWarning tells if an ear is
        silent or both are the same.

    Example
    -------
    >>> import soundfile
    >>> path = getfixture("tmp_path") / "pair.wav"
    >>> noise = np.random.default_rng(0).uniform(-0.5, 0.5, (16000, 2))
    >>> soundfile.write(path, noise, 16000)
    >>> check_recording(path, 8000, resample=True)
    ([0, 1], 8000)
    >>> check_recording(path, 8000)
    Traceback (most recent call last):
    ...
    ValueError: ...: sampling rate is 16000 Hz, the model needs 8000 Hz; ...
    """
    with open_audio(path) as file:
        info = describe(file, path)
        channels = _choose_ears(info, channels)
        if info.fs != rate and not resample:
            raise ValueError(
                f"{path}: sampling rate is {info.fs} Hz, the model needs "
                f"{rate} Hz; let it be converted (--resample, or "
                "resample=True)"
            )
        total = math.ceil(info.num_samples * rate / info.fs)
        if total < SHORTEST * rate:
            raise ValueError(
                f"{path}: {total / rate:.3f} s is too short, a separation "
                f"needs at least {SHORTEST} s; record longer"
            )
        _look_through(file, info, channels)
    return channels, total


def _choose_ears(info, channels):
    """Two channels of a file, after checking that it has them."""
    if channels is None:
        if info.num_channels != NUM_EARS:
            remedy = (
                "choose left and right with --channels 0,1 (channels=[0, 1])"
                if info.num_channels > NUM_EARS
                else "record with a microphone in each ear"
            )
            raise ValueError(
                f"{info.path}: has {info.num_channels} channel(s), the model "
                f"needs {NUM_EARS} ears; {remedy}"
            )
        return [0, 1]
    channels = [int(channel) for channel in channels]
    known = set(range(info.num_channels))
    if len(channels) != NUM_EARS or len(known & set(channels)) != NUM_EARS:
        raise ValueError(
            f"{info.path}: channels {channels} do not do: two different ones "
            f"from 0 to {info.num_channels - 1} are needed"
        )
    return channels


def _look_through(file, info, channels):
    """Refuse NaN and silence, warn of what leaves no interaural cues."""
    peaks, identical, start = np.zeros(NUM_EARS), True, 0
    for block in file.blocks(BLOCK, dtype="float32", always_2d=True):
        # A channel that is not used must be sound, too: blocks are read whole.
        if not np.isfinite(block).all():
            row, column = np.argwhere(~np.isfinite(block))[0]
            raise ValueError(
                f"{info.path}: sample {start + row} of channel {column} (at "
                f"{(start + row) / info.fs:.3f} s) is {block[row, column]}; "
                "cut that stretch out or export the recording again"
            )
        ears = block[:, channels]
        peaks = np.maximum(peaks, np.abs(ears).max(0))
        identical = identical and np.array_equal(ears[:, 0], ears[:, 1])
        start += len(block)
    level = 20 * np.log10(peaks + 1e-20)
    dead = level < SILENCE_DBFS
    if dead.all():
        raise ValueError(
            f"{info.path}: is silent (peak {max(level):.0f} dBFS, below "
            f"{SILENCE_DBFS:.0f} dBFS); check the recording or raise its level"
        )
    problem = None
    if dead.any():
        problem = (
            f"channel {channels[int(dead.argmax())]} is silent (peak "
            f"{min(level):.0f} dBFS); check that ear, or choose others with "
            "--channels"
        )
    elif identical:
        problem = (
            f"channels {channels[0]} and {channels[1]} are the same (a mono "
            "recording?); record with a microphone in each ear"
        )
    if problem:
        warnings.warn(
            f"{info.path}: {problem}. There are no interaural cues to go by: "
            "do not trust the separation",
            RecordingWarning,
            stacklevel=4,
        )


# Seconds, where the folder does not tell: four times what a Conv-TasNet of 32
# blocks hears around a sample, and as much overlap as it hears.
WINDOW_LENGTH = 8.0
HOP_SHARE = 0.75
# Seconds given to a causal model at once.
STREAM_BLOCK = 0.5


class BinauralSeparator(PretrainedModel):
    """Separates talkers and keeps their interaural cues and levels.

    The folder's YAML gives ``modules: {model}``, called with a waveform
    [batch, time, 2] for [batch, time, 2, source]; ``sample_rate`` (Hz);
    ``num_sources``; and optionally ``window_length`` and ``hop_length``, the
    seconds of long recordings heard at once and from one window to the next
    (8 s and three quarters of a window by default).

    What goes in is not scaled and what comes out neither: a talker has the
    level and the interaural differences which the model gives him. Whether a
    quiet recording is separated as well as a loud one is the model's matter;
    one that is not independent of level is at its best at that of its
    training.

    A causal model whose ``stream()`` gives an object with
    ``push(block [time, 2])`` and ``flush()``, both returning
    [time, 2, source], separates live, too: ``separator.mods.model.stream()``.
    It gets blocks on the CPU, where live sound comes from.

    Arguments
    ---------
    *args, **kwargs
        Those of :class:`spatial_brain.inference.pretrained.PretrainedModel`.

    Example
    -------
    >>> model = torch.nn.Unflatten(2, (2, 1))
    >>> separator = BinauralSeparator({"model": model}, {
    ...     "sample_rate": 8000, "num_sources": 1}, {"device": "cpu"})
    >>> separator.separate_batch(torch.randn(3, 4000, 2)).shape
    torch.Size([3, 4000, 2, 1])
    """

    HPARAMS_NEEDED = ["sample_rate", "num_sources"]
    MODULES_NEEDED = ["model"]

    def separate_batch(self, waveform, lengths=None):
        """The talkers of each signal of a batch.

        Signals are heard whole; for long ones there is ``separate_file``.

        Arguments
        ---------
        waveform : torch.Tensor
            [batch, time, 2], left ear first, at the model's sampling rate.
        lengths : torch.Tensor, optional
            Relative lengths in (0, 1], [batch]; what lies behind is not
            heard, and zero in the answer.

        Returns
        -------
        torch.Tensor
            [batch, time, 2, source], on the model's device.

        Raises
        ------
        ValueError
            For a wrong shape, NaN samples, signals shorter than 0.13 s, or a
            model whose answer is not [batch, time, 2, source].
        """
        if waveform.ndim != 3 or waveform.shape[-1] != NUM_EARS:
            raise ValueError(
                f"expected a waveform [batch, time, {NUM_EARS} ears], got "
                f"{list(waveform.shape)}"
            )
        if not torch.isfinite(waveform).all():
            raise ValueError("the waveform holds NaN or infinite samples")
        size = waveform.shape[1]
        totals = torch.full((len(waveform),), size)
        if lengths is not None:
            totals = (lengths.cpu().double() * size).round().long()
        rate = self.hparams.sample_rate
        for row, total in enumerate(totals.tolist()):
            if not SHORTEST * rate <= total <= size:
                raise ValueError(
                    f"signal {row} of the batch: {total / rate:.3f} s, needed "
                    f"are at least {SHORTEST} s and at most the "
                    f"{size / rate:.3f} s of the batch"
                )
        sources = torch.zeros(
            *waveform.shape, self.hparams.num_sources, device=self.device
        )
        # Signals of one length go together: padding would be heard.
        for total in totals.unique().tolist():
            rows = (totals == total).nonzero()[:, 0]
            heard = waveform[rows.to(waveform.device), :total]
            sources[rows.to(self.device), :total] = self._ask(heard)
        return sources

    def separate_file(
        self,
        path,
        output_folder=None,
        *,
        channels=None,
        resample=False,
        window_length=None,
        hop_length=None,
        streaming=False,
        subtype="FLOAT",
        show_progress=False,
    ):
        """The talkers of a recording of any length.

        Long recordings are heard in overlapping windows, whose talkers are
        brought into one order and cross-faded. With an output folder
        everything is written as it is found, and memory does not grow with
        the recording.

        Arguments
        ---------
        path : str or Path
            Recording of two ears.
        output_folder : str or Path, optional
            Where to write one stereo file a talker, ``<stem>_s1.wav`` and so
            on; without it the talkers are kept in memory.
        channels : sequence of int, optional
            Channels of the left and the right ear, from 0. Needed if the file
            has more than two.
        resample : bool
            Convert a file of another sampling rate; the talkers have that of
            the model.
        window_length : float, optional
            Seconds heard at once; default: the model's.
        hop_length : float, optional
            Seconds between windows; default: the model's, or three quarters
            of a window if only the window is given. The rest is the overlap
            by which talkers are recognised.
        streaming : bool
            Use a causal model as in live use, block by block and without
            windows.
        subtype : str
            Of the files: ``"FLOAT"``, or ``"PCM_16"``, where one gain for all
            talkers avoids clipping.
        show_progress : bool
            Draw a progress bar on standard error.

        Returns
        -------
        spatial_brain.inference.separation_files.Separation
            ``sources`` [time, 2, source] (read from the files if they are
            there), ``sample_rate``, ``path``, ``files``, ``gain``, level and
            interaural differences of ``talkers``; ``save(folder)``.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it has another rate or other channels (with the remedy), is
            too short, silent, or holds NaN; if windows do not do, the
            subtype is not known, or the model cannot stream. A
            RecordingWarning tells of an ear that is silent and of ears that
            are the same.
        OSError
            If the output cannot be written.
        """
        rate = self.hparams.sample_rate
        window, hop = self._window(window_length, hop_length)
        channels, total = check_recording(path, rate, channels, resample)
        if streaming:
            parts = self._stream(path, channels, total, show_progress)
        else:
            cuts = _cut(total, window, hop)
            parts = self._stitch(path, channels, cuts, show_progress)
        count, written, kept = self.hparams.num_sources, nullcontext(), []
        if output_folder is not None:
            written = TalkerFiles(
                output_folder, Path(path).stem, count, rate, total, subtype
            )
        meter = CueMeter(rate)
        with written as files:
            for part in parts:
                meter.see(part)
                if files is None:
                    kept.append(part)
                else:
                    files.write(part)
            if files is not None:
                files.commit()
        sources = torch.cat(kept) if kept else None
        return Separation(path, rate, total, meter.summary(), sources, files)

    def forward(self, waveform, lengths=None):
        """Same as ``separate_batch``."""
        return self.separate_batch(waveform, lengths)

    def _stitch(self, path, channels, cuts, show):
        """Talkers of a recording, part by part, from windows."""
        rate = self.hparams.sample_rate
        stitcher = WindowStitcher(rate)
        for start, stop in _counted(cuts, len(cuts), show):
            window, _ = read_audio(
                path, start, stop - start, rate, resample=True
            )
            separated = self._ask(window[None, :, channels])[0]
            yield stitcher.push(start, separated.cpu())
        yield stitcher.flush()

    @torch.no_grad()
    def _stream(self, path, channels, total, show):
        """Talkers of a recording, part by part, as in live use."""
        stream = self._open_stream(path)
        rate, given = self.hparams.sample_rate, 0
        size = round(STREAM_BLOCK * rate)
        blocks = stream_blocks(path, size, fs=rate, resample=True)

        def answers():
            for _, block in _counted(blocks, -(-total // size), show):
                yield stream.push(block[:, channels])
            yield stream.flush()

        for part in answers():
            self._check(part, (len(part), NUM_EARS))
            # What a model says behind the end is about its own padding.
            part = part[: total - given].float().cpu()
            given += len(part)
            yield part
        if given < total:
            raise ValueError(
                f"{path}: the model's stream gave {given} samples for {total}"
            )

    def _open_stream(self, path):
        """What takes blocks of a recording, if the model is causal."""
        problem = f"a {type(self.mods.model).__name__} has no stream()"
        if hasattr(self.mods.model, "stream"):
            try:
                return self.mods.model.stream()
            except ValueError as error:
                problem = str(error)
        raise ValueError(
            f"{path}: streaming needs a causal model ({problem}); use another "
            "model, or do without --streaming"
        )

    @torch.no_grad()
    def _ask(self, waveform):
        """Talkers of signals of one length, [batch, time, 2, source]."""
        with self.inference_ctx:
            answer = self.mods.model(waveform.float().to(self.device))
        self._check(answer, waveform.shape)
        return answer.float()

    def _check(self, answer, shape):
        """Refuse answers of a wrong shape and such that are no numbers."""
        wanted = (*shape, self.hparams.num_sources)
        if answer.shape != wanted:
            raise ValueError(
                f"the model answers {list(answer.shape)}, expected "
                f"{list(wanted)}; do num_sources and the model fit?"
            )
        if not torch.isfinite(answer).all():
            raise ValueError(
                "the model answers NaN or infinite samples; check its weights"
            )

    def _window(self, window_length, hop_length):
        """Window and hop in samples."""
        if hop_length is None and window_length is None:
            hop_length = getattr(self.hparams, "hop_length", None)
        if window_length is None:
            window_length = getattr(
                self.hparams, "window_length", WINDOW_LENGTH
            )
        if hop_length is None:
            hop_length = HOP_SHARE * window_length
        if not (window_length >= SHORTEST and 0 < hop_length < window_length):
            raise ValueError(
                f"the window must be at least {SHORTEST} s and the hop shorter "
                f"than it, got {window_length} s and {hop_length} s"
            )
        rate = self.hparams.sample_rate
        return round(window_length * rate), max(1, round(hop_length * rate))


def _cut(total, window, hop):
    """Starts and stops of windows which cover a recording to its end."""
    chunks = chunk_bounds(total, window, hop)
    # The last window is moved back rather than padded.
    return [(max(0, c.start - c.pad), c.stop) for c in chunks]


def _counted(items, total, show):
    """The same items, with a progress bar if wanted."""
    if not show:
        return items
    return progress(items, total=total, description="separating")
