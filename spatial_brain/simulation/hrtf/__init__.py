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
    "head_names",
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
    "pinnae": "pinnae",
}
# Rates that stand for a head of another size are multiples of this, Hz.
_RATE_STEP = 100


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
    sizes=(1.0,),
):
    """Make a set of heads from what there is.

    Arguments
    ---------
    source : str, Path, None or list
        ``None`` or ``"sphere"``: the spherical heads of
        ``spherical_head_hrtfs``, ``"rigid-sphere"``: those of its exact
        model, ``"pinnae"``: these with outer ears. Otherwise a file or folder,
        see ``find_heads`` (SOFA, CIPIC as WAV, ``.mat`` or ``.npz``), or a
        ``.safetensors`` file written by ``HrtfSet.save``. A list of these:
        the heads of all of them.
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
    sizes : sequence of float
        Each measured head is taken in these sizes, 1 being its own. What a
        head of 1.05 times the size does to a sound is what the measured one
        does to a sound of 1.05 times the frequency.

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
    sources = source if isinstance(source, list) else [source]
    there = [head_names(place, sizes) for place in sources]
    names = [name for part in there for name in part]
    missing = [name for name in subjects or () if name not in names]
    if missing:
        raise ValueError(
            f"{', '.join(map(str, sources))}: no subjects "
            f"{', '.join(missing)}; there are {', '.join(names)}"
        )
    wanted = names if subjects is None else list(subjects)
    responses, order = [], []
    for place, part in zip(sources, there, strict=True):
        chosen = [name for name in part if name in wanted]
        if not chosen:
            continue
        order += chosen
        if place in _BUILT_IN:
            model = _BUILT_IN[place]
            found = spherical_head_hrtfs(fs, chosen, seed, model).responses
        elif _is_saved(place):
            found = HrtfSet.load(place).subset(chosen)
            found = found.resampled(fs, compat).responses
        else:
            found = [
                response.to(dtype)
                for response in _read_heads(
                    place, chosen, fs, compat, sizes, (method, max_gap)
                )
            ]
        responses += [response.movedim(-1, 0) for response in found]
    padded = pad_sequence(responses, batch_first=True).movedim(1, -1)
    heads = HrtfSet(padded.contiguous(), int(fs), order)
    return heads if order == wanted else heads.subset(wanted)


def head_names(source, sizes=(1.0,)):
    """Names of the heads that ``load_hrtfs`` loads.

    Arguments
    ---------
    source : str, Path, None or list
        As there.
    sizes : sequence of float
        As there.

    Returns
    -------
    list of str
        In order: ``"subject03"``, and ``"subject03-size1.05"`` for another
        size than its own.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder, or no head in it.
    ValueError
        If it is of no known form.

    Example
    -------
    >>> len(head_names("sphere"))
    45
    """
    if isinstance(source, list):
        return [name for place in source for name in head_names(place, sizes)]
    if source in _BUILT_IN:
        return list(CIPIC_SUBJECTS)
    if _is_saved(source):
        return list(HrtfSet.load(source).subjects)
    return [
        _sized_name(name, size) for name in find_heads(source) for size in sizes
    ]


def _is_saved(source):
    """Whether ``HrtfSet.save`` wrote it, who knows with what sizes."""
    return Path(source).suffix == ".safetensors"


def _sized_name(name, size):
    """Name of a head in a size."""
    return name if size == 1 else f"{name}-size{size:g}"


def _read_heads(source, wanted, fs, compat, sizes, options):
    """Responses of measured heads, one after another, [25, 50, 2, L]."""
    for name, place in find_heads(source).items():
        named = {_sized_name(name, size): size for size in sizes}
        if not any(sized in wanted for sized in named):
            continue
        measured, rate = read_head(*place, *options)
        for sized, size in named.items():
            if sized in wanted:
                # Larger: all lasts longer, as if sampled more slowly.
                slow = round(rate / size / _RATE_STEP) * _RATE_STEP
                sampled = rate if size == 1 else slow
                yield resample_responses(measured, sampled, fs, compat)


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
