"""The channels of a recording against the geometry of its array."""

import torch

from spatial_brain.inference.array_checks.delays import (
    PairDelays,
    delay_findings,
    size_finding,
)
from spatial_brain.inference.array_checks.finding import Finding
from spatial_brain.inference.array_checks.order import (
    order_findings,
    strange_channels,
)
from spatial_brain.inference.array_checks.plane_waves import (
    PlaneWaveFit,
    block_coherences,
    chance_coherence,
)

# Complex numbers of coherences held at once.
_MOST = 2**23
# Decibels below the loudest block from where on a block does not count.
_QUIET = 25.0
# Mean coherence above chance below which channels have nothing in common.
_NOISE = 0.02


def spatial_findings(pieces, fs, array, kept, channels, band):
    """Findings on delays, polarity and order.

    Arguments
    ---------
    pieces : list of tuple
        Start in seconds and waveform [time, channel] of each piece.
    fs : int
        Sampling rate, hertz.
    array : MicrophoneArray
        The array.
    kept : list of int
        Microphones that record something of their own.
    channels : list of int
        Number in the file of each microphone's channel.
    band : tuple of float
        Lowest and highest frequency used, hertz.

    Returns
    -------
    list of Finding
    """
    coherence, frequency = _loud_blocks(pieces, fs, kept, band)
    if not len(coherence):
        return []
    numbers = [channels[i] for i in kept]
    above = coherence.abs().mean((0, 3))
    chance = chance_coherence(fs)
    strange = strange_channels(coherence, chance)
    if (
        above.masked_fill(torch.eye(len(kept)).bool(), 0).max()
        < chance + _NOISE
    ):
        return [_incoherent(numbers)]
    reference = int(above.sum(1).argmax())
    delays = PairDelays(reference, fs, band)
    for start, waveform in pieces:
        delays.add(start, waveform[:, kept])
    wrong_size = size_finding(delays, array.positions[kept])
    if wrong_size:
        # No order of the channels would explain the delays.
        return [wrong_size]
    distances = array.distances[kept][:, kept]
    found = delay_findings(delays, numbers, distances)
    off = {channel for one in found for channel in one.channels}
    for index in strange:
        if numbers[index] not in off:
            found.append(_unrelated(numbers[index]))
            off.add(numbers[index])
    left = [i for i, number in enumerate(numbers) if number not in off]
    if len(left) < 2:
        return found
    microphones = array.positions[[kept[i] for i in left]]
    fit = PlaneWaveFit(coherence[:, left][:, :, left], frequency, microphones)
    return found + order_findings(
        fit, [numbers[i] for i in left], distances[left][:, left]
    )


def _loud_blocks(pieces, fs, kept, band):
    """Coherences [block, channel, channel, bin] and frequencies, hertz."""
    blocks, powers, held = [], [], 0
    for _, waveform in pieces:
        coherence, frequency, power = block_coherences(
            waveform[:, kept], fs, band
        )
        blocks.append(coherence)
        powers.append(power.mean(1))
        held += coherence.numel()
        if held > _MOST:
            break
    powers = torch.cat(powers)
    if not len(powers):
        return torch.cat(blocks), frequency
    loud = powers > powers.amax() * 10 ** (-_QUIET / 10)
    return torch.cat(blocks)[loud], frequency


def _unrelated(channel):
    """A channel that records something else than the others."""
    return Finding(
        "dead_channel",
        "warning",
        (channel,),
        f"channel {channel} has nothing in common with the others: noise of a "
        "dead microphone, or no microphone of this array; leave it out",
    )


def _incoherent(numbers):
    """Channels that have nothing in common at all."""
    return Finding(
        "incoherent",
        "error",
        tuple(numbers),
        "the channels have nothing in common: noise only, microphones that "
        "are off, or recordings that do not belong together",
    )
