"""The convolutional networks for SELD: shapes, lengths, learning."""

import pytest
import torch

from spatial_brain.augment.rotation import (
    foa_turns,
    rotate_foa_features,
    rotate_outputs,
)
from spatial_brain.models.cnn14_conformer import (
    CNN14Conformer,
    _ConvEncoder,
    _steps_to_labels,
)
from spatial_brain.models.seld import SELDNetwork
from spatial_brain.models.seld_crnn import SELDCRNN
from spatial_brain.nnet.losses.seld import SELDLoss

METHODS = ("accdoa", "multi_accdoa", "einv2", "seddoa")
CLASSES = 5
SMALL = {
    "crnn": lambda method, **more: SELDCRNN(method, CLASSES, width=8, **more),
    "causal crnn": lambda method, **more: SELDCRNN(
        method, CLASSES, width=8, attention_layers=0, causal=True, **more
    ),
    "cnn12": lambda method, **more: CNN14Conformer(
        method, CLASSES, widths=(4, 4, 8, 8, 8, 16), **more
    ),
    "cnn8-gru": lambda method, **more: CNN14Conformer(
        method,
        CLASSES,
        encoder="cnn8",
        decoder="gru",
        num_decoder_layers=2,
        widths=(4, 4, 8, 16),
        **more,
    ),
}


def expected_shapes(method, batch, frames):
    labels = frames // 10
    return {
        "accdoa": {"accdoa": (batch, labels, 3 * CLASSES)},
        "multi_accdoa": {"multi_accdoa": (batch, labels, 9 * CLASSES)},
    }.get(
        method,
        {"sed": (batch, labels, 3, CLASSES), "doa": (batch, labels, 3, 3)},
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SMALL)
def test_any_length(name, method):
    torch.manual_seed(0)
    network = SMALL[name](method).eval()
    with torch.no_grad():
        for frames in (10, 11, 19, 101, 107, 501, 1001):
            features = torch.randn(2, 7, frames, 64)
            outputs = network(features)
            shapes = {key: tuple(value.shape) for key, value in outputs.items()}
            assert shapes == expected_shapes(method, 2, frames)
            for key, value in outputs.items():
                assert value.isfinite().all()
                assert key == "sed" or value.abs().max() <= 1
            alone = network(features[1:])
            for key, value in alone.items():
                assert torch.allclose(value, outputs[key][1:], atol=1e-5)
        # A minute.
        outputs = network(torch.randn(1, 7, 6001, 64))
        assert next(iter(outputs.values())).shape[1] == 600


@pytest.mark.parametrize("name", SMALL)
def test_classes_see_the_first_channels_only(name):
    """In two branches the levels' way to the classes has four inputs."""
    torch.manual_seed(0)
    network = SMALL[name]("einv2")
    with torch.no_grad():
        for stitch in network.stitch:
            stitch.weight.copy_(torch.eye(2).expand_as(stitch.weight))
    network.eval()
    features = torch.randn(1, 7, 101, 64)
    changed = features.clone()
    changed[:, 4:] += 1.0
    one, other = network(features), network(changed)
    assert torch.allclose(one["sed"], other["sed"], atol=1e-6)
    assert (one["doa"] - other["doa"]).abs().max() > 1e-4


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("method", METHODS)
def test_every_parameter_learns(name, method):
    torch.manual_seed(0)
    network = SMALL[name](method)
    features = torch.randn(2, 7, 101, 64)
    kept = features.clone()
    outputs = network(features)
    sum(value.square().mean() for value in outputs.values()).backward()
    assert torch.equal(features, kept)
    for key, parameter in network.named_parameters():
        if key.startswith("scalar.") and "causal" in name:
            continue  # stays as it is
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key


@pytest.mark.parametrize("method", METHODS)
def test_causal_outputs_do_not_depend_on_the_future(method):
    torch.manual_seed(0)
    network = SMALL["causal crnn"](method).eval()
    features = torch.randn(1, 7, 200, 64)
    with torch.no_grad():
        outputs = network(features)
        for label in (0, 7, 18):
            changed = features.clone()
            changed[:, :, 10 * label + 10 :] += 1.0
            for key, value in network(changed).items():
                known = slice(0, label + 1)
                assert torch.equal(value[:, known], outputs[key][:, known])
                assert not torch.equal(value, outputs[key])
            # The last frame of a label counts.
            changed = features.clone()
            changed[:, :, 10 * label + 9] += 1.0
            for key, value in network(changed).items():
                assert not torch.equal(value[:, label], outputs[key][:, label])


def test_causal_outputs_remember_what_was_long_ago():
    torch.manual_seed(0)
    network = SMALL["causal crnn"]("accdoa").eval()
    features = torch.randn(1, 7, 300, 64)
    changed = features.clone()
    changed[:, :, :10] += 5.0
    with torch.no_grad():
        one, other = (network(x)["accdoa"][:, 5] for x in (features, changed))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", SMALL)
def test_mixed_precision(name):
    torch.manual_seed(0)
    network = SMALL[name]("multi_accdoa").eval()
    features = torch.randn(1, 7, 101, 64)
    with torch.no_grad():
        full = network(features)["multi_accdoa"]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = network(features)["multi_accdoa"]
    assert half.dtype == torch.float32
    assert (half - full).abs().max() < 0.05


@pytest.mark.parametrize("name", SMALL)
def test_other_channels_and_bad_input(name):
    network = SMALL[name]("accdoa", num_channels=10, num_bins=72)
    assert network(torch.randn(2, 10, 50, 72))["accdoa"].shape == (2, 5, 15)
    for shape in (
        (2, 7, 50, 72),
        (2, 10, 9, 72),
        (2, 10, 50, 64),
        (10, 50, 72),
    ):
        with pytest.raises(
            ValueError, match=r"\[batch, 10, at least 10 frames, 72\]"
        ):
            network(torch.zeros(shape))
    with pytest.raises(ValueError, match="method must be one of"):
        SMALL[name]("maccdoa")


def test_bad_options():
    with pytest.raises(ValueError, match="encoder must be one of"):
        CNN14Conformer("accdoa", 5, encoder="cnn14")
    with pytest.raises(ValueError, match="decoder must be one of"):
        CNN14Conformer("accdoa", 5, encoder="cnn8", decoder="lstm")
    with pytest.raises(ValueError, match="cnn8 has 4 blocks"):
        CNN14Conformer("accdoa", 5, encoder="cnn8", widths=(8, 8))
    with pytest.raises(ValueError, match="needs at least 64"):
        CNN14Conformer("accdoa", 5, num_bins=48)
    with pytest.raises(ValueError, match="at least 32"):
        SELDCRNN("accdoa", 5, num_bins=16)
    with pytest.raises(ValueError, match="no attention, got attention_lay"):
        SELDCRNN("accdoa", 5, causal=True)


@pytest.mark.parametrize("decoder", ["transformer", "identity"])
def test_other_decoders(decoder):
    network = CNN14Conformer(
        "einv2", CLASSES, encoder="cnn8", decoder=decoder, widths=(4, 4, 8, 16)
    )
    outputs = network(torch.randn(1, 7, 101, 64))
    assert outputs["sed"].shape == (1, 10, 3, CLASSES)


@pytest.mark.parametrize(("steps", "labels"), [(125, 100), (62, 50), (1, 1)])
def test_steps_to_labels_is_repeat_and_mean(steps, labels):
    x = torch.randn(2, steps, 3)
    frames = x.repeat_interleave(8, dim=1)
    missing = 10 * labels - frames.shape[1]
    if missing > 0:
        frames = torch.cat((frames, frames[:, -1:].expand(-1, missing, -1)), 1)
    expected = frames[:, : 10 * labels].unflatten(1, (labels, 10)).mean(2)
    assert torch.allclose(_steps_to_labels(x, labels), expected, atol=1e-6)


def test_sizes_behind_the_convolutions():
    encoder = _ConvEncoder(7, (4, 4, 4, 4, 4, 4))
    x, shapes = torch.randn(1, 7, 1001, 64), []
    for block in encoder.blocks:
        x = block(x)
        shapes.append(tuple(x.shape[2:]))
    assert shapes == [
        (500, 32),
        (250, 16),
        (125, 8),
        (125, 4),
        (125, 2),
        (125, 1),
    ]


def sounding_clips(count, generator):
    """Features where one of two classes sounds from one of four sides."""
    label = torch.randint(0, 2, (count,), generator=generator)
    side = torch.randint(0, 4, (count,), generator=generator)
    start = torch.randint(0, 5, (count,), generator=generator)
    features = 0.3 * torch.randn(count, 7, 100, 64, generator=generator)
    target = torch.zeros(count, 10, 6, 4, 2)
    for i in range(count):
        angle = side[i] * torch.pi / 2
        direction = torch.stack((angle.cos(), angle.sin(), angle * 0))
        bins = slice(10, 30) if label[i] == 0 else slice(35, 55)
        frames = slice(10 * start[i], 10 * start[i] + 50)
        features[i, :4, frames, bins] += 1.0
        # Y, Z, X.
        features[i, 4:, frames, bins] += direction[[1, 2, 0], None, None]
        target[i, start[i] : start[i] + 5, 0, 0, label[i]] = 1.0
        target[i, start[i] : start[i] + 5, 0, 1:, label[i]] = direction
    return features, target


def test_crnn_learns_what_sounds_and_where():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    network = SELDCRNN("multi_accdoa", 2, width=16, dropout=0.0)
    optimizer = torch.optim.AdamW(network.parameters(), 5e-3)
    loss = SELDLoss("multi_accdoa")
    features, target = sounding_clips(32, generator)
    for _ in range(40):
        optimizer.zero_grad()
        loss(network(features), {"adpit": target}).backward()
        optimizer.step()
    features, target = sounding_clips(32, generator)
    network.eval()
    with torch.no_grad():
        output = network(features)["multi_accdoa"]
    tracks = output.view(32, 10, 3, 3, 2).mean(2)
    wanted = target[:, :, 0, 1:]
    active = target[:, :, 0, 0] > 0
    found = tracks.norm(dim=2) > 0.5
    assert (found == active).float().mean() > 0.95
    cosine = torch.cosine_similarity(tracks, wanted, dim=2)
    assert cosine[active & found].mean() > 0.95


@pytest.mark.parametrize("method", ["multi_accdoa", "einv2"])
def test_live_frames_are_those_of_the_whole_recording(method):
    network = SELDCRNN(
        method, 3, width=8, attention_layers=0, causal=True
    ).eval()
    torch.manual_seed(0)
    features = torch.randn(7, 74, 64)
    with torch.no_grad():
        wanted = network(features[None])
    stream = network.stream()
    for size in (1, 7, 33, 74):
        parts = [stream.push(part) for part in features.split(size, dim=1)]
        assert not any(map(len, stream.flush().values()))
        for name, value in wanted.items():
            found = torch.cat([part[name] for part in parts])
            torch.testing.assert_close(found, value[0], rtol=1e-4, atol=1e-5)


def test_only_a_causal_network_streams():
    with pytest.raises(ValueError, match="causal: True"):
        SELDCRNN("accdoa", 3, width=8).eval().stream()
    causal = SELDCRNN("accdoa", 3, width=8, attention_layers=0, causal=True)
    with pytest.raises(ValueError, match="in training"):
        causal.train().stream()
    with pytest.raises(ValueError, match="needs later frames"):
        SELDNetwork(
            "cnn14_conformer", "accdoa", 3, widths=(4, 4, 8, 8, 8, 16)
        ).stream()


def turned_network(method, turns):
    torch.manual_seed(0)
    return SELDNetwork(
        "crnn",
        method,
        CLASSES,
        width=8,
        attention_layers=0,
        causal=True,
        turns=turns,
    )


@pytest.mark.parametrize("method", ["accdoa", "multi_accdoa"])
def test_the_mean_of_turns_turns_with_the_scene(method):
    features = torch.randn(1, 7, 101, 64)
    one, two, four = (turned_network(method, n).eval() for n in (1, 2, 4))
    quarter = foa_turns(4)[1]
    with torch.no_grad():
        for network, turn in ((two, foa_turns(2)[1]), (four, quarter)):
            outputs = network(features)
            turned = network(rotate_foa_features(features, turn))
            wanted = rotate_outputs(outputs, method, turn, inverse=False)
            assert torch.allclose(turned[method], wanted[method], atol=1e-6)
            assert not torch.allclose(
                outputs[method], one(features)[method], atol=1e-3
            )
    # Training sees the scenes as they are.
    four.train()
    torch.manual_seed(1)
    found = four(features)[method]
    torch.manual_seed(1)
    assert torch.equal(found, one.train()(features)[method])


def test_live_frames_of_turns_are_those_of_the_whole_recording():
    network = turned_network("accdoa", 4).eval()
    features = torch.randn(7, 87, 64)
    with torch.no_grad():
        whole = network(features[None])["accdoa"][0]
    stream = network.stream()
    parts = [stream.push(part) for part in features.split(13, dim=1)]
    parts.append(stream.flush())
    found = torch.cat([part["accdoa"] for part in parts])
    assert torch.allclose(found, whole, atol=1e-5)


def test_turns_of_what_cannot_be_turned():
    for method, turns, message in (
        ("einv2", 4, "turns=4 needs methods accdoa or multi_accdoa and 7"),
        ("accdoa", 3, "1, 2 or 4 turns, not 3"),
    ):
        with pytest.raises(ValueError, match=message):
            turned_network(method, turns)
