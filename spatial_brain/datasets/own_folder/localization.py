"""Own recordings of a microphone array, with the azimuths of the sources.

On disk::

    <data_folder>/directions.csv      file,azimuth[,split]
    <data_folder>/...                 .wav or .flac, a channel a microphone
"""

import math
import os
from functools import partial

from spatial_brain.datasets.own_folder.files import (
    OwnManifests,
    check_folder,
    check_headers,
    named_split,
    read_table,
)

TABLE = "directions.csv"


def prepare_localization(
    data_folder,
    save_folder,
    *,
    fs,
    num_microphones,
    microphone_positions=None,
    azimuth_columns=("azimuth",),
    azimuth_range=(-180.0, 180.0),
    min_duration=0.0,
    valid_fraction=None,
    test_fraction=None,
    seed=0,
):
    """Write the manifests ``train.json``, ``valid.json`` and ``test.json``.

    An entry has ``wav`` (a path), ``num_samples``, ``fs`` and ``azimuths``
    (degrees, one a source). Nothing is done when the manifests are there and
    neither files nor arguments have changed.

    Arguments
    ---------
    data_folder : str or Path
        Holds ``directions.csv`` with the columns ``file`` (relative to the
        folder), ``azimuth`` (degrees) and, if wanted, ``split`` (train, valid
        or test), a line a recording; and the recordings.
    save_folder : str or Path
        Where the manifests go.
    fs : int
        Sampling rate of all recordings, Hz.
    num_microphones : int
        Channels of all recordings.
    microphone_positions : sequence, optional
        Metres, [microphone][3]; None: not known.
    azimuth_columns : sequence of str
        Columns of the azimuths, one a source.
    azimuth_range : sequence of float
        Least and greatest azimuth, degrees.
    min_duration : float
        Least length of a recording, seconds.
    valid_fraction, test_fraction : float, optional
        Shares of all recordings, drawn where neither the column
        ``split`` nor folders ``train``, ``valid`` and ``test`` say it.
    seed : int
        Of the draw.

    Returns
    -------
    dict
        Split to the path of its manifest.

    Raises
    ------
    FileNotFoundError
        If the folder or the table is not there.
    ValueError
        If the table is malformed, an azimuth is out of range, recordings are
        missing or do not fit, there are no splits, or positions are not
        those of the microphones.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> prepare_localization(folder, folder, fs=8000, num_microphones=2)
    Traceback (most recent call last):
    FileNotFoundError: ...directions.csv: no such file; write ...
    """
    microphones = _describe(num_microphones, microphone_positions)
    folder = check_folder(data_folder)
    columns = ("file", *azimuth_columns)
    rows = read_table(
        folder / TABLE,
        columns,
        f"write a line {','.join(columns)}[,split] and one such line a "
        "recording, and give its folder as data_folder",
    )
    entries, splits = {}, {}
    for where, row in rows:
        name = row["file"]
        if name in entries:
            raise ValueError(f"{where}: file {name!r} stands there twice")
        entries[name] = {
            "wav": os.fspath(folder / name),
            "azimuths": [
                _azimuth(where, column, row[column], azimuth_range)
                for column in azimuth_columns
            ],
        }
        splits[name] = named_split(where, row, name)
    files = [entry["wav"] for entry in entries.values()]
    options = {
        "fs": fs,
        "num_microphones": num_microphones,
        "microphones": microphones,
        "min_duration": min_duration,
        "valid_fraction": valid_fraction,
        "test_fraction": test_fraction,
        "seed": seed,
    }
    content = [list(entries.values()), splits]
    manifests = OwnManifests(folder, save_folder, files, content, options)
    if not manifests.ready:
        lengths = check_headers(
            files,
            fs=fs,
            num_channels=num_microphones,
            min_duration=min_duration,
        )
        for entry in entries.values():
            entry |= {"num_samples": lengths[entry["wav"]], "fs": fs}
        manifests.write_splits(
            entries,
            splits,
            f"fill a column split of {TABLE} with train, valid or test",
            partial(_details, microphones),
        )
    return manifests.paths


def _details(microphones, entries):
    """What the training recordings are, in words."""
    azimuths = [entry["azimuths"] for entry in entries.values()]
    return (
        f"{microphones}, {len(azimuths[0])} source(s), training azimuths "
        f"{min(map(min, azimuths)):g} to {max(map(max, azimuths)):g} degrees"
    )


def _describe(number, positions):
    """The microphones in words; ValueError if positions are not theirs."""
    if positions is None:
        return f"{number} microphones"
    if [len(position) for position in positions] != [3] * number:
        raise ValueError(
            f"microphone_positions must be {number} positions of 3 numbers "
            f"(num_microphones), or null, got {positions}"
        )
    longest = max(math.dist(a, b) for a in positions for b in positions)
    return f"{number} microphones, at most {longest:.3f} m apart"


def _azimuth(where, column, text, bounds):
    """Degrees, checked."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not bounds[0] <= value <= bounds[1]:
        raise ValueError(
            f"{where}: {column} is {text!r}, expected degrees from "
            f"{bounds[0]:g} to {bounds[1]:g}"
            + (", counter-clockwise from the front" if bounds[0] < 0 else "")
        )
    return value
