"""Names that scripts of users rely on, with the arguments they use."""

import importlib
import inspect

import pytest

CONTRACT = {
    "spatial_brain.geometry": {
        "azel_to_unit": ["azimuth", "elevation"],
        "unit_to_azel": ["vector"],
        "angular_distance": ["a", "b"],
    },
    "spatial_brain.simulation": {
        "simulate_rir": [
            "room_size",
            "sources",
            "microphones",
            "fs",
            "t60",
            "absorption",
            "backend",
            "duration",
            "high_pass",
            "device",
            "generator",
        ],
        "simulate_rir_batch": ["rooms"],
        "diffuse_noise": [
            "microphones",
            "num_samples",
            "fs",
            "kind",
            "generator",
            "noise",
        ],
    },
    "spatial_brain.simulation.acoustics": {
        "t60": ["rir", "fs"],
        "c50": ["rir", "fs"],
        "drr": ["rir", "fs"],
        "tdoa": ["positions", "source"],
    },
    "spatial_brain.metrics": {
        "localization_mae": ["estimate", "reference"],
        "SELDScores": [
            "num_classes",
            "threshold",
            "average",
            "frames_per_second",
        ],
    },
    "spatial_brain.inference": {
        "BinauralSeparator": [],
        "RoomAcousticsEstimator": [],
        "SELDetector": [],
        "SoundLocalizer": [],
    },
    "spatial_brain.inference.convert": {
        "convert": ["format", "checkpoint", "output"]
    },
}


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module in CONTRACT for name in CONTRACT[module]],
)
def test_name_and_arguments(module, name):
    thing = getattr(importlib.import_module(module), name)
    if module == "spatial_brain.inference":
        assert callable(thing.from_hparams)
        return
    arguments = list(inspect.signature(thing).parameters)
    expected = CONTRACT[module][name]
    assert [a for a in arguments if a in expected] == expected
