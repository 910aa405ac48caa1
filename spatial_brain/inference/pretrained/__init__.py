"""Pretrained models: how a folder holds them and how they are loaded.

A folder holds ``hyperparams.yaml`` (the inference subset of a run's
hyper-parameters: ``modules`` and what a verb needs), one tensor-only
``<module>.safetensors`` a module and ``card.json``, what the model is for and
what it is worth; perhaps a golden pair, an input and its output. Its YAML
builds classes of a closed list only: see
:mod:`spatial_brain.inference.pretrained.safe_yaml`.
"""

from spatial_brain.inference.pretrained.card import (
    ModelCard,
    read_card,
    write_card,
)
from spatial_brain.inference.pretrained.figures import (
    Figure,
    Measure,
    mean_figure,
)
from spatial_brain.inference.pretrained.golden import check_golden
from spatial_brain.inference.pretrained.initial_weights import (
    set_initial_weights,
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
    "Figure",
    "Measure",
    "ModelCard",
    "PretrainedModel",
    "check_finite",
    "check_golden",
    "find_weights",
    "load_weights",
    "mean_figure",
    "read_card",
    "read_weights",
    "save_hparams",
    "save_pretrained",
    "set_initial_weights",
    "unwrap",
    "write_card",
]
