"""Losses of sound event localisation and detection.

`SELDLoss` chooses by method: ACCDOA (Shimada et al., 2021); multi-ACCDOA with
auxiliary duplicating permutation-invariant training, ADPIT (Shimada et al.,
2022); track-wise permutation-invariant training of EINV2 (Cao et al., 2021);
the aggregated losses of PSELDNets (Hu et al., 2025). All are computed in
float32 (or float64 if given), also under automatic mixed precision. The best
order of tracks is searched without a gradient from a small table of costs of
one track standing for one target; only the chosen one is differentiated.
"""

import functools
from itertools import permutations

import torch
from torch.nn import functional as F

# Slots A0, B0, B1, C0, C1, C2 that the three tracks take in the 13
# arrangements of one, two and three events of a class, and the arrangement
# that stands for each family where another family is active.
ARRANGEMENTS = (
    *((0, 0, 0),),
    *((1, 1, 2), (1, 2, 1), (1, 2, 2), (2, 1, 1), (2, 1, 2), (2, 2, 1)),
    *((3, 4, 5), (3, 5, 4), (4, 3, 5), (4, 5, 3), (5, 3, 4), (5, 4, 3)),
)
FAMILY = (0, *(1,) * 6, *(2,) * 6)
CANONICAL = ((0, 0, 0), (1, 1, 2), (3, 4, 5))
# The family of each slot.
_SLOT_FAMILY = (0, 1, 1, 2, 2, 2)
METHODS = ("accdoa", "multi_accdoa", "einv2", "seddoa")
AGGREGATIONS = ("agg1", "agg2", "mixed")


def _widened(value):
    """A float32 copy of a half tensor, anything else as it is."""
    halves = (torch.float16, torch.bfloat16)
    if torch.is_tensor(value) and value.dtype in halves:
        return value.float()
    return value


def full_precision(loss):
    """Run a loss outside autocast, on float32 copies of half tensors.

    Arguments
    ---------
    loss : callable
        Its first argument is a tensor.

    Returns
    -------
    callable
        With the same arguments.

    Example
    -------
    >>> @full_precision
    ... def mean(output):
    ...     return output.mean()
    >>> mean(torch.ones(2, dtype=torch.bfloat16)).dtype
    torch.float32
    """

    @functools.wraps(loss)
    def wrapped(output, *args, **kwargs):
        kwargs = {name: _widened(value) for name, value in kwargs.items()}
        with torch.autocast(output.device.type, enabled=False):
            return loss(_widened(output), *map(_widened, args), **kwargs)

    return wrapped


def _check_shape(name, tensor, shape):
    """Raise ValueError unless a tensor has the given shape."""
    if tuple(tensor.shape) != tuple(shape):
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)}, expected {tuple(shape)}"
        )


def _mean_over_frames(error, mask=None):
    """Mean of an error [batch, frame] over the frames that a mask counts."""
    if mask is None:
        return error.mean()
    _check_shape("mask", mask, error.shape)
    mask = mask.to(error.dtype)
    return (error * mask).sum() / mask.sum().clamp_min(1.0)


@full_precision
def accdoa_loss(output, target, mask=None, class_weights=None):
    """Mean squared error of activity-coupled directions.

    Arguments
    ---------
    output : torch.Tensor
        [batch, frame, 3 * class], axis by axis.
    target : torch.Tensor
        Same shape.
    mask : torch.Tensor, optional
        Frames to count (1) or not (0), [batch, frame]; by default all.
    class_weights : sequence of float, optional
        Factor of the error of each class where it is active: more for what
        sounds seldom or shortly, which is else not learnt for long.

    Returns
    -------
    torch.Tensor
        Mean over counted frames and values, scalar.

    Raises
    ------
    ValueError
        If the shapes do not agree.

    Example
    -------
    >>> accdoa_loss(torch.ones(1, 2, 3), torch.zeros(1, 2, 3))
    tensor(1.)
    """
    _check_shape("target", target, output.shape)
    target = target.to(output.dtype)
    error = (output - target).square()
    if class_weights is not None:
        number = target.shape[-1] // 3
        if len(class_weights) != number:
            raise ValueError(
                f"{len(class_weights)} class_weights for {number} classes"
            )
        error, vectors = (x.unflatten(-1, (3, -1)) for x in (error, target))
        active = (vectors != 0).any(-2, keepdim=True)
        factor = active * (error.new_tensor(class_weights) - 1.0) + 1.0
        error = (error * factor).flatten(-2)
    return _mean_over_frames(error.mean(-1), mask)


def _nearest_targets(tracks, slots):
    """The nearest of the 13 padded targets, cell by cell.

    Arguments
    ---------
    tracks : torch.Tensor
        Output, [cell, track, axis].
    slots : torch.Tensor
        Vectors of the six slots, [cell, slot, axis].

    Returns
    -------
    torch.Tensor
        [cell, track, axis].
    """
    device = tracks.device
    arrangements = torch.tensor(ARRANGEMENTS, device=device)
    canonical = torch.tensor(CANONICAL, device=device)
    family = torch.tensor(FAMILY, device=device)
    padding = slots[:, canonical].sum(1)
    # A target is the sum of the three families' canonical arrangements with
    # that of its own family exchanged: cost [cell, slot, track] of a slot.
    own = slots[:, canonical[list(_SLOT_FAMILY)]]
    offset = (tracks - padding)[:, None] + own - slots[:, :, None]
    cost = offset.square().sum(-1)
    order = torch.arange(3, device=device)
    best = cost[:, arrangements, order].sum(-1).argmin(-1)
    cell = torch.arange(len(slots), device=device)[:, None]
    replaced = slots[cell, canonical[family[best]]]
    return padding - replaced + slots[cell, arrangements[best]]


def _scaled_slots(target):
    """Vectors of the slots, [batch, frame, 6, 3, class], of their activity."""
    activity, vectors = target[:, :, :, :1], target[:, :, :, 1:]
    length = vectors.square().sum(3, keepdim=True).sqrt()
    # Of half precision, a unit vector is one to three digits.
    unit = (length - 1.0).abs() < 5e-3
    return torch.where(unit & (activity < 1.0), activity * vectors, vectors)


@full_precision
def adpit_loss(output, target, mask=None):
    """Squared error to the nearest of 13 arrangements of duplicated events.

    One event of a class in a frame is the target of all three tracks, two
    events are spread over them in six ways, three in six ways. To each of
    these 13 targets the first arrangement of the two other families is
    added, so that silence is never offered where a class sounds. The
    best one is taken for every frame and class by itself.

    Arguments
    ---------
    output : torch.Tensor
        [batch, frame, 9 * class]: track, axis, class.
    target : torch.Tensor
        Slots A0, B0, B1, C0, C1, C2: [batch, frame, 6, 4, class] with
        activity, x, y, z. With a fractional activity, of mixed clips, (x, y,
        z) is the direction times the activity, or the direction itself, as
        PSELDNets keeps it: a unit vector counts as long as its activity.
        Without activity (0) in any slot a class is silent.
    mask : torch.Tensor, optional
        Frames to count (1) or not (0), [batch, frame]; by default all.

    Returns
    -------
    torch.Tensor
        Mean over counted frames, tracks, axes and classes, scalar.

    Raises
    ------
    ValueError
        If the shapes do not agree.

    Example
    -------
    >>> target = torch.zeros(1, 1, 6, 4, 1)
    >>> target[0, 0, 1:3, 0] = 1.0                 # two events of the class,
    >>> target[0, 0, 1, 1] = target[0, 0, 2, 2] = 1.0        # at +x and +y
    >>> tracks = torch.tensor([[0.0, 1, 0], [1, 0, 0], [1, 0, 0]])
    >>> adpit_loss(tracks.view(1, 1, 9), target)
    tensor(0.)
    """
    batch, frames, values = output.shape
    classes = values // 9
    _check_shape("output", output, (batch, frames, 9 * classes))
    _check_shape("target", target, (batch, frames, 6, 4, classes))
    tracks = output.unflatten(-1, (3, 3, classes))
    with torch.no_grad():
        # Most classes are silent most of the time, with nothing to choose.
        active = (target[:, :, :, 0] > 0).any(2)
        slots = _scaled_slots(target).permute(0, 1, 4, 2, 3)[active]
        nearest = torch.zeros_like(tracks).permute(0, 1, 4, 2, 3)
        nearest[active] = _nearest_targets(
            tracks.permute(0, 1, 4, 2, 3)[active], slots.to(output.dtype)
        )
        nearest = nearest.permute(0, 1, 3, 4, 2)
    error = (tracks - nearest).square().mean((2, 3, 4))
    return _mean_over_frames(error, mask)


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
    _check_shape("doa", doa, (*sed.shape[:3], 3))
    _check_shape("target sed", target_sed, sed.shape)
    _check_shape("target doa", target_doa, doa.shape)


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
    sed_loss = _mean_over_frames(entropy.mean((2, 3)), mask)
    doa_loss = _mean_over_frames(squared.mean((2, 3)), mask)
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
        loss = loss + weight * _mean_over_frames(error, mask)
    if aggregation != "agg1":
        # [class, axis], summed over the tracks.
        sums = activity.transpose(2, 3) @ direction
        sums = sums - target_sed.transpose(2, 3) @ target_doa
        error = sums.square().mean((2, 3))
        weight = 1.0 - alpha if aggregation == "mixed" else 1.0
        loss = loss + weight * _mean_over_frames(error, mask)
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
    class_weights : sequence of float, optional
        See :func:`accdoa_loss` ("accdoa").

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

    def __init__(
        self,
        method,
        beta=0.5,
        aggregation=None,
        alpha=0.0,
        class_weights=None,
    ):
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
        if class_weights is not None and method != "accdoa":
            raise ValueError(
                f'class_weights belong to the method "accdoa", not {method!r}'
            )
        for name, value in (("beta", beta), ("alpha", alpha)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must lie in [0, 1], got {value}")
        self.method, self.beta = method, beta
        self.aggregation, self.alpha = aggregation, alpha
        self.class_weights = class_weights

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
            return accdoa_loss(
                outputs["accdoa"],
                targets["accdoa"],
                mask,
                self.class_weights,
            )
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
