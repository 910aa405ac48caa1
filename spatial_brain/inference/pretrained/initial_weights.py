"""Beginning a training with the weights of a trained model."""

import logging

from spatial_brain.inference.pretrained.source import find_weights
from spatial_brain.inference.pretrained.weights import (
    check_finite,
    load_weights,
    read_weights,
)

logger = logging.getLogger(__name__)


def set_initial_weights(model, source):
    """Give a network the weights of a trained one, all of them.

    Arguments
    ---------
    model : torch.nn.Module
        Changed in place.
    source : str or Path or None
        What ``--initial_weights`` names: a file with weights, a pretrained
        folder, the output folder of a run, the name of a shipped model, or a
        hub id, perhaps with a branch or commit, ``"org/name@revision"``. None:
        nothing is done.

    Raises
    ------
    FileNotFoundError
        If there is no such model.
    ValueError
        If its network is another, or holds values that are not finite.

    Example
    -------
    >>> import torch
    >>> model, path = torch.nn.Linear(1, 1), getfixture("tmp_path") / "a.pt"
    >>> torch.save({name: torch.ones_like(value)
    ...             for name, value in model.state_dict().items()}, path)
    >>> set_initial_weights(model, path)
    >>> model.bias.item()
    1.0
    """
    if source is None:
        return
    path = find_weights(source)
    tensors = read_weights(path)
    check_finite(tensors, path)
    try:
        load_weights(model, tensors, path)
    except ValueError as error:
        raise ValueError(
            f"--initial_weights {source}: {error}; a training begins with the "
            "weights of the same network"
        ) from error
    logger.info("the training begins with the weights of %s", path)
