"""What another array costs, against what it does to directions."""

import numpy as np
import pytest
import torch

from spatial_brain.geometry import MicrophoneArray
from spatial_brain.geometry.array_match import array_mismatch


@pytest.mark.parametrize("spacing", [0.06, 0.096, 0.0983, 0.099, 0.104])
def test_half_of_the_directions_of_a_pair_are_more_wrong(spacing):
    assumed, actual = (
        MicrophoneArray.named(f"pair:{one}") for one in (0.1, spacing)
    )
    angle = np.radians(np.arange(0.5, 180, 1))
    seen = np.arccos(np.clip(spacing / 0.1 * np.cos(angle), -1, 1))
    typical = np.degrees(np.median(np.abs(seen - angle)))
    assert array_mismatch(assumed, actual) == pytest.approx(typical, rel=0.16)


def test_places_and_turns_of_lines_do_not_matter():
    line = MicrophoneArray([[0.0, 0, 0], [0.03, 0, 0], [0.1, 0, 0]])
    turned = MicrophoneArray([[1.0, 1, 1], [1, 1.03, 1], [1, 1.1, 1]])
    assert array_mismatch(line, turned) == pytest.approx(0, abs=1e-3)
    # In the other direction the middle one is elsewhere.
    assert array_mismatch(line, line.select([2, 1, 0])) > 20


def test_turned_planes_are_wrong_by_the_turn():
    ring = MicrophoneArray.named("circular:6x0.05")
    turn = torch.tensor(4.0).deg2rad()
    matrix = torch.tensor(
        [[turn.cos(), -turn.sin(), 0], [turn.sin(), turn.cos(), 0], [0, 0, 1]]
    )
    turned = MicrophoneArray(ring.positions @ matrix.T + 0.3)
    assert array_mismatch(ring, turned) == pytest.approx(4.0, rel=0.01)
    with pytest.raises(ValueError, match="has 2 microphones, array .* has 6"):
        array_mismatch(ring, MicrophoneArray.named("pair:0.1"))
