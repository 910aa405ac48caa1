"""Mixtures of two items of a batch, with their labels.

Of items with one event at a time new scenes with more events are made. The
weights of the two items are also the lengths of their target vectors.

Targets are a dict of some of ``accdoa`` [batch, L, 3C], ``adpit`` [batch, L, 6,
4, C], ``sed`` [batch, L, 3, C] with ``doa`` [batch, L, 3, 3], and ``mask``
[batch, L] (which frames count); ``overlap`` [batch] must be there. Of a mixture
``accdoa`` is the weighted sum; ``adpit`` likewise, with events that share frame
and class moved to the slots for two or three instances; ``sed`` and ``doa``
hold track 0 of both and track 1 of the partner, activities weighted, directions
as they are; ``overlap`` is the sum; ``mask`` has the frames that count in
either. Other keys stay those of the first item.
"""

import numpy as np
import torch


def _mix_targets(first, second, weight):
    """Labels of mixtures of n items, of weight [n], with partners."""
    mixed = dict(first)
    if "accdoa" in first:
        mixed["accdoa"] = _blend(first["accdoa"], second["accdoa"], weight)
    if "adpit" in first:
        mixed["adpit"] = _mix_adpit(first["adpit"], second["adpit"], weight)
    if "sed" in first:
        one, two = _weigh(first["sed"], second["sed"], weight)
        mixed["sed"] = _join_tracks(one, two)
    if "doa" in first:
        mixed["doa"] = _join_tracks(first["doa"], second["doa"])
    if "overlap" in first:
        mixed["overlap"] = first["overlap"] + second["overlap"]
    if "mask" in first:
        mixed["mask"] = torch.maximum(first["mask"], second["mask"])
    return mixed


def _weigh(one, two, weight):
    """Both, each times its weight."""
    weight = weight.to(one).reshape(-1, *[1] * (one.ndim - 1))
    return weight * one, (1 - weight) * two


def _blend(one, two, weight):
    """Weighted sum."""
    one, two = _weigh(one, two, weight)
    return one + two


def _join_tracks(one, two):
    """Track 0 of one, then tracks 0 and 1 of the other."""
    return torch.cat((one[:, :, :1], two[:, :, :2]), dim=2)


def _mix_adpit(one, two, weight):
    """Weighted sum of slots; same class in the same frame: other slots."""
    one, two = _weigh(one, two, weight)
    single, other, pair = one[:, :, :1], two[:, :, :1], two[:, :, 1:3]
    # After the weights: what has weight zero takes no slot.
    two_of_class = (single[..., :1, :] > 0) & (other[..., :1, :] > 0)
    three_of_class = (single[..., :1, :] > 0) & (pair[:, :, :1, :1] > 0)
    mixed = (one + two) * ~(two_of_class | three_of_class)
    mixed[:, :, 1:3] += torch.cat((single, other), dim=2) * two_of_class
    mixed[:, :, 3:6] += torch.cat((single, pair), dim=2) * three_of_class
    return mixed


class _Mix:
    """Pairs items and mixes them in place of the first of each pair."""

    def __init__(self, alpha, avoid_self_pairs, copies):
        self.alpha = alpha
        self.avoid_self_pairs = avoid_self_pairs
        self.copies = copies

    def _pairs(self, overlap, partner_overlap, generator):
        """Indices of items with one event, and of their partners."""
        if len(overlap) % self.copies:
            raise ValueError(
                f"a batch of {len(overlap)} items is not made of "
                f"{self.copies} copies"
            )
        first = (overlap == 1).nonzero().flatten()
        second = (overlap == partner_overlap).nonzero().flatten()
        order = torch.randperm(len(second), generator=generator)
        number = min(len(first), len(second))
        first, second = first[:number], second[order[:number]]
        if self.avoid_self_pairs:
            clips = len(overlap) // self.copies
            different = first % clips != second % clips
            first, second = first[different], second[different]
        return first, second

    def _weights(self, number, generator):
        """Beta-distributed weights [number]; torch's take no generator."""
        seed = torch.randint(2**62, (1,), generator=generator).item()
        drawn = np.random.default_rng(seed).beta(
            self.alpha, self.alpha, size=number
        )
        return torch.from_numpy(drawn).float()

    def _mix(self, x, targets, partner_overlap, generator):
        """Mix a batch with partners of some overlap."""
        if "overlap" not in targets:
            raise ValueError(
                "mixing needs targets['overlap'], the largest number of "
                "simultaneous events of each item"
            )
        first, second = self._pairs(
            targets["overlap"].cpu(), partner_overlap, generator
        )
        if len(first) == 0:
            return x, targets
        weight = self._weights(len(first), generator).to(x.device)
        one, two = first.to(x.device), second.to(x.device)
        mixed = _mix_targets(_items(targets, one), _items(targets, two), weight)
        x = x.index_copy(0, one, _blend(x[one], x[two], weight))
        targets = {
            name: values.index_copy(
                0, one.to(values.device), mixed[name].to(values)
            )
            for name, values in targets.items()
        }
        return x, targets


def _items(targets, index):
    """Some items of all targets."""
    return {
        name: values[index.to(values.device)]
        for name, values in targets.items()
    }


class WavMix(_Mix):
    """Mix waveforms of items with one event with others of one or two.

    After mixup (Zhang et al., ICLR 2018). Whether the partners are items of
    one or of two events is drawn for the batch.

    Arguments
    ---------
    probability : float
        That a batch is mixed.
    alpha : float
        Of the Beta distribution that weights are drawn from.
    avoid_self_pairs : bool
        Leave an item alone that was paired with its own clip, which would
        have made one event into two of half the weight. PSELDNets does not.
    copies : int
        How often each clip is in a batch; the copies of all clips follow one
        another.

    Raises
    ------
    ValueError
        If there is no ``overlap`` among the targets, or the batch is not
        made of so many copies.

    Example
    -------
    >>> targets = {"accdoa": torch.ones(4, 10, 6),
    ...            "overlap": torch.tensor([1, 2, 1, 2])}
    >>> mix = WavMix(probability=1.0)
    >>> waveform, targets = mix(torch.randn(4, 24000, 4), targets)
    >>> waveform.shape, bool((targets["overlap"] >= 1).all())
    (torch.Size([4, 24000, 4]), True)
    """

    def __init__(
        self, probability=0.5, alpha=0.5, avoid_self_pairs=True, copies=1
    ):
        super().__init__(alpha, avoid_self_pairs, copies)
        self.probability = probability

    def __call__(self, waveform, targets, generator=None):
        """Mix a batch.

        Arguments
        ---------
        waveform : torch.Tensor
            Shape [batch, time, channel].
        targets : dict
            See the module.
        generator : torch.Generator, optional
            On the CPU; default: that of torch.

        Returns
        -------
        waveform : torch.Tensor
            Of the same shape.
        targets : dict
            Of the same keys; ``overlap`` is that of the mixtures.
        """
        mixing = torch.rand(1, generator=generator) < self.probability
        partner_overlap = torch.randint(1, 3, (1,), generator=generator)
        if not mixing:
            return waveform, targets
        return self._mix(waveform, targets, partner_overlap, generator)


class TrackMix(_Mix):
    """Mix features of items with one event into items with two.

    All channels are averaged as they are, levels in dB.

    Arguments
    ---------
    alpha : float
        Of the Beta distribution that weights are drawn from.
    avoid_self_pairs : bool
        As in ``WavMix``.
    copies : int
        As in ``WavMix``.

    Raises
    ------
    ValueError
        As ``WavMix``.

    Example
    -------
    >>> targets = {"accdoa": torch.ones(2, 10, 6),
    ...            "overlap": torch.tensor([1, 2])}
    >>> features, targets = TrackMix()(torch.randn(2, 7, 101, 64), targets)
    >>> targets["overlap"]  # nothing but itself to mix the first item with
    tensor([1, 2])
    """

    def __init__(self, alpha=0.5, avoid_self_pairs=True, copies=1):
        super().__init__(alpha, avoid_self_pairs, copies)

    def __call__(self, features, targets, generator=None):
        """Mix a batch.

        Arguments
        ---------
        features : torch.Tensor
            Shape [batch, channel, frame, bin].
        targets : dict
            See the module.
        generator : torch.Generator, optional
            On the CPU; default: that of torch.

        Returns
        -------
        features : torch.Tensor
            Of the same shape.
        targets : dict
            Of the same keys; ``overlap`` is that of the mixtures.
        """
        return self._mix(features, targets, 1, generator)
