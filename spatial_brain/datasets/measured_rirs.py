"""Tables of measured impulse responses, and dry speech to go with them."""

import csv
from pathlib import Path
from typing import NamedTuple

import torch

from spatial_brain.dataio.audio import read_audio
from spatial_brain.geometry import azel_to_unit

# Metres; waves from there are plane for any array.
FAR = 1000.0
MOST_DRAWS = 100


class MeasuredResponse(NamedTuple):
    """One source position of a measured room.

    Arguments
    ---------
    path : Path
        Audio file, a channel a microphone.
    direction : torch.Tensor
        Unit vector from the array to the source, float32 [3].
    distance : float or None
        Metres, if it is in the table.
    condition : str
        Room, or state of a room; empty if it is not in the table.
    """

    path: Path
    direction: torch.Tensor
    distance: float | None
    condition: str

    @property
    def position(self):
        """Source in metres as seen from the array, [3]; far if not known."""
        return self.direction * (self.distance or FAR)


def read_measured_responses(
    table,
    root=None,
    azimuth="azimuth",
    elevation="elevation",
    distance="distance",
    condition="condition",
):
    """Read a table of impulse responses that were measured with an array.

    Arguments
    ---------
    table : str or Path
        CSV with a header and a line a source position: ``path`` and the
        columns named by the further arguments. Lines without an azimuth are
        left out.
    root : str or Path, optional
        Folder of the paths; default: that of the table.
    azimuth, elevation : str
        Columns of the direction seen from the array, degrees.
    distance : str
        Column of the distance, metres; may be missing.
    condition : str
        Column of the room; may be missing.

    Returns
    -------
    list of MeasuredResponse

    Raises
    ------
    FileNotFoundError
        If there is no such table.
    ValueError
        If a column is missing, a value is not a number, or no line is left.

    Example
    -------
    >>> table = getfixture("tmp_path") / "rirs.csv"
    >>> _ = table.write_text("path,azimuth,elevation\\na.wav,90,0\\n")
    >>> [response] = read_measured_responses(table)
    >>> response.path.name, response.direction[1].item()
    ('a.wav', 1.0)
    """
    table = Path(table)
    if not table.is_file():
        raise FileNotFoundError(f"{table}: no such table of responses")
    root = table.parent if root is None else Path(root)
    responses = []
    with open(table, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        for column in ("path", azimuth, elevation):
            if column not in (reader.fieldnames or []):
                raise ValueError(
                    f"{table}: has no column {column!r}, there are "
                    f"{reader.fieldnames}; name it (see --help)"
                )
        for row in reader:
            if not row[azimuth]:
                continue
            try:
                angles = float(row[azimuth]), float(row[elevation])
                away = row.get(distance)
                away = float(away) if away else None
            except ValueError as problem:
                raise ValueError(
                    f"{table}, line {reader.line_num}: {problem}; angles are "
                    "in degrees, distances in metres"
                ) from problem
            responses.append(
                MeasuredResponse(
                    root / row["path"],
                    azel_to_unit(*angles),
                    away,
                    row.get(condition) or "",
                )
            )
    if not responses:
        raise ValueError(f"{table}: no line has an {azimuth}")
    return responses


def dry_segment(rng, utterance, length, pause=None):
    """A random piece of an utterance, silence behind it if it is short.

    Arguments
    ---------
    rng : numpy.random.Generator
        Chooses where it begins.
    utterance : spatial_brain.datasets.speech.corpora.Utterance
        What to read of.
    length : int
        Samples.
    pause : float, optional
        A piece so many dB below the whole utterance is a pause, and another
        one is drawn; default: any piece will do.

    Returns
    -------
    torch.Tensor
        float32 [length].

    Raises
    ------
    ValueError
        If no piece is loud enough.
    """
    speech = read_audio(utterance.path)[0][:, 0]
    least = 0.0
    if pause is not None:
        least = speech.square().mean() * 10 ** (-pause / 10)
    for _ in range(MOST_DRAWS):
        start = int(rng.integers(max(1, len(speech) - length)))
        piece = speech[start : start + length]
        if pause is None or piece.square().mean() > least:
            return torch.nn.functional.pad(piece, (0, length - len(piece)))
    raise ValueError(
        f"{utterance.path}: is silent in {MOST_DRAWS} places; leave it out"
    )
