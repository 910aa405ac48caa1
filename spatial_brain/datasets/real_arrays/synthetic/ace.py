"""Synthetic data in the format of ACE."""

import csv
from pathlib import Path

import torch

from spatial_brain.atomic import atomic_path
from spatial_brain.dataio.audio import write_audio
from spatial_brain.datasets.real_arrays.responses.ace import (
    ARRAYS,
    GEOMETRIES,
    KINDS,
    POSITIONS,
    ROOM_SIZES,
    TABLE,
)
from spatial_brain.datasets.real_arrays.synthetic.measurements import (
    measured_noise,
    measured_response,
)
from spatial_brain.datasets.synthetic_data import claim
from spatial_brain.geometry import SPEED_OF_SOUND, MicrophoneArray
from spatial_brain.simulation.room_labels import (
    decay_t60,
    direct_to_reverberant,
)

# Seconds from the first room to the last.
_T60 = (0.25, 0.55)
# Metres from the array: nearer than what arrives in 6.25 ms.
_DISTANCES = {"1": 0.9, "2": 1.5}
# Hz, of the bands in the table; their values are those of all of it.
_BANDS = (500, 1000, 2000)
_HEADER = ("Mic config:", "Room:", "Room decode:", "Room config:", "Chan:")


def write_synthetic_ace(
    folder,
    *,
    rooms=tuple(ROOM_SIZES),
    arrays=ARRAYS,
    positions=POSITIONS,
    seconds=1.0,
    fs=48000,
    seed=0,
):
    """Write a tree as that of ACE, in simulated rooms.

    Arguments
    ---------
    folder : str or Path
        Gets ``RIRN`` and ``Data``.
    rooms, arrays, positions : sequence of str
        Of the corpus.
    seconds : float
        Of each noise.
    fs : int
        Sampling rate, Hz.
    seed : int
        Of everything random.

    Returns
    -------
    Path
        The table of T60 and DRR, measured in the responses.

    Raises
    ------
    ValueError
        If other data lie in the folder.

    Example
    -------
    >>> path = write_synthetic_ace(
    ...     getfixture("tmp_path"),
    ...     rooms=["Office_1"],
    ...     arrays=["Mobile"],
    ...     positions=["1"],
    ...     seconds=0.1,
    ... )
    >>> len(path.read_text().splitlines())
    4
    """
    options = {
        "rooms": list(rooms),
        "arrays": list(arrays),
        "positions": list(positions),
        "seconds": seconds,
        "fs": fs,
        "seed": seed,
    }
    folder = Path(folder)
    claim(folder, {"corpus": "ACE", **options})
    table = []
    for number, room in enumerate(ROOM_SIZES):
        if room not in rooms:
            continue
        low, high = _T60
        t60 = low + (high - low) * number / (len(ROOM_SIZES) - 1)
        for array in arrays:
            for position in positions:
                table += _write_place(
                    folder, room, array, position, t60, options
                )
    path = folder / "Data" / TABLE
    band = ("Freq:", "T60:", "DRR:")
    header = [*_HEADER, "FB T60:", "FB DRR:", *(band * len(_BANDS))]
    with atomic_path(path) as temporary, open(temporary, "w", newline="") as f:
        for row in [header, *table]:
            csv.writer(f).writerow(_spaced(row))
    return path


def _spaced(row):
    """Fields with a space before all but the first, as the corpus has it."""
    first, *others = map(str, row)
    return [first, *(f" {value}" for value in others)]


def _write_place(folder, room, array, position, t60, options):
    """Write response and noises of an array; return rows of the table."""
    size = torch.tensor(ROOM_SIZES[room])
    own = MicrophoneArray.named(GEOMETRIES[array])
    fs = options["fs"]
    seed = options["seed"] + 1000 * list(ROOM_SIZES).index(room)
    seed += 10 * list(GEOMETRIES).index(array) + int(position)
    generator = torch.Generator().manual_seed(seed)
    angle = 6.283185 * torch.rand(1, generator=generator)
    centre = torch.tensor([0.5, 0.5, 0.45]) * size
    microphones = own.positions - own.centre + centre
    away = torch.cat([angle.cos(), angle.sin(), torch.tensor([0.1])])
    source = centre + _DISTANCES[position] * away
    response = measured_response(
        size.tolist(),
        source,
        microphones,
        t60=t60,
        fs=fs,
        seed=seed,
        seconds=1.2 * t60,
    )
    path = folder / "RIRN" / array / room / position
    name = f"{array}_{room}_{position}"
    write_audio(path / f"{name}_RIR.wav", response, fs, subtype="PCM_24")
    for number, kind in enumerate(KINDS):
        noise = measured_noise(
            own.positions,
            seconds=options["seconds"],
            fs=fs,
            seed=seed + 100 * (number + 1),
        )
        write_audio(path / f"{name}_Noise_{kind}.wav", noise, fs)
    arrival = (source - microphones).norm(dim=-1) / SPEED_OF_SOUND * fs
    measured, _ = decay_t60(response.T, fs)
    drr = direct_to_reverberant(response.T, fs, arrival.round().long())
    rows = []
    for channel, values in enumerate(zip(measured, drr, strict=True), 1):
        numbers = [round(value.item(), 4) for value in values]
        bands = [x for band in _BANDS for x in (band, *numbers)]
        rows.append([array, room, room, position, channel, *numbers, *bands])
    return rows
