"""Channels that are exchanged, inverted or carry something else."""

from itertools import combinations

from spatial_brain.inference.array_checks.finding import Finding, name_channels

# Relative gain of the fit of plane waves from where on a change is believed,
# and how many standard errors of its blocks it must be above nothing.
_INVERTED, _EXCHANGED, _SURE = 0.1, 0.02, 3.0
# Microphones up to which every exchange is tried, and how many of the worst
# ones of larger arrays.
_ALL, _WORST = 12, 6
# Changes that are looked for, one after the other.
_CHANGES = 3
# Coherence above that of noise: of a channel as a share of the others', and
# of the others so that it can be judged.
_STRANGE, _JUDGED = 0.12, 0.04
# Metres: distances that are the same.
_EQUAL = 0.002


def strange_channels(coherence, noise):
    """Channels whose sound has nothing to do with that of the others.

    Arguments
    ---------
    coherence : torch.Tensor
        [block, channel, channel, bin].
    noise : float
        Mean magnitude of the coherence of independent noise.

    Returns
    -------
    list of int
        Such channels; empty where no channel coheres with another.

    Example
    -------
    >>> import torch
    >>> coherence = torch.eye(3)[None, :, :, None].expand(4, 3, 3, 9)
    >>> strange_channels(coherence, 0.0)
    []
    """
    above = coherence.abs().mean((0, 3)) - noise
    above.fill_diagonal_(-1.0)
    best = above.amax(1)
    usual = float(best.median())
    if usual < _JUDGED:
        return []
    return (best < _STRANGE * usual).nonzero()[:, 0].tolist()


def order_findings(fit, channels, distances):
    """Channels that look inverted or exchanged.

    Arguments
    ---------
    fit : PlaneWaveFit
        Of the recording; it is changed to what fits best.
    channels : sequence of int
        Number in the file of each of its channels.
    distances : torch.Tensor
        Between microphones, metres, [M, M].

    Returns
    -------
    list of Finding
    """
    inverted, exchanged = [], []
    hidden = set(hidden_exchanges(distances))
    for _ in range(_CHANGES):
        change, gain = _best_change(fit, hidden)
        if change is None:
            break
        if len(change) == 1:
            fit.invert(*change)
            inverted.append((change[0], gain))
        else:
            fit.exchange(*change)
            exchanged.append((change, gain))
    found = [_inversion(inverted, fit, channels)] if inverted else []
    return found + [
        _exchange(change, gain, channels, distances)
        for change, gain in exchanged
    ]


def _best_change(fit, hidden):
    """The microphone(s) whose change helps most, and by how much."""
    if fit.number < 2 or not len(fit.fits):
        return None, 0.0
    everyone = candidates = list(range(fit.number))
    if fit.number > _ALL:
        candidates = fit.channel_fits().argsort()[:_WORST].tolist()
    gains = {(one,): _gain(fit, fit.inverted(one)) for one in everyone}
    visible = set(combinations(sorted(candidates), 2)) - hidden
    for pair in sorted(visible):
        gains[pair] = _gain(fit, fit.exchanged(*pair))
    best = max(gains, key=gains.get)
    limit = _INVERTED if len(best) == 1 else _EXCHANGED
    return (best, gains[best]) if gains[best] > limit else (None, 0.0)


def _gain(fit, fits):
    """Relative gain of the blocks' fits, 0 where it may be chance."""
    gains = fits - fit.fits
    number, mean = len(gains), float(gains.mean())
    # With a sign reversed even the best direction may fit below 0.
    scale = max(abs(float(fit.fits.mean())), abs(float(fits.mean())), 1e-6)
    if number < 2:
        return mean / scale
    # Student's t and the sign test, as blocks differ much.
    t = mean / max(float(gains.std()) / number**0.5, 1e-9)
    z = float(gains.sign().sum()) / number**0.5
    return mean / scale if max(t, z) >= _SURE and mean > 0 else 0.0


def _inversion(inverted, fit, channels):
    """Finding on microphones whose sign is reversed."""
    numbers = sorted(channels[one] for one, _ in inverted)
    gain = max(gain for _, gain in inverted)
    if 2 * len(numbers) == fit.number:
        others = sorted(set(channels) - set(numbers))
        text = (
            f"the polarity of {name_channels(numbers)} is the reverse of that "
            f"of {name_channels(others)}; which are wrong cannot be seen: turn"
            " the sign of one side"
        )
        numbers = sorted(channels)
    else:
        text = (
            f"{name_channels(numbers)} {_has(numbers)} reversed polarity; turn"
            " the sign, or exchange the two wires of a balanced line"
        )
    return Finding("polarity", "error", tuple(numbers), text, gain)


def _has(numbers):
    """The verb of channels."""
    return "has" if len(numbers) == 1 else "have"


def _exchange(change, gain, channels, distances):
    """Finding on two microphones that are exchanged."""
    numbers = tuple(sorted(channels[one] for one in change))
    same = [
        name_channels(sorted(channels[one] for one in other))
        for other in combinations(range(len(channels)), 2)
        if other != tuple(sorted(change))
        and same_exchange(change, other, distances)
    ]
    others = f" (or {' or '.join(same)}: the same here)" if same else ""
    order = list(range(len(channels)))
    one, two = change
    order[one], order[two] = order[two], order[one]
    given = ",".join(str(channels[i]) for i in order)
    return Finding(
        "exchanged_channels",
        "error",
        numbers,
        f"{name_channels(numbers)} look exchanged{others}: in that order plane "
        f"waves fit {100 * gain:.0f} % better; use --channels {given}, and "
        "check it with a clap from a known direction",
        gain,
    )


def same_exchange(one, two, distances):
    """Whether two exchanges differ by a symmetry of the array only.

    Arguments
    ---------
    one, two : tuple of int
        Two microphones each.
    distances : torch.Tensor
        Between microphones, metres, [M, M].

    Returns
    -------
    bool

    Example
    -------
    >>> from spatial_brain.geometry import MicrophoneArray
    >>> square = MicrophoneArray.resolve("circular:4x0.05").distances
    >>> same_exchange((0, 1), (2, 3), square)
    True
    """
    order = list(range(len(distances)))
    for first, second in (one, two):
        order[first], order[second] = order[second], order[first]
    moved = distances[order][:, order]
    return bool(((moved - distances).abs() < _EQUAL).all())


def hidden_exchanges(distances):
    """Exchanges of two microphones that no recording shows.

    Arguments
    ---------
    distances : torch.Tensor
        Between microphones, metres, [M, M].

    Returns
    -------
    list of tuple of int
        Two microphones each, whose exchange is a symmetry of the array.

    Example
    -------
    >>> from spatial_brain.geometry import MicrophoneArray
    >>> hidden_exchanges(MicrophoneArray.resolve("circular:4x0.05").distances)
    [(0, 2), (1, 3)]
    """
    return [
        pair
        for pair in combinations(range(len(distances)), 2)
        if same_exchange(pair, (0, 0), distances)
    ]
