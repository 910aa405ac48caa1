"""Measured over requested T60 in rooms of few cubic metres, as a table.

    python benchmarks/small_rooms.py [--backend image_source]

Each number is the mean T20 of sixteen responses (four sources, four
microphones, drawn at random) with high-pass, at 16 kHz, over the T60 that was
asked for; a dash where Sabine's formula cannot reach it.
"""

import argparse

import torch

from spatial_brain.simulation import simulate_rir
from spatial_brain.simulation.acoustics import minimal_t60

SIZES = (
    (1.0, 0.4, 0.5),
    (1.2, 1.0, 1.0),
    (2.0, 1.5, 1.2),
    (2.0, 2.0, 2.0),
    (6.0, 1.2, 2.2),
    (3.0, 3.0, 2.5),
    (4.0, 3.0, 2.5),
)
TIMES = (0.05, 0.08, 0.12, 0.2, 0.3, 0.5)


def measure(size, t60, backend):
    """Mean T20 over the requested T60 at random places."""
    if float(minimal_t60(size)) > t60:
        return None
    generator = torch.Generator().manual_seed(0)
    places = torch.rand(8, 3, generator=generator, dtype=torch.float64)
    places = (0.15 + 0.7 * places) * torch.tensor(size)
    info = simulate_rir(
        size,
        places[:4],
        places[4:],
        t60=t60,
        backend=backend,
        generator=generator,
        details=True,
    ).info
    return float(info.t60.nanmean()) / t60


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default="image_source")
    backend = parser.parse_args().backend
    print("| room, m | m3 |", *(f"{t60:g} s |" for t60 in TIMES))
    print("|---|---|" + "---|" * len(TIMES))
    for size in SIZES:
        ratios = [measure(size, t60, backend) for t60 in TIMES]
        cells = ["-" if part is None else f"{part:.2f}" for part in ratios]
        volume = size[0] * size[1] * size[2]
        name = " x ".join(f"{length:g}" for length in size)
        print(f"| {name} | {volume:.1f} |", *(f"{cell} |" for cell in cells))


if __name__ == "__main__":
    main()
