"""Rotations and reflections of the sound field, with their labels.

A pattern is a signed permutation of the axes, a matrix [3, 3] of 0, 1 and
-1: a source in direction d appears at ``pattern @ d``. Its transpose
undoes it. Such a change is exact for four FOA channels; those that map the
tetrahedral array onto itself are exact for its microphones, too.
"""

import functools
import itertools

import torch

from spatial_brain.geometry import tetrahedral_array

# Axis (0: x, 1: y, 2: z) of the second, third and fourth FOA channel.
_FOA_AXES = [1, 2, 0]
# Levels of four channels and a vector: features that can be rotated.
ROTATED_CHANNELS = 7


def foa_patterns(number=16):
    """Patterns under which FOA signals stay FOA signals.

    Arguments
    ---------
    number : int
        16: x and y may change places, every axis may flip (8 maps of the
        azimuth, 2 of the elevation; Mazzon et al., DCASE 2019). 48: all
        permutations of the axes, 24 rotations and 24 reflections.

    Returns
    -------
    torch.Tensor
        Shape [number, 3, 3]; the first changes nothing.

    Raises
    ------
    ValueError
        If the number is neither.

    Example
    -------
    >>> foa_patterns(48).shape
    torch.Size([48, 3, 3])
    >>> foa_patterns(16)[8]  # x and y change places
    tensor([[0., 1., 0.],
            [1., 0., 0.],
            [0., 0., 1.]])
    """
    orders = list(itertools.permutations(range(3)))
    if number == 16:
        orders = [order for order in orders if order[2] == 2]
    elif number != 48:
        raise ValueError(f"there are 16 or 48 FOA patterns, not {number!r}")
    signs = list(itertools.product((1.0, -1.0), repeat=3))
    axes = torch.eye(3)
    return torch.stack(
        [
            torch.tensor(sign)[:, None] * axes[list(order)]
            for order in orders
            for sign in signs
        ]
    )


def foa_turns(number=4):
    """Turns about the vertical axis, by equal angles, that FOA signals allow.

    Arguments
    ---------
    number : int
        1, 2 or 4 in a circle.

    Returns
    -------
    torch.Tensor
        Shape [number, 3, 3]; the first changes nothing.

    Raises
    ------
    ValueError
        If the number is another.

    Example
    -------
    >>> foa_turns(4)[1] @ torch.tensor([1.0, 0.0, 0.0])  # front to left
    tensor([0., 1., 0.])
    """
    if number not in (1, 2, 4):
        raise ValueError(f"there are 1, 2 or 4 turns, not {number!r}")
    angle = 2 * torch.pi / number * torch.arange(number)
    sine, cosine = angle.sin().round(), angle.cos().round()
    turns = torch.eye(3).repeat(number, 1, 1)
    turns[:, 0, 0] = turns[:, 1, 1] = cosine
    turns[:, 0, 1], turns[:, 1, 0] = -sine, sine
    return turns


def mic_patterns():
    """Patterns that map the tetrahedral array onto itself.

    Returns
    -------
    torch.Tensor
        Shape [8, 3, 3]; the first changes nothing. They are those of
        ``foa_patterns(16)`` whose three signs multiply to one.

    Example
    -------
    >>> mic_patterns().shape
    torch.Size([8, 3, 3])
    """
    patterns = foa_patterns(16)
    return patterns[patterns.sum(-1).prod(-1) > 0]


@functools.cache
def _capsules():
    """Capsules of the tetrahedral array, on the unit sphere, [4, 3]."""
    return tetrahedral_array(1.0)


def _permute(x, index, sign, dim):
    """``sign[i] * x[index[i]]`` along ``dim``.

    ``index`` and ``sign`` are [n], or [batch, n] with the batch as the first
    dimension of ``x``. Exact, as a matrix product in reduced precision
    would not be.
    """
    shape = [1] * x.ndim
    shape[dim] = index.shape[-1]
    if index.ndim == 2:
        if len(index) != len(x):
            raise ValueError(
                f"{len(index)} patterns for a batch of {len(x)} items"
            )
        shape[0] = len(index)
    index = index.reshape(shape).to(x.device)
    return torch.take_along_dim(x, index, dim) * sign.reshape(shape).to(x)


def _signed_permutation(pattern, keep_first=False):
    """Index and sign of each row; a row that stays may come before."""
    pattern = torch.as_tensor(pattern).detach().cpu()
    if pattern.shape[-2:] != (3, 3) or pattern.ndim > 3:
        raise ValueError(
            f"a pattern is [3, 3] or [batch, 3, 3], got {tuple(pattern.shape)}"
        )
    index, sign = pattern.abs().argmax(-1), pattern.sum(-1)
    if keep_first:
        pad = torch.nn.functional.pad
        index, sign = pad(index + 1, (1, 0)), pad(sign, (1, 0), value=1.0)
    return index, sign


def rotate_foa(waveform, pattern):
    """Turn the sound field of FOA signals.

    Arguments
    ---------
    waveform : torch.Tensor
        Channels W, Y, Z, X, shape [..., time, 4]; [batch, time, 4] if there
        is a pattern for each item.
    pattern : torch.Tensor
        Shape [3, 3] or [batch, 3, 3], such as ``foa_patterns`` has.

    Returns
    -------
    torch.Tensor
        Of the same shape.

    Raises
    ------
    ValueError
        If there are not four channels, or one pattern for each item.

    Example
    -------
    >>> to_the_left = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    >>> rotate_foa(to_the_left, foa_patterns(16)[8])  # becomes the front
    tensor([[1., 0., 0., 1.]])
    """
    _check_channels(waveform)
    pattern = torch.as_tensor(pattern)[..., _FOA_AXES, :][..., _FOA_AXES]
    index, sign = _signed_permutation(pattern, keep_first=True)
    return _permute(waveform, index, sign, waveform.ndim - 1)


def rotate_mic(waveform, pattern):
    """Turn the sound field around the tetrahedral array.

    Arguments
    ---------
    waveform : torch.Tensor
        Shape [..., time, 4]; [batch, time, 4] if there is a pattern for each
        item. Channels as in ``tetrahedral_array``.
    pattern : torch.Tensor
        Shape [3, 3] or [batch, 3, 3], out of ``mic_patterns``.

    Returns
    -------
    torch.Tensor
        The channels in another order, of the same shape.

    Raises
    ------
    ValueError
        If there are not four channels or one pattern for each item, or if a
        pattern does not map the array onto itself.

    Example
    -------
    >>> rotate_mic(torch.tensor([[1.0, 2, 3, 4]]), mic_patterns()[1])
    tensor([[2., 1., 4., 3.]])
    """
    _check_channels(waveform)
    capsules = _capsules()
    pattern = torch.as_tensor(pattern).detach().cpu().to(capsules)
    # Capsule c receives from pattern @ d what pattern.T @ c did from d.
    found = (capsules @ pattern) @ capsules.T
    cosine, index = found.max(-1)
    if bool((cosine < 1 - 1e-4).any()):
        raise ValueError(
            "a pattern does not map the tetrahedral array onto itself; use "
            "those of mic_patterns()"
        )
    sign = torch.ones_like(cosine)
    return _permute(waveform, index, sign, waveform.ndim - 1)


def rotate_foa_features(features, pattern):
    """Turn the sound field that features of FOA signals were made of.

    Exactly what the features of the turned signals are.

    Arguments
    ---------
    features : torch.Tensor
        Levels of W, Y, Z, X, then a vector y, z, x, as ``LogMelIntensity``
        and ``Salsa`` give them, [batch, 7, frame, bin].
    pattern : torch.Tensor
        Shape [3, 3] or [batch, 3, 3], such as ``foa_patterns`` has.

    Returns
    -------
    torch.Tensor
        Of the same shape.

    Raises
    ------
    ValueError
        If there are not seven channels, or one pattern for each item.

    Example
    -------
    >>> front = torch.tensor([0.0, -9, -9, 0, 0, 0, 1]).view(1, 7, 1, 1)
    >>> rotate_foa_features(front, foa_patterns(16)[8]).flatten()
    tensor([ 0.,  0., -9., -9.,  1.,  0.,  0.])
    """
    if features.ndim != 4 or features.shape[1] != ROTATED_CHANNELS:
        raise ValueError(
            "rotation of FOA features needs levels of W, Y, Z, X and a vector, "
            f"[batch, 7, frame, bin], got shape {tuple(features.shape)}"
        )
    pattern = torch.as_tensor(pattern)[..., _FOA_AXES, :][..., _FOA_AXES]
    index, sign = _signed_permutation(pattern)
    first = torch.zeros_like(index[..., :1])
    index = torch.cat((first, index + 1, index + 4), dim=-1)
    sign = torch.cat((torch.ones_like(index[..., :4]), sign), dim=-1)
    if index.ndim == 1:
        return _permute(features, index, sign, 1)
    if len(index) != len(features):
        raise ValueError(
            f"{len(index)} patterns for a batch of {len(features)} items"
        )
    # Copies whole planes: ten times as fast as _permute here.
    item = torch.arange(len(index), device=features.device)[:, None]
    turned = features[item, index.to(features.device)]
    return turned.mul_(sign[..., None, None].to(turned))


def _check_channels(waveform):
    """Four channels, or an error."""
    if waveform.shape[-1] != 4:
        raise ValueError(
            "rotation needs 4 channels in the last dimension, got a waveform "
            f"of shape {tuple(waveform.shape)}"
        )


def _rotate_vectors(x, pattern, sizes):
    """Turn vectors whose axis dimension is the last but one of ``sizes``."""
    index, sign = _signed_permutation(pattern)
    vectors = x.unflatten(-1, sizes)
    return _permute(vectors, index, sign, vectors.ndim - 2).flatten(x.ndim - 1)


def _rotate_last(x, pattern):
    """Turn vectors along the last dimension."""
    return _permute(x, *_signed_permutation(pattern), x.ndim - 1)


def rotate_targets(targets, pattern):
    """Turn the directions in targets of any kind.

    Arguments
    ---------
    targets : dict
        Some of ``accdoa`` [batch, L, 3C], ``adpit`` [batch, L, 6, 4, C] and
        ``doa`` [batch, L, 3, 3]; the rest stays as it is.
    pattern : torch.Tensor
        Shape [3, 3] or [batch, 3, 3].

    Returns
    -------
    dict
        Of the same keys.

    Raises
    ------
    ValueError
        If there is not one pattern for each item.

    Example
    -------
    >>> targets = {"accdoa": torch.tensor([[[0.0, 1.0, 0.0]]])}
    >>> rotate_targets(targets, foa_patterns(16)[8])["accdoa"]
    tensor([[[1., 0., 0.]]])
    """
    turned = dict(targets)
    if "accdoa" in targets:
        turned["accdoa"] = _rotate_vectors(targets["accdoa"], pattern, (3, -1))
    if "adpit" in targets:
        index, sign = _signed_permutation(pattern, keep_first=True)
        turned["adpit"] = _permute(targets["adpit"], index, sign, 3)
    if "doa" in targets:
        turned["doa"] = _rotate_last(targets["doa"], pattern)
    return turned


def rotate_outputs(outputs, method, pattern, inverse=True):
    """Turn the directions in outputs of a network.

    The average over rotated inputs, each output turned back, is a test-time
    augmentation.

    Arguments
    ---------
    outputs : dict
        ``accdoa`` [..., 3C], ``multi_accdoa`` [..., 9C], or ``sed`` [..., 3,
        C] and ``doa`` [..., 3, 3].
    method : str
        "accdoa", "multi_accdoa", "einv2" or "seddoa".
    pattern : torch.Tensor
        Shape [3, 3], or [batch, 3, 3] for outputs with a batch dimension.
    inverse : bool
        Whether to undo the pattern which the input was turned by.

    Returns
    -------
    dict
        Of the same keys and shapes.

    Raises
    ------
    ValueError
        If the method is unknown, or there is not one pattern for each item.

    Example
    -------
    >>> pattern = foa_patterns(48)[17]
    >>> outputs = {"accdoa": torch.randn(2, 5, 6)}
    >>> turned = rotate_outputs(outputs, "accdoa", pattern, inverse=False)
    >>> back = rotate_outputs(turned, "accdoa", pattern)
    >>> bool((back["accdoa"] == outputs["accdoa"]).all())
    True
    """
    pattern = torch.as_tensor(pattern)
    if inverse:
        pattern = pattern.transpose(-1, -2)
    turned = dict(outputs)
    if method == "accdoa":
        turned[method] = _rotate_vectors(outputs[method], pattern, (3, -1))
    elif method == "multi_accdoa":
        turned[method] = _rotate_vectors(outputs[method], pattern, (3, 3, -1))
    elif method in ("einv2", "seddoa"):
        turned["doa"] = _rotate_last(outputs["doa"], pattern)
    else:
        raise ValueError(
            "method must be accdoa, multi_accdoa, einv2 or seddoa, got "
            f"{method!r}"
        )
    return turned


class _Rotation:
    """A pattern for each item, drawn at random."""

    def __init__(self, patterns, rotate, probability):
        self.patterns = patterns
        self.rotate = rotate
        self.probability = probability

    def __call__(self, waveform, targets, generator=None):
        """Turn each item by a pattern of its own.

        Arguments
        ---------
        waveform : torch.Tensor
            Shape [batch, time, 4]; or features, see the class.
        targets : dict
            As ``rotate_targets`` takes it.
        generator : torch.Generator, optional
            On the CPU; default: that of torch.

        Returns
        -------
        waveform : torch.Tensor
            Of the same shape.
        targets : dict
            The labels of the turned field.
        """
        number = len(waveform)
        drawn = torch.randint(
            len(self.patterns), (number,), generator=generator
        )
        applied = torch.rand(number, generator=generator) < self.probability
        # The first pattern changes nothing.
        pattern = self.patterns[drawn * applied]
        return self.rotate(waveform, pattern), rotate_targets(targets, pattern)


class FOARotation(_Rotation):
    """Random rotations and reflections of FOA signals and their labels.

    Arguments
    ---------
    num_patterns : int
        16 or 48, see ``foa_patterns``.
    probability : float
        That a pattern is drawn for an item. All are equally likely, the one
        that changes nothing included.

    Example
    -------
    >>> rotation = FOARotation(16, probability=1.0)
    >>> targets = {"doa": torch.tensor([[[[1.0, 0, 0]] * 3]])}
    >>> foa = torch.tensor([[[1.0, 0, 0, 1]]])
    >>> foa, targets = rotation(foa, targets)
    >>> bool((foa[0, 0, [3, 1, 2]] == targets["doa"][0, 0, 0]).all())
    True
    """

    def __init__(self, num_patterns=16, probability=0.8):
        super().__init__(foa_patterns(num_patterns), rotate_foa, probability)


class FOAFeatureRotation(_Rotation):
    """Rotations and reflections as of ``FOARotation``, of features.

    For features that are computed once and kept.

    Arguments
    ---------
    num_patterns : int
        16 or 48, see ``foa_patterns``.
    probability : float
        That a pattern is drawn for an item.

    Example
    -------
    >>> rotation = FOAFeatureRotation()
    >>> features, targets = rotation(torch.randn(3, 7, 11, 64), {})
    >>> features.shape
    torch.Size([3, 7, 11, 64])
    """

    def __init__(self, num_patterns=16, probability=1.0):
        super().__init__(
            foa_patterns(num_patterns), rotate_foa_features, probability
        )


class MICRotation(_Rotation):
    """Random swaps of the tetrahedral array's channels, with the labels.

    Arguments
    ---------
    probability : float
        That one of the eight ``mic_patterns`` is drawn for an item.

    Example
    -------
    >>> rotation = MICRotation()
    >>> waveform, targets = rotation(torch.randn(3, 100, 4), {})
    >>> waveform.shape
    torch.Size([3, 100, 4])
    """

    def __init__(self, probability=0.8):
        super().__init__(mic_patterns(), rotate_mic, probability)
