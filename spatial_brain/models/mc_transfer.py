"""Beginning a downstream training from encoders of the pretext task."""

import torch

from spatial_brain.models.mc_encoders import PairEncoders
from spatial_brain.models.seld_transfer import Transfer
from spatial_brain.nnet.relative_conformer import sinusoid_table

TABLE = ".positional_encoding.pe"


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
        A network with :class:`spatial_brain.models.mc_encoders.PairEncoders`,
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
    spatial_brain.models.seld_transfer.Transfer
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
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError(
            f"the weights do not fit {type(network).__name__}: "
            + "; ".join(problems[:5])
            + more
        )
    encoders.load_state_dict({**own, **chosen})
    if freeze:
        encoders.freeze(at_rest=freeze is True)
    whole = [name.removeprefix("model_sch.") for name in network.state_dict()]
    return Transfer(
        copied=list(chosen),
        left=[name for name in whole if name not in chosen],
        unused=[name for name in given if name not in chosen],
    )
