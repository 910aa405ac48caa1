"""Binaural Conv-TasNet against outputs of SpeechBrain's recipe."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import recorded, signal, weight

from spatial_brain.models.binaural_tasnet import (
    BinauralTasNet,
    _level_difference,
)
from spatial_brain.nnet.losses.separation import snr_loss

GOLDEN = json.loads(
    Path(__file__).with_name("binaural.json").read_text(encoding="utf-8")
)
MODELS = GOLDEN["models"]
# The original's names of modules, in the order of the specification.
MODULES = [
    part + ear for part in ("Encoder", "MaskNet", "Decoder") for ear in "LR"
]


def own(module):
    """Our name of a module."""
    return module[0].lower() + module[1:].replace("Net", "net")


def load(name, fill):
    """A network filled by a rule; float64 if the rule gives that."""
    rule, count = name.split("_")
    with torch.device("meta"):
        network = BinauralTasNet(rule, int(count[0]))
    state = fill({k: tuple(v.shape) for k, v in network.state_dict().items()})
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval()


def golden_fill(shapes):
    """Filled by the original's names."""
    names = {own(module): module for module in MODULES}
    state = {}
    for name, shape in shapes.items():
        module, rest = name.split(".", 1)
        state[name] = weight(f"{names.get(module, module)}.{rest}", shape)
    return state


@pytest.mark.parametrize("name", MODELS)
def test_outputs(name):
    network = load(name, golden_fill)
    tolerance = GOLDEN["tolerance"][network.rule]
    for record in MODELS[name]["outputs"]:
        waveform = signal(2, record["samples"], record["seed"])
        check = {**record["input_check"], "shape": list(waveform.shape)}
        assert recorded(waveform, check) < 1e-8
        with torch.no_grad():
            found = network(waveform[None])[0]
        wanted = record["output"]
        assert recorded(found, wanted) < tolerance
        assert found.mean().item() == pytest.approx(wanted["mean"], abs=1e-6)
        spread = found.std(correction=0).item()
        assert spread == pytest.approx(wanted["std"], abs=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_sizes(name):
    rule, count = name.split("_")
    with torch.device("meta"):
        network = BinauralTasNet(rule, int(count[0]))
    for module, size in MODELS[name]["parameters_per_module"].items():
        part = getattr(network, own(module))
        assert sum(p.numel() for p in part.parameters()) == size
    total = sum(p.numel() for p in network.parameters())
    # The original's projection is no part of its network.
    projection = 8320 if rule == "cross" else 0
    assert total == MODELS[name]["parameters_total"] + projection


def test_names_and_shapes():
    """Those of the right ear equal those of the left."""
    with torch.device("meta"):
        network = BinauralTasNet()
    for module, keys in GOLDEN["modules"].items():
        for ear in "LR":
            part = getattr(network, own(module[:-1] + ear))
            shapes = {k: list(v.shape) for k, v in part.state_dict().items()}
            assert shapes == keys
    assert len(GOLDEN["modules"]["MaskNetL"]) == 292
    names = {name.split(".")[0] for name in network.state_dict()}
    assert names == {own(module) for module in MODULES}


# The golden vectors of the specification, with a filling rule of their own.


def sine_fill(shapes):
    """Filled by the place in the sorted list of each module's names."""
    state = {}
    for q, module in enumerate(map(own, MODULES)):
        names = sorted(n for n in shapes if n.split(".")[0] == module)
        for j, name in enumerate(names):
            shape = shapes[name]
            w = np.sin(0.7 * np.arange(math.prod(shape)) + 0.3 * j + q)
            if name.endswith("gamma"):
                w = 1 + 0.1 * w
            elif name.endswith("beta"):
                w = 0.1 * w
            elif name.endswith("act.weight"):
                w = np.full(1, 0.25)
            else:
                w = w * math.sqrt(2 / math.prod(shape[1:]))
            state[name] = torch.from_numpy(w.reshape(shape))
    if "ild_proj.weight" in shapes:
        shape = shapes["ild_proj.weight"]
        w = np.sin(0.7 * np.arange(math.prod(shape)) + 9)
        w *= math.sqrt(2 / 129)
        state["ild_proj.weight"] = torch.from_numpy(w.reshape(shape))
        bias = 0.1 * np.sin(np.arange(*shapes["ild_proj.bias"]))
        state["ild_proj.bias"] = torch.from_numpy(bias)
    return state


def tones(total):
    """The input of the specification, float64 [1, time, 2]."""
    t = torch.arange(total, dtype=torch.float64)
    left = (0.05 * t).sin() + 0.3 * (0.31 * t + 1).sin()
    right = 0.6 * (0.05 * (t - 3)).sin() + 0.4 * (0.31 * t + 0.2).sin()
    return torch.stack((left, right), -1)[None]


@pytest.mark.parametrize(
    "name", ["parallel_2spk", "independent_2spk", "cross_2spk", "parallel_3spk"]
)
def test_vectors_of_the_specification(name):
    record = GOLDEN["specification"]
    waveform, wanted = tones(record["samples"]), record[name]
    with torch.no_grad():
        found = load(name, sine_fill)(waveform)
    values = found[0, record["at"]].flatten().tolist()
    # The original's window of the level differences is rounded to float32.
    rounding = 60 if "cross" in name else 1
    assert values == pytest.approx(wanted["value"], abs=1e-7 * rounding)
    assert found.abs().mean().item() == pytest.approx(
        wanted["mean_abs"], abs=1e-8 * rounding
    )
    if "at_3990" in wanted:
        values = found[0, 3990].flatten().tolist()
        assert values == pytest.approx(wanted["at_3990"], abs=1e-7)
    if "mean_ild" in wanted:
        ild = _level_difference(waveform.mT)
        assert ild.shape == (1, 129, 32)
        assert ild.mean().item() == pytest.approx(wanted["mean_ild"], abs=6e-7)


def test_loss_of_the_specification():
    t = torch.arange(800, dtype=torch.float64)
    first = torch.stack(((0.1 * t).sin(), 0.5 * (0.1 * t - 0.2).sin()), -1)
    second = torch.stack(((0.23 * t).cos(), 1.5 * (0.23 * t + 0.4).cos()), -1)
    talkers = torch.stack((first, second), -1)[None]
    for offset in (0.05, 0.0):
        estimate = torch.stack(
            (0.9 * second + 0.1 * first + offset, 0.8 * first - 0.2 * second),
            -1,
        )[None]
        loss, order = snr_loss(estimate, talkers)
        assert loss.item() == pytest.approx(-12.867254601, abs=1e-8)
        assert order.tolist() == [[1, 0]]


def test_causal_networks_of_speechbrain():
    """Their extra lag, and their norm over channels."""
    masks = pytest.importorskip("speechbrain.lobes.models.conv_tasnet")
    torch.manual_seed(0)
    theirs = masks.MaskNet(6, 4, 5, 3, 3, 2, 2, norm_type="cLN", causal=True)
    ours = BinauralTasNet(
        num_filters=3,
        bottleneck=4,
        hidden=5,
        num_blocks=3,
        num_repeats=2,
        causal=True,
        causal_legacy=True,
    ).masknetL
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.rand(2, 6, 40)
    with torch.no_grad():
        wanted = theirs(x).transpose(0, 1)
        assert torch.allclose(ours(x), wanted, rtol=1e-4, atol=1e-4)
