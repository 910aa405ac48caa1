"""Losses of activity-coupled directions: ACCDOA and multi-ACCDOA.

ACCDOA: Shimada et al. (2021). Multi-ACCDOA with auxiliary duplicating
permutation-invariant training (ADPIT): Shimada et al. (2022). Losses are
computed in float32 (or float64 if given), also under automatic mixed
precision.
"""

import functools

import torch

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


def check_shape(name, tensor, shape):
    """Raise ValueError unless a tensor has the given shape.

    Arguments
    ---------
    name : str
        What the tensor is, for the message.
    tensor : torch.Tensor
        To be checked.
    shape : sequence of int
        As it should be.

    Example
    -------
    >>> check_shape("target", torch.zeros(2, 3), (2, 4))
    Traceback (most recent call last):
    ValueError: target has shape (2, 3), expected (2, 4)
    """
    if tuple(tensor.shape) != tuple(shape):
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)}, expected {tuple(shape)}"
        )


def mean_over_frames(error, mask=None):
    """Mean over the frames that a mask counts.

    Arguments
    ---------
    error : torch.Tensor
        [batch, frame].
    mask : torch.Tensor, optional
        1 for frames to count, 0 for others, [batch, frame]; by default all.

    Returns
    -------
    torch.Tensor
        Scalar; zero if no frame counts.

    Example
    -------
    >>> mean_over_frames(torch.tensor([[1.0, 5.0]]), torch.tensor([[1, 0]]))
    tensor(1.)
    """
    if mask is None:
        return error.mean()
    check_shape("mask", mask, error.shape)
    mask = mask.to(error.dtype)
    return (error * mask).sum() / mask.sum().clamp_min(1.0)


@full_precision
def accdoa_loss(output, target, mask=None):
    """Mean squared error of activity-coupled directions.

    Arguments
    ---------
    output : torch.Tensor
        [batch, frame, 3 * class], axis by axis.
    target : torch.Tensor
        Same shape.
    mask : torch.Tensor, optional
        Frames to count (1) or not (0), [batch, frame]; by default all.

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
    check_shape("target", target, output.shape)
    error = (output - target.to(output.dtype)).square().mean(-1)
    return mean_over_frames(error, mask)


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
        activity, x, y, z, where (x, y, z) is the direction times the activity
        (also a fractional one, of mixed clips). Without activity (0) in any
        slot a class is silent.
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
    check_shape("output", output, (batch, frames, 9 * classes))
    check_shape("target", target, (batch, frames, 6, 4, classes))
    tracks = output.unflatten(-1, (3, 3, classes))
    with torch.no_grad():
        # Most classes are silent most of the time, with nothing to choose.
        active = (target[:, :, :, 0] > 0).any(2)
        slots = target[:, :, :, 1:].permute(0, 1, 4, 2, 3)[active]
        nearest = torch.zeros_like(tracks).permute(0, 1, 4, 2, 3)
        nearest[active] = _nearest_targets(
            tracks.permute(0, 1, 4, 2, 3)[active], slots.to(output.dtype)
        )
        nearest = nearest.permute(0, 1, 3, 4, 2)
    error = (tracks - nearest).square().mean((2, 3, 4))
    return mean_over_frames(error, mask)
