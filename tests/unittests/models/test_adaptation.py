"""Adapted SELD networks: what is trained, added, kept and loaded."""

import copy

import pytest
import torch

from spatial_brain.models.adaptation import (
    HEADS,
    describe_parameters,
    is_added,
    trained_entries,
)
from spatial_brain.models.seld import SELDNetwork, output_sizes
from spatial_brain.models.transfer import initialize

# With 14 classes: all parameters, trained ones.
COUNTS = {
    None: (28_125_206, 28_125_206),
    "adapter": (32_451_542, 4_326_336 + 580_734),
    "adapterbit": (32_451_542, 5_001_142),
    "lora": (29_323_542, 1_885_974),
    "bias": (28_125_206, 94_072 + 580_734),
}
SMALL_CNN = {"widths": (4, 8, 8, 8, 8, 16)}
METHODS = ("accdoa", "multi_accdoa", "einv2", "seddoa")


def build(backbone, method, adapter, classes=3, **options):
    if backbone == "cnn14_conformer":
        options = SMALL_CNN
    torch.manual_seed(1)
    return SELDNetwork(backbone, method, classes, adapter=adapter, **options)


def trained(network):
    return {n for n, p in network.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("adapter", COUNTS)
def test_numbers_of_the_public_networks(adapter):
    with torch.device("meta"):
        network = SELDNetwork("htsat", "multi_accdoa", 14, adapter=adapter)
    parameters = list(network.parameters())
    found = (
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in parameters if p.requires_grad),
    )
    assert found == COUNTS[adapter]


def test_what_lora_updates():
    with torch.device("meta"):
        network = SELDNetwork("htsat", "multi_accdoa", 14, adapter="lora")
    frozen = {
        name.removeprefix("network.")
        for name, p in network.named_parameters()
        if not p.requires_grad
    }
    linear = ("qkv", "attn.proj", "fc1", "fc2", "reduction")
    weights = tuple(f"{name}.weight" for name in linear)
    assert frozen == {
        name.removeprefix("network.")
        for name in network.state_dict()
        if name.endswith(weights) or name.endswith("patch_embed.proj.weight")
    }
    added = [p.numel() for n, p in network.named_parameters() if is_added(n)]
    assert sum(added) == 1_198_336
    state = network.network.state_dict()
    assert state["encoder.patch_embed.proj.lora_A.weight"].shape == (
        16,
        7,
        4,
        4,
    )
    assert state["encoder.patch_embed.proj.lora_B.weight"].shape == (
        96,
        16,
        1,
        1,
    )
    assert state["encoder.layers.3.blocks.1.mlp.fc1.lora_A"].shape == (16, 768)
    assert state["encoder.layers.3.blocks.1.mlp.fc1.lora_B"].shape == (3072, 16)


@pytest.mark.parametrize(
    ("backbone", "method", "adapter"),
    [
        ("htsat", "accdoa", "adapterbit"),
        ("htsat", "accdoa", "lora"),
        ("htsat", "accdoa", "bias"),
        ("htsat", "einv2", "adapter"),
        ("passt", "accdoa", "adapterbit"),
        ("passt", "accdoa", "lora"),
        ("crnn", "accdoa", "bias"),
        ("crnn", "einv2", "adapterbit"),
    ],
)
def test_outputs_begin_the_same_and_only_what_is_named_changes(
    backbone, method, adapter
):
    options = {"drop_path": 0.0} if backbone == "htsat" else {}
    plain = build(backbone, method, None).eval()
    model = build(backbone, method, adapter, **options).eval()
    initialize(model, plain.network.state_dict(), keep_head=True)
    x = torch.randn(1, 7, 101, 64)
    with torch.no_grad():
        found = model(x)
        for name, value in plain(x).items():
            assert torch.equal(found[name], value)
    network = model.train().network
    before = {n: v.clone() for n, v in network.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), 0.01)
    # What lies before zeros gets its gradient in the second step.
    for _ in range(2):
        optimizer.zero_grad()
        sum(value.square().sum() for value in model(x).values()).backward()
        optimizer.step()
    changed = {
        name
        for name, value in network.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == set(trained_entries(network))
    with torch.no_grad():
        after = model.eval()(x)
    for name, value in found.items():
        assert not torch.allclose(after[name], value, atol=1e-3)


@pytest.mark.parametrize(
    ("backbone", "method"),
    [
        (backbone, method)
        for backbone in ("passt", "cnn14_conformer", "crnn")
        for method in METHODS
        if (backbone, method) != ("passt", "seddoa")
    ],
)
def test_bias_alone_for_every_network(backbone, method):
    with torch.device("meta"):
        network = build(backbone, method, "bias").network
    expected = {
        name
        for name, _ in network.named_parameters()
        if "bias" in name or name.startswith(HEADS)
    }
    assert trained(network) == expected
    heads = [
        network.get_parameter(name).shape[0]
        for name in expected
        if name.startswith(HEADS) and name.endswith("weight")
    ]
    assert sum(heads) == sum(output_sizes(method, 3).values())


def test_adapters_of_the_small_network():
    options = {"width": 8, "gru_layers": 1, "attention_layers": 2}
    network = build("crnn", "accdoa", "adapter", **options).network
    places = {f"encoder.along_time.{number}.adapter" for number in range(3)}
    names = trained(network)
    assert {name.rpartition(".fc")[0] for name in names} - {""} == places
    assert {n for n in names if ".adapter." not in n} == {
        "heads.accdoa.weight",
        "heads.accdoa.bias",
    }


@pytest.mark.parametrize(
    ("backbone", "adapter"),
    [
        ("cnn14_conformer", "adapter"),
        ("cnn14_conformer", "adapterbit"),
        ("cnn14_conformer", "lora"),
        ("crnn", "lora"),
    ],
)
def test_networks_without_transformer_blocks_are_refused(backbone, adapter):
    with pytest.raises(ValueError, match="no transformer blocks.*bias"):
        build(backbone, "accdoa", adapter)


def test_an_unknown_adapter_is_refused():
    with pytest.raises(ValueError, match=r"adapterbit.*got 'adaptors'"):
        build("htsat", "accdoa", "adaptors")


@pytest.mark.parametrize("backbone", ["htsat", "crnn"])
def test_frozen_statistics_stay_in_training(backbone):
    network = build(backbone, "accdoa", "bias", freeze_statistics=True)
    free = build(backbone, "accdoa", "bias")
    x = 3 + torch.randn(1, 7, 21, 64)
    norms = {
        name: value.clone()
        for name, value in network.state_dict().items()
        if name.endswith(("running_mean", "running_var"))
    }
    for one in (network, copy.deepcopy(network).eval().train()):
        one(x)
        for name, value in norms.items():
            assert torch.equal(one.state_dict()[name], value)
    free(x)
    assert any(
        not torch.equal(free.state_dict()[name], value)
        for name, value in norms.items()
    )
    # The shift of the normalisation is trained all the same.
    network(x)["accdoa"].sum().backward()
    assert network.network.scalar[0].bias.grad.abs().max() > 0


def test_parts_of_adapters_are_new_or_loaded():
    source = build("htsat", "multi_accdoa", None, classes=5)
    network = build("htsat", "multi_accdoa", "adapterbit", classes=14)
    transfer = initialize(network, source.network.state_dict())
    text = describe_parameters(network.network, transfer.copied)
    for part in (
        "32,451,542 parameters",
        "loaded 27,544,472 (scalar 896, encoder 27,543,576)",
        "new 4,907,070 (adapters 4,326,336, tscam_conv 580,734)",
        "trained 5,001,142 (",
        "frozen 27,450,400 (",
    ):
        assert part in text, text
    assert "adapters (96), tscam_conv (2)" in str(transfer)
    # From an adapted network the adapters come along, all or none.
    again = build("htsat", "multi_accdoa", "adapterbit", classes=14)
    state = network.network.state_dict()
    state["encoder.layers.0.blocks.0.mlp.adapter.fc2.bias"] += 1
    transfer = initialize(again, state, keep_head=True)
    assert transfer.left == transfer.unused == []
    plain = build("htsat", "multi_accdoa", None, classes=14)
    assert "not used: adapters (96)" in str(initialize(plain, state, True))
    state.pop("encoder.layers.0.blocks.0.mlp.adapter.fc2.bias")
    with pytest.raises(ValueError, match=r"missing: .*mlp\.adapter\.fc2\.bias"):
        initialize(again, state)


@pytest.mark.parametrize("method", METHODS)
def test_other_classes_for_the_small_network(method):
    source = build("crnn", method, None, classes=5).network.state_dict()
    network = build("crnn", method, None, classes=3)
    for keep_head in (False, True):
        left = initialize(network, source, keep_head).left
        assert {name.split(".")[1] for name in left} == {
            "sed" if method in ("einv2", "seddoa") else method
        }
    same = build("crnn", method, None, classes=5)
    assert initialize(same, source, keep_head=True).left == []
