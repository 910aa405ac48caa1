"""Temporal blocks with global norms, in few passes over memory.

Same numbers as the blocks of :mod:`spatial_brain.nnet.temporal_convolution` one
after another, with gradients written by hand. A global norm is, for one
signal, one scale and one offset a channel; both go into the weights of the
linear map that follows, for which continuing a signal as in a mirror is
harmless. So nothing is normalised, no padded copy is made, and the sums that
gradients of a norm need come from those of the weights. Kept for the backward
pass are three arrays a block: its input, and what its two PReLUs get.
"""

from typing import NamedTuple

import torch
from torch.autograd.function import once_differentiable

EPS = 1e-8

prelu = torch.ops.aten.leaky_relu.out
_prelu_backward = torch.ops.aten.leaky_relu_backward.grad_input


class Weights(NamedTuple):
    """Parameters of one block, as its state dict shapes them."""

    widen: torch.Tensor
    slope_1: torch.Tensor
    gamma_1: torch.Tensor
    beta_1: torch.Tensor
    taps: torch.Tensor
    slope_2: torch.Tensor
    gamma_2: torch.Tensor
    beta_2: torch.Tensor
    narrow: torch.Tensor


def run_stack(x, weights, dilations):
    """Blocks one after another.

    Arguments
    ---------
    x : torch.Tensor
        [batch, channel, frame], longer than half the reach of every block.
    weights : sequence of Weights
        One a block.
    dilations : sequence of int
        One a block, frames between taps.

    Returns
    -------
    torch.Tensor
        Same shape.

    Example
    -------
    >>> shapes = (8, 4, 1), 1, (1, 1, 8), (1, 1, 8), (8, 1, 3), 1
    >>> shapes += (1, 1, 8), (1, 1, 8), (4, 8, 1)
    >>> weights = Weights(*(torch.rand(shape) for shape in shapes))
    >>> run_stack(torch.randn(2, 4, 9), [weights], [2]).shape
    torch.Size([2, 4, 9])
    """
    flat = [tensor for block in weights for tensor in block]
    keep = torch.is_grad_enabled() and any(
        tensor.requires_grad for tensor in (x, *flat)
    )
    return _Stack.apply(x, tuple(dilations), keep, *flat)


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, dilations, keep, *flat):
        blocks = split_blocks(flat)
        slopes = block_slopes(blocks)
        shape = len(x), blocks[0].widen.shape[0], x.shape[-1]
        scratch = [x.new_empty(shape) for _ in range(2)]
        if not keep:
            inner = [x.new_empty(shape) for _ in range(2)]
        kept, sums = [], []
        for block, slope, dilation in zip(
            blocks, slopes, dilations, strict=True
        ):
            if keep:
                inner = [x.new_empty(shape) for _ in range(2)]
            y, found = _forward(x, block, slope, dilation, inner, scratch)
            if keep:
                kept += x, *inner
                sums += found
            x = y
        if keep:
            ctx.save_for_backward(*flat, *kept, *sums)
            ctx.dilations, ctx.slopes = dilations, slopes
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        saved = ctx.saved_tensors
        count = len(ctx.dilations)
        size = len(Weights._fields)
        blocks = split_blocks(saved[: size * count])
        kept = saved[size * count :]
        sums = kept[3 * count :]
        scratch = [torch.empty_like(kept[1]) for _ in range(3)]
        # Added to in place, block by block.
        grad = grad.clone(memory_format=torch.contiguous_format)
        grads = []
        for i in reversed(range(count)):
            grads = [
                *_backward(
                    grad,
                    blocks[i],
                    ctx.slopes[i],
                    ctx.dilations[i],
                    kept[3 * i : 3 * i + 3],
                    sums[4 * i : 4 * i + 4],
                    scratch,
                ),
                *grads,
            ]
        return grad, None, None, *grads


def split_blocks(flat):
    """Parameters of each block.

    Arguments
    ---------
    flat : sequence of torch.Tensor
        Those of all blocks, in the order of ``Weights``.

    Returns
    -------
    list of Weights

    Example
    -------
    >>> len(split_blocks([torch.zeros(1)] * 18))
    2
    """
    size = len(Weights._fields)
    return [Weights(*flat[i : i + size]) for i in range(0, len(flat), size)]


def block_slopes(blocks):
    """Slopes of the two PReLUs of each block, as numbers.

    Arguments
    ---------
    blocks : sequence of Weights
        One a block.

    Returns
    -------
    list of list of float
        Two a block.

    Example
    -------
    >>> block_slopes(split_blocks([torch.ones(1)] * 9))
    [[1.0, 1.0]]
    """
    slopes = [torch.cat((block.slope_1, block.slope_2)) for block in blocks]
    return torch.stack(slopes).tolist()


def _forward(x, block, slopes, dilation, inner, scratch):
    """One block; fills ``inner`` with what its two PReLUs get."""
    before, after = inner
    active, spare = scratch
    torch.matmul(block.widen[..., 0], x, out=before)
    prelu(before, slopes[0], out=active)
    first = _moments(active, spare)
    gain, offset = _affine(block.gamma_1, block.beta_1, *first)
    taps = block.taps[:, 0]
    bias = taps.sum(-1) * offset
    _depthwise(active, taps * gain[..., None], bias, dilation, after)
    prelu(after, slopes[1], out=active)
    second = _moments(active, spare)
    gain, offset = _affine(block.gamma_2, block.beta_2, *second)
    narrow = block.narrow[..., 0]
    y = torch.baddbmm(x, narrow * gain[:, None], active)
    y += (offset @ narrow.mT)[..., None]
    return y, (*first, *second)


def _backward(grad, block, slopes, dilation, kept, sums, scratch):
    """Gradients of a block's parameters; ``grad`` becomes that of its input."""
    x, before, after = kept
    active, inner, spare = scratch
    narrow = _narrow_gradient(
        grad, block, sums[2:], (after, slopes[1]), active, inner
    )
    slope_2 = through_prelu(inner, after, slopes[1], spare)
    taps = _taps_gradient(
        inner, block, sums[:2], (before, slopes[0]), dilation, active, spare
    )
    slope_1 = through_prelu(spare, before, slopes[0], inner)
    widen = torch.bmm(spare, x.mT).sum(0)
    back = block.widen[..., 0].mT.expand(len(x), -1, -1)
    # The way around the block is there already.
    grad.baddbmm_(back, spare)
    found = Weights(widen, slope_1, *taps, slope_2, *narrow)
    return [
        value.view(parameter.shape)
        for value, parameter in zip(found, block, strict=True)
    ]


def _narrow_gradient(grad, block, moments, activation, active, inner):
    """Back through the last map and its norm, into ``inner``.

    Returns the gradients of gamma, beta and the map.
    """
    after, slope = activation
    prelu(after, slope, out=active)
    narrow = block.narrow[..., 0]
    gain, offset = _affine(block.gamma_2, block.beta_2, *moments)
    outer, total = torch.bmm(grad, active.mT), grad.sum(-1)
    gamma, beta, constant, factor = _norm_gradient(
        block.gamma_2.view(-1),
        total @ narrow,
        (outer * narrow).sum(1),
        moments,
        after[0].numel(),
    )
    torch.bmm((narrow * gain[:, None]).mT, grad, out=inner)
    inner.addcmul_(active, factor).add_(constant)
    return gamma, beta, (outer * gain[:, None]).sum(0) + total.mT @ offset


def _taps_gradient(grad, block, moments, activation, dilation, active, spare):
    """Back through the convolution and its norm, into ``spare``.

    Returns the gradients of gamma, beta and the taps.
    """
    before, slope = activation
    prelu(before, slope, out=active)
    taps = block.taps[:, 0]
    gain, offset = _affine(block.gamma_1, block.beta_1, *moments)
    outer = _depthwise_taps(grad, active, taps.shape[-1], dilation, spare)
    total = grad.sum(-1)
    gamma, beta, constant, factor = _norm_gradient(
        block.gamma_1.view(-1),
        total * taps.sum(-1),
        (outer * taps).sum(-1),
        moments,
        before[0].numel(),
    )
    _depthwise_input(grad, taps * gain[..., None], dilation, spare)
    spare.addcmul_(active, factor).add_(constant)
    found = (outer * gain[..., None] + (total * offset)[..., None]).sum(0)
    return gamma, beta, found


def _moments(x, scratch):
    """Mean of each signal, and one over its standard deviation, [batch, 1]."""
    count = x[0].numel()
    mean = x.sum((1, 2)).double() / count
    power = torch.mul(x, x, out=scratch).sum((1, 2)).double() / count
    scale = torch.rsqrt((power - mean.square()).clamp(min=0) + EPS)
    return mean.to(x)[:, None], scale.to(x)[:, None]


def _affine(gamma, beta, mean, scale):
    """A norm as scale and offset of channels, [batch, channel]."""
    gain = gamma.view(1, -1) * scale
    return gain, beta.view(1, -1) - gain * mean


def _norm_gradient(gamma, first, second, moments, count):
    """Gradients of a norm from those of its output.

    Arguments
    ---------
    gamma : torch.Tensor
        Scale of channels, [channel].
    first, second : torch.Tensor
        Gradient of the output, summed over frames, and summed after
        multiplication with the input; [batch, channel].
    moments : tuple of torch.Tensor
        Mean and one over the standard deviation, [batch, 1].
    count : int
        Numbers that went into the moments.

    Returns
    -------
    tuple of torch.Tensor
        Gradients of gamma and beta, [channel]; and c0, c1 [batch, 1, 1]: the
        gradient of the input is gain times that of the output, plus c0, plus
        c1 times the input.
    """
    mean, scale = moments
    centred = (second - mean * first) * scale
    shift = (first @ gamma)[:, None] * scale / count
    stretch = (centred @ gamma)[:, None] * scale.square() / count
    return (
        centred.sum(0),
        first.sum(0),
        (stretch * mean - shift)[..., None],
        -stretch[..., None],
    )


def through_prelu(grad, x, slope, spare):
    """Turn the gradient of a PReLU's output into that of its input, in place.

    Arguments
    ---------
    grad : torch.Tensor
        Changed.
    x : torch.Tensor
        What the PReLU got.
    slope : float
        Of it, below zero.
    spare : torch.Tensor
        Overwritten. All three have one shape.

    Returns
    -------
    torch.Tensor
        Gradient of the slope, [1].

    Example
    -------
    >>> grad, x = torch.ones(2), torch.tensor([-3.0, 3.0])
    >>> through_prelu(grad, x, 0.5, torch.empty(2)), grad
    (tensor([-3.]), tensor([0.5000, 1.0000]))
    """
    torch.clamp(x, max=0, out=spare)
    found = torch.mul(spare, grad, out=spare).sum().view(1)
    _prelu_backward(grad, x, slope, False, grad_input=grad)
    return found


def _shifts(taps, dilation):
    """Taps beside the middle one: index and frames from it."""
    middle = taps.shape[-1] // 2
    places = [j for j in range(taps.shape[-1]) if j != middle]
    return middle, [(j, (j - middle) * dilation) for j in places]


def _edges(shift):
    """Slices of the frames whose tap lies inside, and of those outside.

    (target, source) of the inside; (target, source) of the outside, where
    the source is to be reversed.
    """
    n = abs(shift)
    if shift < 0:
        inside = slice(n, None), slice(None, -n)
        return *inside, slice(None, n), slice(1, n + 1)
    inside = slice(None, -n), slice(n, None)
    return *inside, slice(-n, None), slice(-n - 1, -1)


def _depthwise(x, taps, bias, dilation, out):
    """Dilated depthwise convolution of mirrored signals.

    ``x`` and ``out`` [batch, channel, frame], ``taps`` [batch, channel, tap],
    ``bias`` [batch, channel].
    """
    middle, shifts = _shifts(taps, dilation)
    torch.addcmul(bias[..., None], x, taps[..., middle, None], out=out)
    for j, shift in shifts:
        to, at, edge, mirror = _edges(shift)
        tap = taps[..., j, None]
        out[..., to].addcmul_(x[..., at], tap)
        out[..., edge].addcmul_(x[..., mirror].flip(-1), tap)


def _depthwise_input(grad, taps, dilation, out):
    """Gradient of what ``_depthwise`` convolves."""
    middle, shifts = _shifts(taps, dilation)
    torch.mul(grad, taps[..., middle, None], out=out)
    for j, shift in shifts:
        to, at, edge, mirror = _edges(shift)
        tap = taps[..., j, None]
        out[..., at].addcmul_(grad[..., to], tap)
        out[..., mirror].addcmul_(grad[..., edge].flip(-1), tap)


def _depthwise_taps(grad, x, num_taps, dilation, spare):
    """Gradient of the taps of ``_depthwise``, [batch, channel, tap]."""
    found = grad.new_empty(*grad.shape[:2], num_taps)
    middle, shifts = _shifts(found, dilation)
    found[..., middle] = torch.mul(grad, x, out=spare).sum(-1)
    for j, shift in shifts:
        to, at, edge, mirror = _edges(shift)
        torch.mul(grad[..., to], x[..., at], out=spare[..., to])
        torch.mul(
            grad[..., edge], x[..., mirror].flip(-1), out=spare[..., edge]
        )
        found[..., j] = spare.sum(-1)
    return found
