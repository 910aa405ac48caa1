"""Microphones with faults, as augmentation of the recordings of an array."""

import torch

from spatial_brain.simulation.microphone_faults import (
    MicrophoneFaults,
    parse_faults,
)


class MicrophoneFaultAugmentation:
    """Gives each recording of a batch microphones with faults of their own.

    Arguments
    ---------
    probability : float
        That a recording gets faults.
    **faults
        Those of ``spatial_brain.simulation.microphone_faults``: gain, delay,
        polarity, dead and noise. Places are not among them: what a wrong
        place does depends on the direction.

    Raises
    ------
    ValueError
        If there is no such fault, or a value cannot be meant.

    Example
    -------
    >>> augment = MicrophoneFaultAugmentation(gain=1.0, delay=0.3)
    >>> waveform, targets = augment(torch.randn(2, 8000, 4), {})
    >>> waveform.shape
    torch.Size([2, 8000, 4])
    """

    def __init__(self, probability=1.0, **faults):
        if not 0 <= probability <= 1:
            raise ValueError(
                f"faults: probability must lie in [0, 1], got {probability}"
            )
        self.probability = probability
        self.faults = MicrophoneFaults.from_values(faults)
        if torch.as_tensor(self.faults.position).any():
            raise ValueError(
                "faults: position cannot be changed in recordings, only where "
                "rooms are simulated; leave it out"
            )

    def __call__(self, waveform, targets, generator=None):
        """Augment a batch; the targets stay what they are.

        Arguments
        ---------
        waveform : torch.Tensor
            Shape [batch, time, channel].
        targets : dict
            Labels.
        generator : torch.Generator, optional
            On the CPU; default: that of torch.

        Returns
        -------
        waveform : torch.Tensor
            Of the same shape.
        targets : dict
            As given.
        """
        recorded = []
        for signals in waveform.mT:
            wanted = torch.rand(1, generator=generator) < self.probability
            drawn = self.faults.draw(len(signals), generator)
            faulty = drawn.record(signals, generator)
            recorded.append(faulty if wanted else signals)
        return torch.stack(recorded).mT.contiguous(), targets


def fault_augmentation(faults):
    """Augmentation of a YAML file, or none.

    Arguments
    ---------
    faults : dict or str or None
        Arguments of :class:`MicrophoneFaultAugmentation`, or text such as
        ``"gain=1 delay=0.2 probability=0.5"``.

    Returns
    -------
    MicrophoneFaultAugmentation or None

    Example
    -------
    >>> fault_augmentation(None) is None
    True
    >>> fault_augmentation("gain=2 probability=0.5").probability
    0.5
    """
    if faults is None:
        return None
    values = parse_faults(faults) if isinstance(faults, str) else faults
    return MicrophoneFaultAugmentation(**values)
