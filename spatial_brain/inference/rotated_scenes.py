"""Answers averaged over rotations of a scene."""

from spatial_brain.augment.rotation import (
    foa_patterns,
    rotate_foa,
    rotate_outputs,
)

# Tracks of the others may change places from one rotation to the next.
METHODS = ("accdoa", "multi_accdoa")


def check_rotations(method, array_format, feature_cache=False):
    """Refuse what rotated scenes cannot be averaged with.

    Arguments
    ---------
    method : str
        Output format of the network.
    array_format : str
        Of the waveforms.
    feature_cache : bool
        Whether there are features in place of waveforms.

    Raises
    ------
    ValueError
        If the method has tracks, the format is not "foa", or there are no
        waveforms.

    Example
    -------
    >>> check_rotations("accdoa", "foa")
    """
    remedy = "give --num_test_rotations 1"
    if method not in METHODS:
        raise ValueError(
            f"rotated test scenes work with {' and '.join(METHODS)}, not with "
            f"{method!r}, whose tracks may change places; {remedy}"
        )
    if array_format != "foa":
        raise ValueError(
            f"rotated test scenes need array_format: foa, got "
            f"{array_format!r}; {remedy}"
        )
    if feature_cache:
        raise ValueError(
            "rotated test scenes need waveforms, a feature cache has none; "
            f"{remedy} or --feature_cache False"
        )


def rotated_outputs(answer, waveform, method, num_rotations):
    """Mean of what a network says of rotated scenes, turned back.

    Arguments
    ---------
    answer : callable
        Waveform to outputs of the network.
    waveform : torch.Tensor
        FOA, shape [batch, time, 4].
    method : str
        "accdoa" or "multi_accdoa".
    num_rotations : int
        16 or 48, see :func:`spatial_brain.augment.rotation.foa_patterns`.

    Returns
    -------
    dict of torch.Tensor
        Like the outputs.

    Example
    -------
    >>> import torch
    >>> def answer(waveform):  # x, y, z of one class, frame by frame
    ...     return {"accdoa": waveform[..., [3, 1, 2]]}
    >>> waveform = torch.randn(1, 5, 4)
    >>> outputs = rotated_outputs(answer, waveform, "accdoa", 48)
    >>> torch.allclose(outputs["accdoa"], answer(waveform)["accdoa"])
    True
    """
    patterns = foa_patterns(num_rotations)
    total = {}
    for pattern in patterns:
        outputs = rotate_outputs(
            answer(rotate_foa(waveform, pattern)), method, pattern, inverse=True
        )
        for key, value in outputs.items():
            total[key] = total.get(key, 0.0) + value
    return {key: value / len(patterns) for key, value in total.items()}
