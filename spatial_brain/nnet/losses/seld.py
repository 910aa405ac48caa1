"""Losses of sound event localisation and detection.

`SELDLoss` chooses by method: ACCDOA and multi-ACCDOA
(`spatial_brain.nnet.losses.accdoa`), track-wise permutation-invariant training
of EINV2 (Cao et al., 2021) and the aggregated losses of PSELDNets (Hu et al.,
2025). All are computed in float32 (or float64 if given), also under automatic
mixed precision. The best order of tracks is searched without a gradient from
a small table of costs of one track standing for one target; only the chosen
one is differentiated.
"""

import torch
from torch.nn import functional as F

from spatial_brain.nnet.losses.accdoa import (
    accdoa_loss,
    adpit_loss,
    check_shape,
    full_precision,
    mean_over_frames,
)
from spatial_brain.nnet.losses.pit import best_permutation

__all__ = [
    "SELDLoss",
    "accdoa_loss",
    "adpit_loss",
    "aggregated_loss",
    "track_pit_loss",
]

METHODS = ("accdoa", "multi_accdoa", "einv2", "seddoa")
AGGREGATIONS = ("agg1", "agg2", "mixed")


def _assign(cost):
    """Target of each track by the cheapest permutation.

    Arguments
    ---------
    cost : torch.Tensor
        Of track i standing for target j, [batch, frame, i, j].

    Returns
    -------
    torch.Tensor
        int64 [batch, frame, track].
    """
    batch, frames = cost.shape[:2]
    return best_permutation(cost.flatten(0, 1))[1].view(batch, frames, -1)


def _take(target, order):
    """Reorder the tracks of [batch, frame, track, value]."""
    index = order[..., None].expand(-1, -1, -1, target.shape[-1])
    return target.gather(2, index)


def _check_tracks(sed, doa, target_sed, target_doa):
    """Raise ValueError unless the four tensors describe the same tracks."""
    check_shape("doa", doa, (*sed.shape[:3], 3))
    check_shape("target sed", target_sed, sed.shape)
    check_shape("target doa", target_doa, doa.shape)


@full_precision
def track_pit_loss(sed, doa, target_sed, target_doa, beta=0.5, mask=None):
    """Track-wise classes and directions under the best order, frame by frame.

    Arguments
    ---------
    sed : torch.Tensor
        Logits, [batch, frame, track, class].
    doa : torch.Tensor
        Directions, [batch, frame, track, 3].
    target_sed : torch.Tensor
        Activities in [0, 1], like ``sed``.
    target_doa : torch.Tensor
        Unit vectors, zero for idle tracks, like ``doa``.
    beta : float
        Weight of the classes; the directions have 1 - beta.
    mask : torch.Tensor, optional
        Frames to count (1) or not (0), [batch, frame]; by default all.

    Returns
    -------
    tuple of torch.Tensor
        Loss, its binary cross-entropy (mean over tracks and classes) and its
        squared error of directions (mean over tracks and axes), scalars.

    Raises
    ------
    ValueError
        If the shapes do not agree.

    Example
    -------
    >>> sed = torch.tensor([[[[9.0], [-9.0]]]])
    >>> doa = torch.eye(3)[None, None, :2]
    >>> target = torch.tensor([[[[0.0], [1.0]]]])
    >>> loss, _, _ = track_pit_loss(sed, doa, target, doa.flip(2))
    >>> round(loss.item(), 6)
    6.2e-05
    """
    _check_tracks(sed, doa, target_sed, target_doa)
    target_sed = target_sed.to(sed.dtype)
    target_doa = target_doa.to(doa.dtype)
    with torch.no_grad():
        # softplus(x) - x t, summed over classes by a product of matrices.
        product = sed @ target_sed.transpose(2, 3)
        entropy = F.softplus(sed).sum(-1, keepdim=True) - product
        squared = (doa[:, :, :, None] - target_doa[:, :, None]).square()
        cost = beta * entropy / sed.shape[-1]
        order = _assign(cost + (1.0 - beta) * squared.mean(-1))
    entropy = F.binary_cross_entropy_with_logits(
        sed, _take(target_sed, order), reduction="none"
    )
    squared = (doa - _take(target_doa, order)).square()
    sed_loss = mean_over_frames(entropy.mean((2, 3)), mask)
    doa_loss = mean_over_frames(squared.mean((2, 3)), mask)
    return beta * sed_loss + (1.0 - beta) * doa_loss, sed_loss, doa_loss


def _normalized(vector):
    """Unit vectors; the gradient stays below 1e4 where they vanish."""
    return vector * torch.rsqrt(vector.square().sum(-1, keepdim=True) + 1e-8)


def _coupled_pit(activity, direction, target_sed, target_doa):
    """Squared error of activity times direction, best order, [batch, frame].

    Means over tracks, classes and axes of |s u - t v|^2, by
    |s|^2 |u|^2 - 2 (s . t) (u . v) + |t|^2 |v|^2 without the outer products.
    """
    own = (activity.square().sum(-1) * direction.square().sum(-1))[..., None]
    cross = activity @ target_sed.transpose(2, 3)
    cross = cross * (direction @ target_doa.transpose(2, 3))
    other = target_sed.square().sum(-1) * target_doa.square().sum(-1)
    cost = own - 2.0 * cross + other[:, :, None]
    with torch.no_grad():
        order = _assign(cost)
    cost = cost.gather(3, order[..., None])[..., 0]
    return cost.mean(2) / (3 * activity.shape[-1])


@full_precision
def aggregated_loss(
    sed,
    doa,
    target_sed,
    target_doa,
    aggregation="agg1",
    alpha=0.0,
    mask=None,
):
    """Squared error of activities times directions, over tracks.

    Arguments
    ---------
    sed : torch.Tensor
        Logits, [batch, frame, track, class].
    doa : torch.Tensor
        Directions of any length, [batch, frame, track, 3].
    target_sed : torch.Tensor
        Activities in [0, 1], like ``sed``.
    target_doa : torch.Tensor
        Unit vectors, zero for idle tracks, like ``doa``.
    aggregation : str
        "agg1": track by track, best order in every frame. "agg2": summed
        over the tracks. "mixed": alpha * agg1 + (1 - alpha) * agg2.
    alpha : float
        Weight of "agg1" in "mixed".
    mask : torch.Tensor, optional
        Frames to count (1) or not (0), [batch, frame]; by default all.

    Returns
    -------
    torch.Tensor
        Mean over counted frames and values, scalar.

    Raises
    ------
    ValueError
        If the shapes do not agree or the name is unknown.

    Example
    -------
    >>> sed = torch.full((1, 1, 1, 1), 20.0)
    >>> doa = torch.tensor([[[[0.5, 0.0, 0.0]]]])
    >>> aggregated_loss(sed, doa, torch.ones(1, 1, 1, 1), 2 * doa) < 1e-12
    tensor(True)
    """
    if aggregation not in AGGREGATIONS:
        raise ValueError(
            f"aggregation must be one of {AGGREGATIONS}, got {aggregation!r}"
        )
    _check_tracks(sed, doa, target_sed, target_doa)
    target_sed = target_sed.to(sed.dtype)
    target_doa = target_doa.to(doa.dtype)
    activity, direction = sed.sigmoid(), _normalized(doa)
    loss = 0.0
    if aggregation != "agg2":
        error = _coupled_pit(activity, direction, target_sed, target_doa)
        weight = alpha if aggregation == "mixed" else 1.0
        loss = loss + weight * mean_over_frames(error, mask)
    if aggregation != "agg1":
        # [class, axis], summed over the tracks.
        sums = activity.transpose(2, 3) @ direction
        sums = sums - target_sed.transpose(2, 3) @ target_doa
        error = sums.square().mean((2, 3))
        weight = 1.0 - alpha if aggregation == "mixed" else 1.0
        loss = loss + weight * mean_over_frames(error, mask)
    return loss


class SELDLoss:
    """The loss that belongs to a method.

    Arguments
    ---------
    method : str
        "accdoa", "multi_accdoa", "einv2" or "seddoa".
    beta : float
        Weight of the classes against the directions ("einv2", "seddoa").
    aggregation : str, optional
        "agg1", "agg2" or "mixed" instead of the track-wise loss ("einv2",
        "seddoa").
    alpha : float
        Weight of "agg1" in "mixed".

    Raises
    ------
    ValueError
        If a name is unknown or an option does not belong to the method.

    Example
    -------
    >>> loss = SELDLoss("einv2", aggregation="agg1")
    >>> outputs = {"sed": torch.zeros(1, 5, 3, 4)}
    >>> outputs["doa"] = torch.zeros(1, 5, 3, 3)
    >>> loss(outputs, outputs)
    tensor(0.)
    """

    def __init__(self, method, beta=0.5, aggregation=None, alpha=0.0):
        if method not in METHODS:
            raise ValueError(f"method must be one of {METHODS}, got {method!r}")
        if aggregation is not None and aggregation not in AGGREGATIONS:
            raise ValueError(
                f"aggregation must be None or one of {AGGREGATIONS}, got "
                f"{aggregation!r}"
            )
        if aggregation and method not in ("einv2", "seddoa"):
            raise ValueError(
                f"aggregation={aggregation!r} needs tracks with classes and "
                f'directions: method "einv2" or "seddoa", not {method!r}'
            )
        for name, value in (("beta", beta), ("alpha", alpha)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must lie in [0, 1], got {value}")
        self.method, self.beta = method, beta
        self.aggregation, self.alpha = aggregation, alpha

    def __call__(self, outputs, targets, mask=None):
        """Loss of a batch.

        Arguments
        ---------
        outputs : dict of torch.Tensor
            Of a network with this method: "accdoa" [batch, frame, 3 * class];
            "multi_accdoa" [batch, frame, 9 * class]; or "sed" (logits,
            [batch, frame, track, class]) and "doa" [batch, frame, track, 3].
        targets : dict of torch.Tensor
            "accdoa", like the output; "adpit" [batch, frame, 6, 4, class]; or
            "sed" and "doa", like the outputs. Others are ignored.
        mask : torch.Tensor, optional
            Frames to count (1) or not (0), [batch, frame]; by default all.

        Returns
        -------
        torch.Tensor
            Scalar, float32.
        """
        if self.method == "accdoa":
            return accdoa_loss(outputs["accdoa"], targets["accdoa"], mask)
        if self.method == "multi_accdoa":
            return adpit_loss(outputs["multi_accdoa"], targets["adpit"], mask)
        tracks = (
            outputs["sed"],
            outputs["doa"],
            targets["sed"],
            targets["doa"],
        )
        if self.aggregation:
            return aggregated_loss(
                *tracks, self.aggregation, self.alpha, mask=mask
            )
        return track_pit_loss(*tracks, self.beta, mask=mask)[0]
