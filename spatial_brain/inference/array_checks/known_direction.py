"""Claps from known directions: is every channel the microphone it should be?

With a direction known, the arrival times say which channel is which
microphone, and whether the array stands turned or mirrored: what no recording
of unknown sources can show.
"""

from dataclasses import dataclass
from itertools import combinations

import torch
from scipy.optimize import linear_sum_assignment

from spatial_brain.dataio.audio import describe, open_audio
from spatial_brain.geometry import SPEED_OF_SOUND, azel_to_unit, wrap_azimuth
from spatial_brain.geometry.directions import rotation_matrix
from spatial_brain.inference.array_checks.arrivals import arrival_times
from spatial_brain.inference.array_checks.finding import Finding, name_channels

# Seconds that are read of a clap's recording.
_LONGEST = 60.0
# Seconds: arrival times that agree do so on average; a share of the way
# across an array counts where it is large.
_AGREE, _SHARE = 2.5e-5, 0.06
# Degrees by which a hand may miss the direction, and steps of the search.
_HAND, _STEP = 15, 1


@dataclass(frozen=True)
class Clap:
    """A recording of one loud short sound from a known direction.

    Arguments
    ---------
    path : str
        The recording.
    azimuth, elevation : float
        Where it came from, degrees.
    """

    path: str
    azimuth: float
    elevation: float = 0.0


@dataclass(frozen=True)
class _Explanation:
    """An order and a turn of the array that explain the arrival times."""

    kind: str
    error: float
    order: tuple
    turn: float = 0.0
    pair: tuple = ()


def check_claps(claps, array, channels):
    """Compare the arrival times of claps with the array.

    Arguments
    ---------
    claps : list of Clap
        From different directions: two tell a turned array from a mirrored
        one.
    array : MicrophoneArray
        The array.
    channels : sequence of int
        Channel of the files for each microphone, from 0.

    Returns
    -------
    tuple
        List of Finding, the first of them the verdict; and the positions
        that explain the claps with the channels as they are, metres, [M, 3].

    Raises
    ------
    ValueError
        If a file cannot be read.
    """
    times, signs = zip(
        *(_arrivals(clap, array, channels) for clap in claps), strict=True
    )
    times = torch.stack(times)
    fits = _explanations(times, claps, array)
    limit = max(_AGREE, _SHARE * array.aperture / SPEED_OF_SOUND)
    good = [one for one in fits if one.error < limit]
    best = good[0] if good else min(fits, key=lambda one: one.error)
    found = [_verdict(best, bool(good), claps, channels, array)]
    # A plain fit needs no other explanation.
    more = [one.kind for one in good[1:] if best.kind != "as_given"]
    if more:
        found.append(_others(sorted(set(more) - {best.kind}), claps))
    found += _signs(torch.stack(signs), channels)
    return [one for one in found if one], _corrected(best, array)


def _arrivals(clap, array, channels):
    """Arrival times and signs of a clap, [channel] each."""
    with open_audio(clap.path) as file:
        info = describe(file, clap.path)
        samples = file.read(
            round(_LONGEST * info.fs), dtype="float32", always_2d=True
        )
    waveform = torch.from_numpy(samples[:, list(channels)].copy())
    if not waveform.any():
        raise ValueError(f"{clap.path}: is silent; record the clap again")
    return arrival_times(waveform, info.fs, array.aperture)


def _explanations(times, claps, array):
    """What may explain times [clap, channel], the simplest first."""
    number = len(array)
    own = tuple(range(number))
    positions = array.positions
    mirror = positions * torch.tensor([1.0, -1.0, 1.0])
    found = [_turned("as_given", positions, times, claps, own, _HAND)]
    found += sorted(
        (
            _turned(
                "exchanged_channels",
                positions,
                times,
                claps,
                _swap(own, *pair),
                _HAND,
                pair,
            )
            for pair in combinations(own, 2)
        ),
        key=lambda one: one.error,
    )[:1]
    found.append(_turned("rotated", positions, times, claps, own, 180))
    found.append(_turned("mirrored", mirror, times, claps, own, 180))
    found.append(_assigned(positions, times, claps))
    return found


def _assigned(positions, times, claps):
    """Any order of the channels, as the arrival times demand it."""
    best = None
    turns = range(-_HAND, _HAND + 1, 5 * _STEP)
    for turn, expected in zip(
        turns, _expected(positions, claps, turns), strict=True
    ):
        cost = (times.T[:, None] - expected.T).square().sum(-1)
        channels, microphones = linear_sum_assignment(cost.numpy())
        order = tuple(int(c) for c in channels[microphones.argsort()])
        error = float(_errors(times[:, list(order)], expected[None]))
        if best is None or error < best.error:
            best = _Explanation("wrong_order", error, order, float(turn))
    return best


def _expected(positions, claps, turns=(0.0,)):
    """Arrival times [turn, clap, microphone] of plane waves, about the mean."""
    azimuth = torch.tensor([clap.azimuth for clap in claps])
    elevation = torch.tensor([clap.elevation for clap in claps])
    turns = torch.tensor([float(turn) for turn in turns])
    unit = azel_to_unit(azimuth + turns[:, None], elevation)
    delays = -unit @ positions.T / SPEED_OF_SOUND
    return delays - delays.mean(-1, keepdim=True)


def _errors(times, expected):
    """Root mean square differences, seconds, [turn]."""
    return (times - expected).square().mean((1, 2)).sqrt()


def _turned(kind, positions, times, claps, order, reach, pair=()):
    """The turn within some degrees that explains an order best."""
    turns = sorted(range(-reach, reach + 1, _STEP), key=abs)
    expected = _expected(positions, claps, turns)
    errors = _errors(times[:, list(order)], expected)
    best = int(errors.argmin())
    return _Explanation(
        kind, float(errors[best]), order, float(turns[best]), pair
    )


def _swap(order, one, two):
    """An order with two microphones exchanged."""
    order = list(order)
    order[one], order[two] = order[two], order[one]
    return tuple(order)


def _verdict(best, explained, claps, channels, array):
    """Finding on what explains the claps best."""
    given = ",".join(str(channels[i]) for i in best.order)
    microseconds = f"{1e6 * best.error:.0f} microseconds on average"
    if not explained:
        return Finding(
            "unexplained",
            "error",
            (),
            f"no order of the channels explains the claps with the array "
            f"{array.name} (off by {microseconds}); check its positions, and "
            "clap once, from further away",
            best.error,
        )
    if best.kind == "as_given":
        seen = ", ".join(
            f"{float(wrap_azimuth(clap.azimuth + best.turn)):.0f}"
            for clap in claps
        )
        return Finding(
            "order_confirmed",
            "note",
            (),
            f"channels and directions are as they should be: the sound came "
            f"from {seen} degrees (off by {microseconds})",
            best.turn,
        )
    if best.kind in ("rotated", "mirrored"):
        how = "mirrored (it counts clockwise)" if best.kind != "rotated" else ""
        turn = f"turned: angles come out {best.turn:+.0f} degrees off"
        return Finding(
            best.kind,
            "error",
            (),
            f"the array is {how or turn}"
            + ("" if best.kind == "rotated" else f", and {turn}")
            + "; write the array as it stands with --output FILE and use that",
            best.turn,
        )
    numbers = tuple(sorted(channels[i] for i in best.pair))
    what = (
        f"{name_channels(numbers)} are exchanged"
        if numbers
        else "the channels are in another order"
    )
    return Finding(
        best.kind, "error", numbers, f"{what}; use --channels {given}"
    )


def _others(kinds, claps):
    """Note on what explains the claps as well, or None."""
    words = {
        "rotated": "a turned array",
        "mirrored": "a mirrored array",
        "wrong_order": "another order",
        "exchanged_channels": "an exchange",
    }
    known = [words[kind] for kind in kinds if kind in words]
    if not known:
        return None
    return Finding(
        "ambiguous",
        "warning",
        (),
        f"{' or '.join(known)} would explain "
        f"{'this clap' if len(claps) == 1 else 'these claps'} as well; add a "
        "clap from another direction, about 90 degrees away",
    )


def _signs(signs, channels):
    """Findings on microphones whose sign is reversed in most claps."""
    wrong = (signs < 0).float().mean(0) > 0.5
    numbers = tuple(channels[i] for i in wrong.nonzero()[:, 0].tolist())
    if not numbers:
        return []
    return [
        Finding(
            "polarity",
            "error",
            numbers,
            f"{name_channels(numbers)}: reversed polarity; turn the sign, or "
            "exchange the two wires of a balanced line",
        )
    ]


def _corrected(best, array):
    """Positions that explain the claps with the channels as they are."""
    positions = array.positions.clone()
    if best.kind == "mirrored":
        positions = positions * torch.tensor([1.0, -1.0, 1.0])
    if best.kind in ("rotated", "mirrored"):
        return positions @ rotation_matrix(-best.turn).T
    moved = positions.clone()
    moved[list(best.order)] = positions
    return moved
