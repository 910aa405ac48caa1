import math

import pytest
import torch
from torch.nn import functional as F

from spatial_brain.nnet.conformer import (
    Conformer,
    ConformerBlock,
    _ConvolutionModule,
    _RelativeAttention,
)


def attention_by_loops(module, x):
    """The definition, token by token."""
    tokens = x.shape[0]
    size = module.rel_pos_emb.weight.shape[1]
    query = module.to_q(x).reshape(tokens, -1, size)
    key, value = (
        part.reshape(tokens, -1, size)
        for part in module.to_kv(x).split(query[0].numel(), dim=-1)
    )
    result = torch.zeros_like(query)
    for head in range(query.shape[1]):
        for i in range(tokens):
            scores = torch.zeros(tokens)
            for j in range(tokens):
                far = module.max_distance
                row = min(max(i - j, -far), far) + far
                relative = module.rel_pos_emb.weight[row]
                scores[j] = query[i, head] @ (key[j, head] + relative)
            share = (scores / math.sqrt(size)).softmax(0)
            result[i, head] = share @ value[:, head]
    return module.to_out(result.flatten(1))


@pytest.mark.parametrize("tokens", [1, 2, 3, 9])
@pytest.mark.parametrize("max_distance", [1, 3, 64])
@torch.no_grad()
def test_attention_by_loops(tokens, max_distance):
    module = _RelativeAttention(12, 3, 5, max_distance=max_distance)
    x = torch.randn(2, tokens, 12)
    expected = torch.stack([attention_by_loops(module, row) for row in x])
    assert torch.allclose(module(x), expected, atol=1e-5)


@torch.no_grad()
def test_convolution_module_by_definition():
    module = _ConvolutionModule(6, 2, kernel_size=5).eval()
    norm, _, wide, _, depthwise, batch_norm, _, narrow, *_ = module.net
    batch_norm.running_mean.normal_()
    batch_norm.running_var.uniform_(0.5, 2.0)
    x = torch.randn(3, 7, 6)
    first, gate = (
        norm(x).matmul(wide.weight[..., 0].T).add(wide.bias).chunk(2, 2)
    )
    hidden = F.pad(first * gate.sigmoid(), (0, 0, 2, 2))
    filtered = torch.zeros(3, 7, 12)
    for k in range(5):
        filtered += hidden[:, k : k + 7] * depthwise.conv.weight[:, 0, k]
    filtered += depthwise.conv.bias
    filtered = (filtered - batch_norm.running_mean) / torch.sqrt(
        batch_norm.running_var + 1e-5
    )
    filtered = filtered * filtered.sigmoid()
    expected = filtered @ narrow.weight[..., 0].T + narrow.bias
    assert torch.allclose(module(x), expected, atol=1e-5)


@torch.no_grad()
def test_order_inside_a_block():
    block = ConformerBlock(8, heads=2, dim_head=4, conv_kernel=3).eval()
    x = torch.randn(2, 5, 8)
    y = x + 0.5 * block.ff1.fn.fn.net(block.ff1.fn.norm(x))
    y = y + block.attn.fn(block.attn.norm(y))
    y = y + block.conv.net(y)
    y = y + 0.5 * block.ff2.fn.fn.net(block.ff2.fn.norm(y))
    assert torch.allclose(block(x), block.post_norm(y), atol=1e-6)


def test_dropout_is_applied_everywhere():
    block = ConformerBlock(8, heads=2, dim_head=4, conv_kernel=3, dropout=0.5)
    x = torch.randn(2, 5, 8)
    for part in (block.ff1, block.attn, block.conv, block.ff2):
        # Batch norm would change between calls: freeze it.
        part.train()
        for module in part.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.eval()
        assert not torch.equal(part(x), part(x))
        part.eval()
        assert torch.equal(part(x), part(x))
    plain = ConformerBlock(8, heads=2, dim_head=4, conv_kernel=3)
    assert torch.equal(plain.attn(x), plain.attn(x))


def test_dropout_of_attention_weights():
    """More happens than zeros and factors of two in the output."""
    attention = _RelativeAttention(8, 2, 4, dropout=0.5)
    x = torch.randn(1, 6, 8)
    dropped, plain = attention(x), attention.eval()(x)
    assert (dropped == 0).any()
    assert not torch.allclose(
        dropped[dropped != 0], 2 * plain[dropped != 0], atol=1e-3
    )


def test_positions_matter():
    attention = _RelativeAttention(8, 2, 4)
    x = torch.randn(1, 6, 8)
    assert not torch.allclose(
        attention(x).flip(1), attention(x.flip(1)), atol=1e-4
    )
    torch.nn.init.zeros_(attention.rel_pos_emb.weight)
    assert torch.allclose(attention(x).flip(1), attention(x.flip(1)), atol=1e-5)


def test_gradients_reach_every_parameter():
    network = Conformer(8, 2, heads=2, dim_head=4, conv_kernel=3)
    network(torch.randn(2, 5, 8)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name


def test_even_kernel_is_refused():
    with pytest.raises(ValueError, match="odd, got 4"):
        Conformer(8, 1, conv_kernel=4)
