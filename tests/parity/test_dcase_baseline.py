"""The baseline of DCASE2024 against outputs of the public original."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import base, fill, recorded

from spatial_brain.models.dcase_baseline import DCASEBaseline

GOLDEN = json.loads(
    Path(__file__).with_name("dcase2024_baseline.json").read_text("utf-8")
)
BUFFERS = ("mean", "deviation")


@pytest.mark.parametrize("format", sorted(GOLDEN["networks"]))
def test_outputs(format):
    record = GOLDEN["networks"][format]
    channels = record["keys"]["conv_block_list.0.conv.weight"][1]
    network = DCASEBaseline(13, channels)
    shapes = {k: list(v.shape) for k, v in network.state_dict().items()}
    assert {k: v for k, v in shapes.items() if k not in BUFFERS} == (
        record["keys"]
    )
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters == record["parameters_total"]
    fill(network, skip=lambda name: name in BUFFERS).eval()
    shape = (2, channels, 250, 64)
    n = math.prod(shape)
    x = 1.5 * base(f"input:baseline_{format}", n)
    x = x + 0.4 * np.sin(0.0017 * np.arange(n))
    x = torch.from_numpy(x.astype(np.float32).reshape(shape))
    with torch.no_grad():
        output = network.vectors_and_distances(x)
        vectors = network(x)["multi_accdoa"]
    expected, tolerance = record["output"], GOLDEN["tolerance"]["outputs"]
    assert recorded(output, expected) < tolerance
    assert abs(output.mean().item() - expected["mean"]) < 1e-6
    assert abs(output.std(correction=0).item() - expected["std"]) < 1e-6
    # Without the distances.
    for track in range(3):
        whole = output[..., 52 * track : 52 * track + 39]
        assert torch.equal(vectors[..., 39 * track : 39 * track + 39], whole)
