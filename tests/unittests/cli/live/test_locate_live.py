"""``spatial-brain locate --live``: devices, files, pipes, and the end."""

import io
import json
import os
import re
import signal
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from plane_waves import plane_wave

from spatial_brain.cli.main import main
from spatial_brain.dataio.audio import write_audio
from spatial_brain.geometry import azel_to_unit, circular_array
from spatial_brain.inference.array_directions.finder import DirectionFinder
from spatial_brain.inference.streaming import devices, inputs

FS = 8000
QUICK = ["--array", "circular:4x0.05", "--method", "srp-phat"]
QUICK += ["--window", "0.5", "--hop", "0.25"]


class Clock:
    """Time that passes in sleep alone; ``at`` is called at some time."""

    def __init__(self):
        self.now, self.events = 100.0, {}

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds
        for time in [t for t in self.events if t <= self.now - 100]:
            self.events.pop(time)()


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(inputs, "time", clock)
    return clock


@pytest.fixture
def sound():
    """A wave from 40 degrees, then one from -100, [time, 4]."""
    torch.manual_seed(0)
    parts = []
    for azimuth in (40.0, -100.0):
        unit = azel_to_unit(azimuth, 0.0)
        wave = plane_wave(circular_array(4, 0.05), unit, 2 * FS, fs=FS)[0]
        parts.append(0.1 * wave / wave.std())
    sound = torch.cat(parts)
    return (sound + 0.02 * torch.randn_like(sound)).clamp(-0.99, 0.99)


@pytest.fixture
def path(sound, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_audio("two.wav", sound, FS)
    return "two.wav"


def live(*options):
    return main(["locate", *QUICK, "--live", *options])


def wanted_windows(sound):
    finder = DirectionFinder(
        "circular:4x0.05", "srp-phat", window=0.5, hop=0.25
    )
    stream = finder.stream(FS)
    sound = (sound * 2**15).round().clamp(-(2**15), 2**15 - 1) / 2**15
    return [*stream.push(sound), *stream.flush()]


def check_csv(text, windows):
    rows = [line.split(",") for line in text.splitlines()]
    assert rows[0] == [
        "start", "stop", "source", "azimuth", "elevation", "confidence",
    ]  # fmt: skip
    wanted = [
        (window.start, window.stop, one.number, one.azimuth, one.confidence)
        for window in windows
        for one in window.sources
    ]
    found = [[float(x) for x in [*row[:4], row[5]]] for row in rows[1:]]
    np.testing.assert_allclose(found, wanted, atol=0.011)


def test_a_file_is_played_in_real_time(path, sound, clock, capsys):
    assert live(path, "--output", "new/out.csv") == 0
    assert clock.now == pytest.approx(104.0)
    windows = wanted_windows(sound)
    with open("new/out.csv", encoding="utf-8") as file:
        check_csv(file.read(), windows)
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert len(lines) == len(windows)
    assert lines[0].split() == ["0.0", "-", "0.5", "-"]
    assert lines[2].split()[3:5] == ["1:", "40.0°"]
    first, meaning, last = captured.err.splitlines()
    assert "degrees: azimuth, counter-clockwise from" in meaning
    assert "two.wav, 8000 Hz, channels 0,1,2,3; results up to 0.54 s" in first
    assert (
        f"4.0 s of sound, {len(windows)} windows; source 1 at 40.0° in" in last
    )
    assert re.search(r", 2 at -(99.9|100.0)° in ", last)


def test_lines_of_json_are_those_of_the_file(path, clock, capsys):
    assert live(path, "--json", "--seconds", "1.5", "--output", "o.jsonl") == 0
    lines = capsys.readouterr().out.splitlines()
    with open("o.jsonl", encoding="utf-8") as file:
        assert file.read().splitlines() == lines
    content = [json.loads(line) for line in lines]
    assert content[-1]["stop"] == pytest.approx(1.5)
    assert clock.now == pytest.approx(101.5)
    [source] = content[2]["sources"]
    assert source["source"] == 1 and source["elevation"] is None
    assert source["azimuth"] == pytest.approx(40.0, abs=1.0)
    assert content[0]["sources"] == []
    assert content[0]["directions"][0]["confidence"] > 0.5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_the_rest_and_a_summary(path, clock, capsys, number):
    before = signal.getsignal(signal.SIGINT)
    clock.events[1.12] = lambda: signal.raise_signal(number)
    assert live(path, "--output", "o.csv") == 0
    captured = capsys.readouterr()
    # Of the window that the end is in, the rest is shown.
    assert captured.out.splitlines()[-1].split()[2] == "1.1"
    assert "1.1 s of sound" in captured.err.splitlines()[-1]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_kill_loses_nothing_that_was_found(path, sound, clock):
    clock.events[3.0] = lambda: os.kill(os.getpid(), signal.SIGKILL)
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        live(path, "--output", "o.csv")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
    windows = [w for w in wanted_windows(sound) if w.stop <= 2.95]
    with open("o.csv", encoding="utf-8") as file:
        check_csv(file.read(), windows)


def test_samples_of_a_pipe(sound, monkeypatch, capsys):
    samples = (sound[: 2 * FS] * 2**15).round().to(torch.int16).numpy()
    # The last frame is cut.
    content = io.BytesIO(samples.astype("<i2").tobytes()[:-3])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=content))
    assert live("-", "--rate", str(FS), "--num-channels", "4") == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[2].split()[3:5] == ["1:", "40.0°"]
    assert "standard input, 8000 Hz" in captured.err
    assert "2.0 s of sound" in captured.err


def test_dead_channels_are_named_after_some_seconds(
    path, sound, clock, capsys, monkeypatch
):
    sound[:, 2] *= 1e-3
    write_audio(path, sound, FS)
    seen = []
    monkeypatch.setattr(
        "spatial_brain.inference.streaming.session._LEVELS", 2.0
    )
    clock.events[2.2] = lambda: seen.append(capsys.readouterr().err)
    assert live(path) == 0
    assert "warning: channel 2 is" in seen[0]
    assert "channel 2" not in capsys.readouterr().err


class Library:
    """Stands for the package sounddevice: three devices that have a sound."""

    PortAudioError = type("PortAudioError", (Exception,), {})
    default = SimpleNamespace(device=(2, 1))

    def __init__(self, sound):
        self.sound, self.opened = sound, None

    def query_devices(self):
        devices = (("HDMI", 0), ("USB Array", 6), ("Built-in", 2))
        return [
            {
                "name": name,
                "max_input_channels": number,
                "default_samplerate": 8000.0,
            }
            for name, number in devices
        ]

    def InputStream(self, **options):
        if options["samplerate"] == 12345:
            raise self.PortAudioError("Invalid sample rate")
        self.opened = options

        def start():
            samples = np.zeros((len(self.sound), options["channels"]), "f")
            samples[:, -4:] = self.sound
            size = options["blocksize"]
            for number in range(0, len(samples), size):
                part = samples[number : number + size]
                status = SimpleNamespace(input_overflow=number == 3 * size)
                options["callback"](part, len(part), None, status)

        return SimpleNamespace(start=start, close=lambda: None)


@pytest.fixture
def library(sound, monkeypatch):
    library = Library(sound.numpy())
    monkeypatch.setitem(sys.modules, "sounddevice", library)
    monkeypatch.setattr(devices, "_PATIENCE", 0.01)
    return library


def test_a_device_is_found_by_its_name(library, capsys):
    chosen = ["--channels", "2,3,4,5", "--seconds", "1.5"]
    assert live("usb", *chosen) == 0
    assert library.opened["channels"] == 6
    assert library.opened["device"] == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[2].split()[3:5] == ["1:", "40.0°"]
    assert "USB Array, 8000 Hz, channels 2,3,4,5" in captured.err
    assert "the driver lost sound 1 times" in captured.err
    # Without --seconds a device that gives nothing has gone.
    assert live("1", "--channels", "2,3,4,5") == 2
    assert "has given no sound for" in capsys.readouterr().err


def test_what_comes_too_fast_is_counted_and_stands_as_silence(
    library, monkeypatch
):
    monkeypatch.setattr(devices, "_WAITING", 0.5)
    with devices.DeviceInput("usb") as device:
        found = [chunk for _, chunk in zip(range(10), device, strict=False)]
        assert device.lost == pytest.approx(3.5)
        device._take(np.ones((400, 6), "f"), 400, None, SimpleNamespace(
            input_overflow=False))  # fmt: skip
        rest = [chunk for _, chunk in zip(range(2), device, strict=False)]
    assert sum(map(len, found)) == 4000
    assert [len(part) for part in rest] == [28000, 400]
    assert not rest[0].any() and rest[1].all()


@pytest.mark.parametrize("options, message", [
    (["usb array 2"], "there is none; there are: 1 USB Array (6 channels, 8"),
    (["7"], "input device '7': there is none"),
    (["u"], "2 are called so; there are: 1 USB Array (6 channels, 8000 Hz); 2"),
    (["usb", "--rate", "12345", "--channels", "2,3,4,5"],
     "cannot be opened with 6 channels at 12345 Hz: Invalid sample rate"),
    (["usb"], "USB Array: has 6 channel(s), the array circular:4x0.05 4"),
    (["--channels", "0,1,2,3"], "2 Built-in (2 channels, 8000 Hz): has 2"),
    (["usb", "--num-channels", "4"], "--num-channels needs --live -"),
    (["-"], "give --rate HZ and --num-channels N"),
    (["none.wav"], "none.wav: audio file does not exist"),
    (["usb", "--seconds", "0"], "--seconds 0: must be above 0"),
    (["usb", "--distance"], "--distance needs a recording"),
    (["usb", "--output", "a.rttm"], "files end in .csv, .jsonl"),
])  # fmt: skip
def test_refusals(library, capsys, options, message):
    assert live(*options) == 2
    assert message in capsys.readouterr().err


def test_recordings_or_live(path, capsys):
    for options, message in (
        (["two.wav", "--live", "two.wav"], "one of them"),
        ([], "give recordings, or --live"),
        (["two.wav", "--seconds", "2"], "--seconds needs --live"),
        (["--live", path, "--rate", "8000"], "--rate: a file has its own"),
    ):
        assert main(["locate", *QUICK, *options]) == 2
        assert message in capsys.readouterr().err


def test_devices_are_listed(library, monkeypatch):
    assert devices.describe_devices() == [
        "1 USB Array (6 channels, 8000 Hz)",
        "2 Built-in (2 channels, 8000 Hz)",
    ]
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    [line] = devices.describe_devices()
    assert "pip install sounddevice" in line


def test_a_missing_package_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert live() == 2
    assert "pip install sounddevice" in capsys.readouterr().err
