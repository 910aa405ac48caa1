"""A golden pair: an input of a network, and the output that it has to give.

It shows that a machine, a version of PyTorch or a change of the code computes
what the model was published with. The file holds tensors only: ``waveform``
[1, time, channel], 16 bits; ``positions`` [1, microphone, 3] in metres, of a
network that is called with them; and the output, ``output``, or
``output.<name>`` of a network with several.
"""

import inspect
from pathlib import Path

import safetensors.torch
import torch

from spatial_brain.atomic import atomic_path
from spatial_brain.inference.pretrained.card import CARD_FILE, check_digest
from spatial_brain.inference.pretrained.interface import PretrainedModel
from spatial_brain.inference.pretrained.source import ModelSource
from spatial_brain.inference.pretrained.weights import read_weights

GOLDEN_FILE = "golden.safetensors"
_OUTPUT = "output"
_FULL_SCALE = 32768
# Of the largest output: other processors round otherwise.
_TOLERANCE = 1e-3


def make_golden(model, waveform, positions=None):
    """Golden pair of a model.

    Arguments
    ---------
    model : PretrainedModel
        On the CPU.
    waveform : torch.Tensor
        [time, channel] at the model's sampling rate; rounded to 16 bits.
    positions : torch.Tensor, optional
        [microphone, 3] in metres, of a network that is called with them.

    Returns
    -------
    tuple
        Tensors of the file by name, and the tolerance: a thousandth of the
        largest output.

    Raises
    ------
    ValueError
        If the input is silent, or the output 0 or not finite.

    Example
    -------
    >>> model = PretrainedModel({"model": torch.nn.Linear(2, 1)}, {},
    ...                         {"device": "cpu"})
    >>> pair, tolerance = make_golden(model, 0.1 * torch.randn(8, 2))
    >>> {name: list(value.shape) for name, value in pair.items()}
    {'waveform': [1, 8, 2], 'output': [1, 8, 1]}
    """
    if not waveform.abs().amax() > 1e-3:
        raise ValueError(
            "the input of the golden pair is silent or no signal: nothing to "
            "compare"
        )
    samples = (waveform * _FULL_SCALE).round()
    inputs = {
        "waveform": samples.clamp(-_FULL_SCALE, _FULL_SCALE - 1).short()[None]
    }
    if positions is not None:
        inputs["positions"] = torch.as_tensor(positions).float()[None]
    outputs = _outputs(model, inputs)
    largest = max(float(value.abs().max()) for value in outputs.values())
    if not 0 < largest < float("inf"):
        raise ValueError(f"the largest output is {largest}: nothing to compare")
    return {**inputs, **outputs}, float(f"{_TOLERANCE * largest:.1g}")


def write_golden(path, pair):
    """Write the file of a golden pair.

    Arguments
    ---------
    path : str or Path
        The file; its folder is made.
    pair : dict of torch.Tensor
        From :func:`make_golden`.
    """
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(
            {name: value.contiguous() for name, value in pair.items()},
            temporary,
        )


def check_golden(source, allowed=()):
    """Compare what a model computes here with its golden output.

    Arguments
    ---------
    source : str or Path
        As for ``PretrainedModel.from_hparams``.
    allowed : sequence of str
        As there.

    Returns
    -------
    float
        Largest difference, as a share of the tolerance.

    Raises
    ------
    ValueError
        If there is no golden pair, it does not fit the model, or the output
        differs by more than its tolerance.

    Example
    -------
    >>> check_golden("./nowhere")
    Traceback (most recent call last):
    ...
    FileNotFoundError: no such folder: nowhere (wanted a pretrained ...
    """
    model = PretrainedModel.from_hparams(
        source, run_opts={"device": "cpu"}, allowed=allowed
    )
    golden = {} if model.card is None else model.card.golden
    if not golden:
        raise ValueError(f"{source}: {CARD_FILE} names no golden pair")
    path = ModelSource(source, "hyperparams.yaml").get(golden["file"])
    if path is None:
        raise FileNotFoundError(f"{Path(source) / golden['file']} is missing")
    check_digest(path, model.card.hashes)
    pair = read_weights(path)
    wanted = {
        name: value
        for name, value in pair.items()
        if name.partition(".")[0] == _OUTPUT
    }
    inputs = {name: pair[name] for name in pair.keys() - wanted.keys()}
    found = _outputs(model, inputs, path)
    if {n: v.shape for n, v in found.items()} != {
        n: v.shape for n, v in wanted.items()
    }:
        raise ValueError(f"{path}: the model's output has other shapes")
    difference = max(
        float((found[name] - value).abs().max())
        for name, value in wanted.items()
    )
    share = difference / golden["tolerance"]
    if not share <= 1:
        raise ValueError(
            f"{path}: the output differs by {difference:.2g}, more than "
            f"{golden['tolerance']:g}: the model does not compute here what it "
            "was published with"
        )
    return share


@torch.no_grad()
def _outputs(model, inputs, path="the golden pair"):
    """Outputs of the network for the inputs of a pair, by name."""
    network = model.mods.model
    known = {"waveform"}
    if "positions" in inspect.signature(network.forward).parameters:
        known.add("positions")
    if inputs.keys() != known:
        raise ValueError(
            f"{path}: the network is called with {', '.join(sorted(known))}, "
            f"found {', '.join(sorted(inputs)) or 'nothing'}"
        )
    given = inputs["waveform"].float() / _FULL_SCALE
    if given.ndim != 3:
        raise ValueError(
            f"{path}: waveform must be [1, time, channel], found "
            f"{list(given.shape)}"
        )
    features = getattr(model.hparams, "features", None)
    if features is not None:
        given = features.cpu().eval()(given)
    others = {"positions": inputs["positions"]} if len(known) > 1 else {}
    outputs = network(given, **others)
    if isinstance(outputs, torch.Tensor):
        return {_OUTPUT: outputs.float()}
    pairs = outputs.items() if isinstance(outputs, dict) else enumerate(outputs)
    return {f"{_OUTPUT}.{name}": value.float() for name, value in pairs}
