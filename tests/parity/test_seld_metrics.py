"""Scores equal those that the challenges' evaluators gave on equal files.

The numbers were made by running the evaluators (the DCASE Task 3 baselines of
2019 to 2025 and the L3DAS22 repository) on the folders that ``seld_tables``
writes.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from seld_tables import write_folders

from spatial_brain.metrics.seld.files import score_folders

GOLDEN = json.loads(
    Path(__file__).with_name("seld_metrics.json").read_text(encoding="utf-8")
)


def assert_close(found, expected):
    """Compare; the numbers of classes that never occur are left out."""
    if isinstance(expected, list):
        found = found[: len(expected)]
    found, expected = (np.array(x, dtype=float) for x in (found, expected))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("case", list(GOLDEN))
def test_same_scores_as_the_evaluator(case, tmp_path):
    dataset, *average = case.split()
    folders = write_folders(tmp_path, dataset)
    rules = {"average": average[0]} if average else {}
    found = score_folders(*folders, dataset, by_room=True, **rules)
    for name, expected in GOLDEN[case].items():
        if isinstance(expected, dict):
            for part, value in expected.items():
                assert_close(found[name][part], value)
        else:
            assert_close(found[name], expected)
    assert list(found["by"]) == ["1", "2", "3"]
    assert found["num_clips"] == 6 and found["missing"] == []


def test_the_tables_ask_for_something():
    # All kinds of mistakes occur, and no score is at an end of its range.
    scores = GOLDEN["STARSS23 micro"]
    assert 0.1 < scores["F"] < 0.9 and 0.1 < scores["LR"] < 0.98
    assert 2 < scores["LE"] < 60 and scores["ER"] > 0.2
    assert 0.05 < GOLDEN["L3DAS22"]["F"] < 0.9
