"""The CNN14-Conformer against outputs of the public original."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import base, recorded, weight
from torch import nn

from spatial_brain.models.cnn14_conformer import CNN14Conformer

GOLDEN = json.loads(
    Path(__file__).with_name("pseldnets.json").read_text(encoding="utf-8")
)
NAME = "mACCDOA-CNN14-Conformer"
NETWORK = GOLDEN["networks"][NAME]
TOLERANCE = GOLDEN["tolerance"]["outputs"]
RECORD = NETWORK["outputs"]["multi_accdoa"]


def make(*args, **options):
    """A network without memory for its parameters."""
    with torch.device("meta"):
        return CNN14Conformer(*args, **options)


def stored_table(shape):
    """The table of positions as checkpoints hold it."""
    _, rows, columns = shape
    rate = 10000.0 ** (-np.arange(0, columns, 2) / columns)
    table = np.empty((rows, columns), dtype=np.float32)
    table[:, 0::2] = np.sin(np.arange(rows)[:, None] * rate)
    table[:, 1::2] = np.cos(np.arange(rows)[:, None] * rate)
    return torch.from_numpy(table)[None]


@pytest.fixture(scope="module")
def network():
    """Filled by the original's names and shapes, all of them."""
    state = {}
    for name, shape in NETWORK["keys"].items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(0)
        elif name.endswith(".pe"):
            state[name] = stored_table(shape)
        else:
            state[name] = weight(name, tuple(shape))
    assert len(state) == NETWORK["n_entries"] == 149
    network = make("multi_accdoa", GOLDEN["C"])
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval()


def features():
    shape = (1, 7, 1001, 64)
    n = math.prod(shape)
    x = 0.8 * base("input:pseldnets", n) + 0.4 * np.sin(0.0017 * np.arange(n))
    return torch.from_numpy(x.reshape(shape).astype(np.float32))


class Kept(nn.Module):
    """Gives what the convolutions gave before."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return self.value


@pytest.fixture(scope="module")
def behind_convolutions(network):
    """The network with the outputs of its convolutions at hand."""
    with torch.no_grad():
        network.convs = Kept(network.convs(network.scalar(features())))
    return network


def test_names_and_parameters():
    network = make("multi_accdoa", GOLDEN["C"])
    shapes = {k: list(v.shape) for k, v in network.state_dict().items()}
    missing = set(NETWORK["keys"]) - set(shapes)
    # Computed, not stored.
    table = "decoder.decoder.layers.0.sequential.1.module.positional_encoding"
    assert missing == {f"{table}.pe"}
    assert shapes == {k: NETWORK["keys"][k] for k in shapes}
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters == NETWORK["parameters_total"]


@pytest.mark.parametrize(
    ("method", "options", "parameters", "entries", "tables"),
    [
        ("accdoa", {}, 177_316_926, 149, 1),
        ("multi_accdoa", {}, 179_406_906, 149, 1),
        ("einv2", {}, 756_798_279, 439, 6),
        (
            "multi_accdoa",
            {"encoder": "cnn8", "decoder": "gru", "num_decoder_layers": 2},
            2_161_370,
            101,
            0,
        ),
    ],
)
def test_counts(method, options, parameters, entries, tables):
    """With 170 classes; the originals also store the tables of positions."""
    network = make(method, 170, **options)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert len(network.state_dict()) == entries - tables


def test_names_of_two_branches():
    state = make("einv2", 13).state_dict()
    for name, shape in {
        "sed_convs.conv_block1.conv1.weight": (64, 4, 3, 3),
        "doa_convs.conv_block1.conv1.weight": (64, 7, 3, 3),
        "stitch.0.weight": (64, 2, 2),
        "stitch.4.weight": (1024, 2, 2),
        "stitch.7.weight": (2048, 2, 2),
        "sed_track3.decoder.layers.0.sequential.4.weight": (2048,),
        "fc_sed_track1.weight": (13, 2048),
        "fc_doa_track3.bias": (3,),
    }.items():
        assert state[name].shape == shape, name
    assert "stitch.8.weight" not in state
    state = make("accdoa", 13, encoder="cnn8", decoder="gru").state_dict()
    assert state["decoder.decoder.weight_hh_l0_reverse"].shape == (384, 128)


def test_outputs(network):
    with torch.no_grad():
        output = network(features())["multi_accdoa"]
    assert recorded(output, RECORD) < TOLERANCE
    assert abs(output.double().mean().item() - RECORD["mean"]) < 1e-6
    assert abs(output.double().std(correction=0) - RECORD["std"]) < 1e-6


def conformer(network):
    return network.decoder.decoder.layers[0].sequential


def reverse_filter(network):
    conv = conformer(network)[2].module.sequential[4].conv
    return conv, "weight", nn.Parameter(conv.weight.flip(2))


def forget_bias(network):
    attention = conformer(network)[1].module.attention
    return attention, "u_bias", nn.Parameter(attention.u_bias * 0)


def remove_table(network):
    attention = conformer(network)[1].module.attention
    weight = nn.Parameter(torch.zeros_like(attention.pos_proj.weight))
    return attention.pos_proj, "weight", weight


def scale_by_heads(network):
    return conformer(network)[1].module.attention, "scale", 1 / 16


def whole_step(network):
    return conformer(network)[0], "factor", 1.0


def change_epsilon(network):
    return conformer(network)[4], "eps", 1e-3


@pytest.mark.parametrize(
    "mistake",
    [
        reverse_filter,
        forget_bias,
        remove_table,
        scale_by_heads,
        whole_step,
        change_epsilon,
    ],
)
def test_planted_mistakes_show(behind_convolutions, mistake):
    """The comparison above is sharp enough to see one wrong detail."""
    network = behind_convolutions
    owner, name, value = mistake(network)
    kept = getattr(owner, name)
    with torch.no_grad():
        right = network(features())["multi_accdoa"]
        setattr(owner, name, value)
        wrong = network(features())["multi_accdoa"]
        setattr(owner, name, kept)
    assert recorded(right, RECORD) < TOLERANCE
    assert recorded(wrong, RECORD) > TOLERANCE
