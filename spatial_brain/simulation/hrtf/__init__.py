"""Head-related transfer functions: spherical heads, CIPIC, SOFA.

``load_hrtfs`` makes an ``HrtfSet`` of whatever there is: no data at all (a
spherical head), a SOFA file, a folder of them, or CIPIC. All sets have
CIPIC's grid of 25 lateral by 50 polar angles, so that directions drawn for
one can be used with any other.
"""

from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence

from spatial_brain.simulation.hrtf.grid import (
    CIPIC_LATERALS,
    CIPIC_POLARS,
    CIPIC_SUBJECTS,
    HrtfSet,
    interaural_to_unit,
    unit_to_interaural,
)
from spatial_brain.simulation.hrtf.interpolation import (
    find_neighbours,
    ild,
    itd,
    resample_responses,
    responses_between,
)
from spatial_brain.simulation.hrtf.readers import find_heads, read_head
from spatial_brain.simulation.hrtf.sphere import spherical_head_hrtfs

__all__ = [
    "CIPIC_LATERALS",
    "CIPIC_POLARS",
    "CIPIC_SUBJECTS",
    "HrtfSet",
    "hrtf_for",
    "ild",
    "interaural_to_unit",
    "itd",
    "load_hrtfs",
    "spherical_head_hrtfs",
    "unit_to_interaural",
]

# Names of the built-in heads.
_BUILT_IN = {
    None: "brown-duda",
    "sphere": "brown-duda",
    "rigid-sphere": "rigid-sphere",
}


def load_hrtfs(
    source,
    fs,
    *,
    subjects=None,
    compat=False,
    method="barycentric",
    max_gap=30.0,
    dtype=torch.float32,
    seed=0,
):
    """Make a set of heads from what there is.

    Arguments
    ---------
    source : str, Path or None
        ``None`` or ``"sphere"``: the spherical heads of
        ``spherical_head_hrtfs``, ``"rigid-sphere"``: those of its exact
        model. Otherwise a file or folder, see ``find_heads`` (SOFA, CIPIC as
        WAV, ``.mat`` or ``.npz``), or a ``.safetensors`` file written by
        ``HrtfSet.save``.
    fs : int
        Wanted sampling rate, Hz.
    subjects : sequence of str, optional
        Only these; all by default (of the spherical heads, 45 that bear the
        names of CIPIC's).
    compat : bool
        Resample as the generator of Binaural-WSJ0Mix does, see
        ``resample_responses``.
    method : str
        Between the directions of a SOFA file: ``"barycentric"`` mixes three
        neighbours aligned in time, ``"nearest"`` takes one.
    max_gap : float
        How far from a measured direction one of the grid may be, degrees.
    dtype : torch.dtype
        Of the responses of measured heads; float64 keeps every bit of the
        original's computation.
    seed : int
        Of the spherical heads.

    Returns
    -------
    HrtfSet
        Responses [subject, 25, 50, 2, L] on the grid of CIPIC. Shorter ones
        are padded at their end with zeros.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder, or nothing of use in it.
    ValueError
        If a file is not as expected, or a wanted subject is not there.

    Example
    -------
    >>> load_hrtfs("sphere", 16000, subjects=["subject21"]).responses.shape
    torch.Size([1, 25, 50, 2, 73])
    """
    if source in _BUILT_IN:
        names = CIPIC_SUBJECTS if subjects is None else subjects
        return spherical_head_hrtfs(fs, names, seed, _BUILT_IN[source])
    source = Path(source)
    if source.suffix == ".safetensors":
        heads = HrtfSet.load(source)
        heads = heads if subjects is None else heads.subset(subjects)
        return heads.resampled(fs, compat)
    found = find_heads(source)
    missing = [name for name in subjects or () if name not in found]
    if missing:
        raise ValueError(
            f"{source}: no subjects {', '.join(missing)}; there are "
            + ", ".join(found)
        )
    names = list(found if subjects is None else subjects)
    responses = []
    for name in names:
        measured, rate = read_head(*found[name], method, max_gap)
        resampled = resample_responses(measured, rate, fs, compat).to(dtype)
        responses.append(resampled.movedim(-1, 0))
    padded = pad_sequence(responses, batch_first=True).movedim(1, -1)
    return HrtfSet(padded.contiguous(), int(fs), names)


def hrtf_for(directions, heads, subject=0, method="barycentric"):
    """Responses of a head for any directions.

    Arguments
    ---------
    directions : torch.Tensor
        Towards the sources, seen from the head, shape [..., 3]: x front,
        y left, z up, of any length but zero.
    heads : HrtfSet
        From ``load_hrtfs``.
    subject : str or int
        Which of its heads.
    method : str
        ``"barycentric"`` or ``"nearest"``, see ``find_neighbours``; below
        the grid, which ends 45 degrees under the horizon, it is always the
        nearest.

    Returns
    -------
    torch.Tensor
        Shape [..., 2, L], ear 0 is the left one, in the dtype of the set.

    Raises
    ------
    ValueError
        If there is no such subject or method, or a direction has no length.

    Example
    -------
    >>> from spatial_brain.geometry import azel_to_unit
    >>> heads = spherical_head_hrtfs(8000, 1)
    >>> responses = hrtf_for(azel_to_unit([90.0, 0.0, -90.0], 0.0), heads)
    >>> ild(responses).sign() * (ild(responses).abs() > 1.0)
    tensor([ 1.,  0., -1.], dtype=torch.float64)
    """
    directions = torch.as_tensor(directions, dtype=torch.float64)
    if directions.ndim == 0 or directions.shape[-1] != 3:
        raise ValueError(
            "expected directions of shape [..., 3], got "
            f"{tuple(directions.shape)}"
        )
    if not (directions.abs().sum(-1) > 0).all():
        raise ValueError("a direction needs a finite length above zero")
    measured = heads.directions().flatten(0, 1)
    near = find_neighbours(
        measured, directions.reshape(-1, 3), method, max_gap=180.0
    )
    responses = heads.responses[heads.index(subject)].flatten(0, 1)
    result = responses_between(responses, measured, near, heads.fs)
    return result.reshape(*directions.shape[:-1], *result.shape[1:]).to(
        responses.dtype
    )
