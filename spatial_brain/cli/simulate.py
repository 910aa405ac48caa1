"""Simulate the room impulse responses that a YAML file describes.

    size: [6, 4, 3]            # m
    t60: 0.4                   # s, or absorption: one value or six
                               # (walls x0, x1, y0, y1, z0, z1), or both:
                               # the ratios of the six are kept
    sources: [[2, 1, 1.5], [4, 3, 1.5]]
    array:                     # or microphones: [[x, y, z], ...]
      type: linear             # linear, circular or tetrahedral
      num_microphones: 4
      spacing: 0.05            # m (radius: for the others)
      center: [3, 2, 1.5]
      yaw: 90                  # degrees
    faults: {gain: 1}          # of microphones: dB
    seed: 0

An array by its name, a formula (circular:6x0.05) or from a file (spatial-brain
arrays lists the names) is array: NAME, in the middle of the room and 1.5 m
high, or

    array: {name: NAME, center: [3, 2, 1.5], yaw: 90, pitch: 0, roll: 0}

or --array NAME with --center and --yaw, in place of what the file has. Faults
are gain (dB), delay (samples), position (mm), each the spread among the
microphones or a list with a value for each, and polarity and dead (how many
channels, or a list of them).

Walls may be of materials and depend on frequency, and so may the T60; bands
are the octaves from 125 Hz to 8 kHz (docs/simulation.md):

    absorption: {walls: brickwork, floor: carpet_thin, ceiling: 0.6}
    absorption: {bands: [0.1, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}
    t60: {bands: [0.6, 0.5, 0.5, 0.4, 0.4, 0.3, 0.3]}

May also hold what simulate_rir takes: fs, backend, duration, high_pass,
mic_pattern, mic_orientation, source_pattern, source_orientation,
diffuse_from, max_order, direct_only, sound_speed and air_absorption. Writes
one float WAV per source, whose channels are the microphones, and info.json
with T60 (s), DRR and C50 (dB) and TDOA (s) by source and microphone; null
stands for what a response does not have, such as the T60 of a direct path.
Of an array array.json is written as well, for --array of other commands:
where its microphones are said to be, in its own frame.
"""

import math
from typing import NamedTuple

from spatial_brain.cli.options import add_option

HELP = "room impulse responses of a room described in YAML"
REQUIRED = ("size", "sources")
OPTIONS = (
    "t60",
    "absorption",
    "fs",
    "backend",
    "duration",
    "high_pass",
    "mic_pattern",
    "mic_orientation",
    "source_pattern",
    "source_orientation",
    "diffuse_from",
    "max_order",
    "direct_only",
    "sound_speed",
    "air_absorption",
)
TURNS = ("yaw", "pitch", "roll")
MEASURES = ("t60", "drr", "c50", "tdoa")
KEYS = (*REQUIRED, "microphones", "array", "faults", "seed", *OPTIONS)
# Metres above the floor of an array without a place, in rooms high enough.
HEIGHT = 1.5


def add_arguments(parser):
    """Add the options of this sub-command.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    """
    parser.add_argument("room", help="YAML file, see above")
    add_option(
        parser,
        "--output",
        required=True,
        help="folder for the WAV files and info.json",
    )
    parser.add_argument(
        "--array", metavar="NAME", help="name or file of the array"
    )
    parser.add_argument(
        "--center",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="where it is, metres (default: in the middle, 1.5 m high)",
    )
    parser.add_argument(
        "--yaw", type=float, help="degrees that it is turned to the left"
    )
    parser.add_argument(
        "--faults",
        nargs="+",
        metavar="NAME=VALUE",
        help="of the microphones, such as gain=1 dead=[2]",
    )


def run(args):
    """Simulate, write and print what was measured.

    Arguments
    ---------
    args : argparse.Namespace
        What ``add_arguments`` adds.
    """
    from pathlib import Path

    from spatial_brain.dataio.audio import write_audio
    from spatial_brain.dataio.files import write_json

    room, array = _read_room(args.room, _changes(args))
    rirs, info = _simulate_room(room, args.room, array)
    folder = Path(args.output)
    for rir, source in zip(rirs, info["sources"], strict=True):
        write_audio(folder / source["file"], rir.T, info["fs"], subtype="FLOAT")
    if array is not None:
        write_json(folder / "array.json", array.array.as_dict())
    write_json(folder / "info.json", info)
    print(_format_info(info))
    print(f"\nwritten to {folder}")


class _PlacedArray(NamedTuple):
    """An array in a room: its own frame, where it is, how it is turned."""

    array: object
    center: list
    rotation: object

    @property
    def microphones(self):
        """Positions in the room, metres, [microphone][3]."""
        own = self.array.positions - self.array.centre
        positions = own @ self.rotation.to(own).T
        return (positions + positions.new_tensor(self.center)).tolist()


def _changes(args):
    """Keys of a room that the options stand for."""
    changes = {}
    placed = {"center": args.center, "yaw": args.yaw}
    placed = {key: value for key, value in placed.items() if value is not None}
    if args.array is not None:
        changes["array"] = {"name": args.array, **placed}
    elif placed:
        raise ValueError(
            f"--{next(iter(placed))} places the array that --array names"
        )
    if args.faults is not None:
        changes["faults"] = " ".join(args.faults)
    return changes


def _read_room(path, changes):
    """Read and check a room with some keys changed, and place its array."""
    import ruamel.yaml

    with open(path, encoding="utf-8") as file:
        try:
            room = ruamel.yaml.YAML(typ="safe", pure=True).load(file)
        except ruamel.yaml.YAMLError as error:
            raise ValueError(f"{path} is no valid YAML: {error}") from error
    if not isinstance(room, dict):
        raise ValueError(f"{path} does not hold 'key: value' lines")
    if "array" in changes:
        room.pop("microphones", None)
    room.update(changes)
    unknown = [key for key in room if key not in KEYS]
    missing = [key for key in REQUIRED if key not in room]
    if unknown or missing:
        raise ValueError(
            f"{path}: "
            + (f"unknown: {', '.join(map(str, unknown))}; " if unknown else "")
            + (f"missing: {', '.join(missing)}; " if missing else "")
            + f"the keys are: {', '.join(KEYS)}"
        )
    if ("microphones" in room) == ("array" in room):
        raise ValueError(f"{path}: give either microphones or array")
    if "array" not in room:
        return room, None
    array = _place_array(room.pop("array"), path, room["size"])
    room["microphones"] = array.microphones
    return room, array


def _place_array(array, path, size):
    """Array of a layout, a name or a file in a room of some size."""
    import torch

    from spatial_brain import geometry

    layouts = {
        "linear": geometry.linear_array,
        "circular": geometry.circular_array,
        "tetrahedral": geometry.tetrahedral_array,
    }
    values = {"name": array} if isinstance(array, str) else array
    values = dict(values) if isinstance(values, dict) else {}
    turn = {key: float(values.pop(key, 0.0)) for key in TURNS}
    center = values.pop("center", None)
    if list(values) == ["name"]:
        made = geometry.MicrophoneArray.resolve(values["name"])
        center = center or _middle(size)
    elif values.get("type") in layouts and center is not None:
        kind = values.pop("type")
        try:
            made = geometry.MicrophoneArray(layouts[kind](**values), kind)
        except TypeError as error:
            raise ValueError(f"{path}: array: {error}") from error
    else:
        raise ValueError(
            f"{path}: array needs a name, or a center and a type out of "
            f"{', '.join(layouts)}, got {array}"
        )
    if torch.as_tensor(center).shape != (3,):
        raise ValueError(f"{path}: center must be [x, y, z], got {center}")
    return _PlacedArray(made, center, geometry.rotation_matrix(**turn))


def _middle(size):
    """The middle of a room, in it 1.5 m above the floor."""
    x, y, z = size
    return [x / 2, y / 2, min(HEIGHT, z / 2)]


def _simulate_room(room, path, array):
    """RIRs [source, microphone, time], and what JSON holds of them."""
    import torch

    from spatial_brain.simulation.rir import simulate_rir

    options = {key: room[key] for key in OPTIONS if key in room}
    try:
        sources = torch.as_tensor(room["sources"], dtype=torch.float32)
        microphones = torch.as_tensor(room["microphones"], dtype=torch.float32)
        faults = _draw_faults(room.get("faults"), len(microphones), room)
        done = simulate_rir(
            room["size"],
            sources,
            microphones if faults is None else microphones + faults.offset,
            generator=torch.Generator().manual_seed(room.get("seed", 0)),
            details=True,
            **options,
        )
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error
    info = {
        "fs": done.fs,
        "backend": done.info.backend,
        "absorption": done.info.absorption,
        "bands": done.info.bands,
        "room": room,
        "faults": None if faults is None else faults.as_dict(),
        "sources": [
            {
                "file": f"source_{index + 1}.wav",
                **_place(source - microphones.mean(0), array),
                **{
                    name: _plain(getattr(done.info, name)[index])
                    for name in MEASURES
                },
                **_bands(done.info.band_t60, index),
            }
            for index, source in enumerate(sources)
        ],
    }
    rirs = done.full.cpu()
    return rirs if faults is None else faults.apply(rirs), info


def _draw_faults(values, num_microphones, room):
    """Faults of the microphones of a room, or None."""
    import torch

    from spatial_brain.simulation.microphone_faults import MicrophoneFaults

    if values is None:
        return None
    faults = MicrophoneFaults.from_values(values)
    if faults.noise is not None:
        raise ValueError(
            "faults: responses have no noise; leave it out here, and give it "
            "where there are signals (spatial-brain synth)"
        )
    # Of their own, so that the room stays what it is without them.
    generator = torch.Generator().manual_seed(room.get("seed", 0))
    return faults.draw(num_microphones, generator)


def _place(vector, array):
    """Distance and direction of a source, also as the array observes it."""
    from spatial_brain.geometry import unit_to_azel

    azimuth, elevation = unit_to_azel(vector)
    place = {
        "distance": float(vector.norm()),
        "azimuth": float(azimuth),
        "elevation": float(elevation),
    }
    if array is not None:
        own = unit_to_azel(vector @ array.rotation.to(vector))
        place["array_azimuth"], place["array_elevation"] = map(float, own)
    return place


def _bands(band_t60, index):
    """T60 of a source in octaves, [microphone][band], if there are any."""
    if band_t60 is None:
        return {}
    return {"band_t60": [_plain(values) for values in band_t60[index]]}


def _plain(values):
    """Numbers for JSON; null for what is not finite."""
    return [
        value if math.isfinite(value) else None for value in values.tolist()
    ]


def _format_info(info):
    """A table of the sources and the measures at the first microphone."""
    lines = [
        f"{'file':12}{'distance':>10}{'azimuth':>9}{'elevation':>11}"
        f"{'T60':>9}{'DRR':>10}{'C50':>10}"
    ]
    for source in info["sources"]:
        line = (
            f"{source['file']:12}{source['distance']:8.2f} m"
            f"{source['azimuth']:8.1f}°{source['elevation']:10.1f}°"
        )
        for name, unit, width in (
            ("t60", "s", 9),
            ("drr", "dB", 10),
            ("c50", "dB", 10),
        ):
            value = source[name][0]
            text = "-" if value is None else f"{value:.2f} {unit}"
            line += f"{text:>{width}}"
        lines.append(line)
    if info["bands"] is not None:
        lines.append("\nT60 by octave, s")
        lines.append(_row("Hz", info["bands"], ".0f"))
        for source in info["sources"]:
            lines.append(_row(source["file"], source["band_t60"][0], ".2f"))
    return "\n".join(lines)


def _row(name, values, format):
    """A line of numbers, - for what is missing."""
    texts = ["-" if value is None else f"{value:{format}}" for value in values]
    return f"{name:12}" + "".join(f"{text:>8}" for text in texts)
