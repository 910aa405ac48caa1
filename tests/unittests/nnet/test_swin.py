"""Window attention, its masks, input normalisation and cross-stitch."""

import copy
import math

import pytest
import torch
from torch import nn

from spatial_brain.nnet.layers import CrossStitch, InputNorm
from spatial_brain.nnet.swin import (
    SwinTransformer,
    _DropPath,
    _PatchMerging,
    _relative_index,
    _shift_mask,
    _SwinBlock,
)


def region(pixel, size, window, shift):
    """Which of the three bands a pixel of the shifted map lies in."""
    if pixel < size - window:
        return 0
    return 1 if pixel < size - shift else 2


def attention_oracle(block, x, size, window, shift):
    """Pixel by pixel: who may see whom, and with which bias."""
    attn, heads = block.attn, block.attn.num_heads
    dim = x.shape[-1]
    q, k, v = attn.qkv(x).split(dim, -1)
    table = attn.relative_position_bias_table
    out = torch.zeros_like(x)
    for r in range(size):
        for c in range(size):
            # Place in the shifted map.
            sr, sc = (r - shift) % size, (c - shift) % size
            top, left = sr // window * window, sc // window * window
            own = (
                region(sr, size, window, shift),
                region(sc, size, window, shift),
            )
            scores, values = [], []
            for kr in range(top, top + window):
                for kc in range(left, left + window):
                    row, column = (kr + shift) % size, (kc + shift) % size
                    down, right = sr - kr + window - 1, sc - kc + window - 1
                    bias = table[down * (2 * window - 1) + right]
                    query = q[r, c].view(heads, -1)
                    key = k[row, column].view(heads, -1)
                    score = (query * key).sum(-1) / math.sqrt(dim // heads)
                    other = (
                        region(kr, size, window, shift),
                        region(kc, size, window, shift),
                    )
                    hidden = -100.0 if shift and own != other else 0.0
                    scores.append(score + bias + hidden)
                    values.append(v[row, column].view(heads, -1))
            weights = torch.stack(scores).softmax(0)
            out[r, c] = (
                (weights[..., None] * torch.stack(values)).sum(0).flatten()
            )
    return attn.proj(out)


@pytest.mark.parametrize("shift", [0, 2])
@pytest.mark.parametrize("training", [False, True])
def test_window_attention_is_what_the_paper_says(shift, training):
    torch.manual_seed(0)
    size, window = 8, 4
    block = _SwinBlock(8, 2, size, window, shift).train(training)
    nn.init.normal_(block.attn.relative_position_bias_table)
    nn.init.normal_(block.attn.qkv.weight)
    x = torch.randn(2, size, size, 8)
    # Gradients on or off: other kernels.
    with torch.no_grad():
        expected = x + torch.stack(
            [
                attention_oracle(block, y, size, window, shift)
                for y in block.norm1(x)
            ]
        )
        expected = expected + block.mlp(block.norm2(expected))
    with torch.set_grad_enabled(training):
        found = block(x)
    assert torch.allclose(found, expected, atol=1e-5)


def test_relative_index_and_mask_buffers():
    index = _relative_index(8)
    assert index.shape == (64, 64) and index.dtype == torch.int64
    for query, key in ((0, 0), (0, 63), (63, 0), (17, 44)):
        row = query // 8 - key // 8 + 7
        column = query % 8 - key % 8 + 7
        assert index[query, key] == 15 * row + column
    mask = _shift_mask(64, 8, 4)
    assert mask.shape == (64, 64, 64)
    assert set(mask.unique().tolist()) == {-100.0, 0.0}
    # Only windows of the last row and column join distant pixels.
    touched = mask.flatten(1).any(1).view(8, 8)
    assert touched[-1].all() and touched[:, -1].all()
    assert not touched[:-1, :-1].any()


def test_one_window_is_never_shifted():
    block = _SwinBlock(8, 2, resolution=8, window=8, shift=4)
    assert block.shift == 0
    assert "attn_mask" not in block.state_dict()


def test_patch_merging_order():
    merging = _PatchMerging(1)
    merging.norm = nn.Identity()
    merging.reduction = nn.Identity()
    x = torch.arange(16.0).view(1, 4, 4, 1)
    # (even row, even column), (odd, even), (even, odd), (odd, odd).
    assert merging(x)[0, 0, 1].tolist() == [2.0, 6.0, 3.0, 7.0]


def test_drop_path_keeps_the_mean_and_drops_whole_examples():
    torch.manual_seed(0)
    drop = _DropPath(0.25)
    y = drop(torch.ones(4000, 3))
    assert torch.allclose(y.unique(), torch.tensor([0.0, 4 / 3]))
    assert torch.equal(y[:, 0], y[:, 2])
    assert abs(y.mean().item() - 1.0) < 0.05
    rates = [
        block.drop_path.probability
        for layer in SwinTransformer(embed_dim=32).layers
        for block in layer.blocks
    ]
    assert torch.allclose(torch.tensor(rates), torch.linspace(0, 0.1, 12))


def small_encoder(**options):
    torch.manual_seed(0)
    return SwinTransformer(
        2,
        64,
        embed_dim=16,
        depths=(2, 2),
        num_heads=(2, 4),
        drop_path=0.0,
        **options,
    )


def test_checkpointing_changes_no_gradient():
    plain, saving = small_encoder(), small_encoder(checkpoint_blocks=True)
    image = torch.randn(2, 2, 64, 64)
    for encoder in (plain, saving):
        encoder(image).square().sum().backward()
    for (name, a), b in zip(
        plain.named_parameters(), saving.parameters(), strict=True
    ):
        assert a.grad is not None, name
        assert torch.allclose(a.grad, b.grad, rtol=1e-4, atol=1e-4), name


def test_autocast():
    encoder = small_encoder().eval()
    image = torch.randn(2, 2, 64, 64)
    with torch.no_grad():
        expected = encoder(image)
        with torch.autocast("cpu", torch.bfloat16):
            rough = encoder(image)
    assert (rough.float() - expected).abs().max() < 0.1


def separate(norm, x):
    """The seven modules one after the other, bins as their channels."""
    maps = [
        module(x[:, i].transpose(1, 2)[..., None])[..., 0].transpose(1, 2)
        for i, module in enumerate(norm)
    ]
    return torch.stack(maps, 1)


@pytest.mark.parametrize("training", [True, False])
def test_input_norm_equals_separate_modules(training):
    torch.manual_seed(0)
    fused = InputNorm(7, 64)
    for module in fused:
        nn.init.normal_(module.weight)
        nn.init.normal_(module.bias)
        module.running_mean.normal_()
        module.running_var.uniform_(0.5, 2.0)
    apart = copy.deepcopy(fused)
    fused.train(training)
    apart.train(training)
    for _ in range(3):
        x = 4.0 * torch.randn(2, 7, 101, 64) - 60.0
        x.requires_grad_()
        y, z = x.detach().clone().requires_grad_(), x.detach().clone()
        found, expected = fused(x), separate(apart, y)
        assert torch.allclose(found, expected, atol=2e-5)
        assert torch.equal(x, z)
        target = torch.randn_like(found)
        (found * target).sum().backward()
        (expected * target).sum().backward()
        assert torch.allclose(x.grad, y.grad, rtol=1e-3, atol=1e-4)
    for (name, a), b in zip(
        fused.named_parameters(), apart.parameters(), strict=True
    ):
        assert torch.allclose(a.grad, b.grad, rtol=1e-3, atol=1e-2), name
    for (name, a), b in zip(
        fused.named_buffers(), apart.buffers(), strict=True
    ):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-5), name
    assert fused[3].num_batches_tracked == (3 if training else 0)


def test_input_norm_converts_to_synchronised_modules():
    torch.manual_seed(0)
    norm = InputNorm(7, 64)
    x = torch.randn(2, 7, 11, 64)
    expected = copy.deepcopy(norm)(x)
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(norm)
    assert all(isinstance(m, nn.SyncBatchNorm) for m in synchronised)
    assert torch.allclose(synchronised(x), expected, atol=1e-5)
    assert synchronised[0].num_batches_tracked == 1


def test_input_norm_keeps_precision_under_autocast():
    norm, x = InputNorm(2, 4), 1e-3 * torch.randn(2, 2, 500, 4) + 60.0
    expected = copy.deepcopy(norm)(x)
    with torch.autocast("cpu", torch.bfloat16):
        found = norm(x)
    assert found.dtype == torch.float32 and torch.equal(found, expected)


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("symmetric", [False, True])
def test_cross_stitch(axis, symmetric):
    torch.manual_seed(0)
    stitch = CrossStitch(5, symmetric, axis)
    assert 0.1 <= stitch.weight.min() and stitch.weight.max() <= 0.9
    shape = (2, 3, 4, 5) if axis == -1 else (2, 5, 3, 4)
    x, y = torch.randn(shape), torch.randn(shape)
    first, second = stitch(x, y)
    w = stitch.weight
    for c in range(5):
        a, b = x.select(axis, c), y.select(axis, c)
        mixed = w[c, 0, 0] * a + w[c, 0, 1] * b
        other = w[c, 1, 0] * (a if symmetric else mixed) + w[c, 1, 1] * b
        assert torch.allclose(first.select(axis, c), mixed, atol=1e-6)
        assert torch.allclose(second.select(axis, c), other, atol=1e-6)
