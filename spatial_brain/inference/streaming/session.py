"""Live sound through a stream, from the first chunk to the end."""

import time

from spatial_brain.inference.array_checks import Finding
from spatial_brain.inference.array_checks.levels import (
    ChannelLevels,
    level_findings,
)

# Seconds after which levels of channels say something.
_LEVELS = 5.0


class LiveSession:
    """Runs a stream on a live input and watches both.

    Arguments
    ---------
    live_input : FileInput, PipeInput or DeviceInput
        Gives chunks; opened by the session.
    stream : object
        ``push(chunk)`` and ``flush()`` give results; at the input's rate.
    channels : sequence of int
        Channels of the input that the stream takes.
    seconds : float, optional
        Of sound, after which to end; default: when the input does.

    Attributes
    ----------
    duration : float
        Seconds of sound that were taken.
    worked : float
        Seconds that the stream worked on them.

    Example
    -------
    >>> import torch
    >>> from spatial_brain.dataio.audio import write_audio
    >>> from spatial_brain.inference import SoundLocalizer
    >>> from spatial_brain.inference.streaming.inputs import FileInput
    >>> path = getfixture("tmp_path") / "a.wav"
    >>> write_audio(path, 0.1 * torch.rand(4000, 2), 8000)
    >>> finder = SoundLocalizer.from_array("pair:0.1", method="srp-phat")
    >>> session = LiveSession(FileInput(path), finder.stream(8000), [0, 1])
    >>> [len(results) for results in session.results(lambda take: take())][-1]
    1
    """

    def __init__(self, live_input, stream, channels, seconds=None):
        self.input, self._stream = live_input, stream
        self._channels = list(channels)
        fs = live_input.info.fs
        self._most = None if seconds is None else round(seconds * fs)
        self._levels = ChannelLevels(len(self._channels))
        self._taken, self.worked = 0, 0.0

    @property
    def duration(self):
        """See the class."""
        return self._taken / self.input.info.fs

    def results(self, wait):
        """Results of the stream, chunk by chunk, to the end of the last.

        Arguments
        ---------
        wait : callable
            Called with what takes the next chunk (None behind the last);
            returns it, or None to end.

        Yields
        ------
        object
            What ``push`` and, at the end, ``flush`` give.
        """
        with self.input as chunks:
            chunks = iter(chunks)
            while self._most is None or self._taken < self._most:
                chunk = wait(lambda: next(chunks, None))
                if chunk is None:
                    break
                if self._most is not None:
                    chunk = chunk[: self._most - self._taken]
                self._taken += len(chunk)
                chunk = chunk[:, self._channels]
                self._levels.add(chunk.numpy())
                yield self._timed(self._stream.push, chunk)
        yield self._timed(self._stream.flush)

    def _timed(self, work, *chunk):
        """The result of some work, whose time is counted."""
        start = time.perf_counter()
        found = work(*chunk)
        self.worked += time.perf_counter() - start
        return found

    @property
    def shows_levels(self):
        """Whether there was sound enough to judge channels by."""
        return self.duration >= _LEVELS

    def findings(self, kinds=None):
        """What is suspicious in the channels so far, and what was lost.

        Arguments
        ---------
        kinds : sequence of str, optional
            Of levels, those that mean something; default: all.

        Returns
        -------
        list of Finding
        """
        found = []
        if self._taken:
            found = level_findings(self._levels, self._channels)
        found = [one for one in found if kinds is None or one.kind in kinds]
        lost = self.input.lost
        if lost:
            found.append(
                Finding(
                    "lost",
                    "warning",
                    (),
                    f"{lost:.1f} s of sound came faster than it was worked on "
                    "and was lost, silence stands for it; a longer --hop or a "
                    "quicker model or method keeps up",
                    lost,
                )
            )
        overruns = getattr(self.input, "overruns", 0)
        if overruns:
            found.append(
                Finding(
                    "overrun",
                    "warning",
                    (),
                    f"the driver lost sound {overruns} times: this machine is "
                    "busy; times may be some milliseconds off",
                    float(overruns),
                )
            )
        return found
