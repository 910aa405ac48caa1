"""The best constant prediction, and predictions of rotated scenes."""

import itertools

import numpy as np
import pytest
import torch

from spatial_brain.augment.rotation import (
    foa_patterns,
    rotate_foa,
    rotate_outputs,
)
from spatial_brain.dataio.events import EventTable
from spatial_brain.inference.seld_detector import (
    ClipPredictions,
    check_rotations,
    rotated_outputs,
)
from spatial_brain.metrics import SELDScores
from spatial_brain.metrics.seld.scores import (
    constant_prediction,
    repeat_prediction,
)


def scene(rng, num_frames=50):
    """Class 1 mostly to the left, class 2 now and then, class 0 never."""
    frames = np.flatnonzero(rng.random(num_frames) < 0.9)
    rare = np.flatnonzero(rng.random(num_frames) < 0.1)
    return EventTable(
        np.concatenate((frames, rare)),
        [1] * len(frames) + [2] * len(rare),
        np.concatenate(
            (rng.normal(90, 5, len(frames)), rng.uniform(-180, 180, len(rare)))
        ),
        np.zeros(len(frames) + len(rare)),
        num_frames=num_frames,
    )


def score(references, prediction):
    scores = SELDScores(3, average="micro")
    for table in references:
        estimate = repeat_prediction(prediction, table.num_frames)
        scores.append(table, estimate, num_frames=table.num_frames)
    return scores.compute()["SELD"]


def test_constant_answer_is_the_best_of_all_class_sets():
    rng = np.random.default_rng(1)
    references = [scene(rng) for _ in range(4)]
    best = constant_prediction(
        references, 3, lambda: SELDScores(3, average="micro")
    )
    assert best.label.tolist() == [1]
    assert abs(best.azimuth[0] - 90) < 3
    every = {1: best.azimuth[0], 2: 0.0}
    for size in range(3):
        for labels in itertools.combinations(every, size):
            other = EventTable(
                [0] * size, labels, [every[k] for k in labels], [0.0] * size
            )
            assert score(references, best) <= score(references, other) + 1e-9


def test_silence_where_nothing_sounds():
    empty = EventTable([], [], [], [], num_frames=30)
    assert len(constant_prediction([empty], 3, lambda: SELDScores(3))) == 0


def test_repeated_answer():
    prediction = EventTable([0, 0], [2, 0], [10.0, -20.0], [5.0, 0.0])
    table = repeat_prediction(prediction, 3)
    assert table.frame.tolist() == [0, 0, 1, 1, 2, 2]
    assert table.label.tolist() == [2, 0] * 3
    assert table.num_frames == 3


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


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("einv2", "foa"), "einv2"),
        (("accdoa", "mic"), "mic"),
        (("accdoa", "foa", True), "--feature_cache False"),
    ],
)
def test_what_rotations_cannot_do(arguments, word):
    with pytest.raises(ValueError, match=word):
        check_rotations(*arguments)
