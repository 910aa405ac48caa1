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


def _best_arrangement(residual, slots):
    """Which of the 13 arrangements is nearest, [batch, frame, class].

    Arguments
    ---------
    residual : torch.Tensor
        Output less the sum of the families' canonical targets,
        [batch, frame, track, axis, class].
    slots : torch.Tensor
        Vectors of the six slots, [batch, frame, slot, axis, class].

    Returns
    -------
    torch.Tensor
        int64 [batch, frame, class].
    """
    cost = []
    for slot, family in enumerate(_SLOT_FAMILY):
        offset = residual + slots[:, :, CANONICAL[family]]
        offset -= slots[:, :, slot, None]
        cost.append(offset.square_().sum(3))
    totals = [
        sum(cost[slot][:, :, track] for track, slot in enumerate(arrangement))
        for arrangement in ARRANGEMENTS
    ]
    return torch.stack(totals).argmin(0)


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
        activity, x, y, z. The vector of a slot is activity times (x, y, z);
        fractional activities (of mixed clips) scale it.
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
    check_shape("target", target, (batch, frames, 6, 4, classes))
    tracks = output.view(batch, frames, 3, 3, classes)
    with torch.no_grad():
        target = target.to(output.dtype)
        slots = target[:, :, :, :1] * target[:, :, :, 1:]
        canonical = sum(slots[:, :, family] for family in CANONICAL)
        best = _best_arrangement(tracks - canonical, slots)
        arrangement = torch.tensor(ARRANGEMENTS, device=output.device)[best]
        family = torch.tensor(FAMILY, device=output.device)[best]
        family = torch.tensor(CANONICAL, device=output.device)[family]

        def gather(index):
            """Slots [batch, frame, class, track] as vectors of tracks."""
            index = index.transpose(2, 3)[:, :, :, None]
            return slots.gather(2, index.expand(-1, -1, -1, 3, -1))

        nearest = canonical - gather(family) + gather(arrangement)
    error = (tracks - nearest).square().mean((2, 3, 4))
    return mean_over_frames(error, mask)
