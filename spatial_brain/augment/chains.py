"""Chains of augmentations, as the experiments name them."""

import torch

from spatial_brain.augment.microphone_faults import fault_augmentation
from spatial_brain.augment.mixing import TrackMix, WavMix
from spatial_brain.augment.mono import MonoPlacement
from spatial_brain.augment.rotation import (
    FOAFeatureRotation,
    FOARotation,
    MICRotation,
)
from spatial_brain.augment.spectral import Cutout, FrequencyShift, SpecAugment

CHAINS = ("none", "augment", "augmix", "augmix1", "rotation", "features")
_COPIES = 3


class AugmentationChain:
    """Augmentation of waveforms, and of the features made of them.

    Operations on waveforms are applied one after the other. Of those on
    features a non-empty combination is drawn for each batch, all equally
    likely, and applied in random order. With AugMix a batch is three copies
    of its clips: of the first the features stay, the others have a
    combination each (the copies are all trained on alike; there is no
    consistency loss as in the AugMix of Hendrycks et al., ICLR 2020).

    Arguments
    ---------
    waveform : sequence of callable
        ``(waveform, targets, generator) -> (waveform, targets)``.
    features : sequence of callable
        Likewise, on features [batch, channel, frame, bin].
    augmix : bool
        Whether to make three copies.

    Example
    -------
    >>> chain = AugmentationChain(features=[Cutout()], augmix=True)
    >>> targets = {"accdoa": torch.zeros(2, 10, 6)}
    >>> waveform, targets = chain.augment_waveform(
    ...     torch.randn(2, 24000, 4), targets
    ... )
    >>> waveform.shape, targets["accdoa"].shape
    (torch.Size([6, 24000, 4]), torch.Size([6, 10, 6]))
    >>> features, _ = chain.augment_features(
    ...     torch.randn(6, 7, 101, 64), targets
    ... )
    >>> features.shape
    torch.Size([6, 7, 101, 64])
    """

    def __init__(self, waveform=(), features=(), augmix=False):
        self.waveform = tuple(waveform)
        self.features = tuple(features)
        self.augmix = augmix

    @property
    def copies(self):
        """How many items a clip becomes."""
        return _COPIES if self.augmix else 1

    def augment_waveform(self, waveform, targets, generator=None):
        """Augment waveforms; with AugMix the batch becomes three times as big.

        Arguments
        ---------
        waveform : torch.Tensor
            Shape [batch, time, channel].
        targets : dict
            Tensors [batch, ...]: labels and, for mixtures, ``overlap``.
        generator : torch.Generator, optional
            On the CPU, so that a seed gives the same augmentation on every
            device; default: that of torch.

        Returns
        -------
        waveform : torch.Tensor
            Shape [copies * batch, time, channel]; the copies of all clips
            follow one another.
        targets : dict
            Tensors [copies * batch, ...].
        """
        if self.augmix:
            waveform = torch.cat([waveform] * _COPIES)
            targets = {
                name: torch.cat([values] * _COPIES)
                for name, values in targets.items()
            }
        for operation in self.waveform:
            waveform, targets = operation(waveform, targets, generator)
        return waveform, targets

    def augment_features(self, features, targets, generator=None):
        """Augment features; with AugMix those of the last two thirds.

        Arguments
        ---------
        features : torch.Tensor
            Of what ``augment_waveform`` returned, shape [copies * batch,
            channel, frame, bin].
        targets : dict
            What ``augment_waveform`` returned.
        generator : torch.Generator, optional
            On the CPU; default: that of torch.

        Returns
        -------
        features : torch.Tensor
            Of the same shape.
        targets : dict
            Of the same shapes.

        Raises
        ------
        ValueError
            If the batch is not made of so many copies.
        """
        if not self.features:
            return features, targets
        if not self.augmix:
            return self._combination(features, targets, generator)
        if len(features) % _COPIES:
            raise ValueError(
                f"a batch of {len(features)} items is not made of {_COPIES} "
                "copies; pass it through augment_waveform first"
            )
        number = len(features) // _COPIES
        parts = []
        for copy in range(_COPIES):
            items = slice(copy * number, (copy + 1) * number)
            part = features[items], {k: v[items] for k, v in targets.items()}
            if copy > 0:
                part = self._combination(*part, generator)
            parts.append(part)
        features = torch.cat([part for part, _ in parts])
        targets = {
            name: torch.cat([part[name] for _, part in parts])
            for name in targets
        }
        return features, targets

    def _combination(self, features, targets, generator):
        """Apply a random non-empty combination in random order."""
        number = len(self.features)
        drawn = torch.randint(1, 2**number, (1,), generator=generator).item()
        for index in torch.randperm(number, generator=generator).tolist():
            if drawn >> index & 1:
                features, targets = self.features[index](
                    features, targets, generator
                )
        return features, targets


def augmentation_chain(
    name,
    *,
    format="foa",
    compat=False,
    spectral_channels=None,
    mono=False,
    faults=None,
):
    """The chain of an experiment, most of them of PSELDNets (Hu et al., 2024).

    ======== ===================================== ====== ========
    name     operations                            AugMix rotation
    ======== ===================================== ====== ========
    none     none
    augment  SpecAugment, cutout, frequency shift, no     48
             TrackMix, rotation, WavMix
    augmix   the same                              yes    48
    augmix1  SpecAugment, cutout, frequency shift, yes    16
             rotation
    rotation rotation of features, which may be    no     16
             cached (not of PSELDNets); FOA
    features the same, frequency masks, frequency  no     16
             shift of up to 8 bins
    ======== ===================================== ====== ========

    Arguments
    ---------
    name : str
        One of ``CHAINS``.
    format : str
        "foa", or "mic": a tetrahedral array, which has 8 rotations.
    compat : bool
        Do as PSELDNets: masks are filled with 0, frequency shifts go down
        only, a clip may be mixed with itself, and directions of ``mono`` are
        whole degrees.
    spectral_channels : int, optional
        How many channels of the features have a frequency axis; default
        all. 4 for log-mel with GCC-PHAT.
    mono : bool
        Whether to begin with :class:`spatial_brain.augment.mono.MonoPlacement`:
        the first channel alone, placed at random.
    faults : dict or str, optional
        Microphone faults that come last of what waveforms undergo, see
        ``spatial_brain.augment.microphone_faults.fault_augmentation``.

    Returns
    -------
    AugmentationChain or None
        None for "none" without ``mono`` and ``faults``.

    Raises
    ------
    ValueError
        If the name or the format is unknown, ``mono``, "rotation" or
        "features" is not for FOA, or ``faults`` are not for microphones.

    Example
    -------
    >>> len(augmentation_chain("augmix").features)
    4
    >>> augmentation_chain("none") is None
    True
    """
    if name not in CHAINS:
        raise ValueError(
            f"there is no augmentation chain {name!r}; use one of "
            + ", ".join(CHAINS)
        )
    if format not in ("foa", "mic"):
        raise ValueError(f"format must be foa or mic, got {format!r}")
    if mono and format != "foa":
        raise ValueError(
            "signals of one channel are placed in first-order Ambisonics; with "
            "--mono_input True give --array_format foa"
        )
    if faults is not None and format != "mic":
        raise ValueError(
            "microphone_faults are for the channels of microphones; leave them "
            "null for first-order Ambisonics, or give --array_format mic"
        )
    first = [MonoPlacement(integer_grid=compat)] if mono else []
    last = [] if faults is None else [fault_augmentation(faults)]
    if name == "none":
        return AugmentationChain([*first, *last]) if first or last else None
    if name in ("rotation", "features"):
        if format != "foa":
            raise ValueError(
                "features are rotated of first-order Ambisonics only; with "
                f"--augmentation_name {name} give --array_format foa"
            )
        operations = [FOAFeatureRotation()]
        if name == "features":
            operations += [SpecAugment(num_time_masks=0), FrequencyShift(8)]
        return AugmentationChain(first, operations)
    augmix = name != "augment"
    fill = 0.0 if compat else None
    num_patterns = 16 if name == "augmix1" else 48
    mic = format == "mic"
    waveform = [*first, MICRotation() if mic else FOARotation(num_patterns)]
    features = [
        SpecAugment(fill=fill),
        Cutout(fill=fill),
        FrequencyShift(
            direction="down" if compat else "random",
            num_channels=spectral_channels,
        ),
    ]
    if name != "augmix1":
        features.append(TrackMix(avoid_self_pairs=not compat))
        waveform.append(
            WavMix(avoid_self_pairs=not compat, copies=_COPIES if augmix else 1)
        )
    return AugmentationChain([*waveform, *last], features, augmix)
