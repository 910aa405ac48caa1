"""From scores over angles to angles."""

import math

import torch
from torch.nn import functional as F

DECODINGS = ("median", "peak", "centre")


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
        talkers close together share a peak.
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


def decode_classes(logits, method="median", low=0.0, high=180.0):
    """Turn class scores into angles.

    Arguments
    ---------
    logits : torch.Tensor
        Scores of equal bins over [low, high], [batch, talker, class].
    method : str
        "median" of the distribution, interpolated within its bin: minimises
        the expected absolute error of a calibrated network. "peak": vertex
        of the parabola through the best logit and its neighbours, exact
        for Gaussian shapes. "centre" of the best bin.
    low : float
        Lower end of the first bin, degrees.
    high : float
        Upper end of the last bin, degrees.

    Returns
    -------
    torch.Tensor
        Degrees, [batch, talker], in the order of the talkers.

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
    """
    size = logits.shape[-1]
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
