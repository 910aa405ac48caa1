"""Conformer blocks with a sinusoidal table of positions."""

import math

import pytest
import torch

from spatial_brain.nnet.relative_conformer import (
    RelativeConformer,
    RelativeConformerBlock,
    _relative_shift,
    _TableAttention,
    sinusoid_table,
)


@pytest.mark.parametrize("length", [1, 2, 3, 8])
def test_relative_shift_entry_by_entry(length):
    scores = torch.randn(2, 3, length, length)
    shifted = _relative_shift(scores)
    for i in range(length):
        for j in range(length):
            if j <= i:
                expected = scores[..., i, length - 1 - i + j]
            elif j == i + 1:
                expected = torch.zeros(2, 3)
            else:
                expected = scores[..., i + 1, j - i - 2]
            assert torch.equal(shifted[..., i, j], expected), (i, j)


def test_sinusoid_table_closed_form():
    table = sinusoid_table(30, 16)
    for position in (0, 1, 7, 29):
        for i in range(8):
            angle = position / 10000 ** (2 * i / 16)
            assert abs(table[position, 2 * i] - math.sin(angle)) < 1e-5
            assert abs(table[position, 2 * i + 1] - math.cos(angle)) < 1e-5


def naive_attention(attention, x, table):
    """Softmax of scores made one by one, in double precision."""
    batch, length, dim = x.shape
    heads, size = attention.u_bias.shape
    output = torch.zeros_like(x)
    rows = attention.pos_proj(table)
    for b in range(batch):
        query = attention.query_proj(x[b]) + 0.0
        key, value = attention.key_proj(x[b]), attention.value_proj(x[b])
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            q, k, v, p = (y[:, part] for y in (query, key, value, rows))
            position = torch.zeros(length, length, dtype=x.dtype)
            for i in range(length):
                for j in range(length):
                    position[i, j] = (q[i] + attention.v_bias[h]) @ p[j]
            position = _relative_shift(position)
            scores = torch.zeros_like(position)
            for i in range(length):
                for j in range(length):
                    content = (q[i] + attention.u_bias[h]) @ k[j]
                    scores[i, j] = (content + position[i, j]) / math.sqrt(dim)
            output[b, :, part] = scores.softmax(-1) @ v
    return attention.out_proj(output)


def test_attention_against_loops():
    torch.manual_seed(0)
    attention = _TableAttention(12, heads=3).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 6, 12).double()
    table = sinusoid_table(6, 12).double()
    expected = naive_attention(attention, x, table)
    assert torch.allclose(attention(x, table), expected, atol=1e-10)


def test_block_is_the_sum_of_its_parts():
    torch.manual_seed(0)
    block = RelativeConformerBlock(8, heads=2, conv_kernel=5).eval()
    feed1, attention, convolution, feed2, norm = block.sequential
    x = torch.randn(2, 7, 8)
    y = x + 0.5 * feed1.module(x)
    y = y + attention.module(y)
    y = y + convolution.module(y)
    y = y + 0.5 * feed2.module(y)
    assert torch.allclose(block(x), norm(y), atol=1e-6)
    # The convolution, written out.
    parts = convolution.module.sequential
    z = parts[0](x).transpose(1, 2)
    first, second = parts[2].conv(z).chunk(2, dim=1)
    z = first * second.sigmoid()
    z = torch.nn.functional.conv1d(z, parts[4].conv.weight, padding=2, groups=8)
    z = parts[5](z)
    z = parts[7].conv(z * z.sigmoid()).transpose(1, 2)
    assert torch.allclose(convolution.module(x), z, atol=1e-6)


def test_names_of_both_families_load():
    torch.manual_seed(0)
    source = RelativeConformer(16, 2, heads=4)
    state = source.state_dict()
    head = "layers.0.sequential."
    for name, shape in {
        "0.module.sequential.1.weight": (64, 16),
        "1.module.attention.u_bias": (4, 4),
        "1.module.attention.pos_proj.weight": (16, 16),
        "1.module.layer_norm.bias": (16,),
        "2.module.sequential.2.conv.bias": (32,),
        "2.module.sequential.4.conv.weight": (16, 1, 31),
        "2.module.sequential.5.running_var": (16,),
        "2.module.sequential.7.conv.weight": (16, 16, 1),
        "3.module.sequential.4.bias": (16,),
        "4.weight": (16,),
    }.items():
        assert state[head + name].shape == shape
    assert not any(name.endswith(".pe") for name in state)
    # With the stored table, and with the wrapped linear maps of the other.
    place = "layers.{}.sequential.1.module.positional_encoding.pe"
    rows = sinusoid_table(10000, 16)[None]
    table = {place.format(n): rows for n in (0, 1)}
    wrapped = {}
    for name, value in state.items():
        module, _, last = name.rpartition(".")
        if isinstance(source.get_submodule(module), torch.nn.Linear):
            name = f"{module}.linear.{last}"
        wrapped[name] = value
    assert sum(".linear." in name for name in wrapped) == 2 * (8 + 9)
    x = torch.randn(2, 9, 16)
    source.eval()
    for other in ({**state, **table}, {**wrapped, **table}, wrapped):
        network = RelativeConformer(16, 2, heads=4).eval()
        network.load_state_dict(other, strict=True)
        assert torch.equal(network(x), source(x))


@pytest.mark.parametrize("shape", [(1, 100, 8), (1, 100, 16), (100, 16)])
def test_another_table_is_refused(shape):
    network = RelativeConformer(16, heads=4)
    name = "layers.0.sequential.1.module.positional_encoding.pe"
    with pytest.raises(RuntimeError, match="not the sinusoidal table of 16"):
        network.load_state_dict(
            {**network.state_dict(), name: torch.ones(shape)}
        )


def test_initial_values_and_gradients():
    torch.manual_seed(0)
    network = RelativeConformer(32, heads=4)
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear):
            bound = math.sqrt(6 / sum(module.weight.shape))
            assert module.weight.abs().max() <= bound
            assert module.weight.abs().max() > 0.9 * bound, name
            assert module.bias is None or not module.bias.any()
    network(torch.randn(2, 9, 32)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


def test_lengths_and_mixed_precision():
    torch.manual_seed(0)
    network = RelativeConformer(16, heads=2).eval()
    for length in (1, 2, 40):
        x = torch.randn(2, length, 16)
        y = network(x)
        assert torch.allclose(network(x[1:]), y[1:], atol=1e-5)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = network(x)
        assert (half.float() - y).abs().max() < 0.1


def test_dropout_is_of_training_only():
    torch.manual_seed(0)
    network = RelativeConformer(16, heads=2, dropout=0.5)
    x = torch.randn(1, 9, 16)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


def test_bad_sizes():
    with pytest.raises(ValueError, match="multiple of heads=3"):
        RelativeConformerBlock(16, heads=3)
    with pytest.raises(ValueError, match="must be odd, got 30"):
        RelativeConformerBlock(16, conv_kernel=30)
