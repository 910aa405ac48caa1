"""Files of microphone arrays: JSON, CSV and SOFA (AES69), in metres."""

import csv
import io
import json
from datetime import datetime, timezone
from pathlib import Path

import h5py
import numpy as np
import torch

from spatial_brain.geometry.directions import azel_to_unit


def read_array_file(path):
    """Fields of a microphone array in a file.

    Arguments
    ---------
    path : str or Path
        As :meth:`MicrophoneArray.from_file` describes.

    Returns
    -------
    dict
        "positions", and perhaps "name", "front", "source" and
        "stream_channels".

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it does not hold an array.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of an array")
    return READERS[_kind(path)](path)


def is_array_file(name_or_path):
    """Whether an array is named by a file, not by a name or a formula.

    Arguments
    ---------
    name_or_path : str or Path
        What names an array.

    Returns
    -------
    bool
        True if it ends in .json, .csv or .sofa, or is a file.

    Example
    -------
    >>> is_array_file("mine.csv"), is_array_file("circular:6x0.05")
    (True, False)
    """
    path = Path(name_or_path)
    return path.suffix.lower() in READERS or path.is_file()


def encode_array(path, fields):
    """Content of the file of a microphone array.

    Arguments
    ---------
    path : str or Path
        Ending in .json, .csv or .sofa; nothing is written.
    fields : dict
        From :meth:`MicrophoneArray.as_dict`.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        If it has another ending.
    """
    return _ENCODERS[_kind(Path(path))](fields)


def _kind(path):
    """Suffix of a file that can hold an array."""
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise ValueError(
            f"{path}: an array is read from {', '.join(READERS)}, and written "
            f"as such, not as {suffix or 'a file without suffix'}"
        )
    return suffix


def _read_json(path):
    """Fields of a JSON file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    known = {
        "name": str,
        "positions": list,
        "front": str,
        "source": str,
        "stream_channels": dict,
    }
    if not isinstance(content, dict) or "positions" not in content:
        raise ValueError('has no "positions": [[x, y, z], ...] in metres')
    for key, value in content.items():
        if key not in known:
            raise ValueError(f"unknown key {key!r}; known: {', '.join(known)}")
        if not isinstance(value, known[key]):
            raise ValueError(f"{key!r} must be a {known[key].__name__}")
    return content


def _read_csv(path):
    """Positions of a CSV table, by its column ``channel`` if there is one."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        names = {str(n).strip().lower(): n for n in reader.fieldnames or []}
        columns = [names.get(a, names.get(f"{a}_m")) for a in "xyz"]
        if None in columns:
            raise ValueError(
                "needs the columns x, y, z or x_m, y_m, z_m in metres, has "
                f"{', '.join(names) or 'none'}"
            )
        rows = list(reader)
    positions, channels = [], []
    for number, row in enumerate(rows, 2):
        try:
            positions.append([float(row[column]) for column in columns])
            if "channel" in names:
                channels.append(int(row[names["channel"]]))
        except (TypeError, ValueError) as problem:
            raise ValueError(f"line {number}: {problem}") from problem
    if channels and len(set(channels)) < len(channels):
        raise ValueError(f"a channel is there twice: {channels}")
    if channels:
        ordered = sorted(zip(channels, positions, strict=True))
        positions = [position for _, position in ordered]
    return {"positions": positions}


def _read_sofa(path):
    """Receivers of a SOFA file; its axes are ours."""
    with h5py.File(path, "r") as file:
        if "ReceiverPosition" not in file:
            raise ValueError("has no ReceiverPosition")
        variable = file["ReceiverPosition"]
        kind = variable.attrs.get("Type", b"cartesian")
        values = torch.as_tensor(variable[()]).double()
        name = file.attrs.get("ListenerShortName", b"")
    kind, name = (
        value.decode() if isinstance(value, bytes) else str(value)
        for value in (kind, name)
    )
    if values.ndim != 3 or values.shape[1] != 3:
        raise ValueError(
            f"ReceiverPosition must be [receiver, 3, measurement], is "
            f"{list(values.shape)}"
        )
    if not (values == values[..., :1]).all():
        raise ValueError("the receivers move; an array has fixed ones")
    positions = values[..., 0]
    if kind == "spherical":
        positions = positions[:, 2:] * azel_to_unit(
            positions[:, 0], positions[:, 1]
        )
    elif kind != "cartesian":
        raise ValueError(f"ReceiverPosition has the unknown type {kind!r}")
    return {"positions": positions, **({"name": name} if name else {})}


def _encode_json(fields):
    """All fields."""
    return (json.dumps(fields, indent=2) + "\n").encode()


def _encode_csv(fields):
    """Channels from 1 and positions, a line each."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["channel", "x_m", "y_m", "z_m"])
    for number, position in enumerate(fields["positions"], 1):
        table.writerow([number, *position])
    return text.getvalue().encode()


def _encode_sofa(fields):
    """AES69 with the mandatory parts of the convention GeneralFIR 1.0."""
    positions = np.asarray(fields["positions"])
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    attributes = {
        "Conventions": "SOFA",
        "Version": "2.1",
        "SOFAConventions": "GeneralFIR",
        "SOFAConventionsVersion": "1.0",
        "APIName": "SpatialBrain",
        "APIVersion": "1",
        "DataType": "FIR",
        "RoomType": "free field",
        "Title": f"Microphone array {fields['name']}",
        "DateCreated": now,
        "DateModified": now,
        "AuthorContact": "",
        "Organization": "",
        "License": "No license provided, ask the author for permission",
        "ListenerShortName": fields["name"],
        "Comment": (
            "Positions of microphones; the responses are impulses. Azimuth 0 "
            f"points at: {fields['front']}"
        ),
        "Origin": fields.get("source", ""),
    }
    number = len(positions)
    sizes = {"M": 1, "R": number, "E": 1, "N": 1, "C": 3, "I": 1}
    place = ("I", "C")
    # Shape, values and, of places, their kind.
    variables = {
        "ListenerPosition": (place, 0.0, True),
        "ReceiverPosition": (("R", "C", "I"), positions[..., None], True),
        "SourcePosition": (place, [[1.0, 0.0, 0.0]], True),
        "EmitterPosition": (("E", "C", "I"), 0.0, True),
        "Data.IR": (("M", "R", "N"), 1.0, False),
        "Data.SamplingRate": (("I",), 48000.0, False),
        "Data.Delay": (("I", "R"), 0.0, False),
    }
    content = io.BytesIO()
    with h5py.File(content, "w", track_order=True) as file:
        for name, text in attributes.items():
            file.attrs[name] = np.bytes_(text.encode() or b" ")
        for name, size in sizes.items():
            file.create_dataset(name, data=np.zeros(size)).make_scale(name)
        for name, (shape, values, is_place) in variables.items():
            full = np.broadcast_to(values, [sizes[axis] for axis in shape])
            variable = file.create_dataset(name, data=full.astype(float))
            for index, axis in enumerate(shape):
                variable.dims[index].attach_scale(file[axis])
            if is_place:
                variable.attrs["Type"] = np.bytes_("cartesian")
                variable.attrs["Units"] = np.bytes_("metre")
        file["Data.SamplingRate"].attrs["Units"] = np.bytes_("hertz")
    return content.getvalue()


READERS = {".json": _read_json, ".csv": _read_csv, ".sofa": _read_sofa}
_ENCODERS = {
    ".json": _encode_json,
    ".csv": _encode_csv,
    ".sofa": _encode_sofa,
}
