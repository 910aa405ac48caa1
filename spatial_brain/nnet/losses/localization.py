"""Losses of localisers which score classes of directions.

All are computed in float32, whatever the precision of the network.
"""

import math

import torch

from spatial_brain.nnet.losses.seld import best_permutation


def azimuth_to_class(azimuth, num_classes=36):
    """Class of an azimuth or cone angle: floor(|angle| / width).

    A pair of microphones on the x axis cannot separate left and right, hence
    the absolute value. 180 degrees counts for the last class.

    Arguments
    ---------
    azimuth : torch.Tensor
        Degrees in [-180, 180], any shape.
    num_classes : int
        Equal bins over [0, 180] degrees.

    Returns
    -------
    torch.Tensor
        Integers in [0, num_classes), same shape.

    Raises
    ------
    ValueError
        If an angle lies outside [-180, 180] or is not a number.

    Example
    -------
    >>> azimuth_to_class(torch.tensor([0.0, -5.0, 92.0, 180.0]))
    tensor([ 0,  1, 18, 35])
    """
    folded = _folded(azimuth)
    index = (folded * (num_classes / 180)).floor().long()
    return index.clamp(max=num_classes - 1)


def _folded(azimuth):
    """|azimuth|, checked to be in [0, 180]."""
    folded = torch.as_tensor(azimuth).abs()
    bad = ~(folded <= 180)
    if bad.any():
        raise ValueError(
            "angles must be in [-180, 180] degrees, got "
            f"{torch.as_tensor(azimuth)[bad][0].item()}"
        )
    return folded


def _gaussian_labels(angle, num_classes=36, sigma=4.0):
    """Mass of a Gaussian in each bin of [0, 180] degrees, [..., class]."""
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    folded = _folded(angle)[..., None]
    edges = torch.arange(1, num_classes, device=folded.device)
    edges = edges * (180 / num_classes)
    # Mass beyond an end falls to the bin there: the median stays at the angle.
    below = 0.5 * (1 + torch.erf((edges - folded) / (sigma * math.sqrt(2))))
    zero = torch.zeros_like(folded)
    return torch.cat((zero, below, zero + 1), dim=-1).diff(dim=-1)


def _circular_labels(azimuth, num_classes=72, sigma=5.0):
    """Mass of a wrapped Gaussian, sigma degrees wide, in bins of the circle."""
    if not 0 < sigma <= 90:
        raise ValueError(f"sigma must be in (0, 90] degrees, got {sigma}")
    _folded(azimuth)
    edges = torch.linspace(
        -180, 180, num_classes + 1, device=azimuth.device, dtype=azimuth.dtype
    )
    turns = azimuth.new_tensor([-360.0, 0.0, 360.0])
    offset = (edges - azimuth[..., None])[..., None] + turns
    below = 0.5 * (1 + torch.erf(offset / (sigma * math.sqrt(2))))
    return below.sum(-1).diff(dim=-1)


def _cross_entropies(logits, targets):
    """Cross entropy of head i with target j, float32, [batch, K, K]."""
    shape = tuple(logits.shape)
    if logits.ndim != 3:
        raise ValueError(
            f"expected logits of shape [batch, K, class], got {shape}"
        )
    soft = targets.is_floating_point()
    if tuple(targets.shape) != (shape if soft else shape[:2]):
        raise ValueError(
            f"targets of shape {tuple(targets.shape)} do not fit logits of "
            f"shape {shape}: give class indices [batch, K] or distributions "
            "[batch, K, class]"
        )
    with torch.autocast(logits.device.type, enabled=False):
        # Double stays double: parity runs need it.
        dtype = torch.promote_types(logits.dtype, torch.float32)
        log_share = logits.to(dtype).log_softmax(-1)
        if soft:
            return -log_share @ targets.to(dtype).transpose(1, 2)
        index = targets[:, None, :].expand(-1, shape[1], -1)
        return -log_share.gather(2, index)


def sorted_class_loss(logits, targets):
    """Sum over heads of the cross entropy with the target of the same rank.

    The loss of the public system dual-mic-SSL: head 0 estimates the smallest
    angle, head 1 the next one. Targets are taken as they come: sort them.

    Arguments
    ---------
    logits : torch.Tensor
        [batch, K, class].
    targets : torch.Tensor
        Class indices [batch, K] or distributions [batch, K, class].

    Returns
    -------
    torch.Tensor
        Scalar, float32: summed over heads, mean over the batch.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Example
    -------
    >>> loss = sorted_class_loss(torch.zeros(1, 2, 36), torch.tensor([[3, 8]]))
    >>> round(loss.item(), 3)  # 2 ln 36
    7.167
    """
    cost = _cross_entropies(logits, targets)
    return cost.diagonal(dim1=1, dim2=2).sum(-1).mean()


def pit_class_loss(logits, targets):
    """As `sorted_class_loss`, for the cheapest assignment of the heads.

    Arguments
    ---------
    logits : torch.Tensor
        [batch, K, class].
    targets : torch.Tensor
        Class indices [batch, K] or distributions [batch, K, class], in any
        order.

    Returns
    -------
    torch.Tensor
        Scalar, float32: summed over heads, mean over the batch.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Example
    -------
    >>> logits = torch.zeros(1, 2, 4)
    >>> logits[0, 0, 3] = logits[0, 1, 1] = 50.0
    >>> pit_class_loss(logits, torch.tensor([[1, 3]])).item()
    0.0
    """
    loss, _ = best_permutation(_cross_entropies(logits, targets))
    return loss.mean() * logits.shape[1]


def localization_loss(logits, angles, order="sorted", sigma=None):
    """Loss of direction classes against angles in degrees.

    Arguments
    ---------
    logits : torch.Tensor
        Scores of equal bins over [0, 180] degrees, [batch, K, class].
    angles : torch.Tensor
        Azimuths (the sign is dropped) or cone angles, degrees, [batch, K].
    order : str
        "sorted": head k estimates the k-th smallest angle. In one dimension
        ascending order is also the best assignment. "free": the assignment
        with the smallest loss.
    sigma : float
        Standard deviation of Gaussian soft labels, degrees; hard classes
        by default.

    Returns
    -------
    torch.Tensor
        Scalar, float32: summed over heads, mean over the batch.

    Raises
    ------
    ValueError
        If ``order`` is unknown, the shapes do not fit, or an angle is out of
        range.

    Example
    -------
    >>> logits = torch.zeros(4, 2, 36)
    >>> angles = torch.tensor([[120.0, 30.0]]).expand(4, 2)
    >>> round(localization_loss(logits, angles, sigma=4.0).item(), 3)
    7.167
    """
    if order not in ("sorted", "free"):
        raise ValueError(f'order must be "sorted" or "free", got {order!r}')
    num_classes = logits.shape[-1]
    angles = _folded(angles).sort(dim=-1).values
    if sigma is None:
        targets = azimuth_to_class(angles, num_classes)
    else:
        targets = _gaussian_labels(angles.float(), num_classes, sigma)
    loss = sorted_class_loss if order == "sorted" else pit_class_loss
    return loss(logits, targets)


def azimuth_loss(logits, azimuth, sigma=5.0):
    """Loss of azimuth classes all around against azimuths in degrees.

    Cross entropy with Gaussian soft labels, in the order of the heads with
    the smallest loss. For microphones that tell left from right; what
    a pair or a line of microphones observes is for
    :func:`localization_loss`.

    Arguments
    ---------
    logits : torch.Tensor
        Scores of equal bins over [-180, 180) degrees, [batch, K, class].
    azimuth : torch.Tensor
        Degrees in [-180, 180], [batch, K], in any order.
    sigma : float
        Standard deviation of the soft labels, degrees.

    Returns
    -------
    torch.Tensor
        Scalar, float32: summed over heads, mean over the batch.

    Raises
    ------
    ValueError
        If the shapes do not fit or an angle is out of range.

    Example
    -------
    >>> loss = azimuth_loss(torch.zeros(2, 1, 72), torch.full((2, 1), 30.0))
    >>> round(loss.item(), 3)  # ln 72
    4.277
    """
    labels = _circular_labels(azimuth.float(), logits.shape[-1], sigma)
    return pit_class_loss(logits, labels)
