"""Sound from everywhere, as the two ears of a head receive it.

The cross-spectra of both ears in a diffuse field are those of its impulse
responses, averaged over all directions. Independent signals get them by the
mixer of ``spatial_brain.simulation.coherence``. At low frequencies the ears
hear the same, at high ones independent noise; two ears that always hear the
same would place all noise in the middle of the head.
"""

import torch

from spatial_brain.simulation.coherence import N_FFT, mix_coherent


def direction_weights(heads):
    """Share of the sphere for which each direction of a grid stands.

    Arguments
    ---------
    heads : HrtfSet
        On an interaural-polar grid.

    Returns
    -------
    torch.Tensor
        Shape [lateral, polar], float64, of sum 1.

    Example
    -------
    >>> from spatial_brain.simulation.hrtf import spherical_head_hrtfs
    >>> direction_weights(spherical_head_hrtfs(8000, 1)).sum()
    tensor(1.0000, dtype=torch.float64)
    """
    laterals = heads.laterals.double()
    middle = (laterals[1:] + laterals[:-1]) / 2.0
    end = middle.new_tensor([90.0])
    borders = torch.deg2rad(torch.cat((-end, middle, end)))
    # A ring around the axis of the ears, in equal parts.
    ring = torch.sin(borders).diff()
    weights = ring[:, None].expand(-1, len(heads.polars))
    return weights / weights.sum()


def ear_mixing(responses, weights, n_fft=N_FFT):
    """Factors of the cross-spectra of two ears in a diffuse field.

    Arguments
    ---------
    responses : torch.Tensor
        Impulse responses of plane waves, shape [D, 2, L].
    weights : torch.Tensor
        Share of the sphere of each direction, shape [D], of sum 1.
    n_fft : int
        Even length of the transform.

    Returns
    -------
    torch.Tensor
        Hermitian, complex128, shape [n_fft / 2 + 1, 2, 2], for
        ``mix_coherent``: white signals of power 1 become noise whose mean
        power at both ears is 1.

    Raises
    ------
    ValueError
        If all responses are silent, or longer than the transform.

    Example
    -------
    >>> from spatial_brain.simulation.hrtf import spherical_head_hrtfs
    >>> heads = spherical_head_hrtfs(8000, 1)
    >>> mixing = ear_mixing(
    ...     heads.responses[0].flatten(0, 1),
    ...     direction_weights(heads).flatten(),
    ... )
    >>> power = (mixing.mH @ mixing).diagonal(dim1=1, dim2=2).real.mean()
    >>> power.round(decimals=2)
    tensor(1., dtype=torch.float64)
    """
    if responses.shape[-1] > n_fft:
        raise ValueError(
            f"responses of {responses.shape[-1]} samples do not fit a "
            f"transform of {n_fft}; cut the room from them"
        )
    spectra = torch.fft.rfft(responses.double(), n=n_fft)
    weights = weights.to(spectra)
    field = torch.einsum("d,dif,djf->fij", weights, spectra, spectra.conj())
    # Bins 0 and Nyquist stand for half a bin, which does not matter here.
    power = field.diagonal(dim1=1, dim2=2).real.mean()
    if not power > 0:
        raise ValueError("all impulse responses of the head are silent")
    values, vectors = torch.linalg.eigh(field / power)
    root = values.clamp_min(0.0).sqrt().to(vectors)
    return (vectors * root[:, None]) @ vectors.mH


def diffuse_at_ears(signals, mixing):
    """Give two independent signals the cross-spectra of two ears.

    Arguments
    ---------
    signals : torch.Tensor
        Shape [2, N], of equal power.
    mixing : torch.Tensor
        From ``ear_mixing``.

    Returns
    -------
    torch.Tensor
        Shape [N, 2], float32, ear 0 left; without constant component.

    Raises
    ------
    ValueError
        If there are not two signals.

    Example
    -------
    >>> mixing = torch.eye(2, dtype=torch.complex128).expand(513, 2, 2)
    >>> diffuse_at_ears(torch.randn(2, 900), mixing).shape
    torch.Size([900, 2])
    """
    return mix_coherent(signals.float(), mixing).T.contiguous()
