"""Which parts of a SELD network are trained when it is adapted to a task.

Kinds of adaptation, as PSELDNets has them (Hu et al., IEEE/ACM TASLP 33, 2025):

- ``adapter``: two adapters in every transformer block, one behind the
  attention, one beside the MLP; they and the heads are trained. In the small
  network they stand behind the recurrent layers and every attention layer;
- ``adapterbit``: biases as well, those of relative positions included;
- ``bias``: biases and heads only, no adapters (for every backbone);
- ``lora``: updates of low rank beside the weights of the linear maps and the
  patch convolution of the encoder, which are kept; all the rest is trained.

The heads are those of the new task: they have no weights to keep.
"""

from torch import nn

from spatial_brain.nnet.adapters import LoRAConv2d, LoRALinear, add_adapter

ADAPTERS = ("adapter", "adapterbit", "lora", "bias")
ENCODERS = ("encoder", "sed_encoder", "doa_encoder")
# Output layers of all backbones.
HEADS = (
    "tscam_conv.",
    "sed_tscam_conv.",
    "doa_tscam_conv.",
    "fc.",
    "fc_",
    "heads.",
)


def is_added(name):
    """Whether an entry of a network belongs to what an adaptation adds.

    Arguments
    ---------
    name : str
        Name in the state dict.

    Returns
    -------
    bool

    Example
    -------
    >>> is_added("encoder.layers.0.blocks.1.mlp.adapter.fc1.weight")
    True
    >>> is_added("encoder.layers.0.blocks.1.mlp.fc1.weight")
    False
    """
    return ".adapter." in name or ".lora_" in name


def adapt(network, adapter):
    """Add the layers of an adaptation, and freeze what it keeps.

    Arguments
    ---------
    network : torch.nn.Module
        Inner network of a ``SELDNetwork``; changed in place.
    adapter : str
        One of ``ADAPTERS``.

    Raises
    ------
    ValueError
        If there is no such adaptation, or the network has no layers for it.

    Example
    -------
    >>> from spatial_brain.models.htsat import HTSAT
    >>> network = HTSAT("multi_accdoa", 14)
    >>> adapt(network, "adapterbit")
    >>> trained = [p for p in network.parameters() if p.requires_grad]
    >>> sum(p.numel() for p in trained)
    5001142
    """
    if adapter not in ADAPTERS:
        raise ValueError(
            f"adapter must be null or one of {ADAPTERS}, got {adapter!r}"
        )
    if adapter != "bias":
        blocks = [block for block in network.modules() if _is_block(block)]
        layers = [m for m in network.modules() if hasattr(m, "adapter_dim")]
        if not blocks and (adapter == "lora" or not layers):
            raise ValueError(
                f"{type(network).__name__} has no transformer blocks for "
                f"adapter: {adapter}; give --adapter bias, or --backbone htsat "
                "or passt"
            )
    if adapter == "lora":
        for name in ENCODERS:
            if hasattr(network, name):
                _add_lora(getattr(network, name))
        return
    if adapter != "bias":
        for block in blocks:
            (dim,) = block.norm1.normalized_shape
            add_adapter(block.attn, dim)
            add_adapter(block.mlp, dim, parallel=True)
        for layer in layers:
            add_adapter(layer, layer.adapter_dim)
    for name, parameter in network.named_parameters():
        trained = name.startswith(HEADS) or is_added(name)
        if adapter != "adapter":
            trained = trained or "bias" in name
        parameter.requires_grad_(trained)


def _is_block(module):
    """Whether a module is a block of Swin or of a vision transformer."""
    return all(hasattr(module, part) for part in ("norm1", "attn", "mlp"))


def _add_lora(module):
    """Replace linear maps and convolutions below a module by adapted ones."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, LoRALinear(child))
        elif isinstance(child, nn.Conv2d):
            setattr(module, name, LoRAConv2d(child))
        else:
            _add_lora(child)


def trained_entries(network):
    """Entries of the state dict that training changes.

    Arguments
    ---------
    network : torch.nn.Module
        Inner network of a ``SELDNetwork``.

    Returns
    -------
    list of str
        Trained parameters, and running statistics.

    Example
    -------
    >>> network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    >>> _ = network[0].requires_grad_(False)
    >>> trained_entries(network)
    ['1.weight', '1.bias', '1.running_mean', '1.running_var',
    '1.num_batches_tracked']
    """
    kept = {
        name
        for name, parameter in network.named_parameters()
        if not parameter.requires_grad
    }
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    parameters = dict(network.named_parameters())
    return [
        name
        for name in network.state_dict()
        if (name in parameters and name not in kept)
        or name.endswith(statistics)
    ]


def describe_parameters(network, copied=()):
    """Parameters by where they come from and whether they are trained.

    Arguments
    ---------
    network : torch.nn.Module
        Inner network of a ``SELDNetwork``.
    copied : sequence of str
        Entries whose values come from a checkpoint.

    Returns
    -------
    str
        Numbers of loaded, new, trained and frozen parameters, by part.

    Example
    -------
    >>> from spatial_brain.models.htsat import HTSAT
    >>> network = HTSAT("accdoa", 2)
    >>> adapt(network, "bias")
    >>> print(describe_parameters(network))
    27,572,126 parameters: loaded 0; new 27,572,126 (scalar 896, encoder
    27,543,576, tscam_conv 27,654); trained 121,726 (scalar 448, encoder
    93,624, tscam_conv 27,654); frozen 27,450,400 (scalar 448, encoder
    27,449,952)
    """
    copied = set(copied)
    groups = {"loaded": {}, "new": {}, "trained": {}, "frozen": {}}
    for name, parameter in network.named_parameters():
        part = part_of(name)
        for group in (
            "loaded" if name in copied else "new",
            "trained" if parameter.requires_grad else "frozen",
        ):
            counts = groups[group]
            counts[part] = counts.get(part, 0) + parameter.numel()
    total = sum(p.numel() for p in network.parameters())
    return f"{total:,} parameters: " + "; ".join(
        f"{group} {sum(counts.values()):,}"
        + (f" ({_listed(counts)})" if counts else "")
        for group, counts in groups.items()
    )


def unfounded_parts(network, copied=()):
    """Frozen parameters whose values come from nowhere.

    Arguments
    ---------
    network : torch.nn.Module
        Inner network of a ``SELDNetwork``.
    copied : sequence of str
        Entries whose values come from a checkpoint.

    Returns
    -------
    str
        Parts with numbers of parameters; empty if there are none. The input
        normalisation does not count: it begins as one that changes nothing.

    Example
    -------
    >>> from spatial_brain.models.seld_crnn import SELDCRNN
    >>> network = SELDCRNN("accdoa", 2, width=8)
    >>> unfounded_parts(network)
    ''
    >>> adapt(network, "bias")
    >>> unfounded_parts(network)
    'encoder 11,696'
    """
    counts = {}
    for name, parameter in network.named_parameters():
        kept = not parameter.requires_grad and name not in copied
        if kept and not name.startswith("scalar."):
            part = part_of(name)
            counts[part] = counts.get(part, 0) + parameter.numel()
    return _listed(counts)


def part_of(name):
    """Part of a network that an entry belongs to.

    Arguments
    ---------
    name : str
        Name in the state dict.

    Returns
    -------
    str
        First part of the name, or "adapters" for what an adaptation adds.

    Example
    -------
    >>> part_of("encoder.norm.bias"), part_of("encoder.proj.lora_A")
    ('encoder', 'adapters')
    """
    return "adapters" if is_added(name) else name.partition(".")[0]


def _listed(counts):
    """Counts by part, readable."""
    return ", ".join(f"{part} {count:,}" for part, count in counts.items())
