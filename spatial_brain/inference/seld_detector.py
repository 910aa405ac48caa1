"""Sound events in recordings: what, when, and from where."""

import copy
import math
import warnings
from dataclasses import replace
from itertools import islice

import torch
from torch.nn import functional as F

from spatial_brain.augment.rotation import (
    ROTATED_CHANNELS,
    foa_patterns,
    rotate_foa,
    rotate_outputs,
)
from spatial_brain.dataio.audio import stream_blocks
from spatial_brain.dataio.dataset import chunk_bounds
from spatial_brain.dataio.events import FRAME_LENGTH, concatenate
from spatial_brain.dataio.labels import decode_outputs
from spatial_brain.geometry.ambisonics import ACN_SN3D, find_channel_order
from spatial_brain.inference.array_checks import check_ambisonics
from spatial_brain.inference.pretrained import PretrainedModel
from spatial_brain.inference.recordings import (
    SHORTEST_SHARE,
    RecordingCheck,
    RecordingWarning,
    check_output,
    counted,
)
from spatial_brain.inference.streaming.events import (
    CausalOutputs,
    ChunkOutputs,
    EventStream,
)
from spatial_brain.inference.streaming.resampling import ResampleStream
from spatial_brain.processing.decoding import ChunkStitcher

NUM_CHANNELS = 4
MERGE_ANGLE = 15.0
# What findings on Ambisonics mean to a model of Ambisonics; the rest is
# checked for every model.
_NOT_AMBISONICS = {
    "not_ambisonics": "the channels are alike and not at one place: these "
    "seem to be four microphones, but this model takes Ambisonics; encode "
    "them, or use a model of microphones",
    "normalization": "{}, if they are no microphones",
}
# Tracks of the others may change places from one rotation to the next.
ROTATED_METHODS = ("accdoa", "multi_accdoa")


class SELDetector(PretrainedModel):
    """Detects which sound events a recording holds, when and from where.

    The folder's YAML gives ``modules: {model}``, called with features for a
    dict of outputs; ``features``, from a waveform [batch, time, 4] to what the
    model takes; ``method``, the meaning of the outputs (``"accdoa"``,
    ``"multi_accdoa"``, ``"einv2"`` or ``"seddoa"``); ``num_classes`` and
    ``class_names``; ``threshold``, one number or one a class; ``sample_rate``
    (Hz); ``array_format`` (``"foa"`` or ``"mic"``); ``chunk_length``, the
    seconds of a chunk; ``detection_hop``, the seconds from one chunk to the
    next: where chunks overlap their outputs are averaged; and optionally
    ``merge_angle`` (degrees; 15 by default), within which events of one class
    are one.

    Arguments
    ---------
    *args, **kwargs
        Those of :class:`spatial_brain.inference.pretrained.PretrainedModel`.

    Example
    -------
    >>> from spatial_brain.models.seld import SELDNetwork
    >>> from spatial_brain.processing.seld_features import LogMelIntensity
    >>> detector = SELDetector(
    ...     {"model": SELDNetwork("crnn", "accdoa", 2)},
    ...     {"features": LogMelIntensity(24000), "method": "accdoa",
    ...      "num_classes": 2, "class_names": ["bark", "bell"],
    ...      "threshold": 0.5, "sample_rate": 24000, "array_format": "foa",
    ...      "chunk_length": 1.0, "detection_hop": 0.5}, {"device": "cpu"})
    >>> [events] = detector.detect_batch(torch.randn(1, 36000, 4))
    >>> events.num_frames
    15
    """

    HPARAMS_NEEDED = [
        "sample_rate",
        "chunk_length",
        "detection_hop",
        "method",
        "num_classes",
        "class_names",
        "threshold",
        "features",
        "array_format",
    ]
    MODULES_NEEDED = ["model"]
    MAX_BATCH = 8

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        names, number = self.hparams.class_names, self.hparams.num_classes
        if len(names) != number:
            raise ValueError(
                f"class_names has {len(names)} names for num_classes={number}"
            )
        self.hparams.features = self.hparams.features.to(self.device).eval()

    def detect_batch(self, waveform, lengths=None, threshold=None, hop=None):
        """Events of each signal of a batch.

        Arguments
        ---------
        waveform : torch.Tensor
            [batch, time, 4] at the model's sampling rate; FOA channels in the
            order W, Y, Z, X.
        lengths : torch.Tensor, optional
            Relative lengths in (0, 1], [batch]; what lies behind is ignored.
        threshold : float or sequence of float, optional
            Activity from which on there is an event; default: the model's.
        hop : float, optional
            Seconds from one chunk to the next; default: the model's, or, of a
            causal network, none: it keeps its state.

        Returns
        -------
        list of spatial_brain.dataio.events.EventTable
            One a signal.

        Raises
        ------
        ValueError
            For a wrong shape, NaN samples, signals shorter than 0.05 s, or a
            threshold or hop that does not do. A RecordingWarning names what
            is suspicious.
        """
        with_state = self.is_causal and hop is None
        chunk, hop = self._sizes(hop)
        threshold = self._threshold(threshold)
        totals = self._check(chunk).check_batch(waveform, lengths)
        if with_state:
            return [
                self._detect_with_state(
                    row[:total].split(chunk), total, threshold
                )
                for row, total in zip(waveform, totals, strict=True)
            ]
        cuts = [chunk_bounds(total, chunk, hop) for total in totals]
        outputs = self._predict_all(
            F.pad(row[cut.start : cut.stop], (0, 0, 0, cut.pad))
            for row, some in zip(waveform, cuts, strict=True)
            for cut in some
        )
        return [
            self._assemble(islice(outputs, len(some)), total, hop, threshold)
            for some, total in zip(cuts, totals, strict=True)
        ]

    def detect_file(
        self,
        path,
        threshold=None,
        hop=None,
        resample=False,
        channel_order=ACN_SN3D,
        channels=None,
        show_progress=False,
    ):
        """Events of a recording of any length.

        The file is read chunk by chunk: memory does not grow with it.

        Arguments
        ---------
        path : str or Path
            Recording with four channels.
        threshold : float or sequence of float, optional
            Activity from which on there is an event; default: the model's.
        hop : float, optional
            Seconds from one chunk to the next, a multiple of 0.1; default:
            the model's, or, of a causal network, none: it keeps its state. A
            smaller one averages more and takes longer.
        resample : bool
            Convert a file of another sampling rate.
        channel_order : str
            Order and gains of the file's FOA channels, as
            :func:`spatial_brain.geometry.find_channel_order` takes them:
            ``"WYZX"`` or ``"acn-sn3d"`` (ACN, the default), any other order
            of these letters, ``"acn-n3d"``, or ``"fuma"``.
        channels : sequence of int, optional
            Which four channels to use, from 0, in this order. Needed if the
            file has more.
        show_progress : bool
            Draw a progress bar on standard error.

        Returns
        -------
        spatial_brain.dataio.events.EventTable
            Its ``num_frames`` is the length of the file.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it has another rate or other channels (with the remedy), is
            too short, holds NaN, or an option does not do. A RecordingWarning
            names what is suspicious, such as silence.
        """
        rate = self.hparams.sample_rate
        order, gains = self._order(channel_order)
        threshold = self._threshold(threshold)
        with_state = self.is_causal and hop is None
        chunk, hop = self._sizes(hop)
        hop = chunk if with_state else hop
        check = self._check(chunk)
        channels, total = check.check_file(path, channels, resample)
        if self.hparams.array_format == "foa":
            _warn_of_microphones(path, channels, channel_order)
        blocks = stream_blocks(
            path, chunk, hop, fs=rate, resample=resample, pad=not with_state
        )
        number = len(chunk_bounds(total, chunk, hop))
        parts = (
            block[:, channels][:, order] * gains
            for _, block in counted(blocks, number, show_progress)
        )
        if with_state:
            return self._detect_with_state(parts, total, threshold)
        outputs = self._predict_all(parts)
        return self._assemble(outputs, total, hop, threshold)

    def choose_channels(self, info, channels=None):
        """Channels of a recording or a live input that the model takes.

        Arguments
        ---------
        info : AudioInfo
            Its header.
        channels : sequence of int, optional
            Chosen ones, from 0.

        Returns
        -------
        list of int

        Raises
        ------
        ValueError
            If the numbers do not fit, with the remedy.
        """
        chunk, _ = self._sizes(None)
        return self._check(chunk).choose_channels(info, channels)

    def stream(
        self,
        fs=None,
        threshold=None,
        hop=None,
        delay=None,
        channel_order=ACN_SN3D,
    ):
        """Events of live sound, chunk by chunk.

        A causal network goes on from chunk to chunk with its state. Any other
        gets chunks of its length every hop, as for ``detect_file``.

        Arguments
        ---------
        fs : int, optional
            Sampling rate of the sound, hertz; another than the model's, which
            is the default, is converted.
        threshold : float or sequence of float, optional
            As for ``detect_file``.
        hop : float, optional
            As for ``detect_file``; a causal network has none.
        delay : float, optional
            Seconds of later sound that a frame waits for, of a network that
            is not causal; default: all chunks that cover it.
        channel_order : str
            As for ``detect_file``.

        Returns
        -------
        spatial_brain.inference.streaming.events.EventStream
            ``push(chunk)`` takes sound [time, 4]; ``latency`` is in seconds.

        Raises
        ------
        ValueError
            If an option does not do.
        """
        threshold = self._threshold(threshold)
        order, gains = self._order(channel_order)
        rate, method = self.hparams.sample_rate, self.hparams.method
        resample = ResampleStream(fs or rate, rate)
        if resample.old_fs < rate:
            warnings.warn(
                f"sampling rate is {fs} Hz: above {fs / 2:g} Hz there is "
                f"nothing, where the model was trained with {rate} Hz, so do "
                "not trust the events; record with more",
                RecordingWarning,
                stacklevel=2,
            )
        if self.is_causal:
            if hop is not None or delay is not None:
                raise ValueError(
                    "the model is causal: it has neither hop nor delay"
                )
            # Small steps are quicker without a trip to another device.
            features, network = (
                copy.deepcopy(part).cpu()
                for part in (self.hparams.features, self.mods.model)
            )
            outputs = CausalOutputs(features, network, rate)
        else:
            chunk, hop = self._sizes(hop)
            outputs = ChunkOutputs(
                lambda part: next(self._predict_all([part])),
                method,
                chunk,
                hop,
                rate,
                delay,
            )
        merge_angle = getattr(self.hparams, "merge_angle", MERGE_ANGLE)
        return EventStream(
            outputs,
            lambda part: decode_outputs(
                part, method, threshold=threshold, merge_angle=merge_angle
            ),
            resample,
            lambda chunk: chunk[:, order] * gains,
        )

    def _detect_with_state(self, chunks, num_samples, threshold):
        """Events of a recording in chunks, as of live sound."""
        live = self.stream(threshold=threshold)
        tables = [live.push(chunk.cpu()).table for chunk in chunks]
        tables.append(live.flush().table)
        samples = self.hparams.sample_rate * FRAME_LENGTH
        return concatenate(tables, math.ceil(num_samples / samples - 1e-9))

    @property
    def is_causal(self):
        """Whether the network needs no later sound, and has a live form."""
        network = self.mods.model
        network = getattr(network, "network", network)
        return getattr(network, "causal", False) and hasattr(network, "stream")

    def forward(self, waveform, lengths=None):
        """Same as ``detect_batch``."""
        return self.detect_batch(waveform, lengths)

    def _check(self, chunk):
        """What recordings must be like, for chunks of so many samples."""
        frame = FRAME_LENGTH * self.hparams.sample_rate
        foa = "in first-order Ambisonics (W, Y, Z, X)"
        return RecordingCheck(
            fs=self.hparams.sample_rate,
            num_channels=NUM_CHANNELS,
            window=chunk,
            shortest=math.ceil(SHORTEST_SHARE * frame),
            channel_name="channels",
            recorded=foa
            if self.hparams.array_format == "foa"
            else "with a four-microphone array",
            output="events",
        )

    @torch.no_grad()
    def _predict_all(self, chunks):
        """Outputs of each of a stream of chunks [time, channel]."""
        chunks = iter(chunks)
        frames = round(self.hparams.chunk_length / FRAME_LENGTH)
        while batch := list(islice(chunks, self.MAX_BATCH)):
            waveform = torch.stack(batch).to(self.device)
            features = self.hparams.features(waveform)
            with self.inference_ctx:
                outputs = self.mods.model(features)
            outputs = {key: part.float().cpu() for key, part in outputs.items()}
            for key, part in outputs.items():
                check_output(part)
                if part.shape[1] != frames:
                    raise ValueError(
                        f"the model's {key!r} has {part.shape[1]} frames for "
                        f"{self.hparams.chunk_length} s, expected {frames} of "
                        f"{FRAME_LENGTH} s; do features and model fit?"
                    )
            for index in range(len(batch)):
                yield {key: part[index] for key, part in outputs.items()}

    def _assemble(self, outputs, num_samples, hop, threshold):
        """Stitch the outputs of one recording's chunks and decode them."""
        method = self.hparams.method
        samples = self.hparams.sample_rate * FRAME_LENGTH
        stitcher = ChunkStitcher(method, round(hop / samples))
        num_frames = math.ceil(num_samples * 10 / self.hparams.sample_rate)
        merge_angle = getattr(self.hparams, "merge_angle", MERGE_ANGLE)

        def finished():
            for part in outputs:
                yield stitcher.push(part)
            yield stitcher.flush(num_frames)

        tables, done = [], 0
        for part in finished():
            table = decode_outputs(
                part, method, threshold=threshold, merge_angle=merge_angle
            )
            tables.append(replace(table, frame=table.frame + done))
            done += table.num_frames
        return concatenate(tables, num_frames)

    def _sizes(self, hop):
        """Chunk and hop in samples."""
        hop = self.hparams.detection_hop if hop is None else hop
        length, rate = self.hparams.chunk_length, self.hparams.sample_rate
        for name, value in (("chunk_length", length), ("hop", hop)):
            frames = value / FRAME_LENGTH
            if frames < 0.5 or abs(frames - round(frames)) > 1e-6:
                raise ValueError(
                    f"{name} must be a multiple of {FRAME_LENGTH} s, got "
                    f"{value}"
                )
        if hop > length:
            raise ValueError(
                f"the hop must be at most a chunk of {length} s, got {hop} s"
            )
        return round(length * rate), round(hop * rate)

    def _threshold(self, threshold):
        """Threshold to use: a number, or one a class."""
        if threshold is None:
            threshold = self.hparams.threshold
        if isinstance(threshold, (int, float)):
            return float(threshold)
        threshold = [float(value) for value in threshold]
        if len(threshold) != self.hparams.num_classes:
            raise ValueError(
                f"{len(threshold)} thresholds for {self.hparams.num_classes} "
                "classes; give one, or one a class"
            )
        return threshold

    def _order(self, channel_order):
        """File channels in the model's order, and their gains [4]."""
        channels, gains = find_channel_order(channel_order)
        usual = channels == list(range(NUM_CHANNELS))
        if self.hparams.array_format != "foa" and not (
            usual and set(gains) == {1.0}
        ):
            raise ValueError(
                "channel_order is for Ambisonics; this model takes four "
                "microphones"
            )
        return channels, torch.tensor(gains)


def _warn_of_microphones(path, channels, channel_order):
    """Warn of channels that seem not to be the Ambisonics they are said."""
    for found in check_ambisonics(path, channels, channel_order):
        message = _NOT_AMBISONICS.get(found.kind)
        if message is not None:
            problem = message.format(found.message)
            warnings.warn(f"{path}: {problem}", RecordingWarning, stacklevel=3)


class ClipPredictions:
    """Stitches and decodes the network's outputs, clip by clip.

    Chunks come in the order of the manifest; a clip is decoded with its last
    chunk, so that memory holds one clip's outputs.

    Arguments
    ---------
    method : str
        Output format of the network.
    hop_frames : int
        Label frames from one chunk to the next.
    **decoding
        Further arguments of :func:`decode_outputs`.

    Attributes
    ----------
    events : dict
        Id of a clip to its EventTable.

    Example
    -------
    >>> predictions = ClipPredictions("accdoa", 10, threshold=0.5)
    >>> outputs = {"accdoa": torch.ones(10, 3)}
    >>> predictions.append("a", outputs, 13, last=False)
    >>> predictions.append("a", outputs, 13, last=True)
    >>> events = predictions.events["a"]
    >>> len(events), events.azimuth.round()[0].item()
    (13, 45.0)
    """

    def __init__(self, method, hop_frames, **decoding):
        self.events = {}
        self._method, self._hop_frames = method, hop_frames
        self._decoding = decoding
        self._stitcher, self._finished = None, []

    def append(self, clip, outputs, num_frames, last):
        """Add the outputs of the next chunk.

        Arguments
        ---------
        clip : str
            Id of the clip.
        outputs : dict of torch.Tensor
            Of one chunk, [frame, ...].
        num_frames : int
            Label frames of the whole clip.
        last : bool
            Whether no chunk of this clip follows.
        """
        if self._stitcher is None:
            self._stitcher = ChunkStitcher(self._method, self._hop_frames)
        self._finished.append(self._stitcher.push(outputs))
        if not last:
            return
        self._finished.append(self._stitcher.flush(num_frames))
        stitched = {
            key: torch.cat([part[key] for part in self._finished])
            for key in outputs
        }
        self._stitcher, self._finished = None, []
        table = decode_outputs(stitched, self._method, **self._decoding)
        self.events[clip] = table.segment(0, num_frames)


def check_rotations(method, array_format, cached=None):
    """Refuse what rotated scenes cannot be averaged with.

    Arguments
    ---------
    method : str
        Output format of the network.
    array_format : str
        Of the waveforms.
    cached : torch.nn.Module, optional
        Makes the features that are kept, if there are no waveforms.

    Raises
    ------
    ValueError
        If the method has tracks, the format is not "foa", or the cached
        features cannot be rotated.

    Example
    -------
    >>> check_rotations("accdoa", "foa")
    """
    remedy = "give --num_test_rotations 1"
    if method not in ROTATED_METHODS:
        known = " and ".join(ROTATED_METHODS)
        raise ValueError(
            f"rotated test scenes work with {known}, not with {method!r}, "
            f"whose tracks may change places; {remedy}"
        )
    if array_format != "foa":
        raise ValueError(
            f"rotated test scenes need array_format: foa, got "
            f"{array_format!r}; {remedy}"
        )
    channels = getattr(cached, "num_channels", ROTATED_CHANNELS)
    if channels != ROTATED_CHANNELS:
        raise ValueError(
            f"rotated test scenes need waveforms, or {ROTATED_CHANNELS} "
            f"channels of cached features, not the {channels} of "
            f"{type(cached).__name__}; {remedy} or --feature_cache False"
        )


def rotated_outputs(predict, scene, method, num_rotations, rotate=rotate_foa):
    """Mean of what a network predicts of rotated scenes, turned back.

    Arguments
    ---------
    predict : callable
        Scene to outputs of the network.
    scene : torch.Tensor
        FOA waveform, shape [batch, time, 4], or whatever ``rotate`` takes.
    method : str
        "accdoa" or "multi_accdoa".
    num_rotations : int
        16 or 48, see :func:`spatial_brain.augment.rotation.foa_patterns`.
    rotate : callable
        ``rotate(scene, pattern)``; ``rotate_foa_features`` for features.

    Returns
    -------
    dict of torch.Tensor
        Like the outputs.

    Example
    -------
    >>> import torch
    >>> def predict(waveform):  # x, y, z of one class, frame by frame
    ...     return {"accdoa": waveform[..., [3, 1, 2]]}
    >>> waveform = torch.randn(1, 5, 4)
    >>> outputs = rotated_outputs(predict, waveform, "accdoa", 48)
    >>> torch.allclose(outputs["accdoa"], predict(waveform)["accdoa"])
    True
    """
    patterns = foa_patterns(num_rotations)
    total = {}
    for pattern in patterns:
        outputs = rotate_outputs(
            predict(rotate(scene, pattern)),
            method,
            pattern,
            inverse=True,
        )
        for key, value in outputs.items():
            total[key] = total.get(key, 0.0) + value
    return {key: value / len(patterns) for key, value in total.items()}
