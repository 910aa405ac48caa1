"""HTS-AT and PaSST against outputs of the public originals."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import base, recorded, weight

from spatial_brain.inference import SELDetector
from spatial_brain.inference.convert import convert
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
    shapes = {k: list(v.shape) for k, v in network.state_dict().items()}
    assert shapes == GOLDEN["networks"][name]["keys"]
    return fill(network, golden_weight)


def fill(network, golden_weight):
    state = network.state_dict()
    for key, value in state.items():
        computed = key.rsplit(".", 1)[-1] in CONSTANTS
        if value.is_floating_point() and not computed:
            state[key] = golden_weight(key, tuple(value.shape))
    network.load_state_dict(state, strict=True)
    return network.eval()


# Released files by the networks that they hold.
RELEASED = {
    "ACCDOA-HTSAT-0.566": "ACCDOA-HTSAT",
    "mACCDOA-HTSAT-0.567": "mACCDOA-HTSAT",
    "EINV2-HTSAT-0.597": "EINV2-HTSAT",
    "SEDDOA-HTSAT-AGG1-0.531": "SEDDOA-HTSAT",
    "mACCDOA-PaSST-0.562": "mACCDOA-PaSST",
}


@pytest.mark.parametrize("file", sorted(RELEASED))
def test_released_file(file, features, golden_weight, tmp_path):
    """A file in the original's layout, converted, gives its outputs."""
    name = RELEASED[file]
    record = GOLDEN["networks"][name]
    network = filled(name, golden_weight)
    total = sum(p.numel() for p in network.parameters())
    assert total == record["parameters_total"]
    assert len(network.state_dict()) == record["n_entries"]
    state = {f"net._orig_mod.{k}": v for k, v in network.state_dict().items()}
    state["af_extractor.stft_extractor.window"] = torch.hann_window(1024)
    torch.save({"state_dict": state}, tmp_path / f"{file}.ckpt")
    done = convert("pseldnets", tmp_path / f"{file}.ckpt", tmp_path / "out")
    assert done.num_tensors == record["n_entries"]
    detector = SELDetector.from_hparams(done.folder, run_opts={"device": "cpu"})
    assert detector.hparams.method == CASES[name][1]
    with torch.no_grad():
        outputs = detector.mods.model(features)
    assert set(outputs) == set(record["outputs"])
    for key, value in outputs.items():
        expected = record["outputs"][key]
        # The original itself rounds by 1.5e-6 from its double precision.
        assert recorded(value, expected) < TOLERANCE / 10, key
        assert abs(value.mean().item() - expected["mean"]) < 1e-6
        deviation = value.std(correction=0).item()
        assert abs(deviation - expected["std"]) < 1e-6


@pytest.fixture(scope="module")
def adapterbit(golden_weight):
    record = GOLDEN["adapterbit"]
    network = SELDNetwork(
        "htsat", "multi_accdoa", record["C"], adapter="adapterbit"
    ).network
    return fill(network, golden_weight)


def test_adapters(adapterbit, features):
    """Names, numbers, trained set and outputs of AdapterBit."""
    record, state = GOLDEN["adapterbit"], adapterbit.state_dict()
    added = {k: list(v.shape) for k, v in state.items() if ".adapter." in k}
    assert added == record["adapter_keys"]
    assert len(state) == record["n_entries"]
    parameters = dict(adapterbit.named_parameters())
    trained = {k: p.numel() for k, p in parameters.items() if p.requires_grad}
    assert set(trained) == {
        name
        for name in parameters
        if "adapter" in name or "bias" in name or name.startswith("tscam_conv")
    }
    assert len(trained) == record["trainable_tensors"]
    assert sum(trained.values()) == record["trainable"] == 5_001_142
    total = sum(p.numel() for p in parameters.values())
    assert total == record["parameters_total"] == 32_451_542
    with torch.no_grad():
        output = adapterbit(features)["multi_accdoa"]
    expected = record["outputs"]["multi_accdoa"]
    assert recorded(output, expected) < TOLERANCE / 10
    assert abs(output.mean().item() - expected["mean"]) < 1e-6


def test_adapters_that_give_nothing(adapterbit, features):
    """With zeros in their last layer: the network without adapters."""
    with torch.no_grad():
        for name, parameter in adapterbit.named_parameters():
            if "adapter.fc2" in name:
                parameter.zero_()
        output = adapterbit(features)["multi_accdoa"]
    expected = GOLDEN["adapterbit"]["outputs_adapter_fc2_zero"]["multi_accdoa"]
    assert recorded(output, expected) < TOLERANCE / 10
