"""Simulate the room impulse responses that a YAML file describes.

    size: [6, 4, 3]            # m
    t60: 0.4                   # s, or absorption: one value or six
                               # (walls x0, x1, y0, y1, z0, z1)
    sources: [[2, 1, 1.5], [4, 3, 1.5]]
    array:                     # or microphones: [[x, y, z], ...]
      type: linear             # linear, circular or tetrahedral
      num_microphones: 4
      spacing: 0.05            # m (radius: for the others)
      center: [3, 2, 1.5]
      yaw: 90                  # degrees
    seed: 0

May also hold what simulate_rir takes: fs, backend, duration, high_pass,
mic_pattern, mic_orientation, source_pattern, source_orientation,
diffuse_from, max_order, direct_only, sound_speed and air_absorption. Writes
one float WAV per source, whose channels are the microphones, and info.json
with T60 (s), DRR and C50 (dB) and TDOA (s) by source and microphone; null
stands for what a response does not have, such as the T60 of a direct path.
"""

import math

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
MEASURES = ("t60", "drr", "c50", "tdoa")
KEYS = (*REQUIRED, "microphones", "array", "seed", *OPTIONS)


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

    room = _read_room(args.room)
    rirs, info = _simulate_room(room, args.room)
    folder = Path(args.output)
    for rir, source in zip(rirs, info["sources"], strict=True):
        write_audio(folder / source["file"], rir.T, info["fs"], subtype="FLOAT")
    write_json(folder / "info.json", info)
    print(_format_info(info))
    print(f"\nwritten to {folder}")


def _read_room(path):
    """Read and check a room; ``microphones`` take the place of ``array``."""
    import ruamel.yaml

    with open(path, encoding="utf-8") as file:
        try:
            room = ruamel.yaml.YAML(typ="safe", pure=True).load(file)
        except ruamel.yaml.YAMLError as error:
            raise ValueError(f"{path} is no valid YAML: {error}") from error
    if not isinstance(room, dict):
        raise ValueError(f"{path} does not hold 'key: value' lines")
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
    if "array" in room:
        room["microphones"] = _make_array(room.pop("array"), path)
    return room


def _make_array(array, path):
    """Microphone positions [microphone][3] of a layout, metres."""
    import torch

    from spatial_brain import geometry

    layouts = {
        "linear": geometry.linear_array,
        "circular": geometry.circular_array,
        "tetrahedral": geometry.tetrahedral_array,
    }
    values = dict(array) if isinstance(array, dict) else {}
    kind, center = values.pop("type", None), values.pop("center", None)
    if kind not in layouts or center is None:
        raise ValueError(
            f"{path}: array needs a center and a type out of "
            f"{', '.join(layouts)}, got {array}"
        )
    turn = geometry.rotation_matrix(yaw=float(values.pop("yaw", 0.0)))
    try:
        positions = layouts[kind](**values) @ turn.T
        return (positions + torch.as_tensor(center)).tolist()
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{path}: array: {error}") from error


def _simulate_room(room, path):
    """RIRs [source, microphone, time], and what JSON holds of them."""
    import torch

    from spatial_brain.simulation.rir import simulate_rir

    options = {key: room[key] for key in OPTIONS if key in room}
    try:
        sources = torch.as_tensor(room["sources"], dtype=torch.float32)
        microphones = torch.as_tensor(room["microphones"], dtype=torch.float32)
        done = simulate_rir(
            room["size"],
            sources,
            microphones,
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
        "room": room,
        "sources": [
            {
                "file": f"source_{index + 1}.wav",
                **_place(source - microphones.mean(0)),
                **{
                    name: _plain(getattr(done.info, name)[index])
                    for name in MEASURES
                },
            }
            for index, source in enumerate(sources)
        ],
    }
    return done.full.cpu(), info


def _place(vector):
    """Distance and direction of a source."""
    from spatial_brain.geometry import unit_to_azel

    azimuth, elevation = unit_to_azel(vector)
    return {
        "distance": float(vector.norm()),
        "azimuth": float(azimuth),
        "elevation": float(elevation),
    }


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
    return "\n".join(lines)
