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

# What saved ``pretrained/hyperparams.yaml`` and users' YAML files name.
SAVED = (
    "dataio.checkpoints.AtomicCheckpointer",
    "augment.chains.augmentation_chain",
    "metrics.seld.SELDScores",
    "models.array_localizer.ArrayLocalizer",
    "models.binaural_tasnet.BinauralTasNet",
    "models.dcase_baseline.DCASEBaseline",
    "models.dual_mic.DualMicLocalizer",
    "models.dual_mic.decode_classes",
    "models.mc_conformer.CrossChannelReconstruction",
    "models.mc_conformer.SpatialAcousticsEstimator",
    "models.seld.SELDNetwork",
    "nnet.averaging.PlateauCounter",
    "nnet.losses.seld.SELDLoss",
    "nnet.schedules.StepDecay",
    "nnet.schedules.WarmupCosine",
    "processing.decoding.decode_classes",
    "processing.pair_spectra.PairSpectra",
    "processing.salsa.Salsa",
    "processing.salsa.SalsaLite",
    "processing.seld_features.BaselineFeatures",
    "processing.seld_features.LogMelGCC",
    "processing.seld_features.LogMelIntensity",
    "processing.seld_features.Salsa",
    "processing.seld_features.SalsaLite",
)


@pytest.mark.parametrize("path", SAVED)
def test_saved_models_and_yaml_files_find_their_classes(path):
    module, _, name = path.rpartition(".")
    module = importlib.import_module(f"spatial_brain.{module}")
    assert callable(getattr(module, name))


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
