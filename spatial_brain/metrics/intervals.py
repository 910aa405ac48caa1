"""Intervals that hold: their calibration, their coverage, and the mean of many.

Estimates are quantiles [..., 3]: lower end, middle and upper end. An interval
is widened or narrowed about its middle by a factor which split-conformal
prediction takes from recordings of other rooms (V. Vovk, A. Gammerman and G.
Shafer, "Algorithmic learning in a random world", 2005; Y. Romano, E. Patterson
and E. Candes, "Conformalized quantile regression", NeurIPS 2019).
"""

import math

import torch

_EPS = 1e-6


def combine_estimates(quantiles):
    """One estimate from those of several windows and channels.

    The mean, weighted by the inverse square of the width of each interval:
    windows without speech count for little. Its interval has the mean width,
    as errors of windows of one room may all be the same; how much narrower it
    may be is what calibration finds.

    Arguments
    ---------
    quantiles : torch.Tensor
        [..., estimate, quantity, 3].

    Returns
    -------
    torch.Tensor
        [..., quantity, 3].

    Example
    -------
    >>> one = torch.tensor([[[0.0, 1.0, 2.0]], [[2.0, 3.0, 4.0]]])
    >>> combine_estimates(one)
    tensor([[1., 2., 3.]])
    """
    width = quantiles[..., 2:] - quantiles[..., :1]
    weight = 1 / (width + _EPS).square()
    return (weight * quantiles).sum(-3) / weight.sum(-3)


def interval_factors(quantiles, labels, coverage=0.9):
    """By how much intervals must be wider, so that they hold.

    Arguments
    ---------
    quantiles : torch.Tensor
        [recording, quantity, 3].
    labels : torch.Tensor
        [recording, quantity].
    coverage : float
        Share of the labels that shall lie in their intervals.

    Returns
    -------
    torch.Tensor
        [quantity]; the (n + 1) coverage-th smallest of n ratios of error and
        half width on its side, the largest where n is too small.

    Example
    -------
    >>> quantiles = torch.tensor([[[-1.0, 0.0, 1.0]]]).expand(99, 1, 3)
    >>> interval_factors(quantiles, torch.linspace(0, 2, 99)[:, None])
    tensor([1.8163])
    """
    number = len(labels)
    rank = min(math.ceil((number + 1) * coverage), number)
    ratio = _ratios(quantiles, labels)
    return ratio.sort(0).values[rank - 1]


def _ratios(quantiles, labels):
    """Error over the half width on its side, [recording, quantity]."""
    low, middle, high = quantiles.unbind(-1)
    below = (middle - labels) / (middle - low).clamp_min(_EPS)
    above = (labels - middle) / (high - middle).clamp_min(_EPS)
    return torch.maximum(below, above)


def scale_intervals(quantiles, factors):
    """Widen intervals about their middle.

    Arguments
    ---------
    quantiles : torch.Tensor
        [..., quantity, 3].
    factors : torch.Tensor
        [quantity].

    Returns
    -------
    torch.Tensor
        [..., quantity, 3].

    Example
    -------
    >>> scale_intervals(torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([2.0]))
    tensor([[0., 2., 6.]])
    """
    middle = quantiles[..., 1:2]
    return middle + factors[:, None] * (quantiles - middle)


def interval_coverage(quantiles, labels):
    """Share of the labels that lie in their intervals.

    Arguments
    ---------
    quantiles : torch.Tensor
        [recording, quantity, 3].
    labels : torch.Tensor
        [recording, quantity].

    Returns
    -------
    torch.Tensor
        [quantity].

    Example
    -------
    >>> intervals = torch.tensor([[[0.0, 1.0, 2.0]], [[0.0, 1.0, 2.0]]])
    >>> interval_coverage(intervals, torch.tensor([[1.5], [3.0]]))
    tensor([0.5000])
    """
    inside = (quantiles[..., 0] <= labels) & (labels <= quantiles[..., 2])
    return inside.float().mean(0)
