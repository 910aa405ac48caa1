"""The two-talker localiser against outputs of the public original."""

import json
from pathlib import Path

import pytest
import torch
from golden import base, fill, recorded, signal, weight

from spatial_brain.models.dual_mic import DualMicLocalizer
from spatial_brain.nnet.losses.localization import (
    azimuth_to_class,
    sorted_class_loss,
)

GOLDEN = json.loads(
    Path(__file__).with_name("dual_mic.json").read_text(encoding="utf-8")
)
TOLERANCE = GOLDEN["tolerance"]
CASES = sorted(GOLDEN["cases"])


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return DualMicLocalizer()


@pytest.fixture(scope="module")
def filled(network):
    # The Fourier kernels stay as they were made.
    return fill(network, skip=lambda name: name.startswith("stft.")).eval()


def waveforms(case):
    return torch.stack(
        [signal(2, case["samples"], seed) for seed in case["seeds"]]
    )


def test_rule():
    expected = torch.tensor([-0.753181886, -0.097193350, -0.100159518])
    assert torch.allclose(torch.tensor(base("check", 3)).float(), expected)
    value = weight("EncoderL.conv1d.weight", (64, 1, 16))[0, 0, :2]
    assert torch.allclose(value, torch.tensor([-0.12061922, 0.24296570]))
    value = signal(2, 1000, 1)[100]
    assert torch.allclose(value, torch.tensor([0.08157134, 0.07331208]))


def test_state_dict(network):
    state = network.state_dict()
    shapes = {name: list(value.shape) for name, value in state.items()}
    assert shapes == GOLDEN["state_dict"]
    assert len(shapes) == 315
    integers = {k for k, v in state.items() if not v.is_floating_point()}
    assert integers == set(GOLDEN["integer_keys"])
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters == GOLDEN["parameters_total"] == 57_102_224
    assert all(p.requires_grad for p in network.parameters())


def test_fourier_kernels(network):
    state = network.state_dict()
    for name, record in GOLDEN["stft_kernels_initial"].items():
        assert recorded(state[name], record) < 1e-7, name


@pytest.mark.parametrize("name", CASES)
def test_outputs(filled, name):
    case = GOLDEN["cases"][name]
    with torch.no_grad():
        features = filled.compute_features(waveforms(case))
        tokens = filled.embed(features)
        encoded = filled.backbone(tokens)
        logits = filled(waveforms(case))
    for key, value in (
        ("features_cos_sin", features),
        ("tokens_in", tokens),
        ("backbone_out", encoded),
        ("logits", logits),
    ):
        assert recorded(value, case[key]) < TOLERANCE[key], key
    difference = (logits - torch.tensor(case["all_logits"])).abs().max()
    assert difference < TOLERANCE["logits"]
    assert logits.argmax(-1).tolist() == case["argmax"]
    loss = sorted_class_loss(logits, torch.tensor(case["targets"]))
    assert abs(loss.item() - case["loss_ce_sum"]) < TOLERANCE["loss"]


def reverse_tables(network):
    for layer in network.backbone.layers:
        table = layer.attn.fn.rel_pos_emb.weight
        table.data = table.data.flip(0)


def halve_scale(network):
    for layer in network.backbone.layers:
        layer.attn.fn.scale /= 2


def change_epsilon(network):
    for module in network.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-6


def shift_positions(network):
    network.pos_embed.data = network.pos_embed.data.roll(1, dims=1)


def swap_kernels(network):
    stft = network.stft
    stft.conv_real, stft.conv_imag = stft.conv_imag, stft.conv_real


def exchange_class_tokens(network):
    network.cls_token.data = network.cls_token.data.flip(1)


@pytest.mark.parametrize(
    "mistake",
    [
        reverse_tables,
        halve_scale,
        change_epsilon,
        shift_positions,
        swap_kernels,
        exchange_class_tokens,
    ],
)
def test_planted_mistakes_show(mistake):
    """The comparison above is sharp enough to see one wrong detail."""
    torch.manual_seed(0)
    network = DualMicLocalizer()
    fill(network, skip=lambda name: name.startswith("stft.")).eval()
    mistake(network)
    case = GOLDEN["cases"]["batch1_36000"]
    with torch.no_grad():
        logits = network(waveforms(case))
    assert recorded(logits, case["logits"]) > TOLERANCE["logits"]


def test_labels():
    """floor(|azimuth| / 5), sorted after binning; 180 degrees is clamped."""
    azimuth = torch.tensor([-177.0, 2.0, -92.5, 90.0, 180.0, -180.0, 4.999])
    expected = [35, 0, 18, 18, 35, 35, 0]
    assert azimuth_to_class(azimuth).tolist() == expected
    edges = torch.arange(36) * 5.0
    assert azimuth_to_class(edges).tolist() == list(range(36))
    assert azimuth_to_class(-edges).tolist() == list(range(36))
