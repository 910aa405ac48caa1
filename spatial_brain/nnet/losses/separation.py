"""Losses of source separation.

Computed in float32 (or float64 if given), also under automatic mixed
precision.
"""

import torch

from spatial_brain.nnet.losses.seld import best_permutation, full_precision

EPS = 1e-8


@full_precision
def snr_loss(estimate, reference, lengths=None):
    """Negative SNR under the best order of sources, one for both ears.

    10 log10 of the energy of a reference over that of the error, without
    their means over time, averaged over ears; the order of sources with the
    best mean is taken (Han et al., 2020). Unlike the scale-invariant ratio
    it punishes errors of level, which carry directions.

    Arguments
    ---------
    estimate : torch.Tensor
        [batch, time, ear, source].
    reference : torch.Tensor
        Same shape.
    lengths : torch.Tensor, optional
        Relative lengths in (0, 1], [batch]; what lies behind counts as
        nothing. Default: everything counts.

    Returns
    -------
    tuple of torch.Tensor
        Loss in dB, [batch], which carries the gradient; and the source of
        the reference that each source of the estimate stands for, [batch,
        source].

    Raises
    ------
    ValueError
        If shapes differ or are not [batch, time, ear, source].

    Example
    -------
    >>> sources = torch.randn(1, 800, 2, 2)
    >>> loss, order = snr_loss(0.9 * sources.flip(3), sources)
    >>> loss.round(decimals=3), order
    (tensor([-20.]), tensor([[1, 0]]))
    """
    if estimate.ndim != 4 or estimate.shape != reference.shape:
        raise ValueError(
            "expected estimate and reference [batch, time, ear, source] of "
            f"one shape, got {list(estimate.shape)} and "
            f"{list(reference.shape)}"
        )
    # [batch, ear, source, time], where sums run along memory.
    estimate, reference = estimate.movedim(1, -1), reference.movedim(1, -1)
    inside = None
    if lengths is not None:
        total = estimate.shape[-1]
        count = (lengths.to(estimate.device).double() * total).round()
        place = torch.arange(total, device=estimate.device)
        inside = (place < count[:, None])[:, None, None].to(estimate)
    estimate, reference = _centre(estimate, inside), _centre(reference, inside)
    energy = reference.square().sum(-1)
    error = estimate[:, :, :, None] - reference[:, :, None]
    ratio = energy[:, :, None] / (error.square().sum(-1) + EPS)
    # [batch, estimate, reference]
    cost = -10 * torch.log10(ratio + EPS).mean(1)
    return best_permutation(cost)


def _centre(signal, inside):
    """Take the mean over time away, and the padding."""
    if inside is None:
        return signal - signal.mean(-1, keepdim=True)
    mean = (signal * inside).sum(-1, keepdim=True)
    return (signal - mean / inside.sum(-1, keepdim=True)) * inside
