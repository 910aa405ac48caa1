"""Losses of SELD against values recorded from the public originals."""

import math

import numpy as np
import torch

from spatial_brain.nnet.losses.seld import (
    accdoa_loss,
    adpit_loss,
    aggregated_loss,
    track_pit_loss,
)

BATCH, FRAMES, CLASSES = 2, 4, 5


def wave(shape, a, b):
    """sin(a i + b) over the flat index i."""
    i = np.arange(math.prod(shape), dtype=np.float64)
    values = np.sin(a * i + b).reshape(shape).astype(np.float32)
    return torch.from_numpy(values)


def unit(azimuth, elevation):
    azimuth, elevation = math.radians(azimuth), math.radians(elevation)
    return torch.tensor(
        [
            math.cos(azimuth) * math.cos(elevation),
            math.sin(azimuth) * math.cos(elevation),
            math.sin(elevation),
        ]
    )


# (example, frame, class): events in order, (azimuth, elevation).
EVENTS = {
    (0, 0, 1): [(30, 10)],
    (0, 1, 2): [(-60, 20), (120, -30)],
    (1, 2, 0): [(10, 0), (100, 40), (-150, -20)],
    (1, 2, 4): [(77, 5)],
}
# (example, frame, track): class, direction.
TRACKS = {
    (0, 0, 0): (1, (30, 10)),
    (0, 1, 0): (2, (-60, 20)),
    (0, 1, 1): (2, (120, -30)),
    (1, 2, 0): (0, (10, 0)),
    (1, 2, 1): (0, (100, 40)),
    (1, 2, 2): (4, (77, 5)),
}
FIRST_SLOT = {1: 0, 2: 1, 3: 3}


def adpit_target():
    target = torch.zeros(BATCH, FRAMES, 6, 4, CLASSES)
    for (b, t, label), events in EVENTS.items():
        for n, direction in enumerate(events):
            slot = FIRST_SLOT[len(events)] + n
            target[b, t, slot, 0, label] = 1.0
            target[b, t, slot, 1:, label] = unit(*direction)
    return target


def track_batch():
    sed = 3 * wave((BATCH, FRAMES, 3, CLASSES), 0.53, 0.2)
    doa = wave((BATCH, FRAMES, 3, 3), 0.91, 0.3).tanh()
    target_sed, target_doa = torch.zeros_like(sed), torch.zeros_like(doa)
    for (b, t, track), (label, direction) in TRACKS.items():
        target_sed[b, t, track, label] = 1.0
        target_doa[b, t, track] = unit(*direction)
    return sed, doa, target_sed, target_doa


OUTPUT = 0.9 * wave((BATCH, FRAMES, 9 * CLASSES), 0.37, 0.1)


def test_adpit():
    assert abs(adpit_loss(OUTPUT, adpit_target()).item() - 0.411562) < 1e-6


def test_accdoa():
    target = adpit_target()[:, :, 0]
    target = (target[:, :, :1] * target[:, :, 1:]).flatten(2)
    loss = accdoa_loss(OUTPUT[..., : 3 * CLASSES], target)
    assert abs(loss.item() - 0.412465) < 1e-6


def test_track_pit():
    values = [part.item() for part in track_pit_loss(*track_batch())]
    expected = [0.735662, 1.097974, 0.373350]
    assert np.allclose(values, expected, rtol=0, atol=1e-6)


def test_aggregated():
    batch = track_batch()
    for name, alpha, expected in (
        ("agg1", 0.0, 0.135754),
        ("agg2", 0.0, 0.378592),
        ("mixed", 0.5, 0.257173),
    ):
        loss = aggregated_loss(*batch, name, alpha)
        assert abs(loss.item() - expected) < 1e-6, name
