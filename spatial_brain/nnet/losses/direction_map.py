"""Loss of networks that score directions over time: a map of bumps."""

import torch
from torch.nn import functional as F

from spatial_brain.geometry import observable_azimuths


def direction_targets(
    azimuth, elevation, active, positions, *, num_directions, width, hold
):
    """Where sources sound: a Gaussian bump each, for every frame.

    Arguments
    ---------
    azimuth, elevation : torch.Tensor
        Degrees, [batch, source, frame]; NaN for sources that there are not.
    active : torch.Tensor
        Whether a source sounds, bool, [batch, source, frame].
    positions : torch.Tensor
        Microphones, metres, [batch, M, 3].
    num_directions : int
        Azimuths from -180 degrees on, evenly spaced.
    width : float
        Standard deviation of a bump, degrees.
    hold : int
        Frames for which a source counts after it fell silent: pauses between
        words are no silence.

    Returns
    -------
    torch.Tensor
        In [0, 1], [batch, frame, direction]. Both directions that a line or
        an upright plane cannot tell apart have a bump.

    Example
    -------
    >>> target = direction_targets(
    ...     torch.zeros(1, 1, 3),
    ...     torch.zeros(1, 1, 3),
    ...     torch.tensor([[[False, True, False]]]),
    ...     torch.eye(3)[None],
    ...     num_directions=4, width=5.0, hold=1,
    ... )
    >>> target[0].round()
    tensor([[0., 0., 0., 0.],
            [0., 0., 1., 0.],
            [0., 0., 1., 0.]])
    """
    held = F.max_pool1d(
        F.pad(active.float(), (hold, 0)), kernel_size=hold + 1, stride=1
    )
    ways = observable_azimuths(azimuth, elevation, positions)
    grid = torch.arange(num_directions, device=azimuth.device)
    grid = -180 + grid * (360 / num_directions)
    # [batch, source, frame, way, direction]
    off = (grid - ways[..., None] + 180) % 360 - 180
    bumps = torch.exp(-0.5 * (off / width).square()).nan_to_num(0.0)
    return (bumps.amax(3) * held[..., None]).amax(1)


class DirectionMapLoss:
    """Binary cross entropy of a map of directions over time.

    Arguments
    ---------
    width : float
        Standard deviation of the bumps of the target, degrees.
    hold : int
        Frames for which a source counts after it fell silent.
    labels_per_frame : int
        Labels in a frame of the network.

    Raises
    ------
    ValueError
        If a number is out of range.

    Example
    -------
    >>> loss = DirectionMapLoss(width=5.0, hold=6, labels_per_frame=4)
    >>> azimuth, active = torch.zeros(1, 1, 250), torch.ones(1, 1, 250).bool()
    >>> logits, positions = torch.zeros(1, 62, 72), torch.eye(3)[None]
    >>> loss(logits, azimuth, azimuth, active, positions).round()
    tensor(1.)
    """

    def __init__(self, width=5.0, hold=6, labels_per_frame=4):
        if not width > 0 or hold < 0 or labels_per_frame < 1:
            raise ValueError(
                "width must be positive, hold not negative and "
                f"labels_per_frame at least 1, got {width}, {hold} and "
                f"{labels_per_frame}"
            )
        self.width, self.hold, self.step = width, hold, labels_per_frame

    def targets(self, shape, azimuth, elevation, active, positions):
        """Targets of logits, see :func:`direction_targets`.

        Arguments
        ---------
        shape : tuple of int
            Of the logits, (batch, frame, direction).
        azimuth, elevation, active : torch.Tensor
            Labels, [batch, source, label].
        positions : torch.Tensor
            Metres, [batch, M, 3].

        Returns
        -------
        torch.Tensor
            [batch, frame, direction].

        Raises
        ------
        ValueError
            If there are too few labels.
        """
        frames, step = shape[1], self.step
        if azimuth.shape[-1] < frames * step:
            raise ValueError(
                f"{frames} frames of {step} labels need {frames * step} "
                f"labels, got {azimuth.shape[-1]}"
            )
        middle = slice(step // 2, frames * step, step)
        used = active[..., : frames * step]
        return direction_targets(
            azimuth[..., middle],
            elevation[..., middle],
            used.unflatten(-1, (frames, step)).any(-1),
            positions,
            num_directions=shape[2],
            width=self.width,
            hold=self.hold,
        )

    def __call__(self, logits, azimuth, elevation, active, positions):
        """Mean over batch, frames and directions.

        Arguments
        ---------
        logits : torch.Tensor
            [batch, frame, direction].
        azimuth, elevation, active, positions : torch.Tensor
            As for :meth:`targets`.

        Returns
        -------
        torch.Tensor
            Scalar.
        """
        target = self.targets(
            logits.shape, azimuth, elevation, active, positions
        )
        return F.binary_cross_entropy_with_logits(logits.float(), target)
