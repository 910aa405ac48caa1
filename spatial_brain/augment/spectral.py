"""Masks and shifts of features: SpecAugment, cutout, frequency shift.

Features are [batch, channel, frame, bin] with the levels (log-mel, in dB) in
their first channels. Levels of 0 dB are loud: what is masked therefore gets
the mean of its item and channel, and 0 where the channels hold differences
between microphones, such as intensity.
"""

import torch

# Feature frames in a label frame of 100 ms.
FRAMES_PER_LABEL = 10
NUM_LEVEL_CHANNELS = 4
_LABELS = ("accdoa", "adpit", "sed", "doa")


def _draw_spans(shape, longest, size, generator):
    """Starts and lengths, both int64 of a shape; lengths 0 to longest."""
    length = torch.rand(shape, generator=generator) * (longest + 1)
    room = (size - length).clamp(min=0.0)
    start = torch.rand(shape, generator=generator) * room
    return start.long(), length.long()


def _span_mask(start, length, size):
    """Which of ``size`` places are inside a span, shape [..., size]."""
    place = torch.arange(size)
    start, stop = start[..., None], (start + length)[..., None]
    return (place >= start) & (place < stop)


class _Operation:
    """Augmentation of features and their labels."""

    def __call__(self, features, targets, generator=None):
        """Augment a batch.

        Arguments
        ---------
        features : torch.Tensor
            Shape [batch, channel, frame, bin].
        targets : dict
            Labels [batch, L, ...] with L = frame // 10.
        generator : torch.Generator, optional
            On the CPU; default: that of torch.

        Returns
        -------
        features : torch.Tensor
            Of the same shape.
        targets : dict
            Labels; those of hidden frames are 0.
        """
        return self._apply(features, targets, generator)


class _Masking(_Operation):
    """Hides parts of features behind a value for each item and channel."""

    def __init__(self, fill, num_level_channels):
        self.fill = fill
        self.num_level_channels = num_level_channels

    def _values(self, features):
        """What masked places of each item and channel get, [batch, channel]."""
        if self.fill is not None:
            return features.new_full(features.shape[:2], self.fill)
        values = features.mean(dim=(2, 3))
        values[:, self.num_level_channels :] = 0.0
        return values


class SpecAugment(_Masking):
    """Mask stretches of time, labels included, and bands of frequency.

    After Park et al., Interspeech 2019. A time mask hides whole label frames
    from all channels of an item and takes their labels away; frequency masks
    are drawn for each channel.

    Arguments
    ---------
    num_time_masks : int
        For each item.
    max_time_width : int
        Label frames; widths of 0 to this are equally likely.
    num_frequency_masks : int
        For each item and channel.
    max_frequency_width : int
        Bins; widths of 0 to this are equally likely.
    fill : float, optional
        What masked places get; default: the mean of their item and channel
        in level channels, 0 in the others. PSELDNets has 0 everywhere.
    num_level_channels : int
        How many channels, the first ones, hold levels.

    Example
    -------
    >>> features = torch.ones(2, 7, 101, 64)
    >>> targets = {"accdoa": torch.ones(2, 10, 3)}
    >>> masked, targets = SpecAugment(fill=0.0)(features, targets)
    >>> hidden = (masked == 0).all(dim=3).all(dim=1).sum(dim=1)
    >>> bool((hidden == 10 * (targets["accdoa"] == 0)[..., 0].sum(1)).all())
    True
    """

    def __init__(
        self,
        num_time_masks=4,
        max_time_width=3,
        num_frequency_masks=2,
        max_frequency_width=7,
        fill=None,
        num_level_channels=NUM_LEVEL_CHANNELS,
    ):
        super().__init__(fill, num_level_channels)
        self.num_time_masks = num_time_masks
        self.max_time_width = max_time_width
        self.num_frequency_masks = num_frequency_masks
        self.max_frequency_width = max_frequency_width

    def _apply(self, features, targets, generator):
        batch, channels, frames, bins = features.shape
        num_labels = frames // FRAMES_PER_LABEL
        hidden = _span_mask(
            *_draw_spans(
                (batch, self.num_time_masks),
                self.max_time_width,
                num_labels,
                generator,
            ),
            num_labels,
        ).any(1)
        bands = _span_mask(
            *_draw_spans(
                (batch, channels, self.num_frequency_masks),
                self.max_frequency_width,
                bins,
                generator,
            ),
            bins,
        ).any(2)
        masked_frames = torch.zeros(batch, frames, dtype=torch.bool)
        covered = hidden.repeat_interleave(FRAMES_PER_LABEL, dim=1)
        masked_frames[:, : covered.shape[1]] = covered
        device = features.device
        mask = masked_frames.to(device)[:, None, :, None]
        mask = mask | bands.to(device)[:, :, None, :]
        values = self._values(features)
        features = torch.where(mask, values[..., None, None], features)
        return features, _hide_labels(targets, hidden)


def _hide_labels(targets, hidden):
    """Set the labels of hidden frames [batch, L] to zero."""
    shown = dict(targets)
    for name in _LABELS:
        if name not in targets:
            continue
        labels = targets[name]
        if labels.shape[:2] != hidden.shape:
            raise ValueError(
                f"targets[{name!r}] has {labels.shape[1]} label frames for "
                f"{len(labels)} items; the features have "
                f"{hidden.shape[1]} for {len(hidden)} "
                f"({FRAMES_PER_LABEL} feature frames each)"
            )
        mask = hidden.reshape(*hidden.shape, *[1] * (labels.ndim - 2))
        shown[name] = labels.masked_fill(mask.to(labels.device), 0.0)
    return shown


class Cutout(_Masking):
    """Hide small rectangles, drawn for each item and channel.

    After DeVries and Taylor, arXiv:1708.04552; the labels stay.

    Arguments
    ---------
    num_rectangles : int
        For each item and channel.
    max_frames : int
        Feature frames; widths of 0 to this are equally likely.
    max_bins : int
        Likewise in frequency.
    fill : float, optional
        As in ``SpecAugment``.
    num_level_channels : int
        How many channels, the first ones, hold levels.

    Example
    -------
    >>> features = torch.ones(2, 7, 101, 64)
    >>> cut, _ = Cutout(fill=0.0)(features, {})
    >>> int((cut == 0).sum(dim=(2, 3)).max()) <= 4 * 7 * 3
    True
    """

    def __init__(
        self,
        num_rectangles=4,
        max_frames=7,
        max_bins=3,
        fill=None,
        num_level_channels=NUM_LEVEL_CHANNELS,
    ):
        super().__init__(fill, num_level_channels)
        self.num_rectangles = num_rectangles
        self.max_frames = max_frames
        self.max_bins = max_bins

    def _apply(self, features, targets, generator):
        batch, channels, frames, bins = features.shape
        shape = (batch, channels, self.num_rectangles)
        frame, width = _draw_spans(shape, self.max_frames, frames, generator)
        first_bin, height = _draw_spans(shape, self.max_bins, bins, generator)
        # The few places that are hidden, not a mask of all that are not.
        inside = (
            _span_mask(torch.zeros_like(width), width, self.max_frames)[
                ..., None
            ]
            & _span_mask(torch.zeros_like(height), height, self.max_bins)[
                ..., None, :
            ]
        )
        item, channel, rectangle, right, up = inside.nonzero(as_tuple=True)
        places = (
            item,
            channel,
            frame[item, channel, rectangle] + right,
            first_bin[item, channel, rectangle] + up,
        )
        places = [place.to(features.device) for place in places]
        values = self._values(features)
        features = features.clone()
        features[tuple(places)] = values[places[0], places[1]]
        return features, targets


class FrequencyShift(_Operation):
    """Move the features of an item up or down in frequency.

    Edges are filled by reflection; all channels and frames of an item move
    alike.

    Arguments
    ---------
    max_shift : int
        Bins; shifts of 0 to this are equally likely.
    probability : float
        That an item is shifted.
    direction : str
        "random" (each item up or down with equal chance), "up" or "down".
        PSELDNets always shifts down.
    num_channels : int, optional
        How many channels, the first ones, have a frequency axis; default
        all. 4 for log-mel with GCC-PHAT, whose lags must not move.

    Raises
    ------
    ValueError
        If the direction is unknown, or there are not more bins than
        ``max_shift``.

    Example
    -------
    >>> features = torch.arange(8.0).reshape(1, 1, 1, 8)
    >>> shift = FrequencyShift(max_shift=7, probability=1.0, direction="up")
    >>> generator = torch.Generator().manual_seed(3)
    >>> shift(features, {}, generator)[0].flatten().tolist()
    [2.0, 1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """

    def __init__(
        self,
        max_shift=14,
        probability=0.5,
        direction="random",
        num_channels=None,
    ):
        if direction not in ("random", "up", "down"):
            raise ValueError(
                f"direction must be random, up or down, got {direction!r}"
            )
        self.max_shift = max_shift
        self.probability = probability
        self.direction = direction
        self.num_channels = num_channels

    def _apply(self, features, targets, generator):
        batch, _, _, bins = features.shape
        if bins <= self.max_shift:
            raise ValueError(
                f"features of {bins} bins cannot be shifted by up to "
                f"{self.max_shift}"
            )
        shift = self._draw_shift(batch, generator)
        last = bins - 1
        source = (torch.arange(bins) - shift[:, None]).abs()
        source = torch.where(source > last, 2 * last - source, source)
        source = source[:, None, None, :].to(features.device)
        moving = features[:, : self.num_channels]
        moved = torch.take_along_dim(moving, source, dim=3)
        if moving.shape[1] < features.shape[1]:
            moved = torch.cat((moved, features[:, self.num_channels :]), dim=1)
        return moved, targets

    def _draw_shift(self, batch, generator):
        """Bins that each item moves up, [batch]."""
        shift = torch.randint(self.max_shift + 1, (batch,), generator=generator)
        shift *= torch.rand(batch, generator=generator) < self.probability
        if self.direction == "random":
            up = torch.rand(batch, generator=generator) < 0.5
            return torch.where(up, shift, -shift)
        return shift if self.direction == "up" else -shift
