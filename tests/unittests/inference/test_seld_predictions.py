"""Predictions of clips from their windows, and of rotated scenes."""

import pytest
import torch

from spatial_brain.augment.rotation import (
    foa_patterns,
    rotate_foa,
    rotate_foa_features,
    rotate_outputs,
)
from spatial_brain.inference.seld_detector import (
    ClipPredictions,
    check_rotations,
    rotated_outputs,
)
from spatial_brain.processing.seld_features import LogMelGCC, LogMelIntensity


def test_clips_come_one_after_the_other():
    predictions = ClipPredictions("accdoa", 10, threshold=0.5)
    loud, silent = torch.zeros(10, 6), torch.zeros(10, 6)
    loud[:, 0] = 1.0  # class 0, front
    for part, last in ((loud, False), (silent, False), (loud, True)):
        predictions.append("a", {"accdoa": part}, 24, last)
    predictions.append("b", {"accdoa": silent}, 7, True)
    expected = [*range(10), *range(20, 24)]
    assert predictions.events["a"].frame.tolist() == expected
    assert len(predictions.events["b"]) == 0
    assert predictions.events["b"].num_frames == 7


@pytest.mark.parametrize("number", [16, 48])
def test_rotations_average_what_is_not_equivariant(number):
    weight = torch.randn(4, 6)

    def prediction(waveform):
        return {"accdoa": waveform @ weight}

    waveform = torch.randn(2, 5, 4)
    outputs = rotated_outputs(prediction, waveform, "accdoa", number)["accdoa"]
    # The mean over a group commutes with its members.
    pattern = foa_patterns(number)[5]
    turned = rotated_outputs(
        prediction, rotate_foa(waveform, pattern), "accdoa", number
    )
    back = rotate_outputs(turned, "accdoa", pattern, inverse=True)["accdoa"]
    assert torch.allclose(back, outputs, atol=1e-5)
    assert not torch.allclose(
        outputs, prediction(waveform)["accdoa"], atol=1e-2
    )


def test_rotations_of_features_are_those_of_waveforms():
    features, weight = LogMelIntensity(), torch.randn(7, 6)

    def prediction(x):
        return {"accdoa": x.mean(-1).transpose(1, 2) @ weight}

    waveform = torch.randn(2, 2400, 4)
    check_rotations("accdoa", "foa", features)
    found = rotated_outputs(
        prediction, features(waveform), "accdoa", 16, rotate_foa_features
    )
    expected = rotated_outputs(
        lambda scene: prediction(features(scene)), waveform, "accdoa", 16
    )
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("einv2", "foa"), "einv2"),
        (("accdoa", "mic"), "mic"),
        (("accdoa", "foa", LogMelGCC()), "10 of LogMelGCC.*feature_cache Fal"),
    ],
)
def test_what_rotations_cannot_do(arguments, word):
    with pytest.raises(ValueError, match=word):
        check_rotations(*arguments)
