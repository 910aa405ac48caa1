"""T30 of measured responses beside what their authors published.

    python benchmarks/measured_rooms.py FOLDER

FOLDER holds ``r3vival/cond_*/*.flac`` (R3VIVAL, CC BY 4.0: 30 positions a
condition; channel 7, the centre), ``surrey_brir/*.sofa`` (University of Surrey,
room A: 37 azimuths) and ``brir_netzwerkakademie/*.flac`` (CC0). Numbers are
means over positions. Published: R3VIVAL, figure T30 of its README, read from
the vector graphics; Surrey, one number (C. Hummersone, R. Mason and T. Brookes,
IEEE TASLP 18, 2010). Netzwerkakademie has none.
"""

import argparse
from pathlib import Path

import torch

from spatial_brain.dataio.audio import read_audio
from spatial_brain.folders import find_files
from spatial_brain.simulation.hrtf.sofa import read_room_sofa
from spatial_brain.simulation.room_parameters import BANDS, room_parameters

# Seconds, 125 Hz to 8 kHz.
R3VIVAL = {
    "000": (0.452, 0.716, 0.741, 0.690, 0.654, 0.588, 0.462),
    "050": (0.455, 0.591, 0.577, 0.501, 0.424, 0.358, 0.277),
    "100": (0.492, 0.550, 0.511, 0.451, 0.365, 0.269, 0.199),
    "R": (0.478, 0.631, 0.627, 0.552, 0.479, 0.413, 0.318),
    "RBL": (0.474, 0.558, 0.524, 0.460, 0.369, 0.299, 0.226),
}
SURREY = 0.32


def mean_t30(responses, fs):
    """Mean T30 of each octave over responses [channel, time], 7 numbers."""
    rows = []
    for rir in responses:
        found = {one.band: one.values for one in room_parameters(rir, fs)}
        # One row a channel; an octave that the rate does not hold is NaN.
        missing = {"t30": [float("nan")] * len(rir)}
        rows += zip(
            *(found.get(band, missing)["t30"] for band in BANDS), strict=True
        )
    return torch.tensor(rows).nanmean(0)


def read_files(paths, channels=slice(None)):
    """Responses of sound files, and their rate."""
    signals = [read_audio(path) for path in paths]
    return [signal.T[channels] for signal, _ in signals], signals[0][1]


def row(name, count, values):
    """A line of the table."""
    cells = " | ".join(
        "-" if value != value else f"{value:.2f}" for value in values
    )
    print(f"| {name} | {count or ''} | {cells} |", flush=True)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    print("| set | responses |", *(f"{band} Hz |" for band in BANDS))
    print("|---|---|" + "---|" * len(BANDS))
    for condition, published in R3VIVAL.items():
        paths = find_files(folder / "r3vival" / f"cond_{condition}", (".flac",))
        responses, fs = read_files(paths, slice(6, 7))
        row(f"R3VIVAL {condition}", len(responses), mean_t30(responses, fs))
        row("published", "", published)
    [path] = find_files(folder / "surrey_brir", (".sofa",))
    room = read_room_sofa(path, 2)
    found = mean_t30(room.responses, room.fs)
    row("Surrey, room A", 2 * len(room.responses), found)
    print(f"(mean of the octaves: {found.nanmean():.2f}; published {SURREY})")
    paths = find_files(folder / "brir_netzwerkakademie", (".flac",))
    responses, fs = read_files(paths)
    row("Netzwerkakademie", 2 * len(responses), mean_t30(responses, fs))


if __name__ == "__main__":
    main()
