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
with T60, DRR, C50 and TDOA.
"""

import math

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
    parser.add_argument(
        "--output", required=True, help="folder for the WAV files and info.json"
    )


def run(args):
    """Simulate, write and tell.

    Arguments
    ---------
    args : argparse.Namespace
        ``room, output``.
    """
    from pathlib import Path

    from spatial_brain.dataio.audio import write_audio
    from spatial_brain.dataio.files import write_json

    room = read_room(args.room)
    rirs, info = simulate_room(room, args.room)
    folder = Path(args.output)
    for rir, source in zip(rirs, info["sources"], strict=True):
        write_audio(folder / source["file"], rir.T, info["fs"], subtype="FLOAT")
    write_json(folder / "info.json", info)
    print(format_info(info))
    print(f"\nwritten to {folder}")


def read_room(path):
    """Read a room description and check its keys.

    Arguments
    ---------
    path : str or Path
        YAML file; the module's docstring lists the keys.

    Returns
    -------
    dict
        With ``microphones`` in place of ``array``.

    Raises
    ------
    ValueError
        For invalid YAML, unknown or missing keys.

    Example
    -------
    >>> path = getfixture("tmp_path") / "room.yaml"
    >>> _ = path.write_text("size: [6, 4, 3]\\nsources: [[1, 1, 1]]\\n"
    ...                     "array: {type: tetrahedral, center: [3, 2, 1]}")
    >>> len(read_room(path)["microphones"])
    4
    """
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
        room["microphones"] = make_array(room.pop("array"), path)
    return room


def make_array(array, path):
    """Microphone positions of a named layout.

    Arguments
    ---------
    array : dict
        ``type`` (linear, circular, tetrahedral), ``center`` (m), ``yaw``
        (degrees, default 0), and what the layout takes in
        ``spatial_brain.geometry``.
    path : str or Path
        File for messages.

    Returns
    -------
    list of list of float
        Metres, room frame.

    Raises
    ------
    ValueError
        If the layout is not known or its values do not fit it.

    Example
    -------
    >>> make_array({"type": "linear", "num_microphones": 2, "spacing": 1.0,
    ...             "center": [2, 2, 1]}, "room.yaml")
    [[1.5, 2.0, 1.0], [2.5, 2.0, 1.0]]
    """
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


def simulate_room(room, path="room.yaml"):
    """Impulse responses of a room and what was measured in them.

    Arguments
    ---------
    room : dict
        What ``read_room`` returns.
    path : str or Path
        File for messages.

    Returns
    -------
    tuple
        RIRs, float32 [source, microphone, time], and a dictionary for JSON:
        the room, the back end and the wall absorption it used and, for each
        source, its file, distance, direction as seen from the centre of the
        microphones, and per microphone T60 (s), DRR and C50 (dB) and TDOA
        (s). null stands for what a response does not hold, such as the T60
        of a direct path.

    Raises
    ------
    ValueError
        If the room cannot be, with the file's name.

    Example
    -------
    >>> room = {"size": [5, 4, 3], "t60": 0.2, "sources": [[1, 1, 1.5]],
    ...         "microphones": [[3, 2, 1.5]]}
    >>> rirs, info = simulate_room(room)
    >>> info["sources"][0]["file"], rirs.shape[:2]
    ('source_1.wav', torch.Size([1, 1]))
    """
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


def format_info(info):
    """A table of the sources and what was measured.

    Arguments
    ---------
    info : dict
        What ``simulate_room`` returns.

    Returns
    -------
    str
        Lines; measures are of the first microphone.

    Example
    -------
    >>> source = {"file": "source_1.wav", "distance": 2.0, "azimuth": 90.0,
    ...           "elevation": 0.0, "t60": [0.4], "drr": [None], "c50": [9.0]}
    >>> print(format_info({"sources": [source]}))
    file          distance  azimuth  elevation      T60       DRR       C50
    source_1.wav    2.00 m    90.0°       0.0°   0.40 s         -   9.00 dB
    """
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
