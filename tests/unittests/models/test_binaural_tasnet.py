"""Binaural Conv-TasNet: padding, causality, gradients, and the stream."""

import copy
import itertools
import math
import sys

import numpy as np
import pytest
import torch

from spatial_brain.dataio.audio import write_audio
from spatial_brain.inference import BinauralSeparator
from spatial_brain.models.binaural_tasnet import BinauralTasNet
from spatial_brain.models.binaural_tasnet.interaural_cues import InterauralCues
from spatial_brain.nnet.losses.separation import snr_loss
from spatial_brain.nnet.temporal_convolution import (
    NORMS,
    MaskNet,
    _reflect_frames,
)
from spatial_brain.nnet.temporal_stack import run_stack

SMALL = {
    "num_filters": 6,
    "bottleneck": 5,
    "hidden": 7,
    "num_blocks": 4,
    "num_repeats": 2,
}
CAUSAL = {
    "cLN": {"causal": True},
    "channel": {"causal": True, "norm": "channel"},
    "legacy": {"causal": True, "causal_legacy": True},
}


def scattered(network):
    """A network in which no parameter is where it started."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter += 0.2 * noise.to(parameter)
    return network


def small(rule="parallel", **options):
    torch.manual_seed(3)
    return scattered(BinauralTasNet(rule, **{**SMALL, **options})).eval()


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 20])
def test_mirrors_are_those_of_numpy(size):
    for total in (1, 2, 3, 8):
        x = torch.arange(1.0, total + 1)
        wanted = np.pad(x.numpy(), size, mode="reflect")
        found = _reflect_frames(x[None, None], size)[0, 0]
        assert found.tolist() == wanted.tolist()
        padded = torch.cat((x, torch.full((4,), 9.0)))[None, None]
        found = _reflect_frames(padded, size, torch.tensor([total]))[0, 0]
        assert found[: len(wanted)].tolist() == wanted.tolist()


@pytest.mark.parametrize(
    "rule, options",
    [
        *itertools.product(("parallel", "independent", "cross"), [{}]),
        ("parallel", {"norm": "channel", "num_sources": 3}),
        *(("parallel", options) for options in CAUSAL.values()),
        ("joint", {}),
        ("joint", {"causal": True, "cue_window": 64}),
    ],
)
def test_padding_has_no_influence(rule, options):
    network = small(rule, **options).double()
    # Shorter than a window, than the reach of a block, and no whole frames.
    sizes = [1003, 700, 130, 77, 40, 24, 16, 9, 1]
    x = torch.randn(len(sizes), 1003, 2, dtype=torch.float64)
    lengths = torch.tensor(sizes, dtype=torch.float64) / 1003
    with torch.no_grad():
        found = network(x, lengths)
        for k, size in enumerate(sizes):
            alone = network(x[k : k + 1, :size])[0]
            error = (found[k, :size] - alone).abs().max()
            assert error < 1e-12 * alone.abs().max(), size
            assert not found[k, size:].any()
        # The layers one by one, as on a GPU and under autocast.
        for net in network.modules():
            if isinstance(net, MaskNet):
                net._is_quick = lambda *_: False
        error = (network(x, lengths) - found).abs().max()
    assert error < 1e-12 * found.abs().max()


def test_lengths_have_a_gradient_too():
    network = small().double()
    x = torch.randn(2, 500, 2, dtype=torch.float64)
    lengths = torch.tensor([1.0, 0.6])
    network(x, lengths)[1].square().sum().backward()
    found = [p.grad.clone() for p in network.parameters()]
    network.zero_grad()
    network(x[1:, :300]).square().sum().backward()
    for parameter, grad in zip(network.parameters(), found, strict=True):
        assert torch.allclose(parameter.grad, grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("batch, kernel_size", [(1, 3), (3, 5)])
def test_the_quick_way_has_the_gradients_of_the_layers(batch, kernel_size):
    torch.manual_seed(0)
    network = MaskNet(6, 2, 5, 7, kernel_size, 3, 2)
    blocks = list(scattered(network).double().blocks)
    weights = [block.weights for block in blocks]
    dilations = [block.dilation for block in blocks]
    x = torch.randn(batch, 5, 19, dtype=torch.float64, requires_grad=True)
    y = x
    for block in blocks:
        y = block(y)
    z = run_stack(x, weights, dilations)
    assert torch.allclose(y, z, rtol=1e-12, atol=1e-12)
    direction = torch.randn_like(y)
    variables = [x, *network.temporal_conv_net.parameters()]
    wanted = torch.autograd.grad((y * direction).sum(), variables)
    found = torch.autograd.grad((z * direction).sum(), variables)
    for one, other in zip(wanted, found, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("norm", ["cLN", "channel"])
@pytest.mark.parametrize("frames", [3, 40])
def test_the_quick_causal_way_has_the_gradients_of_the_layers(norm, frames):
    torch.manual_seed(0)
    network = MaskNet(6, 2, 5, 7, 3, 4, 2, norm=norm, causal=True)
    network = scattered(network).double()
    x = torch.randn(3, 6, frames, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(3, 2, 6, frames, dtype=torch.float64)
    variables = [x, *network.parameters()]

    def run():
        y = network(x)
        return y, torch.autograd.grad((y * direction).sum(), variables)

    assert network._is_quick(x, None)
    y, found = run()
    network._is_quick = lambda *_: False
    wanted_y, wanted = run()
    assert torch.allclose(y, wanted_y, rtol=1e-12, atol=1e-12)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-10)


def test_mixed_precision_stays_near():
    network = small()
    x = 0.1 * torch.randn(2, 2000, 2)
    wanted = network(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network(x)
    assert (wanted - found).abs().max() < 0.05 * wanted.abs().max()
    snr_loss(found, wanted.detach().roll(1, 1))[0].sum().backward()
    for parameter in network.parameters():
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("kind", CAUSAL)
@pytest.mark.parametrize("rule", ["parallel", "independent", "joint"])
def test_nothing_depends_on_the_future(kind, rule):
    network = small(rule, **CAUSAL[kind])
    x = torch.randn(1, 900, 2)
    changed = x.clone()
    changed[:, 500:] = torch.randn(400, 2)
    with torch.no_grad():
        same = (network(x) == network(changed)).all((0, 2, 3))
    last = 500 - network.latency
    assert network.latency == 16
    # Frame 60 begins with sample 480 and is the last that ends before 500.
    assert same[: last + 1].all() and same[:488].all()
    assert not same[488:496].any()


@pytest.mark.parametrize(
    "kind, frames", [("channel", 1 + 2 * 30), ("legacy", 1 + 3 * 30)]
)
def test_the_receptive_field_ends_where_stated(kind, frames):
    network = small(**CAUSAL[kind])
    assert network.receptive_field == (frames - 1) * 8 + 16
    x = torch.randn(1, 1600, 2)
    changed = x.clone()
    changed[:, :800] += torch.randn(800, 2)
    with torch.no_grad():
        same = (network(x) == network(changed)).all((0, 2, 3))
    # A sample is made of the frame that begins with it and the one before.
    first = 800 + 8 + network.receptive_field - 16
    assert same[first:].all() and not same[first - 8]
    assert BinauralTasNet().receptive_field == 2040 * 8 + 16


def test_a_cumulative_norm_is_the_global_one_of_all_prefixes():
    torch.manual_seed(1)
    x = 3 + torch.randn(2, 4, 9)
    cumulative, whole = (scattered(NORMS[n](4)) for n in ("cLN", "gLN"))
    for k in range(1, 10):
        wanted = whole(x[..., :k])[..., -1]
        assert torch.allclose(cumulative(x)[..., k - 1], wanted, atol=1e-5)


def test_a_cumulative_norm_stays_exact():
    torch.manual_seed(2)
    x = 100 + torch.randn(1, 4, 100_000)
    wanted = NORMS["gLN"](4)(x.double())[..., -1]
    assert torch.allclose(
        NORMS["cLN"](4)(x)[..., -1].double(), wanted, atol=1e-4
    )


def streamed(network, x, sizes, seed=0):
    """The output for a recording in blocks of random sizes."""
    generator = np.random.default_rng(seed)
    stream, parts, place = network.stream(), [], 0
    while place < len(x):
        size = int(generator.choice(sizes))
        parts.append(stream.push(x[place : place + size]))
        place += size
        given = sum(map(len, parts))
        assert min(place, len(x)) - given < network.latency + network.stride
    parts.append(stream.flush())
    return torch.cat(parts)


@pytest.mark.parametrize(
    "options",
    [
        *CAUSAL.values(),
        {"causal": True, "rule": "independent"},
        {"causal": True, "num_sources": 3, "kernel_size": 20, "stride": 8},
        {"causal": True, "rule": "joint", "cue_window": 40, "num_sources": 3},
    ],
)
def test_blocks_together_are_the_whole(options):
    network = small(**options)
    for size in (3503, 83, 16, 9, 1):
        x = torch.randn(size, 2)
        with torch.no_grad():
            wanted = network(x[None])[0]
        for sizes in ([1], [1, 3, 8, 60, 400], [5000]):
            if size > 1000 and sizes == [1]:
                continue
            found = streamed(network, x, sizes)
            assert found.shape == wanted.shape
            error = (found - wanted).abs().max()
            assert error < 1e-5 * wanted.abs().max().clamp(min=1)


def test_a_stream_of_the_full_size():
    torch.manual_seed(2)
    network = scattered(BinauralTasNet(causal=True)).eval()
    x = 0.1 * torch.randn(8000, 2)
    with torch.no_grad():
        wanted = network(x[None])[0]
    found = streamed(network, x, [64, 500, 2000])
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_the_separator_streams_files(tmp_path):
    network = small(causal=True)
    separator = BinauralSeparator(
        {"model": network},
        {"sample_rate": 8000, "num_sources": 2},
        {"device": "cpu"},
    )
    x = 0.1 * torch.randn(9001, 2)
    write_audio(tmp_path / "a.wav", x, 8000, subtype="FLOAT")
    found = separator.separate_file(tmp_path / "a.wav", streaming=True)
    wanted = separator.separate_batch(x[None])[0]
    assert (found.sources - wanted).abs().max() < 1e-5
    separator.mods.model = small()
    with pytest.raises(ValueError, match=r"needs a causal model.*causal: Tr"):
        separator.separate_file(tmp_path / "a.wav", streaming=True)


def test_a_stream_begins_anew_and_keeps_its_weights():
    network = small(causal=True)
    stream = network.stream()
    x = torch.randn(200, 2)
    first = torch.cat((stream.push(x), stream.flush()))
    scattered(network)
    second = torch.cat((stream.push(x), stream.flush()))
    assert torch.equal(first, second)
    other = network.stream()
    assert not torch.equal(first, torch.cat((other.push(x), other.flush())))
    assert stream.flush().shape == (0, 2, 2)
    with pytest.raises(ValueError, match=r"expected a block \[time, 2"):
        stream.push(x.T)


class Aged:
    """Forward of a cumulative norm to which what came before was long.

    ``added`` are the sums of values and squares that each norm got since.
    """

    def __init__(self, now, frames):
        self.now, self.frames, self.added = now, frames, []

    def forward(self, norm, x):
        sums = torch.stack((x.sum(1), x.square().sum(1))).cumsum(-1)
        past = sums[..., self.now - 1, None]
        self.added.append((sums[..., -1:] - past)[:, 0, 0])
        sums[..., self.now :] += past * (self.frames / self.now - 1)
        count = torch.arange(1.0, x.shape[-1] + 1, dtype=x.dtype)
        count[self.now :] += self.frames - self.now
        mean, power = (sums / count / x.shape[1])[:, :, None]
        return norm._affine(x, mean, power - mean.square())


def test_a_stream_stays_right_for_hours(monkeypatch):
    """As if hours of sound had passed, and with a sudden change of level."""
    network = small(causal=True)
    stream = network.stream()
    x = torch.cat((torch.randn(4000, 2), 1e-3 * torch.randn(800, 2)))
    stream.push(x[:4000])
    # A thousand hours with the same moments, and whole turns of all rings.
    now = stream._count
    aged = Aged(now, now + 3 * 5 * 9 * 17 * 1_600_000)
    stream._state.sums[:] *= aged.frames / now
    stream._count = aged.frames
    before = stream._state.sums.copy()
    found = torch.cat([stream.push(block) for block in x[4000:].split(8)])
    monkeypatch.setattr(
        NORMS["cLN"], "forward", lambda norm, x, _: aged.forward(norm, x)
    )
    monkeypatch.setattr(MaskNet, "_is_quick", lambda *_: False)
    with torch.no_grad():
        wanted = copy.deepcopy(network).double()(x[None].double())[0]
    wanted = wanted[now * network.stride :][: len(found)]
    assert wanted.any()
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()
    # What a single frame adds is not lost in what came before.
    added = torch.stack(aged.added).numpy().reshape(before.shape)
    assert np.allclose(stream._state.sums - before, added, rtol=1e-3)
    assert (added[..., 1] > 0).all()


def test_a_stream_needs_numba(monkeypatch):
    network = small(causal=True)
    name = "spatial_brain.models.binaural_tasnet.kernels"
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delattr(name, raising=False)
    with pytest.raises(ImportError, match="pip install numba"):
        network.stream()


def test_silence_before_speech_does_no_harm():
    network = small(causal=True)
    x = torch.cat((torch.zeros(4000, 2), torch.randn(800, 2)))
    found = streamed(network, x, [100])
    assert torch.isfinite(found).all()
    with torch.no_grad():
        wanted = network(x[None])[0]
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()


def test_cues_are_those_of_the_ears_and_not_of_the_level():
    """A later and weaker right ear, in all bands, at any level."""
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(4000, generator=generator)
    right = 0.5 * torch.cat((torch.zeros(2), left[:-2]))
    cues = InterauralCues(256, 32, 16, 1).double()
    with torch.no_grad():
        cues.conv.bias.zero_()
        ears = torch.stack((left, right))[None].double()
        found = {}
        for kind in range(3):
            cues.conv.weight.zero_()
            cues.conv.weight[0, kind * cues.num_bands + 15] = 1.0
            found[kind] = [cues(a * ears)[0, 0, 20:] for a in (1e-2, 1.0)]
    # Band 16 of 256 is a quarter of a radian later for two samples.
    angle = 2 * torch.pi * 16 * 2 / 256
    for kind, wanted in (
        (0, 0.75 / 1.25),
        (1, math.cos(angle) / 1.25),
        (2, math.sin(angle) / 1.25),
    ):
        quiet, loud = found[kind]
        assert abs(loud.median().item() - wanted) < 0.05
        assert (quiet - loud).abs().max() < 1e-3


def test_cross_draws_its_projection_anew_under_compat():
    network = small("cross", compat=True)
    assert not any("ild_proj" in name for name in network.state_dict())
    x = torch.randn(1, 1500, 2)
    with torch.no_grad():
        torch.manual_seed(1)
        first, second = network(x), network(x)
        torch.manual_seed(1)
        assert torch.equal(first, network(x))
    assert not torch.equal(first, second)


def test_wrong_options_are_refused():
    for match, options in (
        ("rule must be one of parallel", {"rule": "both"}),
        ("cannot be causal", {"rule": "cross", "causal": True}),
        ("gLN .*whole signal", {"causal": True, "norm": "gLN"}),
        ("norm must be one of gLN", {"norm": "batch"}),
        ("causal_legacy needs causal", {"causal_legacy": True}),
        ("cue_window must be even", {"rule": "joint", "cue_window": 33}),
        ("num_sources must be", {"num_sources": 0}),
        ("stride must be 1 to", {"stride": 17}),
    ):
        with pytest.raises(ValueError, match=match):
            BinauralTasNet(**options)
    network = small()
    assert network.latency == math.inf
    with pytest.raises(ValueError, match="causal: True"):
        network.stream()
    for shape in ((1, 100), (1, 100, 3), (1, 0, 2)):
        with pytest.raises(ValueError, match=r"expected a wave|no samples"):
            network(torch.zeros(shape))
