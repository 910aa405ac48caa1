"""Input devices of this machine, through the package sounddevice."""

import queue

import torch

from spatial_brain.dataio.audio import AudioInfo
from spatial_brain.inference.streaming.inputs import CHUNK

# Seconds of sound that may wait, and without any after which a device is gone.
_WAITING, _PATIENCE = 10.0, 5.0


class DeviceInput:
    """An input device that records from ``with`` on.

    Sound that nobody takes waits, ten seconds at most; what comes then is
    lost, and silence stands for it, so that times stay right.

    Arguments
    ---------
    name : str, optional
        Number of the device, or a part of its name that no other has;
        default: the machine's default.
    fs : int, optional
        Sampling rate, hertz; default: the device's.
    num_channels : int, optional
        How many to record; default: all that it has.

    Attributes
    ----------
    overruns : int
        How often the driver lost sound, nobody knows how much.

    Raises
    ------
    ImportError
        Without the package or its library, with what to install.
    ValueError
        If there is no such device, with those that there are.
    """

    def __init__(self, name=None, fs=None, num_channels=None):
        self._library = _load()
        self._device = _find(self._library, name)
        fs = round(fs or self._device["default_samplerate"])
        there = self._device["max_input_channels"]
        if num_channels is not None and num_channels > there:
            raise ValueError(
                f"{_line(self._device)}: has {there} channels, "
                f"{num_channels} are wanted; choose others with --channels"
            )
        self.info = AudioInfo(
            self._device["name"],
            0,
            fs,
            num_channels or there,
            "DEVICE",
            "FLOAT",
        )
        self.lost = self.behind = 0.0
        self.overruns = 0

    def __enter__(self):
        info, size = self.info, round(CHUNK * self.info.fs)
        self._chunks = queue.Queue(round(_WAITING / CHUNK))
        self._missing = 0
        try:
            self._stream = self._library.InputStream(
                samplerate=info.fs,
                blocksize=size,
                device=self._device["index"],
                channels=info.num_channels,
                dtype="float32",
                callback=self._take,
            )
            self._stream.start()
        except self._library.PortAudioError as error:
            raise OSError(
                f"{_line(self._device)}: cannot be opened with "
                f"{info.num_channels} channels at {info.fs} Hz: {error}; try "
                "another --rate or --channels, and whether another program "
                "uses it"
            ) from error
        return self

    def __exit__(self, *error):
        self._stream.close()

    def _take(self, samples, count, moment, status):
        """Called by the driver's thread with samples [time, channel]."""
        self.overruns += bool(status.input_overflow)
        try:
            if self._missing:
                silence = torch.zeros(self._missing, samples.shape[1])
                self._chunks.put_nowait(silence)
                self._missing = 0
            self._chunks.put_nowait(torch.from_numpy(samples.copy()))
        except queue.Full:
            self._missing += count
            self.lost += count / self.info.fs

    def __iter__(self):
        while True:
            try:
                chunk = self._chunks.get(timeout=_PATIENCE)
            except queue.Empty:
                raise OSError(
                    f"{_line(self._device)}: has given no sound for "
                    f"{_PATIENCE:g} s; is it still connected?"
                ) from None
            self.behind = max(self.behind, self._chunks.qsize() * CHUNK)
            yield chunk


def describe_devices():
    """The input devices of this machine, a line each.

    Returns
    -------
    list of str
        Without the package or its library, what to install.

    Example
    -------
    >>> isinstance(describe_devices(), list)
    True
    """
    try:
        library = _load()
    except ImportError as error:
        return [str(error)]
    return [_line(one) for one in _all(library)]


def _load():
    """The package, or an error that says what to install."""
    try:
        import sounddevice
    except ImportError as error:
        raise ImportError(
            "input devices need the package sounddevice: pip install "
            "sounddevice; or play a file (--live FILE.wav), or pipe samples "
            "(arecord ... | ... --live -)"
        ) from error
    except OSError as error:
        raise ImportError(
            "the package sounddevice does not find the library PortAudio "
            f"({error}): apt install libportaudio2 (brew install portaudio)"
        ) from error
    return sounddevice


def _all(library):
    """Devices that can record, with their numbers."""
    return [
        {**one, "index": index}
        for index, one in enumerate(library.query_devices())
        if one["max_input_channels"] > 0
    ]


def _find(library, name):
    """The device that a name means."""
    devices = _all(library)
    if not devices:
        raise ValueError(
            "this machine has no input device; is the microphone connected, "
            "and may you use it (group audio)?"
        )
    if name is None:
        wanted = library.default.device[0]
        found = [one for one in devices if one["index"] == wanted]
        found = found or devices[:1]
    elif name.isdecimal():
        found = [one for one in devices if one["index"] == int(name)]
    else:
        found = [one for one in devices if name.lower() in one["name"].lower()]
        exact = [one for one in found if one["name"].lower() == name.lower()]
        found = exact or found
    if len(found) != 1:
        problem = f"{len(found)} are called so" if found else "there is none"
        raise ValueError(
            f"input device {name!r}: {problem}; there are: "
            + "; ".join(_line(one) for one in devices)
        )
    return found[0]


def _line(device):
    """A device in a few words."""
    return (
        f"{device['index']} {device['name']} ({device['max_input_channels']} "
        f"channels, {device['default_samplerate']:.0f} Hz)"
    )
