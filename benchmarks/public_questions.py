"""Public questions about microphone arrays, put to the command line.

Each question is simulated as a small recording (synthetic talkers or claps in
a room, the fault of the asker in it), the command that the asker would type
is run, and its output is compared with what is true. Prints a table in
Markdown, that of docs/questions.md.

    python benchmarks/public_questions.py [--only odas] [--verbose]
"""

import argparse
import json
import os
import re
import shlex
import tempfile
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from itertools import permutations

import torch

from spatial_brain.cli.main import main as spatial_brain
from spatial_brain.dataio.audio import write_audio
from spatial_brain.geometry import (
    MicrophoneArray,
    azel_to_unit,
    rotation_matrix,
    wrap_azimuth,
)
from spatial_brain.simulation import (
    diffuse_noise,
    simulate_rir,
    synthetic_speech,
)
from spatial_brain.simulation.mixing import add_noise, convolve

ROOM, CENTRE, DISTANCE = (6.0, 5.0, 3.0), (2.9, 2.4, 1.4), 1.5
SECONDS = 4
GITHUB = "https://github.com/"


@dataclass(frozen=True)
class Recording:
    """A simulated recording, and what is wrong with it.

    Arguments
    ---------
    array : str or list
        The microphones as they are: a name, a formula, or positions.
    azimuths : tuple
        Of the talkers, degrees; none: noise only.
    elevation : float
        Of the talkers, degrees.
    channels : tuple, optional
        Microphone of each channel of the file; ``None`` is a silent one.
    fault : callable, optional
        Changes the waveform [time, channel], with a generator.
    clap : bool
        One clap in place of talkers.
    turns : bool
        Talkers speak one after the other.
    fs : int
        Hertz.
    t60 : float
        Seconds.
    """

    array: object
    azimuths: tuple = (40,)
    elevation: float = 0.0
    channels: tuple | None = None
    fault: object = None
    clap: bool = False
    turns: bool = False
    fs: int = 16000
    t60: float = 0.3


@dataclass(frozen=True)
class Question:
    """A question, the command of its asker and a right outcome.

    Arguments
    ---------
    thread : str
        Address of the question.
    situation : str
        What is asked.
    command : str
        What the asker types after ``spatial-brain``.
    recordings : dict
        By file name.
    files : dict
        Other files of the asker, by name: text.
    azimuths : tuple, optional
        Right if exactly these sources are found, each within ``within``.
    within : float
        Degrees.
    elevation : float, optional
        Right if the first source has it, within ``within``.
    words : tuple
        Right if all these patterns are in the output.
    never : str
        Right if this pattern is not in the output.
    """

    thread: str
    situation: str
    command: str
    recordings: dict = field(default_factory=dict)
    files: dict = field(default_factory=dict)
    azimuths: tuple | None = None
    within: float = 10.0
    elevation: float | None = None
    words: tuple = ()
    never: str = "Traceback"


def constant(waveform, generator):
    """An offset as large as the sound, another on each channel."""
    offset = torch.linspace(1, 2, waveform.shape[1])
    return waveform + waveform.std() * offset


def common_noise(waveform, generator):
    """The same noise on all channels, 10 dB below the sound."""
    noise = torch.randn(len(waveform), 1, generator=generator)
    return waveform + 0.3 * waveform.std() * noise


def tone_and_offset(waveform, generator):
    """A tone of 6.8 kHz and an offset on all channels."""
    time = torch.arange(len(waveform))[:, None] / 16000
    tone = torch.sin(2 * torch.pi * 6800 * time)
    return constant(waveform + 0.2 * waveform.std() * tone, generator)


def broken(*channels):
    """Fault: these channels are noise."""

    def fault(waveform, generator):
        waveform = waveform.clone()
        noise = torch.randn(waveform.shape, generator=generator)
        for channel in channels:
            waveform[:, channel] = waveform.std() * noise[:, channel]
        return waveform

    return fault


def quiet(channel):
    """Fault: this channel is 40 dB below the others."""

    def fault(waveform, generator):
        waveform = waveform.clone()
        waveform[:, channel] *= 0.01
        return waveform

    return fault


def started_late(*seconds):
    """Fault: channels begin later than they should."""

    def fault(waveform, generator):
        late = [round(16000 * value) for value in seconds]
        columns = zip(waveform.T, late, strict=True)
        return torch.stack([one.roll(by) for one, by in columns], 1)

    return fault


def as_json(positions):
    """File of an array."""
    return json.dumps({"positions": positions})


def ring(count, radius, start=0.0, **turn):
    """Positions on a circle, counter-clockwise, perhaps turned or tilted."""
    angles = start + 360 / count * torch.arange(count)
    circle = radius * azel_to_unit(angles, torch.zeros(count))
    return (circle @ rotation_matrix(**turn).T).tolist()


def turned(name, **turn):
    """Positions of a named array, turned or tilted."""
    positions = MicrophoneArray.resolve(name).positions
    return (positions @ rotation_matrix(**turn).T).tolist()


def mirrored(name):
    """Positions of a named array, left and right exchanged."""
    positions = MicrophoneArray.resolve(name).positions
    return (positions * torch.tensor([1.0, -1.0, 1.0])).tolist()


USB = (None, 0, 1, 2, 3, None)
# Five across and three down, upright.
TEE = [[0.0, 0.04 * i, 0.0] for i in (2, 1, 0, -1, -2)] + [
    [0.0, 0.0, -0.04 * i] for i in (1, 2, 3)
]
# Three in an arc and one above.
ARC = [[0.028, 0.028, 0], [0.04, 0, 0], [0.028, -0.028, 0], [0.02, 0, 0.03]]
TEN_TIMES = [[10 * value for value in row] for row in ARC]
IN_A_LINE = [[x, 0.0, 0.0] for x in (-0.048, -0.016, 0.016, 0.048)]
ROOM_YAML = """size: [6, 5, 3]
t60: 0.3
sources: [[4.5, 3.5, 1.5], [1, 1, 1.5]]
"""

QUESTIONS = (
    Question(
        GITHUB + "respeaker/seeed-voicecard/issues/126",
        "ReSpeaker 4-Mic: neighbours 90° apart come out as 60° or 120°",
        "arrays respeaker_4mic --check a.wav",
        {"a.wav": Recording("respeaker_4mic", channels=(0, 2, 1, 3))},
        words=("channels (1 and 2|0 and 3) look exchanged",),
    ),
    Question(
        GITHUB + "respeaker/seeed-voicecard/issues/145",
        "now and then channels come as 3, 4, 1, 2: how can that be seen?",
        "arrays respeaker_4mic --check front.wav left.wav --azimuth 0 90",
        {
            f"{name}.wav": Recording(
                "respeaker_4mic", (at,), channels=(2, 3, 0, 1), clap=True
            )
            for name, at in (("front", 0), ("left", 90))
        },
        words=(r"turned: angles come out [+-]1[78]\d|--channels 2,3,0,1",),
    ),
    Question(
        GITHUB + "respeaker/seeed-voicecard/issues/177",
        "ReSpeaker 4-Mic: the third channel is (nearly) empty",
        "arrays respeaker_4mic --check a.wav",
        {"a.wav": Recording("respeaker_4mic", fault=quiet(2))},
        words=("channel 2 is .* dB below the others",),
    ),
    Question(
        GITHUB + "respeaker/seeed-voicecard/issues/309",
        "ReSpeaker 6-Mic: the two empty channels are not always 6 and 7",
        "locate a.wav --array respeaker_6mic",
        {
            "a.wav": Recording(
                "respeaker_6mic", channels=(4, 5, None, None, 0, 1, 2, 3)
            )
        },
        words=("channel 2 is silent", "channel 3 is silent"),
    ),
    Question(
        GITHUB + "respeaker/mic_array/issues/28",
        "where is 0° of the ReSpeaker 4-Mic?",
        "arrays respeaker_4mic",
        words=("0 degrees: channel 2", "counter-clockwise"),
    ),
    Question(
        GITHUB + "respeaker/mic_array/issues/39",
        "ReSpeaker Core v2: where is 0°? Angles jump to the complement",
        "arrays respeaker_core_v2 --check front.wav left.wav --azimuth 0 90",
        {
            f"{name}.wav": Recording(
                mirrored("respeaker_core_v2"),
                (at,),
                channels=(0, 1, 2, 3, 4, 5, None, None),
                clap=True,
            )
            for name, at in (("front", 0), ("left", 90))
        },
        words=("mirrored",),
    ),
    Question(
        GITHUB + "respeaker/mic_array/issues/38",
        "ReSpeaker 6-Mic (8 channels): random directions",
        "locate a.wav --array respeaker_6mic",
        {
            "a.wav": Recording(
                "respeaker_6mic", channels=(*range(6), None, None)
            )
        },
        azimuths=(40,),
        words=("of 8 are taken as the microphones",),
    ),
    Question(
        GITHUB + "respeaker/mic_array/issues/49",
        "the device has 6 channels, not 4 or 8: what now?",
        "locate a.wav --array respeaker_usb",
        {"a.wav": Recording("respeaker_usb", (-120,), channels=USB)},
        azimuths=(-120,),
        words=("of 6 are taken as the microphones",),
    ),
    Question(
        GITHUB + "respeaker/mic_array/issues/37",
        "the talker moved, the direction did not",
        "locate a.wav --array respeaker_usb",
        {"a.wav": Recording("respeaker_usb", (0, 100), turns=True)},
        azimuths=(0, 100),
    ),
    Question(
        GITHUB + "respeaker/mic_array/issues/51",
        "one channel only: which microphone is it?",
        "locate a.wav --array respeaker_usb",
        {"a.wav": Recording("respeaker_usb", channels=(0,))},
        words=("has 1 channel.*, the array respeaker_usb 4 microphones",),
    ),
    Question(
        GITHUB + "furushchev/respeaker_ros/issues/13",
        "ReSpeaker USB: directions are off by 90° to 180°",
        "arrays respeaker_usb --check front.wav left.wav --azimuth 0 90",
        {
            f"{name}.wav": Recording(
                turned("respeaker_usb", yaw=90), (at,), channels=USB, clap=True
            )
            for name, at in (("front", 0), ("left", 90))
        },
        words=("turned: angles come out -[89]",),
    ),
    Question(
        GITHUB + "respeaker/usb_4_mic_array/issues/8",
        "are the positions in my configuration wrong?",
        "arrays mine.json --check front.wav side.wav --azimuth 10 100",
        {
            f"{name}.wav": Recording("respeaker_usb", (at,), clap=True)
            for name, at in (("front", 10), ("side", 100))
        },
        {"mine.json": as_json(IN_A_LINE)},
        words=("no order of the channels explains", "check its positions"),
    ),
    Question(
        GITHUB + "respeaker/usb_4_mic_array/issues/24",
        "is there a sign that a direction is doubtful? (noise only)",
        "locate a.wav --array respeaker_usb",
        {"a.wav": Recording("respeaker_usb", ())},
        words=("no source found",),
    ),
    Question(
        GITHUB + "respeaker/usb_4_mic_array/issues/66",
        "distance of the source from the directions of four microphones",
        "arrays respeaker_usb",
        words=("distance: ",),
    ),
    Question(
        GITHUB + "respeaker/get_started_with_respeaker/issues/258",
        "how can I check that the array gives right directions?",
        "arrays respeaker_usb --check clap.wav --azimuth 45",
        {"clap.wav": Recording("respeaker_usb", (45,), clap=True)},
        words=("are as they should be",),
        never="error:",
    ),
    Question(
        GITHUB + "respeaker/get_started_with_respeaker/issues/134",
        "are some of my microphones broken?",
        "arrays respeaker_v1 --check a.wav",
        {"a.wav": Recording("respeaker_v1", fault=broken(3, 5))},
        words=("channel 3 has nothing in common", "channel 5 has nothing"),
    ),
    Question(
        GITHUB + "matrix-io/matrix-creator-hal/issues/68",
        "Matrix Voice with the code of Matrix Creator: always microphone 2",
        "arrays matrix_creator --check clap.wav --azimuth 40",
        {"clap.wav": Recording("matrix_voice", clap=True)},
        words=("error: no order of the channels explains",),
    ),
    Question(
        GITHUB + "matrix-io/matrix-creator-hal/issues/22",
        "a tone of 6.8 kHz and an offset on all channels",
        "locate a.wav --array matrix_creator",
        {"a.wav": Recording("matrix_creator", fault=tone_and_offset)},
        azimuths=(40,),
        words=("has an offset",),
    ),
    Question(
        GITHUB + "introlab/odas/issues/27",
        "azimuth and elevation with eight microphones in a T",
        "locate a.wav --array tee.json",
        {"a.wav": Recording(TEE, (35,), 25.0)},
        {"tee.json": as_json(TEE)},
        azimuths=(35,),
        elevation=25.0,
    ),
    Question(
        GITHUB + "introlab/odas/issues/53",
        "a small array of eight (8 cm): large errors",
        "locate a.wav --array mine.json",
        {"a.wav": Recording(ring(8, 0.04, -67.5), (160,))},
        {"mine.json": as_json(ring(8, 0.04, -67.5))},
        azimuths=(160,),
    ),
    Question(
        GITHUB + "introlab/odas/issues/82",
        "tracks in one sector only; is 0.4 the right unit for 4 cm?",
        "arrays mine.json --check a.wav",
        {"a.wav": Recording(ARC, (40,))},
        {"mine.json": as_json(TEN_TIMES)},
        words=("too large.*in metres",),
    ),
    Question(
        GITHUB + "introlab/odas/issues/150",
        "synthetic recordings for my own array",
        "simulate room.yaml --array mine.json --output made",
        files={"room.yaml": ROOM_YAML, "mine.json": as_json(ARC)},
        words=("made",),
        never="error:",
    ),
    Question(
        GITHUB + "introlab/odas/issues/220",
        "ReSpeaker USB and ODAS: no angle is that of the device",
        "arrays respeaker_usb --check a.wav b.wav --azimuth 0 90",
        {
            f"{name}.wav": Recording(
                turned("respeaker_usb", yaw=143), (at,), channels=USB, clap=True
            )
            for name, at in (("a", 0), ("b", 90))
        },
        words=("turned: angles come out -14",),
    ),
    Question(
        GITHUB + "introlab/odas_web/issues/12",
        "channels 2,3,4,5 of six: active sources are random",
        "locate a.wav --array respeaker_usb --channels 2,3,4,5",
        {"a.wav": Recording("respeaker_usb", channels=USB)},
        words=("channel 5 is silent",),
    ),
    Question(
        GITHUB + "introlab/odas_web/issues/24",
        "what unit are positions? 20 mm written as 20",
        "locate a.wav --array mine.json",
        {"a.wav": Recording(ring(4, 0.02))},
        {"mine.json": as_json(ring(4, 20.0))},
        words=("not in centimetres or millimetres",),
    ),
    Question(
        GITHUB + "introlab/manyears/issues/3",
        "angles are right, the distance is not",
        "arrays circular:6x0.05",
        words=("distance: ",),
    ),
    Question(
        GITHUB + "LCAV/pyroomacoustics/issues/111",
        "four microphones on two I2S buses: is the order right?",
        "arrays circular:4x0.0707 --check a.wav",
        {"a.wav": Recording("circular:4x0.0707", channels=(0, 2, 1, 3))},
        words=("channels (1 and 2|0 and 3) look exchanged",),
    ),
    Question(
        GITHUB + "LCAV/pyroomacoustics/issues/121",
        "directions with a square array that is tilted by 51°",
        "locate a.wav --array mine.json",
        {"a.wav": Recording(ring(4, 0.07, 45, roll=51), (100,))},
        {"mine.json": as_json(ring(4, 0.07, 45, roll=51))},
        azimuths=(100,),
    ),
    Question(
        GITHUB + "LCAV/pyroomacoustics/issues/139",
        "line of four, 25 cm apart: talkers 2° and 95° off its axis",
        "locate a.wav --array linear:4x0.25 --sources 2",
        {"a.wav": Recording("linear:4x0.25", (88, -5), t60=0.0)},
        azimuths=(88, -5),
    ),
    Question(
        GITHUB + "LCAV/pyroomacoustics/issues/145",
        "Matrix Voice: right in simulation, wrong in recordings",
        "locate a.wav --array matrix_voice",
        {"a.wav": Recording("matrix_voice", (-75,), t60=0.4)},
        azimuths=(-75,),
    ),
    Question(
        GITHUB + "LCAV/pyroomacoustics/issues/221",
        "which microphone of a circle is channel 0?",
        "arrays circular:4x0.05",
        words=(r"0 +5\.00 +0\.00 +0\.00",),
    ),
    Question(
        GITHUB + "LCAV/pyroomacoustics/issues/225",
        "four microphones on a circle: mean error of 60° (48 kHz)",
        "locate a.wav --array circular:4x0.045",
        {"a.wav": Recording("circular:4x0.045", (-30,), fs=48000)},
        azimuths=(-30,),
    ),
    Question(
        GITHUB + "LCAV/pyroomacoustics/issues/226",
        "three microphones, each started by itself",
        "arrays circular:3x0.2 --check a.wav",
        {
            "a.wav": Recording(
                "circular:3x0.2", fault=started_late(0, 0.01, 0.02)
            )
        },
        words=("ms (late|early), the array allows",),
    ),
    Question(
        GITHUB + "LCAV/pyroomacoustics/issues/268",
        "two directions at once",
        "locate a.wav --array circular:8x0.05",
        {"a.wav": Recording("circular:8x0.05", (60, -50))},
        azimuths=(60, -50),
    ),
    Question(
        GITHUB + "microsoft/Azure_Kinect_ROS_Driver/issues/120",
        "directions with the seven microphones of an Azure Kinect",
        "locate a.wav --array azure_kinect",
        {"a.wav": Recording("azure_kinect", (25,), fs=48000)},
        azimuths=(25,),
    ),
    Question(
        "https://dsp.stackexchange.com/questions/55470",
        "the delay is always 0: an offset on both channels",
        "locate a.wav --array pair:0.1",
        {"a.wav": Recording("pair:0.1", (40,), fault=constant)},
        azimuths=(40,),
        words=("has an offset",),
    ),
    Question(
        "https://dsp.stackexchange.com/questions/69905",
        "the delay is always 0: the same noise on all channels",
        "locate a.wav --array linear:4x0.05",
        {"a.wav": Recording("linear:4x0.05", (40,), fault=common_noise)},
        azimuths=(40,),
    ),
)


def main():
    """Print the table, and how many are right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="part of an address")
    parser.add_argument("--verbose", action="store_true", help="all output")
    args = parser.parse_args()
    asked = [one for one in QUESTIONS if args.only in one.thread]
    print("| question | `spatial-brain` | outcome | |")
    print("| --- | --- | --- | --- |")
    right = 0
    for question in asked:
        output = ask(question)
        verdict = is_right(question, output)
        right += verdict
        name = "/".join(question.thread.split("/")[3:])
        name = name.replace("/issues/", "#").replace("questions/", "dsp ")
        print(
            f"| [{name}]({question.thread}): {question.situation} "
            f"| `{question.command}` | {summary(question, output)} "
            f"| {'right' if verdict else 'wrong'} |",
            flush=True,
        )
        if args.verbose:
            print(output)
    print(f"\n{right} of {len(asked)} right")


def ask(question):
    """What the command prints on both streams."""
    printed = StringIO()
    with scratch_folder():
        for name, text in question.files.items():
            with open(name, "w", encoding="utf-8") as file:
                file.write(text)
        for index, (name, recording) in enumerate(question.recordings.items()):
            write_audio(name, record(recording, index), recording.fs)
        with redirect_stdout(printed), redirect_stderr(printed):
            spatial_brain(shlex.split(question.command))
    return printed.getvalue()


@contextmanager
def scratch_folder():
    """Work in an empty folder."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def record(recording, seed):
    """Waveform of a recording, [time, channel]."""
    generator = torch.Generator().manual_seed(seed)
    positions = (
        MicrophoneArray.resolve(recording.array)
        if isinstance(recording.array, str)
        else MicrophoneArray(recording.array)
    ).positions
    own = positions - positions.mean(0)
    fs, length = recording.fs, SECONDS * recording.fs
    noise = diffuse_noise(own, length, fs=fs, generator=generator)
    if recording.azimuths:
        clean = sound(recording, own, generator)
        snr = 40 if recording.clap else 25
        waveform = add_noise(clean, noise.T, snr, fs=fs)
        waveform = 0.3 * waveform / waveform.abs().max()
    else:
        waveform = 0.01 * noise.T
    if recording.channels is not None:
        silent = torch.zeros(len(waveform))
        waveform = torch.stack(
            [
                silent if c is None else waveform[:, c]
                for c in recording.channels
            ],
            1,
        )
    if recording.fault:
        waveform = recording.fault(waveform, generator)
    return 0.5 * waveform / waveform.abs().max()


def sound(recording, positions, generator):
    """What the talkers or claps are at the microphones, [time, channel]."""
    fs, length = recording.fs, SECONDS * recording.fs
    centre = torch.tensor(CENTRE)
    directions = azel_to_unit(
        torch.tensor([float(a) for a in recording.azimuths]),
        torch.full((len(recording.azimuths),), recording.elevation),
    )
    walls = {"t60": recording.t60} if recording.t60 else {"direct_only": True}
    if not recording.t60:
        walls["absorption"] = 1.0
    rirs = simulate_rir(
        ROOM, centre + DISTANCE * directions, centre + positions, fs=fs, **walls
    )
    dry = []
    for talker in range(len(directions)):
        if recording.clap:
            signal = torch.zeros(length)
            burst = torch.randn(fs // 200, generator=generator)
            signal[fs : fs + len(burst)] = burst * torch.linspace(
                1, 0, len(burst)
            )
        else:
            signal = synthetic_speech(length, fs, talker, generator)
        if recording.turns:
            part = length // len(directions)
            silence = torch.arange(length) // part != talker
            signal = signal.masked_fill(silence, 0.0)
        dry.append(signal)
    return convolve(torch.stack(dry), rirs, length).sum(0).T


def directions(output):
    """Azimuths and elevations (or None) of the sources in the output."""
    rows = re.findall(
        r"^ +\d+ +(-?[\d.]+)° +\S+ +[\d.]+(?: +(-?[\d.]+)°)?", output, re.M
    )
    return [(float(a), float(e) if e else None) for a, e in rows]


def is_right(question, output):
    """Whether the output is what is true."""
    if re.search(question.never, output):
        return False
    if not all(re.search(word, output) for word in question.words):
        return False
    if question.azimuths is None:
        return True
    found = directions(output)
    if len(found) != len(question.azimuths):
        return False
    if question.elevation is not None:
        high = found[0][1]
        if high is None or abs(high - question.elevation) > question.within:
            return False
    return any(
        all(
            abs(float(wrap_azimuth(one - two[0]))) <= question.within
            for one, two in zip(order, found, strict=True)
        )
        for order in permutations(question.azimuths)
    )


def summary(question, output):
    """What matters of the output, in one cell of the table."""
    cells = []
    found = directions(output)
    if found:
        angles = " and ".join(
            f"{a:.0f}°" + (f", {e:.0f}° up" if e is not None else "")
            for a, e in found
        )
        true = " and ".join(f"{a:g}°" for a in question.azimuths or ())
        cells.append(f"{angles}" + (f" (true: {true})" if true else ""))
    lines = [line.split(" spatial-brain ")[-1] for line in output.splitlines()]
    hit = [
        line
        for line in lines
        if any(re.search(w, line) for w in question.words)
    ]
    blamed = [line for line in lines if re.search("error:|warning:", line)]
    cells += (hit or blamed or ([] if found else lines[:1]))[:2]
    return "; ".join(" ".join(cell.split()) for cell in cells)


if __name__ == "__main__":
    main()
