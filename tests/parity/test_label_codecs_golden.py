"""Decoders and chunks against numbers recorded from other systems.

Recorded once by running the originals named in the JSON file on the inputs
made here.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import base

from spatial_brain.dataio.dataset import chunk_bounds
from spatial_brain.dataio.labels import decode_outputs

GOLDEN = json.loads(
    Path(__file__).with_name("label_codecs.json").read_text(encoding="utf-8")
)


def vectors(name, frames, classes, together):
    """Vectors of length 0.35 to 1 about six azimuths, [L, 3, 3, C]."""
    u = base(name, frames * 3 * classes * 4).reshape(frames, 3, classes, 4)
    choice = u[:, :1, :, 0] if together else u[..., 0]
    spread, height = (14, 14) if together else (12, 20)
    azimuth = 60 * np.floor(3 * (choice + 1)) + spread * u[..., 1]
    azimuth, elevation = np.radians((azimuth, height * u[..., 2]))
    unit = (
        np.cos(azimuth) * np.cos(elevation),
        np.sin(azimuth) * np.cos(elevation),
        np.sin(elevation),
    )
    length = 0.35 + 0.65 * (u[..., 3] + 1) / 2
    return torch.from_numpy((length * np.stack(unit)).transpose(1, 2, 0, 3))


def assert_same(table, rows):
    ours = zip(
        table.frame, table.label, table.azimuth, table.elevation, strict=True
    )
    assert len(table) == len(rows)
    np.testing.assert_allclose(sorted(ours), sorted(rows), atol=2e-5)


def test_multi_accdoa_is_decoded_as_by_the_dcase2023_baseline():
    output = vectors("decode:near", 8, 3, True).flatten(1)
    table = decode_outputs({"multi_accdoa": output}, "multi_accdoa")
    assert_same(table, GOLDEN["multi_accdoa"])


def test_accdoa_is_decoded_as_by_pseldnets():
    output = vectors("decode:far", 8, 6, False)[:, 0].flatten(1)
    assert_same(decode_outputs({"accdoa": output}, "accdoa"), GOLDEN["accdoa"])


@pytest.mark.parametrize("case", GOLDEN["chunks"], ids=str)
def test_chunks_are_those_of_pseldnets(case):
    chunks = chunk_bounds(
        case["num_samples"], case["chunk"], case["hop"], tail=case["tail"]
    )
    assert len(chunks) == case["count"]
    assert [list(chunk) for chunk in chunks[-2:]] == case["last"]
