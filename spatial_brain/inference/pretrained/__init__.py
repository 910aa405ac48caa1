"""Pretrained models: how a folder holds them and how they are loaded.

A folder holds ``hyperparams.yaml`` (the inference subset of a run's
hyper-parameters: ``modules`` and what a verb needs), one tensor-only
``<module>.safetensors`` a module and ``card.json``, what the model is for. Its
YAML builds classes of a closed list only: see
:mod:`spatial_brain.inference.pretrained.safe_yaml`.
"""

from spatial_brain.inference.pretrained.card import (
    Measure,
    ModelCard,
    read_card,
    write_card,
)
from spatial_brain.inference.pretrained.interface import (
    ADAPTERS_FILE,
    PretrainedModel,
)
from spatial_brain.inference.pretrained.saving import (
    save_hparams,
    save_pretrained,
)
from spatial_brain.inference.pretrained.source import (
    WEIGHT_SUFFIXES,
    find_weights,
)
from spatial_brain.inference.pretrained.weights import (
    check_finite,
    load_weights,
    read_weights,
    unwrap,
)

__all__ = [
    "ADAPTERS_FILE",
    "WEIGHT_SUFFIXES",
    "Measure",
    "ModelCard",
    "PretrainedModel",
    "check_finite",
    "find_weights",
    "load_weights",
    "read_card",
    "read_weights",
    "save_hparams",
    "save_pretrained",
    "unwrap",
    "write_card",
]
