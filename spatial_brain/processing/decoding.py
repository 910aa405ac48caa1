"""From the outputs of networks to angles, and from chunks to recordings.

:class:`ChunkStitcher` gives every frame the mean over the chunks that cover it.
Networks trained with permutation-invariant losses give their tracks in any
order, which may differ from chunk to chunk and from frame to frame; a plain
mean then blurs two events into one, or cancels opposite ones. Before a chunk is
added its tracks are therefore put in the order of what is there, frame by
frame, for multi-ACCDOA also class by class. As decoders treat every frame
alone, the order need not be the same all along.
"""

import math
from itertools import permutations

import torch
from torch.nn import functional as F

from spatial_brain.loadable import loadable

DECODINGS = ("median", "peak", "centre")
# Outputs of each method.
_KEYS = {
    "accdoa": ("accdoa",),
    "multi_accdoa": ("multi_accdoa",),
    "einv2": ("sed", "doa"),
    "seddoa": ("sed", "doa"),
}
# Orders of three tracks.
_ORDERS = torch.tensor(list(permutations(range(3))))
# Which two of three tracks, and which one is left.
_PAIRS = torch.tensor(((0, 1, 2), (1, 2, 0), (0, 2, 1)))
# Tracks within 15 degrees are one event, active ones are longer than 0.5:
# what the decoders go by.
_ONE_EVENT = math.cos(math.radians(15.0))
_ACTIVE = 0.5


def angle_grid(num_angles, device=None):
    """Centres of equal bins over [0, 180] degrees.

    Arguments
    ---------
    num_angles : int
        Number of bins.
    device : torch.device
        Where the result lives.

    Returns
    -------
    torch.Tensor
        Degrees, shape [num_angles].

    Example
    -------
    >>> angle_grid(3)
    tensor([ 30.,  90., 150.])
    """
    return (torch.arange(num_angles, device=device) + 0.5) * (180 / num_angles)


def _vertex(left, mid, right, usable):
    """Offset of a parabola's vertex from its middle point, in points."""
    bend = left - 2 * mid + right
    usable = usable & (bend < 0)
    shift = 0.5 * (left - right) / torch.where(usable, bend, -1.0)
    return torch.where(usable, shift, 0.0).clamp(-0.5, 0.5)


def pick_peaks(spectrum, angles, num_peaks=2, min_separation=10.0):
    """Highest local maxima which keep their distance, refined by parabolas.

    Arguments
    ---------
    spectrum : torch.Tensor
        [batch, angle], finite.
    angles : torch.Tensor
        Ascending or descending grid, degrees, [angle].
    num_peaks : int
        Number of peaks. When there are fewer, the highest one is repeated:
        sources close together share a peak.
    min_separation : float
        Smallest distance between peaks, degrees.

    Returns
    -------
    torch.Tensor
        Degrees, ascending, [batch, num_peaks].

    Raises
    ------
    ValueError
        If the shapes disagree or a value is not finite.

    Example
    -------
    >>> spectrum = torch.tensor([[0.0, 3, 0, 0, 0, 2, 0]])
    >>> pick_peaks(spectrum, torch.arange(7.0) * 30)
    tensor([[ 30., 150.]])
    """
    if spectrum.ndim != 2 or spectrum.shape[1:] != angles.shape:
        raise ValueError(
            f"expected a spectrum [batch, {len(angles)}], got "
            f"{tuple(spectrum.shape)}"
        )
    if not spectrum.isfinite().all():
        raise ValueError("the spectrum holds values which are not finite")
    size = spectrum.shape[1]
    padded = F.pad(spectrum, (1, 1), value=-math.inf)
    left, right = padded[:, :-2], padded[:, 2:]
    peaks = (spectrum > left) & (spectrum >= right)
    rest = spectrum.masked_fill(~peaks, -math.inf)
    picked = []
    for _ in range(num_peaks):
        height, index = rest.max(dim=1)
        if picked:
            index = torch.where(height > -math.inf, index, picked[0])
        picked.append(index)
        close = (angles - angles[index][:, None]).abs() < min_separation
        rest = rest.masked_fill(close, -math.inf)
    index = torch.stack(picked, dim=1)
    inner = index.clamp(1, size - 2)
    low, mid, high = (spectrum.gather(1, inner + k) for k in (-1, 0, 1))
    shift = _vertex(low, mid, high, inner == index)
    step = (angles[-1] - angles[0]) / (size - 1)
    return (angles[index] + step * shift).sort(dim=1).values


@loadable
def decode_classes(
    logits, method="median", low=0.0, high=180.0, circular=False
):
    """Turn class scores into angles.

    Arguments
    ---------
    logits : torch.Tensor
        Scores of equal bins over [low, high], [batch, source, class].
    method : str
        "median" of the distribution, interpolated within its bin: minimises
        the expected absolute error of a calibrated network. "peak": vertex
        of the parabola through the best logit and its neighbours, exact
        for Gaussian shapes. "centre" of the best bin.
    low : float
        Lower end of the first bin, degrees.
    high : float
        Upper end of the last bin, degrees.
    circular : bool
        Whether the last bin is followed by the first, as with azimuths from
        -180 to 180 degrees. The circle is cut opposite to the best bin.

    Returns
    -------
    torch.Tensor
        Degrees, [batch, source], in the order of the scores; in [low, high)
        if circular.

    Raises
    ------
    ValueError
        If ``method`` is unknown.

    Example
    -------
    >>> logits = torch.full((1, 2, 36), -20.0)
    >>> logits[0, 0, 4], logits[0, 1, 20:22] = 20.0, 20.0
    >>> decode_classes(logits)
    tensor([[ 22.5000, 105.0000]])
    >>> decode_classes(logits, "centre")
    tensor([[ 22.5000, 102.5000]])
    >>> behind = torch.tensor([[[1.0, 0.0, 0.0, 1.5]]])
    >>> decode_classes(behind, "peak", -180.0, 180.0, circular=True)
    tensor([[157.5000]])
    """
    size = logits.shape[-1]
    if circular:
        best = logits.argmax(-1, keepdim=True)
        turn = best - size // 2
        bins = torch.arange(size, device=logits.device)
        turned = logits.gather(-1, (bins + turn) % size)
        place = decode_classes(turned, method, 0.0, float(size)) + turn[..., 0]
        # Once more: a tiny negative number rounds up to the size.
        return low + place % size % size * ((high - low) / size)
    share = logits.float().softmax(-1)
    best = share.argmax(-1, keepdim=True)
    if method == "centre":
        place = best + 0.5
    elif method == "peak":
        inner = best.clamp(1, size - 2)
        left, mid, right = (
            logits.float().gather(-1, inner + k) for k in (-1, 0, 1)
        )
        place = best + 0.5 + _vertex(left, mid, right, inner == best)
    elif method == "median":
        total = share.cumsum(-1)
        index = (total < 0.5).sum(-1, keepdim=True).clamp(max=size - 1)
        inside = share.gather(-1, index)
        below = total.gather(-1, index) - inside
        place = index + ((0.5 - below) / inside).clamp(0, 1)
    else:
        raise ValueError(f"method must be one of {DECODINGS}, got {method!r}")
    return low + place[..., 0] * ((high - low) / size)


class ChunkStitcher:
    """Averages the outputs of the chunks of one recording.

    Takes one chunk at a time and holds no more than its frames. Class
    probabilities are averaged as such and given as logits again.

    Arguments
    ---------
    method : str
        "accdoa", "multi_accdoa", "einv2" or "seddoa".
    hop_frames : int
        Label frames from the start of a chunk to that of the next.
    align : bool
        Bring the tracks into one order before averaging; False is the plain
        moving average of PSELDNets.

    Raises
    ------
    ValueError
        If the method is not known or the hop is not positive.

    Example
    -------
    >>> stitcher = ChunkStitcher("accdoa", 2)
    >>> first = stitcher.push({"accdoa": torch.zeros(4, 6)})
    >>> second = stitcher.push({"accdoa": torch.ones(4, 6)})
    >>> len(first["accdoa"]), len(second["accdoa"])
    (0, 2)
    >>> stitcher.flush(5)["accdoa"][:, 0].tolist()
    [0.5, 0.5, 1.0]
    """

    def __init__(self, method, hop_frames, align=True):
        if method not in _KEYS:
            raise ValueError(
                f"method is {method!r}, expected one of {', '.join(_KEYS)}"
            )
        if hop_frames < 1:
            raise ValueError(f"hop_frames is {hop_frames}, expected 1 or more")
        self.method = method
        self.hop_frames = hop_frames
        self.align = align
        self._average = None
        self._count = None
        self._emitted = 0

    def push(self, outputs):
        """Add the next chunk.

        Arguments
        ---------
        outputs : dict of torch.Tensor
            What the network gives for the chunk, shape [L, ...], L at least
            ``hop_frames``: keys "accdoa", "multi_accdoa", or "sed" (logits)
            and "doa".

        Returns
        -------
        dict of torch.Tensor
            float32. The frames before this chunk that were not given yet:
            nothing for the first one, ``hop_frames`` for the others. No later
            chunk can change them.

        Raises
        ------
        ValueError
            If the chunk starts after the last one ended.
        """
        new = _to_average(outputs, self.method)
        if self._average is None:
            finished = {key: value[:0] for key, value in new.items()}
            self._average = {key: value[:0] for key, value in new.items()}
            self._count = torch.zeros(0)
        else:
            if self.hop_frames > len(self._count):
                raise ValueError(
                    f"chunks of {len(self._count)} frames every "
                    f"{self.hop_frames} frames leave gaps"
                )
            finished = self._shift(self.hop_frames)
        self._add(new)
        return _from_average(finished, self.method)

    def peek(self):
        """The frames from the start of the last chunk on, as they stand.

        Returns
        -------
        dict of torch.Tensor
            float32; later chunks may change all but the first ``hop_frames``.
        """
        return _from_average(self._average, self.method)

    def flush(self, num_frames):
        """Give the rest of the recording and forget it.

        Arguments
        ---------
        num_frames : int
            Label frames of the whole recording.

        Returns
        -------
        dict of torch.Tensor
            The frames that ``push`` has not given, up to ``num_frames``.

        Raises
        ------
        ValueError
            If the chunks end before, or if frames beyond were given.
        """
        if self._average is None:
            raise ValueError("there is nothing to flush: no chunk was pushed")
        rest = num_frames - self._emitted
        if not 0 <= rest <= len(self._count):
            raise ValueError(
                f"the recording has {num_frames} frames, but the chunks fit "
                f"{self._emitted} to {self._emitted + len(self._count)}"
            )
        finished = self._shift(rest)
        self._average, self._count, self._emitted = None, None, 0
        return _from_average(finished, self.method)

    def _shift(self, number):
        """Take the first frames off."""
        finished = {key: v[:number] for key, v in self._average.items()}
        self._average = {key: v[number:] for key, v in self._average.items()}
        self._count = self._count[number:]
        self._emitted += number
        return finished

    def _add(self, new):
        """Average a chunk into the frames it covers, append the others."""
        first = next(iter(new.values()))
        common = min(len(self._count), len(first))
        old = {key: value[:common] for key, value in self._average.items()}
        part = {key: value[:common] for key, value in new.items()}
        if self.align and common:
            part = _aligned(part, old, self.method)
        count = self._count.to(first)
        for key, value in new.items():
            weight = 1 / (count[:common] + 1)
            weight = weight.reshape(-1, *[1] * (value.ndim - 1))
            mixed = _mix(old[key], part[key], weight, key)
            tail = self._average[key][common:], value[common:]
            self._average[key] = torch.cat((mixed, *tail))
        beyond = count.new_ones(len(first) - common)
        self._count = torch.cat((count[:common] + 1, count[common:], beyond))


def _to_average(outputs, method):
    """Float32 outputs in the form in which they are averaged."""
    outputs = {key: outputs[key].detach().float() for key in _KEYS[method]}
    if method == "multi_accdoa":
        flat = outputs["multi_accdoa"]
        outputs["multi_accdoa"] = flat.reshape(len(flat), 3, 3, -1)
    if "sed" in outputs:
        # Logarithms of the probabilities of yes and no: unlike these, they
        # give back any logit.
        sed = outputs["sed"]
        both = F.logsigmoid(sed), F.logsigmoid(-sed)
        outputs["sed"] = torch.stack(both, dim=-1)
    return outputs


def _from_average(averages, method):
    """The outputs that averages stand for."""
    averages = dict(averages)
    if method == "multi_accdoa":
        averages[method] = averages[method].flatten(1)
    if "sed" in averages:
        yes, no = averages["sed"].unbind(-1)
        averages["sed"] = yes - no
    return averages


def _mix(old, new, weight, key):
    """Weighted mean, of probabilities where logarithms are given."""
    if key != "sed":
        return old + weight * (new - old)
    return torch.logaddexp(old + torch.log1p(-weight), new + torch.log(weight))


def _aligned(new, old, method):
    """Tracks of ``new`` in the order that comes nearest to ``old``.

    Both are dicts of [frame, ...] in the form of ``_to_average``.
    """
    if method == "accdoa":
        return new
    if method == "multi_accdoa":
        # [frame, class, track, axis]
        tracks = new[method].permute(0, 3, 1, 2)
        running = old[method].permute(0, 3, 1, 2)
        # Of two events one fills two tracks; which one does so may differ
        # from chunk to chunk as well.
        given, given_cost = _nearest(tracks, running)
        dealt, dealt_cost = _nearest(_redealt(tracks), running)
        better = (dealt_cost < given_cost)[..., None, None]
        tracks = torch.where(better, dealt, given)
        return {method: tracks.permute(0, 2, 3, 1)}
    p, q = (side["sed"][..., 0].exp() for side in (old, new))
    u, v = old["doa"], new["doa"]
    # Distance of the classes, and of the class-weighted directions: where a
    # track is silent, its direction does not count.
    cost = (p[:, :, None] - q[:, None]).square().sum(-1)
    cost = cost + (
        (p.square().sum(-1) * u.square().sum(-1))[:, :, None]
        + (q.square().sum(-1) * v.square().sum(-1))[:, None]
        - 2 * (p @ q.mT) * (u @ v.mT)
    )
    best, _ = _best_order(cost)
    sed = _reorder(new["sed"].flatten(2), best).reshape(new["sed"].shape)
    return {"sed": sed, "doa": _reorder(v, best)}


def _nearest(tracks, running):
    """Tracks [..., 3, axis] in the order nearest to running ones, its cost."""
    difference = running[..., :, None, :] - tracks[..., None, :, :]
    order, cost = _best_order(difference.square().sum(-1))
    return _reorder(tracks, order), cost


def _best_order(cost):
    """Best order of three tracks.

    From costs [..., old track, new track] to the new track for every old one,
    [..., 3], and the cost of that, [...]. The given order wins when equal.
    """
    orders = _ORDERS.to(cost.device)
    total = cost[..., torch.arange(3, device=cost.device), orders].sum(-1)
    least, index = total.min(-1)
    # Rounding is no reason to leave the given order.
    index = torch.where(total[..., 0] <= least + 1e-6, 0, index)
    return orders[index], least


def _reorder(tracks, order):
    """Tracks [..., 3, axis] in the order [..., 3]."""
    order = order[..., None].expand(*order.shape, tracks.shape[-1])
    return torch.gather(tracks, -2, order)


def _redealt(tracks):
    """Three tracks [..., 3, axis] that say the same in another way.

    Where all are active and the nearest two are one event, their mean takes
    one track and the third event takes two.
    """
    unit = F.normalize(tracks, dim=-1)
    pairs = _PAIRS.to(tracks.device)
    first, second = unit[..., pairs[:, 0], :], unit[..., pairs[:, 1], :]
    cosine, pair = (first * second).sum(-1).max(-1)
    i, j, rest = _reorder(tracks, pairs[pair]).unbind(-2)
    dealt = torch.stack(((i + j) / 2, rest, rest), dim=-2)
    two = (cosine > _ONE_EVENT) & (tracks.norm(dim=-1).amin(-1) > _ACTIVE)
    return torch.where(two[..., None, None], dealt, tracks)
