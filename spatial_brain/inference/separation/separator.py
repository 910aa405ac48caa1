"""The talkers of binaural recordings, each with the cues of both ears."""

import math
from contextlib import nullcontext
from pathlib import Path

import torch

from spatial_brain.dataio.audio import (
    audio_info,
    read_audio,
    resample_audio,
    stream_blocks,
)
from spatial_brain.inference.pretrained import PretrainedModel
from spatial_brain.inference.recordings import (
    RecordingCheck,
    check_output,
    counted,
    window_bounds,
)
from spatial_brain.inference.separation.talker_files import (
    CueMeter,
    Separation,
    TalkerFiles,
)
from spatial_brain.inference.separation.windows import WindowStitcher

NUM_EARS = 2
# Convolutions that mirror the ends of a signal need 129 frames of 1 ms.
SHORTEST = 0.13
# Seconds, where the folder has none: four times the receptive field of a
# Conv-TasNet of 32 blocks, which is also the overlap.
WINDOW_LENGTH = 8.0
HOP_SHARE = 0.75
# Seconds given to a causal model at once.
STREAM_BLOCK = 0.5


class BinauralSeparator(PretrainedModel):
    """Separates talkers and keeps their interaural cues and levels.

    The folder's YAML gives ``modules: {model}``, called with a waveform
    [batch, time, 2] for [batch, time, 2, source]; ``sample_rate`` (Hz);
    ``num_sources``; and optionally ``window_length`` and ``hop_length``, the
    seconds of a window of long recordings and from one to the next (8 s and
    three quarters of a window by default).

    Neither input nor output is scaled: a talker has the level and the
    interaural differences that the model gives him. Whether a quiet recording
    is separated as well as a loud one depends on the model; one that is not
    independent of level is at its best at that of its training.

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

        Signals are processed whole; for long ones there is ``separate_file``.

        Arguments
        ---------
        waveform : torch.Tensor
            [batch, time, 2], left ear first, at the model's sampling rate.
        lengths : torch.Tensor, optional
            Relative lengths in (0, 1], [batch]; what lies behind is ignored,
            and zero in the output.

        Returns
        -------
        torch.Tensor
            [batch, time, 2, source], on the model's device.

        Raises
        ------
        ValueError
            For a wrong shape, NaN samples, signals shorter than 0.13 s, or a
            model whose output is not [batch, time, 2, source]. A
            RecordingWarning names what is suspicious.
        """
        window, _ = self._window(None, None)
        totals = self._check(window).check_batch(waveform, lengths)
        totals = torch.tensor(totals)
        sources = torch.zeros(
            *waveform.shape, self.hparams.num_sources, device=self.device
        )
        # Signals of one length go together: padding would change them.
        for total in totals.unique().tolist():
            rows = (totals == total).nonzero()[:, 0]
            signals = waveform[rows.to(waveform.device), :total]
            sources[rows.to(self.device), :total] = self._predict(signals)
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
        model_rate=False,
        show_progress=False,
    ):
        """The talkers of a recording of any length.

        Long recordings are cut into overlapping windows, whose talkers are
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
            Convert a file of another sampling rate. The talkers have that of
            the file, but nothing above half the model's.
        window_length : float, optional
            Seconds; default: the model's.
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
        model_rate : bool
            Give the talkers of a converted file at the model's rate.
        show_progress : bool
            Draw a progress bar on standard error.

        Returns
        -------
        spatial_brain.inference.separation.talker_files.Separation
            ``sources`` [time, 2, source] (read from the files if they are
            there), ``sample_rate``, ``path``, ``files``, ``gain``, level and
            interaural differences of ``talkers``; ``save(folder)``.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it has another rate or other channels (with the remedy), is
            too short, or holds NaN; if windows do not do, the subtype is not
            known, or the model cannot stream. A RecordingWarning names what
            is suspicious, such as silence or both ears being the same.
        OSError
            If the output cannot be written.
        """
        rate = self.hparams.sample_rate
        window, hop = self._window(window_length, hop_length)
        check = self._check(window)
        channels, total = check.check_file(path, channels, resample)
        if streaming:
            parts = self._stream(path, channels, total, show_progress)
        else:
            bounds = window_bounds(total, window, hop)
            parts = self._stitch(path, channels, bounds, show_progress)
        info = audio_info(path)
        own = (rate, total) if model_rate else (info.fs, info.num_samples)
        count, written, kept = self.hparams.num_sources, nullcontext(), []
        if output_folder is not None:
            written = TalkerFiles(
                output_folder, Path(path).stem, count, rate, total, subtype, own
            )
        meter = CueMeter(rate)
        with written as files:
            for part in parts:
                meter.add(part)
                if files is None:
                    kept.append(part)
                else:
                    files.write(part)
            if files is not None:
                files.commit()
        sources = _resampled(torch.cat(kept), rate, *own) if kept else None
        return Separation(path, *own, meter.summary(), sources, files, rate)

    def forward(self, waveform, lengths=None):
        """Same as ``separate_batch``."""
        return self.separate_batch(waveform, lengths)

    def _check(self, window):
        """What recordings must be like, for windows of so many samples."""
        rate = self.hparams.sample_rate
        return RecordingCheck(
            fs=rate,
            num_channels=NUM_EARS,
            window=window,
            shortest=math.ceil(SHORTEST * rate),
            channel_name="ears",
            recorded="with a microphone in each ear",
            output="talkers",
        )

    def _stitch(self, path, channels, bounds, show):
        """Talkers of a recording, part by part, from windows."""
        rate = self.hparams.sample_rate
        stitcher = WindowStitcher(rate)
        for start, stop in counted(bounds, len(bounds), show):
            window, _ = read_audio(
                path, start, stop - start, rate, resample=True
            )
            separated = self._predict(window[None, :, channels])[0]
            yield stitcher.push(start, separated.cpu())
        yield stitcher.flush()

    @torch.no_grad()
    def _stream(self, path, channels, total, show):
        """Talkers of a recording, part by part, as in live use."""
        stream = self._open_stream(path)
        rate, given = self.hparams.sample_rate, 0
        size = round(STREAM_BLOCK * rate)
        blocks = stream_blocks(path, size, fs=rate, resample=True)

        def separated():
            for _, block in counted(blocks, -(-total // size), show):
                yield stream.push(block[:, channels])
            yield stream.flush()

        for part in separated():
            self._check_output(part, (len(part), NUM_EARS))
            # What a model gives behind the end comes from its own padding.
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
    def _predict(self, waveform):
        """Talkers of signals of one length, [batch, time, 2, source]."""
        with self.inference_ctx:
            output = self.mods.model(waveform.float().to(self.device))
        self._check_output(output, waveform.shape)
        return output.float()

    def _check_output(self, output, shape):
        """Refuse outputs of a wrong shape and such that are no numbers."""
        wanted = (*shape, self.hparams.num_sources)
        if output.shape != wanted:
            raise ValueError(
                f"the model's output is {list(output.shape)}, expected "
                f"{list(wanted)}; do num_sources and the model fit?"
            )
        check_output(output)

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


def _resampled(sources, old_rate, rate, num_samples):
    """Talkers [time, ear, source] at another rate, of so many samples."""
    flat = resample_audio(sources.flatten(1), old_rate, rate)[:num_samples]
    return flat.unflatten(1, sources.shape[1:])
