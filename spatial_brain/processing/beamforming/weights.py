"""Weights of beamformers, w, and what they do: y = w^H x at each frequency.

Notation as in Van Trees, "Optimum Array Processing" (2002): the response to
the direction looked at is d, the covariance of the noise is N. All functions
take complex128 tensors, a row a frequency.
"""

import torch
from torchaudio.functional import mvdr_weights_rtf

# Smallest and largest loading relative to the mean power of a channel, and
# steps of the search between them.
_LOADING = (1e-9, 1e5)
_STEPS = 40
_GEV_LOADING = 1e-2
# Powers below it are no sound.
_SILENT = 1e-30


def delay_and_sum(look):
    """Weights that align the channels and average them: d / (d^H d).

    Arguments
    ---------
    look : torch.Tensor
        d, [bin, channel].

    Returns
    -------
    torch.Tensor
        [bin, channel].

    Example
    -------
    >>> delay_and_sum(torch.ones(1, 4, dtype=torch.complex128)).real
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]], dtype=torch.float64)
    """
    return look / look.abs().square().sum(-1, keepdim=True)


def mvdr(look, noise, least_gain=0.1):
    """Weights of least noise that leave the direction as it is.

    w = N^-1 d / (d^H N^-1 d), with as little diagonal loading of N as keeps
    the white noise gain (Cox, Zeskind and Owen, IEEE TASSP 35, 1987): with
    the coherence of a diffuse field as N the superdirective beamformer.

    Arguments
    ---------
    look : torch.Tensor
        d, [bin, channel].
    noise : torch.Tensor
        N, Hermitian, [bin, channel, channel].
    least_gain : float
        Least white noise gain, a ratio of powers: microphone noise and errors
        of the geometry become louder by no more than its inverse.

    Returns
    -------
    torch.Tensor
        [bin, channel]; w^H d = 1.

    Example
    -------
    >>> look = torch.ones(1, 2, dtype=torch.complex128)
    >>> noise = torch.diag(torch.tensor([1.0, 3.0])).to(look)[None]
    >>> mvdr(look, noise).real.round(decimals=3)
    tensor([[0.7500, 0.2500]], dtype=torch.float64)
    """
    power = noise.diagonal(dim1=-2, dim2=-1).real.mean(-1)
    eye = torch.eye(look.shape[-1], dtype=noise.dtype)
    silent = (power <= 0)[:, None, None]
    noise = torch.where(
        silent, eye, noise / power.clamp_min(1e-300)[:, None, None]
    )
    loading = _loading(look, noise, least_gain)[:, None, None]
    return mvdr_weights_rtf(
        look, noise + loading * eye, diagonal_loading=False, eps=0.0
    )


def _mean_power(noise):
    """Mean power of a channel, [bin, 1, 1]."""
    return noise.diagonal(dim1=-2, dim2=-1).real.mean(-1)[:, None, None]


def _loading(look, noise, least_gain):
    """Least loading [bin] of noise of power 1 that keeps the gain."""
    values, vectors = torch.linalg.eigh(noise)
    values = values.clamp_min(0.0)
    shares = (vectors.mH @ look[..., None])[..., 0].abs().square()
    low, high = (
        torch.full_like(values[:, 0], bound).log() for bound in _LOADING
    )
    for _ in range(_STEPS):
        middle = (low + high) / 2
        inverse = 1 / (values + middle.exp()[:, None])
        gain = (shares * inverse).sum(-1).square()
        gain = gain / (shares * inverse.square()).sum(-1)
        enough = gain >= least_gain
        low = torch.where(enough, low, middle)
        high = torch.where(enough, middle, high)
    return high.exp()


def lcmv(look, nulls, noise, least_gain=0.1):
    """MVDR weights that receive nothing from some directions.

    Solved in the space that is orthogonal to the nulls. Where nulls and the
    white noise gain exclude each other (waves much longer than the array) the
    nulls are left out.

    Arguments
    ---------
    look : torch.Tensor
        d, [bin, channel].
    nulls : torch.Tensor
        Responses to the directions that shall be silent, [null, bin,
        channel].
    noise : torch.Tensor
        N, Hermitian, [bin, channel, channel].
    least_gain : float
        As in :func:`mvdr`.

    Returns
    -------
    tuple of torch.Tensor
        Weights [bin, channel], and where the nulls hold, bool [bin].

    Raises
    ------
    ValueError
        If there are as many nulls as channels, or more.

    Example
    -------
    >>> look = torch.tensor([[1.0, 1.0, 1.0]], dtype=torch.complex128)
    >>> null = torch.tensor([[[1.0, -1.0, 1.0]]], dtype=torch.complex128)
    >>> weights, held = lcmv(look, null, torch.eye(3).to(look)[None])
    >>> (weights.conj() * null[0]).sum().abs().item() < 1e-12, held.item()
    (True, True)
    """
    channels = look.shape[-1]
    if len(nulls) >= channels:
        raise ValueError(
            f"{channels} channels can null {channels - 1} directions at most, "
            f"got {len(nulls)}"
        )
    blocked = nulls.permute(1, 2, 0)
    basis = torch.linalg.svd(blocked, full_matrices=True)[0][..., len(nulls) :]
    inside = (basis.mH @ look[..., None])[..., 0]
    held = inside.abs().square().sum(-1) >= least_gain
    inside = torch.where(held[:, None], inside, torch.ones_like(inside))
    reduced = mvdr(inside, basis.mH @ noise @ basis, least_gain)
    weights = (basis @ reduced[..., None])[..., 0]
    free = mvdr(look, noise, least_gain)
    return torch.where(held[:, None], weights, free), held


def gev(look, signal, noise, least_gain=0.1):
    """Weights of largest signal-to-noise ratio (Warsitz and Haeb-Umbach, 2007).

    The principal generalized eigenvector of both covariances. The transfer
    function that it implies, N w, gets the part 1 along d, and with it the
    signal the gain 1: without reflections it is d.

    Arguments
    ---------
    look : torch.Tensor
        d, [bin, channel].
    signal, noise : torch.Tensor
        Covariances, Hermitian, [bin, channel, channel].
    least_gain : float
        Where less white noise gain comes out the weights are scaled down.

    Returns
    -------
    torch.Tensor
        [bin, channel].

    Example
    -------
    >>> look = torch.tensor([[1.0, 1.0j, -1.0]], dtype=torch.complex128)
    >>> signal = look[..., None] * look.conj()[..., None, :]
    >>> weights = gev(look, signal, torch.eye(3).to(look)[None])
    >>> (weights.conj() * look).sum().real.round(decimals=6)
    tensor(1., dtype=torch.float64)
    """
    eye = torch.eye(look.shape[-1], dtype=noise.dtype)
    loading = _GEV_LOADING * _mean_power(noise)
    noise = noise + loading.clamp_min(_SILENT) * eye
    factor = torch.linalg.cholesky(noise)
    half = torch.linalg.solve_triangular(factor, signal, upper=False)
    white = torch.linalg.solve_triangular(factor, half.mH, upper=False)
    vector = torch.linalg.eigh((white + white.mH) / 2)[1][..., -1:]
    weights = torch.linalg.solve_triangular(factor.mH, vector, upper=True)
    transfer = noise @ weights
    along = look.conj()[:, None] @ transfer
    along = along / look.abs().square().sum(-1)[:, None, None]
    # w^H N w = 1, as w comes from a unit vector.
    weights = (weights * along.conj())[..., 0]
    loudest = least_gain**-0.5
    length = torch.linalg.vector_norm(weights, dim=-1, keepdim=True)
    return weights * (loudest / length.clamp_min(loudest))


def white_noise_gain(weights, look):
    """Signal over microphone noise, before and after: |w^H d|^2 / (w^H w).

    Arguments
    ---------
    weights, look : torch.Tensor
        [bin, channel].

    Returns
    -------
    torch.Tensor
        Decibels, [bin].

    Example
    -------
    >>> look = torch.ones(1, 4, dtype=torch.complex128)
    >>> white_noise_gain(delay_and_sum(look), look).round(decimals=2)
    tensor([6.0200], dtype=torch.float64)
    """
    kept = (weights.conj() * look).sum(-1).abs().square()
    return 10 * (kept / weights.abs().square().sum(-1)).log10()


def directivity_index(weights, look, diffuse):
    """Gain over sound from everywhere: |w^H d|^2 / (w^H D w).

    Arguments
    ---------
    weights, look : torch.Tensor
        [bin, channel].
    diffuse : torch.Tensor
        Coherence of a diffuse field, D, [bin, channel, channel].

    Returns
    -------
    torch.Tensor
        Decibels, [bin].

    Example
    -------
    >>> look = torch.ones(1, 2, dtype=torch.complex128)
    >>> apart = torch.eye(2).to(look)[None]
    >>> directivity_index(delay_and_sum(look), look, apart).round(decimals=2)
    tensor([3.0100], dtype=torch.float64)
    """
    kept = (weights.conj() * look).sum(-1).abs().square()
    rest = (weights.conj()[:, None] @ diffuse @ weights[..., None]).real
    return 10 * (kept / rest[:, 0, 0]).log10()
