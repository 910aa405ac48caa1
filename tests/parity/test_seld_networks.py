"""HTS-AT and PaSST against outputs of the public originals."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import base, recorded, weight

from spatial_brain.models.seld import SELDNetwork

GOLDEN = json.loads(
    Path(__file__).with_name("pseldnets.json").read_text(encoding="utf-8")
)
TOLERANCE = GOLDEN["tolerance"]["outputs"]
CASES = {
    "ACCDOA-HTSAT": ("htsat", "accdoa"),
    "mACCDOA-HTSAT": ("htsat", "multi_accdoa"),
    "EINV2-HTSAT": ("htsat", "einv2"),
    "SEDDOA-HTSAT": ("htsat", "seddoa"),
    "mACCDOA-PaSST": ("passt", "multi_accdoa"),
}
CONSTANTS = ("relative_position_index", "attn_mask")


@pytest.fixture(scope="module")
def features():
    n = 7 * 1001 * 64
    x = 0.8 * base("input:pseldnets", n) + 0.4 * np.sin(0.0017 * np.arange(n))
    x = torch.from_numpy(x.astype(np.float32).reshape(1, 7, 1001, 64))
    check = GOLDEN["input_check"]
    index = tuple(torch.tensor(check["index"]).T)
    assert torch.allclose(x[index], torch.tensor(check["value"]))
    return x


@pytest.fixture(scope="module")
def golden_weight():
    """Networks share names, hence values; each is computed once."""
    kept = {}

    def get(name, shape):
        if (name, shape) not in kept:
            kept[name, shape] = weight(name, shape)
        return kept[name, shape]

    return get


def filled(name, golden_weight):
    network = SELDNetwork(*CASES[name], GOLDEN["C"]).network
    state = network.state_dict()
    shapes = {key: list(value.shape) for key, value in state.items()}
    assert shapes == GOLDEN["networks"][name]["keys"]
    for key, value in state.items():
        computed = key.rsplit(".", 1)[-1] in CONSTANTS
        if value.is_floating_point() and not computed:
            state[key] = golden_weight(key, tuple(value.shape))
    network.load_state_dict(state, strict=True)
    return network.eval()


@pytest.mark.parametrize("name", sorted(CASES))
def test_network(name, features, golden_weight):
    record = GOLDEN["networks"][name]
    network = filled(name, golden_weight)
    total = sum(p.numel() for p in network.parameters())
    assert total == record["parameters_total"]
    assert len(network.state_dict()) == record["n_entries"]
    with torch.no_grad():
        outputs = network(features)
    assert set(outputs) == set(record["outputs"])
    for key, value in outputs.items():
        expected = record["outputs"][key]
        # The original itself rounds by 1.5e-6 from its double precision.
        assert recorded(value, expected) < TOLERANCE / 10, key
        assert abs(value.mean().item() - expected["mean"]) < 1e-6
        deviation = value.std(correction=0).item()
        assert abs(deviation - expected["std"]) < 1e-6
