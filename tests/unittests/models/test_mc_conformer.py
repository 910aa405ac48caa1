"""Masks, pretext and downstream networks, and the way between them."""

import pytest
import torch

from spatial_brain.models.mc_conformer import (
    CrossChannelReconstruction,
    MultiPairEstimator,
    SpatialAcousticsEstimator,
    _FrameProjection,
    convolution_format,
)
from spatial_brain.models.mc_pretext import (
    draw_masks,
    item_seeds,
    reconstruction_errors,
)
from spatial_brain.models.transfer import initialize_encoders, own_names

SMALL = {
    "num_bins": 8,
    "channels": 4,
    "spec_dim": 16,
    "spat_dim": 8,
    "spat_depth": 2,
}


@pytest.fixture
def network():
    return CrossChannelReconstruction(**SMALL)


@pytest.fixture
def x():
    return torch.randn(4, 2, 8, 12, 2)


def seeds_of(batch):
    return item_seeds(range(batch), seed=3)


@pytest.mark.parametrize("mode", ["frames", "runs"])
@pytest.mark.parametrize("length", [2, 64, 255, 256])
def test_exactly_half_of_the_frames_is_hidden(mode, length):
    frames, channel = draw_masks(seeds_of(500), length, mode=mode)
    assert frames.dtype == torch.bool and frames.shape == (500, length)
    assert set(frames.sum(1).tolist()) == {length // 2}
    assert set(channel.tolist()) == {0, 1}
    some, _ = draw_masks(seeds_of(5), length, num_masked=1, mode=mode)
    assert some.sum(1).tolist() == [1] * 5


def test_masks_belong_to_items_and_not_to_batches():
    ids = [f"preval_{n}" for n in range(37)]
    frames, channel = draw_masks(item_seeds(ids, seed=1), 256)
    for size in (1, 5, 16):
        parts = [
            draw_masks(item_seeds(ids[n : n + size], seed=1), 256)
            for n in range(0, 37, size)
        ]
        assert torch.equal(torch.cat([p[0] for p in parts]), frames)
        assert torch.equal(torch.cat([p[1] for p in parts]), channel)
    high = item_seeds(ids, seed=1) ^ (1 << 40)
    for other in (item_seeds(ids, seed=2), item_seeds(ids, 1, epoch=1), high):
        assert not torch.equal(draw_masks(other, 256)[0], frames)


def test_masks_are_uniform_and_independent():
    count, length = 40_000, 16
    frames, channel = draw_masks(seeds_of(count), length)
    tolerance = 5 * 0.5 / count**0.5
    share = frames.double().mean(0)
    assert (share - 0.5).abs().max() < tolerance
    # Two frames are hidden together in 7 of 30 cases.
    both = (frames.double().T @ frames.double()) / count
    pairs = both[~torch.eye(length, dtype=torch.bool)]
    assert (pairs - 7 / 30).abs().max() < tolerance
    assert abs(channel.double().mean() - 0.5) < tolerance
    given = frames.double()[channel == 1].mean(0)
    assert (given - 0.5).abs().max() < 1.5 * tolerance
    # And so for neighbouring seeds, not only for scrambled ones.
    frames, channel = draw_masks(torch.arange(count), length)
    assert (frames.double().mean(0) - 0.5).abs().max() < tolerance
    follows = (frames[1:] & frames[:-1]).double().mean()
    assert abs(follows - 0.25) < tolerance
    assert abs((channel[1:] == channel[:-1]).double().mean() - 0.5) < tolerance


def test_runs_are_runs():
    frames, _ = draw_masks(seeds_of(300), 256, mode="runs")
    starts = (frames[:, 1:] & ~frames[:, :-1]).sum(1).double().mean()
    single, _ = draw_masks(seeds_of(300), 256)
    alone = (single[:, 1:] & ~single[:, :-1]).sum(1).double().mean()
    # A frame begins a run with q where (1 - q)^5 = 1/2, after a visible one.
    wanted = 256 * (1 - 0.5**0.2) / 2
    assert abs(starts - wanted) < 1.5 and abs(alone - 64) < 1.5
    lengths = []
    for row in frames:
        edges = row.diff(prepend=row[:1] ^ True, append=row[-1:] ^ True)
        places = edges.nonzero()[:, 0]
        lengths += [
            (b - a).item()
            for a, b in zip(places[:-1], places[1:], strict=True)
            if row[a] and a > 0 and b < 256
        ]
    short = sum(length < 5 for length in lengths) / len(lengths)
    assert short < 0.05  # only the run that completed the number


def test_bad_masks_are_refused(network, x):
    with pytest.raises(ValueError, match="hide 0 of 1 frames"):
        draw_masks(seeds_of(1), 1)
    with pytest.raises(ValueError, match="frames, runs, got 'blocks'"):
        CrossChannelReconstruction(mask_mode="blocks", **SMALL)
    with pytest.raises(ValueError, match="or neither"):
        network(x, mask_channel=torch.zeros(4, dtype=torch.int64))
    frames, channel = draw_masks(seeds_of(4), 11)
    with pytest.raises(ValueError, match=r"12 frames.*\[4, 11\]"):
        network(x, frames, channel)
    with pytest.raises(ValueError, match=r"8 bins.*\[4, 2, 7, 12, 2\]"):
        network(x[:, :, :7])
    with pytest.raises(ValueError, match="in evaluation give seeds"):
        network.eval()(x)
    with pytest.raises(ValueError, match="one of single, hidden, got 'both'"):
        CrossChannelReconstruction(spec_input="both", **SMALL)


@pytest.mark.parametrize("spec_input", ["single", "hidden"])
def test_what_the_encoders_see(spec_input, x):
    network, seen = (
        CrossChannelReconstruction(spec_input=spec_input, **SMALL),
        {},
    )
    for name in ("spec", "spat"):
        getattr(network, f"{name}_encoder").register_forward_pre_hook(
            lambda _, inputs, name=name: seen.update({name: inputs[0]})
        )
    outputs = network(x, seeds=seeds_of(4))
    frames, channel = outputs["masked_frames"], outputs["masked_channel"]
    for b in range(4):
        hidden = channel[b].item()
        for frame in range(12):
            masked = frames[b, frame].item()
            for mic in range(2):
                for part in range(2):
                    there = x[b, mic, :, frame, part]
                    plane = 2 * part + mic
                    spec = seen["spec"][b, plane, :, frame]
                    spat = seen["spat"][b, plane, :, frame]
                    own = (mic == hidden) != masked
                    if spec_input == "hidden":
                        own = own and masked
                    assert torch.equal(spec, there * own)
                    assert torch.equal(spat, there * (not masked))


def test_loss_and_errors_against_loops(network, x):
    outputs = network.eval()(x, seeds=seeds_of(4))
    frames, channel = outputs["masked_frames"], outputs["masked_channel"]
    prediction = outputs["prediction"]
    wanted, reference = [], []
    for b in range(4):
        q = channel[b]
        difference = prediction[b, q] - x[b, q]
        wanted.append(difference[:, frames[b]].square().mean())
        copied = x[b, 1 - q] - x[b, q]
        reference.append(copied[:, frames[b]].square().mean())
    wanted, reference = torch.stack(wanted), torch.stack(reference)
    torch.testing.assert_close(outputs["loss"], wanted.mean())
    torch.testing.assert_close(outputs["reference"], reference.mean())
    errors = reconstruction_errors(outputs)
    torch.testing.assert_close(errors["masked"], wanted)
    torch.testing.assert_close(errors["reference"], reference)
    torch.testing.assert_close(
        outputs["loss_per_example"], errors["masked"].detach()
    )
    total = (prediction - x).square().flatten(1).mean(1)
    torch.testing.assert_close(errors["total"], total)
    torch.testing.assert_close(errors["masked_share"], wanted / 2)
    assert not outputs["loss_per_example"].requires_grad


def test_only_hidden_points_of_the_hidden_channel_have_gradient(network, x):
    outputs = network(x, seeds=seeds_of(4))
    prediction = outputs["prediction"]
    (gradient,) = torch.autograd.grad(outputs["loss"], prediction)
    active = gradient.abs().sum((2, 4)) > 0  # [batch, mic, frame]
    mic = torch.arange(2)[None, :, None]
    hidden = mic == outputs["masked_channel"][:, None, None]
    assert torch.equal(active, hidden & outputs["masked_frames"][:, None])


def test_masks_of_a_generator_repeat(network, x):
    def masks(seed):
        generator = torch.Generator().manual_seed(seed)
        return network(x, generator=generator)["masked_frames"]

    assert torch.equal(masks(1), masks(1))
    assert not torch.equal(masks(1), masks(2))


def test_an_answer_does_not_depend_on_the_batch(network, x):
    network.eval()
    seeds = seeds_of(4)
    whole = network(x, seeds=seeds)["loss_per_example"]
    single = [
        network(x[b : b + 1], seeds=seeds[b : b + 1])["loss"] for b in range(4)
    ]
    torch.testing.assert_close(whole, torch.stack(single).detach())


def test_the_projection_is_a_convolution():
    layer = _FrameProjection(4, 8, 16)
    image = torch.randn(2, 4, 8, 5)
    wanted = torch.nn.functional.conv2d(image, layer.weight)
    torch.testing.assert_close(layer(image), wanted[:, :, 0].transpose(1, 2))


def test_a_small_network_learns_to_reconstruct(x):
    network = CrossChannelReconstruction(dropout=0.0, **SMALL)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        outputs = network(x, seeds=seeds_of(4))
        optimizer.zero_grad()
        outputs["loss"].backward()
        optimizer.step()
        losses.append(outputs["loss"].item())
    assert losses[-1] < 0.3 * losses[0]
    assert losses[-1] < 0.3 * outputs["reference"]


@pytest.mark.parametrize("kind", ["pretext", "downstream"])
def test_mixed_precision_and_compilation(kind, x, network):
    arguments = (x,)
    if kind == "pretext":
        arguments = (x, None, None, None, seeds_of(4))
    else:
        network = SpatialAcousticsEstimator(**SMALL)
    network.eval()

    def estimate(run):
        outputs = run(*arguments)
        return outputs["loss"] if kind == "pretext" else outputs

    wanted = estimate(network)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = estimate(network)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, wanted, rtol=0.05, atol=0.05)
    low.sum().backward()
    # No break in the graph; what an inductor makes of it is its own matter.
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    torch.testing.assert_close(estimate(compiled), wanted)


def test_layout_fits_the_device(monkeypatch):
    for ability, wanted in (
        ("AVX512", torch.channels_last),
        ("AVX2", torch.contiguous_format),
    ):
        monkeypatch.setattr(
            torch.backends.cpu, "get_cpu_capability", lambda a=ability: a
        )
        assert convolution_format("cpu") == wanted
        assert convolution_format("cuda:1") == torch.channels_last


def test_layout_of_channels_changes_nothing(network, x):
    network.eval()
    wanted = network(x, seeds=seeds_of(4))["prediction"]
    network.to(memory_format=torch.channels_last)
    found = network(x, seeds=seeds_of(4))["prediction"]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "embedding, size", [("spat", 8), ("spec", 16), ("spec_spat", 24)]
)
def test_embeddings(embedding, size, x):
    network = SpatialAcousticsEstimator(embedding=embedding, **SMALL)
    run = []
    for name, encoder in network.encoders().items():
        encoder.register_forward_pre_hook(
            lambda *_, name=name: run.append(name)
        )
    assert network.embed(x).shape == (4, size)
    assert run == embedding.split("_")
    assert network(x).shape == (4, 1)
    network(x).sum().backward()
    for parameter in network.parameters():
        assert (parameter.grad is not None) == parameter.requires_grad
    tokens = [network.encoders()[n] for n in embedding.split("_")]
    network.eval()
    planes = network.planes(x).flatten(1, 2)
    tokens = torch.cat([encoder(planes) for encoder in tokens], dim=-1)
    torch.testing.assert_close(network.embed(x), tokens.mean(1))


def test_more_outputs_and_more_microphones(x):
    network = SpatialAcousticsEstimator(3, **SMALL)
    assert network(x).shape == (4, 3)
    assert len(network.joint_head) == 4
    network = MultiPairEstimator(2, 2, **SMALL).eval()
    three = torch.randn(2, 3, 8, 12, 2)
    assert network(three).shape == (2, 2)
    embedded = network.embed(three)
    single = network.model_sch.embed_pair(three[:, [0, 2]])
    torch.testing.assert_close(embedded[:, 8:], single)
    with pytest.raises(ValueError, match="need 3 channels, got 2"):
        network(x)
    with pytest.raises(ValueError, match="spat, spec, spec_spat, got 'all'"):
        SpatialAcousticsEstimator(embedding="all", **SMALL)


def test_encoders_are_transferred(network, x):
    tensors = network.state_dict()
    for target in (
        SpatialAcousticsEstimator(**SMALL),
        MultiPairEstimator(2, **SMALL),
    ):
        report = initialize_encoders(target, tensors)
        encoders = getattr(target, "model_sch", target)
        for name, tensor in encoders.state_dict().items():
            if "encoder" in name:
                assert torch.equal(tensor, tensors[name]), name
        assert {name.split(".")[0] for name in report.unused} == {"decoder"}
        assert all("head" in name for name in report.left)
    # With the names of the original, wrapped, and with stored tables.
    original = {
        "module." + name.replace("proj.", "proj.linear."): tensor
        for name, tensor in tensors.items()
        if "encoder" in name
    }
    assert own_names(original).keys() == {n for n in tensors if "enc" in n}
    fresh = SpatialAcousticsEstimator(**SMALL)
    initialize_encoders(fresh, original)
    for name, tensor in fresh.state_dict().items():
        assert "head" in name or torch.equal(tensor, tensors[name]), name


def test_what_does_not_fit_is_not_transferred(network):
    tensors = network.state_dict()
    target = SpatialAcousticsEstimator(**SMALL)
    before = {k: v.clone() for k, v in target.state_dict().items()}
    torn = {k: v for k, v in tensors.items() if "spat_encoder.embed" not in k}
    with pytest.raises(ValueError, match=r"spat_encoder\.embed.*is missing"):
        initialize_encoders(target, torn)
    other = SpatialAcousticsEstimator(**{**SMALL, "spat_dim": 16})
    with pytest.raises(ValueError, match=r"is \[.*but should be \["):
        initialize_encoders(other, tensors)
    half = {k: v for k, v in tensors.items() if k.startswith("spec_encoder")}
    with pytest.raises(ValueError, match="spat_encoder"):
        initialize_encoders(target, half)
    with pytest.raises(ValueError, match="no pair encoders"):
        initialize_encoders(torch.nn.Linear(1, 1), tensors)
    with pytest.raises(ValueError, match="True or 'parameters'"):
        initialize_encoders(target, tensors, freeze="all")
    table = "spat_encoder.embed.layers.0.positional_encoding.pe"
    with pytest.raises(ValueError, match="not the sinusoidal table"):
        own_names({table: torch.zeros(1, 100, 8)})
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    # The encoder that is not used may be missing.
    half = {k: v for k, v in tensors.items() if k.startswith("spat_encoder")}
    assert "spec_encoder" in str(initialize_encoders(target, half))


@pytest.mark.parametrize("freeze", [True, "parameters"])
def test_frozen_encoders(network, x, freeze):
    target = SpatialAcousticsEstimator(**SMALL)
    initialize_encoders(target, network.state_dict(), freeze=freeze)
    kept = {k: v.clone() for k, v in target.state_dict().items()}
    trained = {n for n, p in target.named_parameters() if p.requires_grad}
    assert trained == {n for n in kept if n.startswith("mlp_head")}
    target.train()
    target(x).square().sum().backward()
    torch.optim.SGD(target.parameters(), 0.1).step()
    changed = {
        name
        for name, tensor in target.state_dict().items()
        if not torch.equal(tensor, kept[name])
    }
    same = torch.equal(target.embed(x), target.embed(x))
    if freeze is True:
        assert changed == trained and same
    else:
        assert any("running_mean" in name for name in changed) and not same
