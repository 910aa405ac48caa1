"""Causal temporal blocks, signal by signal, in few passes over memory.

Same numbers as the causal blocks of
:mod:`spatial_brain.nnet.temporal_convolution` one after another, with gradients
written by hand. A norm is one scale and one offset a frame: the second one of a
block is applied behind the map that follows, which has fewer channels, and the
gradients of both are sums of two numbers a frame. Signals take their turns, so
that what is between two layers stays in the cache. Kept for the backward pass
are three arrays a block: its input, and what its two PReLUs get.
"""

from typing import NamedTuple

import torch
from torch.autograd.function import once_differentiable

from spatial_brain.nnet.temporal_stack import (
    EPS,
    Weights,
    block_slopes,
    prelu,
    split_blocks,
    through_prelu,
)


def run_causal_stack(x, weights, dilations, cumulative):
    """Blocks one after another.

    Arguments
    ---------
    x : torch.Tensor
        [batch, channel, frame], on the CPU.
    weights : sequence of Weights
        One a block.
    dilations : sequence of int
        One a block, frames between taps; the last tap is the present frame.
    cumulative : bool
        Whether norms are over all frames so far (cLN), or over each alone.

    Returns
    -------
    torch.Tensor
        Same shape.

    Example
    -------
    >>> shapes = (8, 4, 1), 1, (1, 1, 8), (1, 1, 8), (8, 1, 3), 1
    >>> shapes += (1, 1, 8), (1, 1, 8), (4, 8, 1)
    >>> weights = Weights(*(torch.rand(shape) for shape in shapes))
    >>> run_causal_stack(torch.randn(2, 4, 9), [weights], [2], True).shape
    torch.Size([2, 4, 9])
    """
    flat = [tensor for block in weights for tensor in block]
    keep = torch.is_grad_enabled() and any(
        tensor.requires_grad for tensor in (x, *flat)
    )
    return _CausalStack.apply(x, tuple(dilations), cumulative, keep, *flat)


class _Moments(NamedTuple):
    """A norm of each frame, [frame]; ``count`` numbers went into it."""

    mean: torch.Tensor
    scale: torch.Tensor
    count: torch.Tensor


class _CausalStack(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, dilations, cumulative, keep, *flat):
        blocks = split_blocks(flat)
        slopes = block_slopes(blocks)
        shape = blocks[0].widen.shape[0], x.shape[-1]
        inner = [x.new_empty(shape) for _ in range(2)]
        scratch = [x.new_empty(shape) for _ in range(2)]
        kept, moments, outputs = [], [], []
        for y in x.unbind():
            for block, slope, dilation in zip(
                blocks, slopes, dilations, strict=True
            ):
                if keep:
                    inner = [x.new_empty(shape) for _ in range(2)]
                    kept += y, *inner
                y, found = _forward(
                    y, block, slope, dilation, cumulative, inner, scratch
                )
                moments.append(found)
            outputs.append(y)
        if keep:
            ctx.save_for_backward(*flat, *kept)
            ctx.moments, ctx.cumulative = moments, cumulative
            ctx.dilations, ctx.slopes = dilations, slopes
        return torch.stack(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        saved, count = ctx.saved_tensors, len(ctx.dilations)
        size = len(Weights._fields) * count
        blocks, kept = split_blocks(saved[:size]), saved[size:]
        scratch = [torch.empty_like(kept[1]) for _ in range(4)]
        # Changed in place, block by block.
        grad = grad.clone(memory_format=torch.contiguous_format)
        total = [None] * count
        for item, row in enumerate(grad.unbind()):
            for i in reversed(range(count)):
                place = item * count + i
                found = _backward(
                    row,
                    blocks[i],
                    (ctx.slopes[i], ctx.dilations[i], ctx.cumulative),
                    kept[3 * place : 3 * place + 3],
                    ctx.moments[place],
                    scratch,
                )
                total[i] = found if item == 0 else _added(total[i], found)
        grads = [
            value.view(parameter.shape)
            for found, block in zip(total, blocks, strict=True)
            for value, parameter in zip(found, block, strict=True)
        ]
        return grad, None, None, None, *grads


def _added(one, other):
    """Sums of the gradients of two signals."""
    return [a + b for a, b in zip(one, other, strict=True)]


def _forward(x, block, slopes, dilation, cumulative, inner, scratch):
    """Output [channel, frame] of a block, and its two norms."""
    before, after = inner
    active, spare = scratch
    torch.mm(block.widen[..., 0], x, out=before)
    prelu(before, slopes[0], out=active)
    first = _moments(active, cumulative, spare)
    _normalize(active, first, active)
    _look_back(active, block, dilation, after)
    prelu(after, slopes[1], out=active)
    second = _moments(active, cumulative, spare)
    narrow = block.narrow[..., 0]
    weight = narrow * block.gamma_2.view(-1)
    y = torch.addcmul(x, weight @ active, second.scale)
    y.addr_(weight.sum(1), second.mean * second.scale, alpha=-1)
    y += (narrow @ block.beta_2.view(-1))[:, None]
    return y, (first, second)


def _backward(grad, block, options, kept, moments, scratch):
    """Gradients of a block's parameters; ``grad`` becomes that of its input."""
    slopes, dilation, cumulative = options
    x, before, after = kept
    active, inner, spare, normed = scratch
    prelu(after, slopes[1], out=active)
    narrow = _narrow_gradient(
        grad, block, moments[1], cumulative, (active, inner, spare)
    )
    slope_2 = through_prelu(inner, after, slopes[1], spare)
    prelu(before, slopes[0], out=active)
    _normalize(active, moments[0], normed)
    taps = _taps_gradient(inner, normed, block, dilation, spare)
    _look_ahead(inner, block, dilation, spare)
    _norm_gradient(spare, active, moments[0], cumulative, normed)
    slope_1 = through_prelu(spare, before, slopes[0], inner)
    widen = spare @ x.mT
    # The way around the block is there already.
    grad.addmm_(block.widen[..., 0].mT, spare)
    return widen, slope_1, *taps, slope_2, *narrow


def _moments(x, cumulative, spare):
    """Norm of each frame of [channel, frame]."""
    channels, frames = x.shape
    if not cumulative:
        variance, mean = torch.var_mean(x, 0, correction=0)
        count = torch.full((), channels, dtype=torch.float64)
        return _Moments(mean, torch.rsqrt(variance + EPS), count)
    total = x.sum(0).double().cumsum(0)
    power = torch.mul(x, x, out=spare).sum(0).double().cumsum(0)
    count = channels * torch.arange(1, frames + 1, dtype=torch.float64)
    mean = total / count
    variance = (power / count - mean.square()).clamp(min=0)
    return _Moments(mean.to(x), torch.rsqrt(variance.to(x) + EPS), count)


def _normalize(x, moments, out):
    """Bring [channel, frame] to mean 0 and variance 1."""
    shift = -moments.mean * moments.scale
    torch.addcmul(shift, x, moments.scale, out=out)


def _taps(block, dilation, frames):
    """Taps [hidden, 1] and how many frames they look back, present first."""
    taps = block.taps[:, 0]
    count = taps.shape[-1]
    return [
        (taps[:, k, None], (count - 1 - k) * dilation)
        for k in reversed(range(count))
        if (count - 1 - k) * dilation < frames
    ]


def _look_back(x, block, dilation, out):
    """Dilated convolution of a norm's output, with zeros before it."""
    gamma, beta = block.gamma_1.view(-1, 1), block.beta_1.view(-1, 1)
    places = _taps(block, dilation, x.shape[1])
    ends = [lag for _, lag in places[1:]] + [x.shape[1]]
    # Before the first frame is nothing, no offset either.
    offset = torch.zeros_like(beta)
    present = gamma * places[0][0]
    for (tap, start), end in zip(places, ends, strict=True):
        offset = offset + beta * tap
        part = slice(start, end)
        torch.addcmul(offset, x[:, part], present, out=out[:, part])
    for tap, lag in places[1:]:
        out[:, lag:].addcmul_(x[:, : x.shape[1] - lag], gamma * tap)


def _look_ahead(grad, block, dilation, out):
    """Gradient of what ``_look_back`` convolves."""
    gamma, frames = block.gamma_1.view(-1, 1), grad.shape[1]
    for tap, lag in _taps(block, dilation, frames):
        if lag == 0:
            torch.mul(grad, gamma * tap, out=out)
        else:
            out[:, : frames - lag].addcmul_(grad[:, lag:], gamma * tap)


def _taps_gradient(grad, normed, block, dilation, spare):
    """Gradients of scale, offset and taps of the convolution."""
    frames, shape = grad.shape[1], block.taps[:, 0].shape
    products, sums = grad.new_zeros(shape), grad.new_zeros(shape)
    for index, (_, lag) in enumerate(_taps(block, dilation, frames), 1):
        part = grad[:, lag:]
        product = spare[:, lag:]
        torch.mul(part, normed[:, : frames - lag], out=product)
        products[:, -index] = product.sum(1)
        sums[:, -index] = part.sum(1)
    taps = block.taps[:, 0]
    gamma, beta = block.gamma_1.view(-1, 1), block.beta_1.view(-1, 1)
    return (
        (products * taps).sum(1),
        (sums * taps).sum(1),
        gamma * products + beta * sums,
    )


def _narrow_gradient(grad, block, moments, cumulative, scratch):
    """Back through the last map and its norm, into ``inner``.

    Returns the gradients of gamma, beta and the map.
    """
    active, inner, spare = scratch
    narrow = block.narrow[..., 0]
    gamma, beta = block.gamma_2.view(-1), block.beta_2.view(-1)
    torch.mm((narrow * gamma).mT, grad, out=inner)
    outer = (grad * moments.scale) @ active.mT
    outer -= (grad @ (moments.mean * moments.scale))[:, None]
    total = grad.sum(1)
    _norm_gradient(inner, active, moments, cumulative, spare)
    return (
        (outer * narrow).sum(0),
        total @ narrow,
        outer * gamma + torch.outer(total, beta),
    )


def _norm_gradient(grad, x, moments, cumulative, spare):
    """Turn the gradient of a norm's output into that of its input x.

    All are [channel, frame]; scale and offset of channels are not part of it.
    """
    mean, scale, count = (part.double() for part in moments)
    first = grad.sum(0).double()
    second = torch.mul(grad, x, out=spare).sum(0).double()
    variance = -0.5 * scale**3 * (second - mean * first)
    power = variance / count
    total = (-scale * first - 2.0 * mean * variance) / count
    if cumulative:
        power, total = (
            part.flip(0).cumsum(0).flip(0) for part in (power, total)
        )
    grad *= moments.scale
    grad.addcmul_(x, (2.0 * power).to(grad))
    grad += total.to(grad)
