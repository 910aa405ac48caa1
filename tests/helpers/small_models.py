"""A localiser of two microphones as a run leaves it, and as it is shipped."""

import torch

from spatial_brain.inference.pretrained import (
    Measure,
    save_pretrained,
    write_card,
)
from spatial_brain.inference.publishing.shipping import ship_model
from spatial_brain.models.array_localizer import ArrayLocalizer

YAML = """
model: !new:spatial_brain.models.array_localizer.ArrayLocalizer
    num_microphones: 2
    max_distance: 0.1
    num_classes: 36
    hidden: 4
modules: {model: !ref <model>}
sample_rate: 16000
microphone_positions: [[-0.05, 0.0, 0.0], [0.05, 0.0, 0.0]]
window_length: 1.0
hop_length: 0.5
target: full_azimuth
decoder: !name:spatial_brain.processing.decoding.decode_classes
    method: median
    low: -180.0
    high: 180.0
    circular: True
"""
KEYS = ("sample_rate", "microphone_positions", "window_length")
KEYS += ("hop_length", "target", "decoder")
CARD = {
    "task": "azimuth",
    "sample_rate": 16000,
    "channels": 2,
    "channel_order": "left, right",
    "spacing": [0.1, 0.1],
    "causal": False,
    "latency": 1.0,
    "data": "simulated rooms",
    "t60": [0.2, 0.8],
    "test": "60 simulated rooms",
    "measures": [
        Measure("mean absolute error", 3.2, "degrees", 3.0, 3.5, 45.0)
    ],
}
FACTS = {
    "licence": "cc-by-4.0",
    "data_licences": ["VCTK: CC BY 4.0"],
    "training": {"recipe": "a.yaml", "steps": 5, "hours": 0.5, "cores": 1},
    "commit": 40 * "a",
}


def save_network(folder):
    """Write a pretrained folder with random weights."""
    net = ArrayLocalizer(2, 0.1, 36, hidden=4)
    save_pretrained(folder, YAML, KEYS, {"model": net})


def write_run(folder):
    """Write the output folder of a run; the same folder."""
    save_network(folder / "pretrained")
    write_card(folder, CARD)
    return folder


def ship_run(run, folder, **facts):
    """Ship the model of a run; the folder."""
    ship_model(run, folder, 0.1 * torch.randn(16000, 2), **FACTS, **facts)
    return folder
