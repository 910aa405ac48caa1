import pytest
import torch
from plane_waves import plane_wave

from spatial_brain.geometry import azel_to_unit, linear_array
from spatial_brain.models.dual_mic import DualMicLocalizer
from spatial_brain.nnet.losses.localization import localization_loss
from spatial_brain.processing.decoding import decode_classes

TINY = {"dim": 16, "depth": 1, "heads": 2, "dim_head": 8, "conv_kernel": 3}
TOKENS = {**TINY, "patch_channels": (4, 8)}
ANGLES = {
    **TINY,
    "features": "steered+magnitude",
    "head": "angles",
    "num_classes": 72,
    "front_channels": (8,),
    "front_kernel": 1,
    "patch_channels": (),
    "patch_strides": [[4, 1]],
    "patch_kernels": [[4, 3]],
    "hop_length": 256,
    "trainable_stft": False,
}


@pytest.mark.parametrize(
    "samples, tokens", [(48000, 18), (49599, 18), (59199, 22), (10080, 6)]
)
def test_tokens_of_the_original(samples, tokens):
    network = DualMicLocalizer(**TOKENS).eval()
    features = network.compute_features(torch.randn(2, samples, 2))
    assert features.shape == (2, 2, 1 + samples // 160, 256)
    assert network.embed(features).shape == (2, tokens, 16)
    assert network(torch.randn(1, samples, 2)).shape == (1, 2, 36)


@pytest.mark.parametrize("features", ["ipd", "ipd+magnitude"])
def test_maps_over_bins(features):
    network = DualMicLocalizer(
        72,
        features=features,
        max_frequency=4000,
        hop_length=256,
        patch_strides=((4, 4), (4, 4), (2, 4)),
        **TOKENS,
    )
    assert network(torch.randn(2, 16000, 2)).shape == (2, 2, 72)
    maps = network.compute_features(torch.randn(2, 16000, 2))
    assert maps.shape == (2, 4 if "magnitude" in features else 2, 63, 128)
    assert network.columns == 2


@pytest.mark.parametrize("features", ["steered", "steered+magnitude"])
@pytest.mark.parametrize("head", ["tokens", "angles"])
def test_maps_over_angles(features, head):
    options = {**ANGLES, "features": features, "head": head}
    if head == "tokens":
        options.update(patch_strides=[(4, 6)], patch_kernels=None)
    network = DualMicLocalizer(num_talkers=3, **options)
    assert network(torch.randn(2, 16000, 2)).shape == (2, 3, 72)
    maps = network.compute_features(torch.randn(2, 16000, 2))
    assert maps.shape[2:] == (63, 36)


@torch.no_grad()
def test_angle_head_by_definition():
    network = DualMicLocalizer(**ANGLES).eval()
    waveform = torch.randn(2, 16000, 2)
    maps = network.compute_features(waveform)
    patches = network.patch_embed(network.inter_conv(maps))
    tokens = network.embed(maps) - network.pos_embed
    for angle in (0, 17, 35):
        for channel in range(16):
            frames = patches[1, channel, :, angle]
            expected = frames.mean() if channel < 8 else frames.max()
            assert tokens[1, angle, channel].item() == pytest.approx(
                expected.item(), abs=1e-6
            )
    encoded = network.backbone(network.embed(maps))
    logits = network(waveform)
    for angle in (0, 17, 35):
        scores = network.head(network.norm(encoded[1, angle]))
        for talker in range(2):
            for half in range(2):
                assert logits[1, talker, 2 * angle + half].item() == (
                    pytest.approx(scores[2 * talker + half].item(), abs=1e-5)
                )


def test_features_do_not_see_the_level():
    waveform = torch.randn(2, 16000, 2)
    for options in (TOKENS, {**TOKENS, "features": "ipd+magnitude"}, ANGLES):
        network = DualMicLocalizer(**options)
        loud = network.compute_features(waveform)
        # A power of two leaves all phases as they are, to the last bit.
        soft = network.compute_features(waveform / 128)
        assert (loud[:, :2] - soft[:, :2]).abs().max() < 1e-6
        # Nearly empty bins come down to the floor of the logarithm.
        assert (loud - soft).abs().mean() < 1e-3


def test_swapped_microphones_negate_the_sine():
    network = DualMicLocalizer(**TOKENS)
    waveform = torch.randn(1, 16000, 2)
    straight = network.compute_features(waveform)
    swapped = network.compute_features(waveform.flip(-1))
    assert torch.allclose(straight[:, 0], swapped[:, 0], atol=1e-5)
    assert torch.allclose(straight[:, 1], -swapped[:, 1], atol=1e-5)


def test_exchanged_microphones_mirror_the_steered_map():
    network = DualMicLocalizer(**ANGLES)
    waveform = torch.randn(1, 16000, 2)
    straight = network.compute_features(waveform)
    swapped = network.compute_features(waveform.flip(-1))
    assert torch.allclose(straight, swapped.flip(-1), atol=1e-3)


def test_waveforms_of_a_batch_do_not_meet():
    for options in (TOKENS, ANGLES):
        network = DualMicLocalizer(**options).eval()
        waveform = torch.randn(3, 16000, 2)
        together = network(waveform)
        alone = torch.cat([network(row[None]) for row in waveform])
        assert torch.allclose(together, alone, atol=1e-5)


def test_clear_errors():
    network = DualMicLocalizer(**TOKENS)
    for shape in ((1, 16000, 1), (1, 2, 16000), (16000, 2)):
        with pytest.raises(ValueError, match=r"\[batch, time, 2\]"):
            network(torch.zeros(shape))
    assert network.min_samples == 63 * 160
    network(torch.randn(2, network.min_samples, 2))
    with pytest.raises(ValueError, match="at least 10080"):
        network(torch.zeros(1, network.min_samples - 1, 2))


def test_too_many_tokens():
    network = DualMicLocalizer(max_tokens=18, **TOKENS)
    longest = 5 * 64 * 160 - 160 - 1
    assert network(torch.randn(2, longest, 2)).shape == (2, 2, 36)
    with pytest.raises(ValueError, match=f"at most {longest} samples"):
        network(torch.randn(1, longest + 1, 2))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"features": "ild"}, "features must be"),
        ({"head": "cls"}, "head must be"),
        ({"head": "angles"}, "needs steered"),
        ({"patch_strides": ((4, 16), (4, 8), (4, 4))}, "leave nothing"),
        ({"patch_kernels": ((4, 4), (4, 5), (4, 4))}, "kernel of 5"),
        ({"patch_kernels": ((2, 4), (4, 4), (4, 4))}, "kernel of 2"),
        ({"front_kernel": 4}, "kernel of 4"),
        ({**ANGLES, "num_classes": 50}, "multiple of the 36"),
        ({**ANGLES, "num_bands": 7}, "num_bands=7"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        DualMicLocalizer(**{**TOKENS, **options})


def test_initial_values():
    network = DualMicLocalizer(**{**TOKENS, "dim": 64})
    for name, parameter in network.named_parameters():
        if name.endswith("bias") and "conv" not in name and "patch" not in name:
            assert (parameter == 0).all(), name
    spread = network.backbone.layers[0].ff1.fn.fn.net[0].weight.std()
    assert spread.item() == pytest.approx(0.02, rel=0.05)
    assert network.pos_embed.std().item() == pytest.approx(0.02, rel=0.05)
    table = network.backbone.layers[0].attn.fn.rel_pos_emb.weight
    assert table.std().item() == pytest.approx(1.0, rel=0.05)


def test_dropout_reaches_the_blocks():
    network = DualMicLocalizer(dropout=0.3, **TOKENS)
    rates = {m.p for m in network.modules() if isinstance(m, torch.nn.Dropout)}
    assert rates == {0.3}


@pytest.mark.parametrize("options", [TOKENS, ANGLES])
def test_mixed_precision_keeps_phases(options):
    network = DualMicLocalizer(**options).eval()
    waveform = torch.randn(2, 16000, 2)
    expected = network.compute_features(waveform)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = network.compute_features(waveform)
        logits = network(waveform)
    assert torch.equal(features, expected)
    assert (logits.float() - network(waveform)).abs().max() < 0.1


@pytest.mark.parametrize("options", [TOKENS, ANGLES])
def test_gradients_reach_every_parameter(options):
    network = DualMicLocalizer(**options)
    angles = torch.tensor([[20.0, 130.0]])
    loss = localization_loss(network(torch.randn(1, 16000, 2)), angles)
    loss.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_learns_directions():
    """A small network finds the angle of plane waves it was not trained on."""
    torch.manual_seed(1)
    pair = linear_array(2, 0.1)

    def examples(seed, num=24):
        generator = torch.Generator().manual_seed(seed)
        angles = 20 + 140 * torch.rand(num, generator=generator)
        waves = [
            plane_wave(pair, azel_to_unit(a, 0.0), 4096, seed=seed + k)
            for k, a in enumerate(angles)
        ]
        return torch.cat(waves), angles[:, None]

    network = DualMicLocalizer(num_talkers=1, **ANGLES)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    waveform, angles = examples(0)
    for _ in range(30):
        loss = localization_loss(network(waveform), angles, sigma=5.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    waveform, angles = examples(1000)
    network.eval()
    found = decode_classes(network(waveform))
    assert (found - angles).abs().mean() < 8.0
