"""Checkpoints of SpeechBrain's recipe BinauralWSJ0Mix to pretrained folders."""

import re
import warnings
from pathlib import Path

import torch

from spatial_brain.inference.pretrained import (
    load_weights,
    read_weights,
    save_pretrained,
)
from spatial_brain.inference.pretrained.safe_yaml import load_safe_yaml
from spatial_brain.models.binaural_tasnet import RULES

MODULES = tuple(
    part + ear for part in ("encoder", "masknet", "decoder") for ear in "LR"
)
# Of the recipe, where nothing names another.
SAMPLE_RATE = 8000  # Hz
# The order in which the recipe looks for a rule in the name of an experiment.
NAMED = ("independent", "cross", "parallel")

TEXT = """\
# Binaural Conv-TasNet (weights of SpeechBrain's recipe BinauralWSJ0Mix).
modules:
  model: !new:spatial_brain.models.binaural_tasnet.BinauralTasNet
{options}
sample_rate: {sample_rate}  # Hz
num_sources: {num_sources}
"""


class ConversionWarning(UserWarning):
    """What was assumed about a checkpoint, since it does not hold it."""


def convert_binaural(checkpoint, output, rule=None, sample_rate=None):
    """Turn a checkpoint into a pretrained folder.

    Sizes and the number of talkers are in the shapes of the weights. The rule
    ``"parallel"`` and ``"cross"`` have the same shapes, and the sampling rate
    has none: they come from the arguments, else from the ``hyperparams.yaml``
    of the run (beside the checkpoint or up to three folders above), else the
    rule from the folders' names, and the rate is the recipe's 8 kHz.

    The original never saved the projection of the rule ``"cross"``: it drew
    another one in every call. One such draw, always the same, becomes part of
    the model.

    Arguments
    ---------
    checkpoint : str or Path
        Folder with ``encoderL.ckpt``, ``masknetL.ckpt`` and so on; or with
        such folders (``save``, or that of the run), of which the one with
        the lowest ``snr`` in its ``CKPT.yaml`` is taken, as in testing.
    output : str or Path
        Folder to write.
    rule : str, optional
        ``"parallel"``, ``"cross"`` or ``"independent"``.
    sample_rate : int, optional
        Hz.

    Returns
    -------
    tuple
        Folder, number of entries, number of parameters.

    Raises
    ------
    FileNotFoundError
        If there is no such checkpoint or one of its six files is missing.
    ValueError
        If the files hold other things than tensors or do not fit together,
        or the rule is not known or does not fit.

    Example
    -------
    >>> convert_binaural("nothing", "pretrained")
    Traceback (most recent call last):
    ...
    FileNotFoundError: no such folder: nothing (wanted a checkpoint ...
    """
    folder = _find(Path(checkpoint))
    tensors = {
        f"{module}.{name.removeprefix('module.')}": tensor
        for module in MODULES
        for name, tensor in read_weights(folder / f"{module}.ckpt").items()
    }
    count = len(tensors)
    settings = _settings(folder)
    options = _sizes(tensors, folder)
    inputs = options.pop("inputs")
    options = {
        "rule": _rule(inputs, options["num_filters"], rule, settings, folder),
        **options,
        **_causality(settings, folder),
    }
    text = TEXT.format(
        options="\n".join(f"    {k}: {v}" for k, v in options.items()),
        sample_rate=_rate(sample_rate, settings, folder) or SAMPLE_RATE,
        num_sources=options["num_sources"],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = load_safe_yaml(text, str(folder))
    model = model["modules"]["model"]
    if options["rule"] == "cross":
        tensors |= {
            f"ild_proj.{name}": tensor
            for name, tensor in model.ild_proj.state_dict().items()
        }
    load_weights(model, tensors, folder)
    keys = ["sample_rate", "num_sources"]
    written = save_pretrained(output, text, keys, {"model": model})
    if options["rule"] == "cross":
        warnings.warn(
            f"{folder}: the original saved no projection of the level "
            "differences and drew one in every call; one draw is kept in "
            f"{output}, so that outputs can be repeated. A cross model "
            "trained here learns its projection",
            ConversionWarning,
            stacklevel=2,
        )
    if _rate(sample_rate, settings, folder) is None:
        warnings.warn(
            f"{folder}: no hyperparams.yaml has the sampling rate; taken "
            f"is the recipe's, {SAMPLE_RATE} Hz (--sample-rate for another)",
            ConversionWarning,
            stacklevel=2,
        )
    return written, count, sum(p.numel() for p in model.parameters())


def _find(path):
    """The folder with the six files."""
    if not path.is_dir():
        raise FileNotFoundError(
            f"no such folder: {path} (wanted a checkpoint of the recipe, a "
            f"folder with {MODULES[0]}.ckpt and five more)"
        )
    found = [
        file.parent
        for pattern in ("", "CKPT*/", "save/CKPT*/")
        for file in sorted(path.glob(f"{pattern}masknetL.ckpt"))
    ]
    if not found:
        raise FileNotFoundError(
            f"{path} holds no checkpoint of the recipe: no masknetL.ckpt in "
            "it, in CKPT*, or in save/CKPT*"
        )
    folder = found[0] if len(found) == 1 else _best(found)
    missing = [
        f"{module}.ckpt"
        for module in MODULES
        if not (folder / f"{module}.ckpt").is_file()
    ]
    if missing:
        raise FileNotFoundError(
            f"{folder} is not complete; missing: " + ", ".join(missing)
        )
    return folder


def _best(folders):
    """The checkpoint with the lowest loss."""
    losses = {}
    for folder in folders:
        meta = folder / "CKPT.yaml"
        text = _read_text(meta) if meta.is_file() else ""
        loss = re.search(
            r"^snr:\s*([-+]?\d+\.?\d*(?:[eE][-+]?\d+)?)\s*$",
            text,
            re.MULTILINE,
        )
        if loss:
            losses[folder] = float(loss[1])
    if not losses:
        raise ValueError(
            "several checkpoints and no snr in a CKPT.yaml to choose by; name "
            "one of: " + ", ".join(map(str, folders))
        )
    return min(losses, key=losses.get)


def _read_text(path):
    """The beginning of a text file, whatever its encoding."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read(1_000_000)


def _settings(folder):
    """Plain settings in the YAML of the run."""
    folder = folder.absolute()
    for place in (folder, *list(folder.parents)[:3]):
        file = place / "hyperparams.yaml"
        if file.is_file():
            found = re.findall(
                r"^\s*(experiment_name|sample_rate|causal|norm_type)"
                r":\s*['\"]?([\w.+-]+)",
                _read_text(file),
                re.MULTILINE,
            )
            return dict(found)
    return {}


def _sizes(tensors, folder):
    """Options of the network, by shapes and names."""
    filters, _, taps = _shape(tensors, "encoderL.conv1d.weight", 3, folder)
    inputs = _shape(tensors, "masknetL.layer_norm.gamma", 3, folder)[-1]
    net = "masknetL.temporal_conv_net.temporalblock_"
    bottleneck, rows, hidden = (
        _shape(tensors, name, 3, folder)[0]
        for name in (
            "masknetL.bottleneck_conv1x1.conv.weight",
            "masknetL.mask_conv1x1.conv.weight",
            f"{net}0_0.layers.conv.conv.weight",
        )
    )
    repeats, blocks = _count_blocks(tensors, net, folder)
    return {
        "inputs": inputs,
        "num_sources": rows // inputs,
        "num_filters": filters,
        "kernel_size": taps,
        "stride": taps // 2,
        "bottleneck": bottleneck,
        "hidden": hidden,
        "num_blocks": blocks,
        "num_repeats": repeats,
    }


def _shape(tensors, name, ndim, folder):
    """Sizes of a tensor of the recipe's network, none of which is zero."""
    shape = tensors[name].shape if name in tensors else ()
    if len(shape) != ndim or 0 in shape:
        found = list(shape) if name in tensors else "not there"
        raise ValueError(
            f"{folder} is no Conv-TasNet of the recipe: {name} should have "
            f"{ndim} dimensions and is {found}"
        )
    return shape


def _count_blocks(tensors, prefix, folder):
    """Number of repeats and of blocks in each, by the names of the blocks."""
    names = {
        name.removeprefix(prefix).split(".")[0]
        for name in tensors
        if name.startswith(prefix)
    }
    repeats = {name.split("_")[0] for name in names}
    blocks = {name.split("_")[-1] for name in names}
    wanted = {
        f"{r}_{b}" for r in range(len(repeats)) for b in range(len(blocks))
    }
    if names != wanted:
        raise ValueError(
            f"{folder} is no Conv-TasNet of the recipe: its blocks are not "
            "numbered temporalblock_<repeat>_<block> from 0 without gaps"
        )
    return len(repeats), len(blocks)


def _rule(inputs, filters, rule, settings, folder):
    """How the ears are linked."""
    if rule is not None and rule not in RULES:
        raise ValueError(f"rule must be one of {RULES}, got {rule!r}")
    if inputs not in (filters, 2 * filters):
        raise ValueError(
            f"{folder}: masks of {inputs} channels do not belong to "
            f"{filters} filters; wanted are as many or twice as many"
        )
    fitting = ("independent",) if inputs == filters else ("cross", "parallel")
    if rule is None and len(fitting) > 1:
        name = settings.get("experiment_name", "")
        # The recipe looks for a part of its name; folders may be anyone's.
        words = (
            re.split(r"[^a-z]+", part.lower())
            for part in reversed(folder.absolute().parts)
        )
        named = (r for part in (name, *words) for r in NAMED if r in part)
        rule = next(named, None)
        if rule is None:
            raise ValueError(
                f"{folder}: the rules cross and parallel have the same "
                "shapes, and neither a hyperparams.yaml nor a folder's name "
                "has it; give it (--rule)"
            )
    rule = rule or fitting[0]
    if rule not in fitting:
        raise ValueError(
            f"{folder}: not a network of rule {rule}; by its shapes it is "
            + " or ".join(fitting)
        )
    return rule


def _causality(settings, folder):
    """Options for networks other than the recipe's, if in the YAML."""
    causal = settings.get("causal", "False").lower() == "true"
    # SpeechBrain calls the norm over channels cLN.
    channel = settings.get("norm_type", "gLN") == "cLN"
    if causal and not channel:
        raise ValueError(
            f"{folder}: causal, but with a norm that needs the future"
        )
    if causal:
        return {"causal": True, "causal_legacy": True}
    return {"norm": "channel"} if channel else {}


def _rate(sample_rate, settings, folder):
    """Sampling rate, Hz; None if nothing has it."""
    if sample_rate is None:
        sample_rate = settings.get("sample_rate")
    if sample_rate is None:
        return None
    if not re.fullmatch(r"[1-9]\d{0,6}", str(sample_rate)):
        raise ValueError(
            f"{folder}: a sampling rate of '{sample_rate!s:.20}' Hz is none; "
            "give it (--sample-rate)"
        )
    return int(sample_rate)
