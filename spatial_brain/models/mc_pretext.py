"""What cross-channel signal reconstruction hides, and how well it is found.

Of every example half of the frames of one channel are hidden (Yang and Li,
IEEE/ACM TASLP 32, 2024). Which ones depends on the example's seed alone: no
matter how examples are batched, on which device, and by how many workers.
"""

import hashlib

import torch

MODES = ("frames", "runs")
RUN_LENGTH = 5
_WORD = 0xFFFFFFFF


def item_seeds(ids, seed=0, epoch=0, device=None):
    """Seeds that belong to items and not to their place in a batch.

    Arguments
    ---------
    ids : iterable of str or int
        Names of the items.
    seed : int
        Seed of the experiment.
    epoch : int
        Epoch, so that masks change; leave it for validation and test.
    device : torch.device, optional
        Where the seeds go.

    Returns
    -------
    torch.Tensor
        int64 [batch], for ``draw_masks``.

    Example
    -------
    >>> both = item_seeds(["test_1", "test_2"], seed=7)
    >>> bool(both[1] == item_seeds(["test_2"], seed=7)[0])
    True
    """
    seeds = [
        int.from_bytes(
            hashlib.blake2b(
                f"{seed}:{epoch}:{name}".encode(), digest_size=8
            ).digest(),
            "big",
        )
        >> 1
        for name in ids
    ]
    return torch.tensor(seeds, dtype=torch.int64, device=device)


def draw_masks(seeds, num_frames, num_masked=None, mode="frames"):
    """Hidden frames and the hidden channel of every example of a batch.

    All examples are drawn at once, on the device of the seeds; integers are
    hashed, so every device draws the same.

    Arguments
    ---------
    seeds : torch.Tensor
        int64 [batch], one an example; equal seeds give equal masks.
    num_frames : int
        Frames of an example.
    num_masked : int, optional
        How many of them are hidden; default: half, rounded down.
    mode : str
        ``"frames"``: any subset of the frames with equal chance. ``"runs"``:
        runs of five frames from random first frames, until there are enough.

    Returns
    -------
    masked_frames : torch.Tensor
        bool [batch, frame], True where hidden; ``num_masked`` in each row.
    masked_channel : torch.Tensor
        int64 [batch], 0 or 1 with equal chance.

    Raises
    ------
    ValueError
        If ``num_masked`` is not in 1 to ``num_frames`` or the mode not known.

    Example
    -------
    >>> frames, channel = draw_masks(torch.tensor([1, 2, 3]), 256)
    >>> frames.sum(1).tolist()
    [128, 128, 128]
    """
    num_masked = num_frames // 2 if num_masked is None else num_masked
    if not 0 < num_masked <= num_frames:
        raise ValueError(
            f"cannot hide {num_masked} of {num_frames} frames: at least one "
            "and at most all can be hidden"
        )
    if mode not in MODES:
        raise ValueError(
            f"mask mode must be one of {', '.join(MODES)}, got '{mode}'"
        )
    place = torch.arange(num_frames, device=seeds.device)
    rank = _random_words(seeds, place)
    if mode == "runs":
        rank = _run_ranks(rank % num_frames)
    # No two ranks of a row are equal, so the count is exact.
    last = rank.sort(dim=1).values[:, num_masked - 1 : num_masked]
    # Bit 20: the lowest ones are not used alone.
    channel = _random_words(seeds, place.new_tensor([1 << 30])) >> 20 & 1
    return rank <= last, channel[:, 0]


def _scramble(word):
    """A bijection of 32-bit words, held in int64 so that nothing overflows."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x45D9F3B), (16, 0x2C1B3C6D)):
        word = word ^ (word >> shift)
        word = (word * factor) & _WORD
    return word ^ (word >> 16)


def _random_words(seeds, place):
    """A word for each seed and place, [batch, place]; none twice in a row."""
    row = _scramble(seeds & _WORD)
    row = _scramble(row ^ (seeds >> 32 & _WORD))
    return _scramble(row[:, None] ^ place)


def _run_ranks(starts):
    """Order in which frames are hidden by runs from ``starts``, [B, L]."""
    batch, length = starts.shape
    turn = torch.arange(length, device=starts.device).expand(batch, -1)
    # A frame that no run reaches comes after all others.
    first = torch.full_like(starts, length)
    for offset in range(RUN_LENGTH):
        # Runs end with the signal.
        frame = (starts + offset).clamp(max=length - 1)
        first = first.scatter_reduce(1, frame, turn, "amin")
    return first * length + turn


def reconstruction_errors(outputs):
    """Errors of a reconstruction, one number an example.

    Arguments
    ---------
    outputs : dict
        What ``CrossChannelReconstruction`` returns; ``prediction``,
        ``target``, ``masked_frames`` and ``masked_channel`` are read.

    Returns
    -------
    dict of torch.Tensor
        float32 [batch] each: ``masked``, mean squared error of the hidden
        frames of the hidden channel (the loss); ``reference``, what copying
        the other channel would cost there; ``total``, mean squared error of
        everything; ``masked_share``, what the hidden part adds to the mean
        over the points of one channel's plane.

    Example
    -------
    >>> zeros = torch.zeros(1, 2, 3, 4, 2)
    >>> frames = torch.tensor([[True, False, True, False]])
    >>> errors = reconstruction_errors(
    ...     {"prediction": zeros, "target": zeros + 1,
    ...      "masked_frames": frames, "masked_channel": torch.tensor([1])})
    >>> {name: value.item() for name, value in errors.items()}
    {'masked': 1.0, 'reference': 0.0, 'total': 1.0, 'masked_share': 0.5}
    """
    target = outputs["target"].float()
    prediction = outputs["prediction"].float()
    frames, channel = outputs["masked_frames"], outputs["masked_channel"]
    masked = masked_error(prediction, target, frames, channel)
    return {
        "masked": masked,
        "reference": copy_error(target, frames),
        "total": (prediction - target).square().mean((1, 2, 3, 4)),
        "masked_share": masked * frames.float().mean(1),
    }


def masked_error(prediction, target, masked_frames, masked_channel):
    """Mean squared error of the hidden frames of the hidden channel.

    Arguments
    ---------
    prediction : torch.Tensor
        [batch, mic, bin, frame, re/im].
    target : torch.Tensor
        Same shape.
    masked_frames : torch.Tensor
        bool [batch, frame].
    masked_channel : torch.Tensor
        int64 [batch].

    Returns
    -------
    torch.Tensor
        float32 [batch].

    Example
    -------
    >>> target = torch.zeros(1, 2, 1, 2, 2)
    >>> prediction = torch.arange(8.0).view(target.shape)
    >>> masked_error(prediction, target, torch.tensor([[False, True]]),
    ...              torch.tensor([1]))
    tensor([42.5000])
    """
    difference = _channel(prediction, masked_channel)
    difference = difference - _channel(target, masked_channel)
    return _mean_over_hidden(difference, masked_frames)


def copy_error(target, masked_frames):
    """What it would cost to copy the channel that is not hidden.

    Arguments
    ---------
    target : torch.Tensor
        [batch, mic, bin, frame, re/im].
    masked_frames : torch.Tensor
        bool [batch, frame].

    Returns
    -------
    torch.Tensor
        float32 [batch]; the same whichever channel is hidden.

    Example
    -------
    >>> copy_error(torch.arange(8.0).view(1, 2, 1, 2, 2),
    ...            torch.tensor([[True, True]]))
    tensor([16.])
    """
    difference = target[:, 0] - target[:, 1]
    return _mean_over_hidden(difference, masked_frames)


def _channel(x, channel):
    """One channel of each example, [batch, bin, frame, re/im]."""
    return torch.where(channel[:, None, None, None] == 0, x[:, 0], x[:, 1])


def _mean_over_hidden(difference, masked_frames):
    """Mean square over bins, parts and hidden frames, [batch]."""
    by_frame = difference.float().square().mean((1, 3))
    weight = masked_frames.float()
    return (by_frame * weight).sum(1) / weight.sum(1)
