"""Sound events of live sound: each where it begins and where it ends."""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from spatial_brain.dataio.events import (
    FRAME_LENGTH,
    EventLinker,
    EventTable,
    SoundEvent,
    concatenate,
    summarize_event,
)
from spatial_brain.processing.decoding import ChunkStitcher
from spatial_brain.processing.feature_stream import FeatureStream

NUM_CHANNELS = 4


class CausalOutputs:
    """Outputs of a causal network for sound that comes chunk by chunk.

    They are those of the network for the whole recording, behind whose end
    silence fills the last label frame.

    Arguments
    ---------
    features : spatial_brain.processing.stft.SpectralFeatures
        From sound to what the network takes.
    network : torch.nn.Module
        With ``stream()``.
    rate : int
        Sampling rate, hertz.

    Raises
    ------
    ValueError
        If the network is not causal, or features need the whole recording.
    """

    def __init__(self, features, network, rate):
        self._features = FeatureStream(features)
        self._network = network.stream()
        self._frame = round(FRAME_LENGTH * rate)
        self._taken = self._channels = 0
        #: Seconds from a sound to the end of its label frame's computation.
        self.latency = FRAME_LENGTH + features.n_fft / 2 / rate

    def push(self, chunk):
        """Take a chunk [time, channel], give frames that are final."""
        self._taken += len(chunk)
        self._channels = chunk.shape[1]
        return self._network.push(self._features.push(chunk))

    def flush(self):
        """Give the frames of the end, and forget the recording."""
        missing = -self._taken % self._frame
        silence = torch.zeros(missing, self._channels)
        parts = []
        if self._taken:
            parts.append(self._features.push(silence))
            parts.append(self._features.flush())
            self._taken = 0
        found = [self._network.push(part) for part in parts]
        found.append(self._network.flush())
        return {
            key: torch.cat([part[key] for part in found]) for key in found[0]
        }


class ChunkOutputs:
    """Outputs of any network for sound that comes chunk by chunk.

    The network gets chunks of its length, one every hop; each frame is the
    mean over those that cover it. With the whole delay these are the frames
    of ``SELDetector.detect_file``.

    Arguments
    ---------
    predict : callable
        From a chunk [time, channel] to a dict of outputs [frame, ...].
    method : str
        What they mean, see ``ChunkStitcher``.
    length, hop : int
        Of a chunk, and from one to the next, samples.
    rate : int
        Sampling rate, hertz.
    delay : float, optional
        Seconds of later sound that a frame waits for, at least; default: all
        chunks that cover it. With less, fewer are averaged.

    Raises
    ------
    ValueError
        If the delay is negative, or longer than all that can be used.
    """

    def __init__(self, predict, method, length, hop, rate, delay=None):
        longest = (length - hop) / rate
        delay = longest if delay is None else delay
        if not 0 <= delay <= longest + 1e-9:
            raise ValueError(
                f"the delay must be from 0 to {longest:g} s (a chunk of "
                f"{length / rate:g} s without the hop), got {delay:g} s"
            )
        self._predict, self._length, self._hop = predict, length, hop
        frame = FRAME_LENGTH * rate
        self._frame = frame
        self._hop_frames = round(hop / frame)
        # Frames of a chunk that are given with it.
        self._kept = math.floor((length / rate - delay) / FRAME_LENGTH + 1e-6)
        self._stitcher = ChunkStitcher(method, self._hop_frames)
        #: Seconds from a sound to the end of the chunk that its frame needs.
        self.latency = delay + hop / rate
        self._begin()

    def _begin(self):
        """Nothing was pushed yet."""
        self._samples, self._taken = None, 0
        self._chunks = self._given = 0

    def push(self, chunk):
        """Take a chunk [time, channel], give frames that are final."""
        if self._samples is None:
            self._samples = chunk[:0]
        self._samples = torch.cat((self._samples, chunk))
        self._taken += len(chunk)
        found = []
        while len(self._samples) >= self._length:
            self._average(self._samples[: self._length])
            self._samples = self._samples[self._hop :]
            # Before them nothing was left.
            start = (self._chunks - 1) * self._hop_frames
            stop = start + self._kept
            found.append(self._since(start, stop))
        return _joined(found)

    def flush(self):
        """Give the frames of the end, and forget the recording."""
        if not self._taken:
            return {}
        covered = (self._chunks - 1) * self._hop + self._length
        if not self._chunks or self._taken > covered:
            missing = self._length - len(self._samples)
            self._average(F.pad(self._samples, (0, 0, 0, missing)))
        start = (self._chunks - 1) * self._hop_frames
        rest = self._since(start, math.ceil(self._taken / self._frame))
        self._stitcher = ChunkStitcher(self._stitcher.method, self._hop_frames)
        self._begin()
        return rest

    def _average(self, chunk):
        """Add the outputs of a chunk."""
        self._stitcher.push(self._predict(chunk))
        self._chunks += 1

    def _since(self, start, stop):
        """Frames that were not given, before one; the average starts at."""
        part = slice(self._given - start, max(0, stop - start))
        self._given = max(self._given, stop)
        return {key: x[part] for key, x in self._stitcher.peek().items()}


def _joined(parts):
    """Outputs of several chunks one after the other; {} of none."""
    return {
        key: torch.cat([part[key] for part in parts])
        for key in (parts[0] if parts else {})
    }


class LiveEvents(NamedTuple):
    """What new frames of live sound show.

    Arguments
    ---------
    table : EventTable
        Rows of the new frames; ``num_frames`` counts all up to here.
    begun : dict of int to SoundEvent
        Events that begin in them, as far as they are known, by their numbers.
    ended : dict of int to SoundEvent
        Events that ended before the last of them, whole, by their numbers.
    """

    table: EventTable
    begun: dict
    ended: dict


class EventStream:
    """Events of a recording that comes chunk by chunk.

    Made by ``SELDetector.stream``. Rows and events are, whatever the chunks,
    those that decoding and linking give for all frames together.

    Arguments
    ---------
    outputs : CausalOutputs or ChunkOutputs
        From sound to frames.
    decode : callable
        From outputs of some frames to an EventTable that counts them from 0.
    resample : ResampleStream
        From the rate of the sound to the model's.
    convert : callable
        From a chunk to channels of the model's order and gains.
    """

    def __init__(self, outputs, decode, resample, convert):
        self._outputs, self._decode = outputs, decode
        self._resample, self._convert = resample, convert
        self.latency = outputs.latency
        self._begin()

    def _begin(self):
        """Nothing was pushed yet."""
        self._frames, self._linker = 0, EventLinker()
        # Frames and directions of the events that have not ended.
        self._open = {}

    def push(self, chunk):
        """Take a chunk, give what is new.

        Arguments
        ---------
        chunk : torch.Tensor
            [time, 4], of any length.

        Returns
        -------
        LiveEvents

        Raises
        ------
        ValueError
            For other channels, or samples that are not finite.
        """
        if chunk.ndim != 2 or chunk.shape[1] != NUM_CHANNELS:
            raise ValueError(
                f"expected a chunk [time, {NUM_CHANNELS} channels], got "
                f"{list(chunk.shape)}"
            )
        if not chunk.isfinite().all():
            raise ValueError("the sound holds NaN or infinite samples")
        chunk = self._resample.push(self._convert(chunk))
        return self._follow(self._outputs.push(chunk))

    def flush(self):
        """Give the end of the recording, and forget it.

        Returns
        -------
        LiveEvents
            All events that had not ended are in ``ended``.
        """
        rest = self._resample.flush()
        before = self._follow(self._outputs.push(rest) if len(rest) else {})
        after = self._follow(self._outputs.flush())
        found = LiveEvents(
            concatenate([before.table, after.table], after.table.num_frames),
            {**before.begun, **after.begun},
            {**before.ended, **after.ended},
        )
        ended = {**found.ended, **self._close(self._open)}
        self._begin()
        return found._replace(ended=ended)

    def _follow(self, outputs):
        """Events in the next frames."""
        count = len(next(iter(outputs.values()))) if outputs else 0
        if not count:
            empty = EventTable([], [], [], [], num_frames=self._frames)
            return LiveEvents(empty, {}, {})
        table = self._decode(outputs)
        table = replace(table, frame=table.frame + self._frames)
        self._frames += count
        table = replace(table, num_frames=self._frames)
        begun = {}
        directions = table.directions
        for row, event in enumerate(self._linker.push(table).tolist()):
            label, frame = table.label[row], table.frame[row]
            if event not in self._open:
                begun[event] = summarize_event(
                    label, [frame], directions[row : row + 1]
                )
                self._open[event] = _OpenEvent(label, frame)
            self._open[event].add(frame, directions[row])
        last = self._frames - 1
        over = [key for key, one in self._open.items() if one.last < last]
        return LiveEvents(table, begun, self._close(over))

    def _close(self, events):
        """Events that are over, whole."""
        return {event: self._open.pop(event).whole() for event in list(events)}


class _OpenEvent:
    """The sum of the rows of an event."""

    def __init__(self, label, frame):
        self.label, self.first, self.last = label, frame, frame
        self._total = np.zeros(3)

    def add(self, frame, direction):
        """Add a row."""
        self.last = frame
        self._total += direction

    def whole(self) -> SoundEvent:
        """The event; the length of the sum does not matter."""
        frames = [self.first, self.last]
        return summarize_event(self.label, frames, self._total[None])
