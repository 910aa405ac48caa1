"""Permutation-invariant training: the best assignment of outputs."""

from itertools import permutations

import torch


def best_permutation(cost):
    """Cheapest assignment of outputs to targets, tried exhaustively.

    Arguments
    ---------
    cost : torch.Tensor
        cost[b, i, j] of output i standing for target j, [batch, K, K]
        (Yu et al., 2017).

    Returns
    -------
    tuple of torch.Tensor
        Mean cost over the K outputs of the best assignment, [batch], which
        carries the gradient; and the target of each output, [batch, K].

    Raises
    ------
    ValueError
        If the shape is not [batch, K, K], or K exceeds 6.

    Example
    -------
    >>> loss, target = best_permutation(torch.tensor([[[3.0, 1], [1, 9]]]))
    >>> loss, target
    (tensor([1.]), tensor([[1, 0]]))
    """
    if cost.ndim != 3 or cost.shape[1] != cost.shape[2]:
        raise ValueError(
            f"expected a cost of shape [batch, K, K], got {tuple(cost.shape)}"
        )
    size = cost.shape[1]
    if size > 6:
        raise ValueError(f"at most 6 outputs are permuted, got {size}")
    orders = torch.tensor(list(permutations(range(size))), device=cost.device)
    rows = torch.arange(size, device=cost.device)
    totals = cost[:, rows, orders].mean(-1)
    loss, best = totals.min(dim=1)
    return loss, orders[best]
