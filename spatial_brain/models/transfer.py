"""Beginning the training of a network from the weights of another.

SELD networks (:func:`initialize`): weights come as a dictionary of tensors with
the names of the inner networks (``scalar.*``, ``encoder.*``, ``convs.*``, ...),
or as AudioSet weights of a backbone, which know one channel only: ``bn0.*`` and
``encoder.*`` or ``convs.*``. The rules are those of PSELDNets (Hu et al.,
IEEE/ACM TASLP 33, 2025), but the decoder of a convolutional network is kept,
which the original loses, and nothing is left out silently.

Networks with the pair encoders of SAR-SSL: :func:`initialize_encoders`.
"""

import types
from typing import NamedTuple

import torch
import torch.nn.functional as F

from spatial_brain.models.adaptation import part_of
from spatial_brain.models.mc_conformer import PairEncoders
from spatial_brain.nnet.relative_conformer import sinusoid_table

# Heads that give classes, unlike doa_tscam_conv, fc_doa and heads.doa.
CLASS_HEADS = (
    "tscam_conv.",
    "sed_tscam_conv.",
    "fc.",
    "fc_sed",
    "heads.accdoa.",
    "heads.multi_accdoa.",
    "heads.sed.",
)
# Computed, not learnt: a network keeps its own.
CONSTANTS = ("relative_position_index", "attn_mask", "pe")
POSITIONS = ("time_new_pos_embed", "freq_new_pos_embed")
BRANCHES = ("sed_", "doa_")
# Entry of the public SAR-SSL that is computed here.
TABLE = ".positional_encoding.pe"


class Transfer(NamedTuple):
    """What ``initialize`` did.

    Arguments
    ---------
    copied : list of str
        Entries of the network that were set.
    left : list of str
        Entries of the network that keep their initial values.
    unused : list of str
        Given tensors that went nowhere.
    resized : dict of str
        Entries of the network whose tensors had another shape, and how they
        were made to fit.
    """

    copied: list
    left: list
    unused: list
    resized: dict = types.MappingProxyType({})

    def __str__(self):
        resized = "".join(
            f"; {name} {change}" for name, change in self.resized.items()
        )
        return (
            f"{len(self.copied)} entries copied; left at their initial "
            f"values: {_groups(self.left)}; not used: {_groups(self.unused)}"
            + resized
        )


def initialize(network, tensors, keep_head=False):
    """Set the weights of a network as far as others fit.

    - Entries of the same name and shape are copied: input normalisation,
      encoders, cross-stitch units, decoders, direction heads.
    - AudioSet weights: ``bn0`` goes to every channel of ``scalar``, the first
      convolution is repeated over the channels and divided by their number,
      both branches of an EINV2 network begin alike, and tables of positions
      are cropped to their centre or interpolated.
    - Heads that give classes keep their initial values unless
      ``keep_head`` is set and their shape is the same.

    Arguments
    ---------
    network : torch.nn.Module
        A ``SELDNetwork``, or its inner network; changed in place.
    tensors : dict of torch.Tensor
        Weights by name, as
        ``spatial_brain.inference.convert.pseldnets.read_network_weights``
        gives them.
    keep_head : bool
        Whether to copy heads with classes as well; sensible only if the
        classes are the same, in the same order.

    Returns
    -------
    Transfer
        Names copied, left and unused; readable with ``str``.

    Raises
    ------
    ValueError
        If no encoder fits, a shape differs elsewhere than in a head, or only
        some of the entries of a part are there.

    Example
    -------
    >>> from spatial_brain.models.seld import SELDNetwork
    >>> source = SELDNetwork("htsat", "accdoa", 3).network.state_dict()
    >>> network = SELDNetwork("htsat", "multi_accdoa", 5)
    >>> print(initialize(network, source))
    206 entries copied; left at their initial values: tscam_conv (2);
    not used: tscam_conv (2)
    """
    network = getattr(network, "network", network)
    own = network.state_dict()
    chosen, used, problems, resized = {}, set(), [], {}
    for name, value in own.items():
        source = _source_name(name, tensors)
        if _is_constant(name) or source is None:
            continue
        head = name.startswith(CLASS_HEADS)
        if head and not keep_head:
            continue
        tensor = _fit(source, tensors[source], value.shape)
        if tensor.shape == value.shape:
            chosen[name] = tensor
            used.add(source)
            if tensor.shape != tensors[source].shape:
                resized[name] = (
                    f"from {list(tensors[source].shape)} to "
                    f"{list(tensor.shape)}"
                )
        elif not head:
            problems.append(
                f"{source} is {list(tensors[source].shape)} but should be "
                f"{list(value.shape)}"
            )
    learnt = [name for name in own if not _is_constant(name)]
    left = [name for name in learnt if name not in chosen]
    problems += _incomplete(chosen, left)
    if problems:
        raise ValueError(_misfit(network, problems))
    if all(name.startswith(("scalar.", "doa_tscam_conv.")) for name in chosen):
        raise ValueError(
            f"no encoder of {type(network).__name__} is among the weights; "
            f"they are {_groups(list(tensors))}"
        )
    network.load_state_dict({**own, **chosen})
    unused = [name for name in tensors if name not in used]
    unused = [name for name in unused if not _is_constant(name)]
    return Transfer(list(chosen), left, unused, resized)


def _is_constant(name):
    """Whether an entry is computed and not learnt."""
    return name.rsplit(".", 1)[-1] in CONSTANTS


def _source_name(name, tensors):
    """Which of the tensors an entry of the network takes, if any."""
    if name in tensors:
        return name
    # AudioSet weights have bn0, and one encoder for both branches.
    first, _, rest = name.partition(".")
    candidate = f"{first[4:]}.{rest}" if first.startswith(BRANCHES) else None
    if first == "scalar":
        candidate = f"bn0.{rest.partition('.')[2]}"
    return candidate if candidate in tensors else None


def _fit(name, tensor, shape):
    """Give AudioSet tensors the shape a SELD network wants."""
    if tensor.ndim == 4 and name.endswith(POSITIONS):
        return _resize(tensor, shape[2:])
    if tensor.ndim == len(shape) == 4 and tensor.shape[1] == 1 < shape[1]:
        return tensor.expand(-1, shape[1], -1, -1) / shape[1]
    return tensor


def _resize(table, size):
    """Crop a table of positions to its centre, or interpolate it."""
    for axis, wanted in zip((2, 3), size, strict=True):
        have = table.shape[axis]
        if have > wanted:
            table = table.narrow(axis, (have - wanted) // 2, wanted)
    if table.shape[2:] != size:
        table = F.interpolate(
            table.float(), tuple(size), mode="bilinear", align_corners=False
        )
    return table


def _incomplete(chosen, left):
    """Parts of the network of which only some entries have a source."""
    copied = {part_of(name) for name in chosen}
    torn = [
        name
        for name in left
        if part_of(name) in copied
        and not name.startswith(CLASS_HEADS)
        and not name.endswith("num_batches_tracked")
    ]
    return [f"missing: {', '.join(torn[:5])}"] * bool(torn)


def _groups(names):
    """Parts of a network with how many of the names belong to each."""
    parts = [part_of(name) for name in names]
    counts = {part: parts.count(part) for part in dict.fromkeys(parts)}
    return ", ".join(f"{k} ({n})" for k, n in counts.items()) or "nothing"


def _misfit(network, problems):
    """Message with the first problems."""
    more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
    return (
        f"the weights do not fit {type(network).__name__}: "
        + "; ".join(problems[:5])
        + more
    )


def own_names(tensors):
    """Entries of the public original under the names of this package.

    The prefix ``module.`` of data-parallel training goes, linear maps lose
    their wrapper, and the tables of positions, which are computed here, are
    checked and left out. Entries of this package pass unchanged.

    Arguments
    ---------
    tensors : dict of torch.Tensor
        State dict.

    Returns
    -------
    dict of torch.Tensor
        The same tensors.

    Raises
    ------
    ValueError
        If a table of positions is not the sinusoidal one.

    Example
    -------
    >>> name = "module.a.attention.pos_proj.linear.weight"
    >>> list(own_names({name: torch.zeros(2, 2)}))
    ['a.attention.pos_proj.weight']
    """
    renamed = {}
    for name, tensor in tensors.items():
        name = name.removeprefix("module.").replace(".linear.", ".")
        if not name.endswith(TABLE):
            renamed[name] = tensor
            continue
        rows = tensor[0, :64].float()
        if not torch.allclose(
            rows, sinusoid_table(*rows.shape, rows.device), atol=1e-3
        ):
            raise ValueError(
                f"{name} is not the sinusoidal table of positions; the "
                "weights belong to another network"
            )
    return renamed


def initialize_encoders(network, tensors, freeze=False):
    """Set the encoders of a network to those of another one.

    Arguments
    ---------
    network : torch.nn.Module
        A network with :class:`spatial_brain.models.mc_conformer.PairEncoders`,
        such as ``SpatialAcousticsEstimator``; changed in place.
    tensors : dict of torch.Tensor
        State dict of a pretext or downstream network, with names of this
        package or of the public original. The encoder which the network does
        not use may be missing.
    freeze : bool or str
        ``True``: encoders are not trained and stay in evaluation mode (linear
        evaluation). ``"parameters"``: as the public original does it, where
        parameters are kept, but dropout works and batch statistics adapt.

    Returns
    -------
    spatial_brain.models.transfer.Transfer
        Names copied, left and unused; readable with ``str``.

    Raises
    ------
    ValueError
        If an encoder is missing, incomplete, or of another size, or
        ``freeze`` is something else.

    Example
    -------
    >>> from spatial_brain.models.mc_conformer import (
    ...     CrossChannelReconstruction, SpatialAcousticsEstimator)
    >>> sizes = {"channels": 4, "spec_dim": 16, "spat_dim": 16}
    >>> source = CrossChannelReconstruction(**sizes).state_dict()
    >>> network = SpatialAcousticsEstimator(**sizes)
    >>> print(initialize_encoders(network, source))
    206 entries copied; left at their initial values: mlp_head (4);
    not used: decoder (4)
    """
    if freeze not in (False, True, "parameters"):
        raise ValueError(
            f"freeze must be False, True or 'parameters', got {freeze!r}"
        )
    encoders = getattr(network, "model_sch", network)
    if not isinstance(encoders, PairEncoders):
        raise ValueError(f"{type(network).__name__} has no pair encoders")
    given = {
        name.removeprefix("model_sch."): tensor
        for name, tensor in own_names(tensors).items()
    }
    own = encoders.state_dict()
    chosen, problems = {}, []
    for encoder in encoders.encoders():
        part = [name for name in own if name.startswith(f"{encoder}_")]
        missing = [name for name in part if name not in given]
        if missing == part and encoder not in encoders.used:
            continue
        problems += [f"{name} is missing" for name in missing]
        problems += [
            f"{name} is {list(given[name].shape)} but should be "
            f"{list(own[name].shape)}"
            for name in part
            if name in given and given[name].shape != own[name].shape
        ]
        chosen.update((name, given[name]) for name in part if name in given)
    if problems:
        raise ValueError(_misfit(network, problems))
    encoders.load_state_dict({**own, **chosen})
    if freeze:
        encoders.freeze(at_rest=freeze is True)
    whole = [name.removeprefix("model_sch.") for name in network.state_dict()]
    return Transfer(
        copied=list(chosen),
        left=[name for name in whole if name not in chosen],
        unused=[name for name in given if name not in chosen],
    )
