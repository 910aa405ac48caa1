"""SELD networks: sizes, any length of input, gradients, errors."""

import pytest
import torch
import torch.nn.functional as F

from spatial_brain.models.htsat import (
    HTSAT,
    _fold_images,
    _label_average,
    _unfold_map,
)
from spatial_brain.models.passt import PaSST, _PaSSTEncoder
from spatial_brain.models.seld import SELDNetwork, finish_outputs, output_sizes

COUNTS = {
    ("htsat", "accdoa"): (29_895_062, 225, 121_484_432),
    ("htsat", "multi_accdoa"): (34_596_242, 225, 140_289_152),
    ("htsat", "einv2"): (57_481_271, 419, 233_729_812),
    ("htsat", "seddoa"): (29_936_543, 227, 121_650_356),
    ("passt", "accdoa"): (51_472_766, 132, 205_894_704),
    ("passt", "multi_accdoa"): (52_257_146, 132, 209_032_224),
    ("passt", "einv2"): (101_991_047, 244, 407_967_828),
}


@pytest.fixture(scope="module")
def htsat():
    torch.manual_seed(0)
    return SELDNetwork("htsat", "seddoa", 5).eval()


@pytest.fixture(scope="module")
def passt():
    torch.manual_seed(0)
    return SELDNetwork("passt", "multi_accdoa", 5).eval()


def infer(network, x):
    with torch.no_grad():
        return network(x)


@pytest.mark.parametrize("kind", sorted(COUNTS), ids="-".join)
def test_sizes_of_the_public_networks(kind):
    with torch.device("meta"):
        network = SELDNetwork(*kind, num_classes=170).network
    state = network.state_dict().values()
    found = (
        sum(p.numel() for p in network.parameters()),
        len(state),
        sum(value.numel() * value.element_size() for value in state),
    )
    assert found == COUNTS[kind]


@pytest.mark.parametrize("classes", [12, 13, 14])
def test_sizes_with_other_classes(classes):
    with torch.device("meta"):
        network = SELDNetwork("htsat", "multi_accdoa", classes)
    total = sum(p.numel() for p in network.parameters())
    assert total == 27_544_472 + 9 * classes * 4609


def test_label_average_is_interpolation_and_mean():
    x = torch.randn(2, 3, 1, 32, dtype=torch.float64)
    frames = F.interpolate(
        x, (1, 1024), mode="bilinear", align_corners=False
    ).squeeze(2)[..., :1000]
    expected = frames.unflatten(-1, (100, 10)).mean(-1)
    found = x.squeeze(2) @ _label_average().double().T
    assert torch.allclose(found, expected, atol=1e-6)


def test_folding_by_loops():
    x = torch.randn(1, 2, 1501, 64)
    images = _fold_images(x)
    assert images.shape == (2, 2, 256, 256)
    for window, frame, mel in (
        (0, 0, 0),
        (0, 255, 63),
        (0, 256, 1),
        (0, 1000, 17),
        (1, 500, 5),
    ):
        place = frame // 256 * 64 + mel, frame % 256
        expected = x[0, :, 1000 * window + frame, mel]
        assert torch.equal(images[window, :, place[0], place[1]], expected)
    # Beyond 1001 frames, or the clip, there are zeros.
    assert images[0, :, 192:, 1001 - 768 :].abs().max() == 0
    assert images[1, :, 128:].abs().max() == 0
    rows = torch.arange(64.0).view(1, 8, 8, 1)
    steps = _unfold_map(rows)
    assert steps.shape == (1, 1, 2, 32)
    for half, step in ((0, 0), (1, 0), (0, 9), (1, 31)):
        row = 2 * (step // 8) + half
        assert steps[0, 0, half, step] == rows[0, row, step % 8, 0]


@pytest.mark.parametrize(
    ("frames", "labels"), [(10, 1), (501, 50), (1009, 100), (1011, 101)]
)
def test_any_length(htsat, passt, frames, labels):
    x = torch.randn(1, 7, frames, 64)
    found = infer(htsat, x)
    assert found["sed"].shape == (1, labels, 3, 5)
    assert found["doa"].shape == (1, labels, 3, 3)
    assert found["doa"].abs().max() <= 1
    if frames < 1000:
        assert infer(passt, x)["multi_accdoa"].shape == (1, labels, 45)


@pytest.mark.parametrize("name", ["htsat", "passt"])
def test_windows_and_clips_do_not_see_each_other(name, request):
    network = request.getfixturevalue(name)
    x = torch.randn(2, 7, 1101, 64)
    together = infer(network, x)
    for key, value in together.items():
        assert value.shape[:2] == (2, 110)
        alone = infer(network, x[:1])[key]
        assert torch.allclose(alone, value[:1], atol=2e-5)
        first = infer(network, x[1:, :, :1001])[key]
        assert torch.allclose(first, value[1:, :100], atol=2e-5)
        second = infer(network, x[1:, :, 1000:])[key]
        assert torch.allclose(second, value[1:, 100:], atol=2e-5)
        assert not torch.allclose(first[:, :10], second, atol=1e-3)


def test_passt_uses_the_beginning_of_its_table_of_times():
    torch.manual_seed(0)
    encoder = _PaSSTEncoder(2, dim=12, depth=0, num_heads=2)
    x = torch.randn(1, 2, 201, 64)
    tokens = encoder.tokens(x)
    assert tokens.shape == (1, 2 + 6 * 20, 12)
    row, time = 4, 13
    patch = F.pad(x.transpose(2, 3), (3, 3, 3, 3))[
        :, :, 10 * row : 10 * row + 16, 10 * time : 10 * time + 16
    ]
    expected = F.conv2d(
        patch, encoder.patch_embed.proj.weight, encoder.patch_embed.proj.bias
    ).flatten()
    expected = expected + encoder.time_new_pos_embed[0, :, 0, time]
    expected = expected + encoder.freq_new_pos_embed[0, :, row, 0]
    assert torch.allclose(tokens[0, 2 + 20 * row + time], expected, atol=1e-5)


def test_short_clips_are_one_sequence(passt):
    x, inner = torch.randn(1, 7, 101, 64), passt.network
    with torch.no_grad():
        expected = inner.fc(inner.encoder(inner.scalar(x))).tanh()
        assert torch.allclose(inner(x)["multi_accdoa"], expected, atol=1e-6)


@pytest.mark.parametrize(
    "network",
    [
        lambda: HTSAT("einv2", 2, drop_path=0.0, checkpoint_blocks=True),
        lambda: PaSST("einv2", 2, checkpoint_blocks=True),
    ],
    ids=["htsat", "passt"],
)
def test_gradients_reach_every_parameter(network):
    torch.manual_seed(0)
    network = network().train()
    x = torch.randn(1, 7, 31, 64)
    kept = x.clone()
    outputs = network(x)
    assert torch.equal(x, kept)
    sum(value.square().mean() for value in outputs.values()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("name", ["htsat", "passt"])
def test_half_precision_keeps_float32_outputs(name, request):
    network = request.getfixturevalue(name)
    x = torch.randn(1, 7, 101, 64)
    expected = infer(network, x)
    with torch.autocast("cpu", torch.bfloat16):
        found = infer(network, x)
    for key, value in found.items():
        assert value.dtype == torch.float32
        assert (value - expected[key]).abs().max() < 0.05


def test_captured_as_one_graph(htsat):
    x = torch.randn(1, 7, 501, 64)
    expected = infer(htsat, x)
    compiled = torch.compile(htsat, backend="eager", fullgraph=True)
    for key, value in infer(compiled, x).items():
        assert torch.allclose(value, expected[key], atol=1e-5)


def test_finish_outputs_layout():
    raw = {"sed": torch.arange(12.0).view(1, 2, 6)}
    assert finish_outputs(raw)["sed"][0, 1, 2].tolist() == [10.0, 11.0]
    raw = {"accdoa": torch.tensor([[[0.5, -2.0, 9.0]]])}
    found = finish_outputs(raw)["accdoa"]
    assert torch.allclose(found, raw["accdoa"].tanh())
    assert output_sizes("accdoa", 4) == {"accdoa": 12}


def test_errors_name_what_is_wrong(htsat):
    with pytest.raises(ValueError, match=r"backbone.*crnn.*'resnet'"):
        SELDNetwork("resnet", "accdoa", 3)
    with pytest.raises(ValueError, match=r"method.*'polar'"):
        SELDNetwork("htsat", "polar", 3)
    with pytest.raises(ValueError, match=r"PaSST.*'seddoa'.*htsat"):
        SELDNetwork("passt", "seddoa", 3)
    with pytest.raises(ValueError, match=r"\[batch, 7.*\(1, 4, 101, 64\)"):
        htsat(torch.zeros(1, 4, 101, 64))
    with pytest.raises(ValueError, match=r"10 frames.*\(1, 7, 9, 64\)"):
        htsat(torch.zeros(1, 7, 9, 64))
    with pytest.raises(ValueError, match=r"at least 10 frames, 64\], got"):
        htsat(torch.zeros(1, 7, 101, 200))
