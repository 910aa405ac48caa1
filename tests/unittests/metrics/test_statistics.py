"""What the collectors of all tasks share: conditions and tables."""

import csv

import numpy as np
import pytest
import torch

from spatial_brain.metrics.localization import LocalizationErrors
from spatial_brain.metrics.statistics import percentile_interval


def collected(**conditions):
    errors = LocalizationErrors()
    reference = np.array([[20.0, 60.0], [30.0, 90.0], [40.0, 50.0]])
    estimate = reference + [1.0, 2.0]
    errors.append(["a", "b", "c"], estimate, reference, **conditions)
    return errors


def test_texts_are_conditions_of_their_own():
    errors = collected(array=["pair", "ring", "pair"], t60=[0.1, 0.1, 0.5])
    by = errors.summarize(num_bootstrap=0)["by"]
    assert list(by) == ["t60", "separation", "array"]
    numbers = {name: part["num_mixtures"] for name, part in by["array"].items()}
    assert numbers == {"pair": 2, "ring": 1}


def test_conditions_of_mixtures_and_of_sources_may_alternate():
    errors = collected(distance=[0.5, 1.5, 2.5])
    distance = torch.tensor([[0.5, 2.5]])
    errors.append(["d"], [[1.0, 9.0]], [[1.0, 9.0]], distance=distance)
    by = errors.summarize(num_bootstrap=0)["by"]["distance"]
    numbers = {name: part["num_talkers"] for name, part in by.items()}
    assert numbers == {"< 1": 3, "1 to 2": 2, "2 to 3": 3}


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"t60": ["x", 1.0, 2.0]}, "mixtures a, b, c: .*'x'"),
        ({"array": ["x", "y"]}, "condition 'array' must have shape"),
        ({"error": [1.0, 2.0, 3.0]}, "cannot be called error"),
    ],
)
def test_bad_conditions_are_refused(conditions, message):
    with pytest.raises(ValueError, match=message):
        collected(**conditions)


def test_tables_have_means_of_what_has_one(tmp_path):
    errors = collected(array=["pair", "ring", "pair"])
    path = errors.write_csv(tmp_path / "a.csv")
    with open(path, newline="") as stream:
        row = next(csv.DictReader(stream))
    assert row["error"] == "1.5" and "reference" not in row
    assert (row["error_1"], row["reference_2"]) == ("1.0", "60.0")
    assert (row["array"], row["missing"]) == ("pair", "0")


def test_draws_without_a_value_do_not_count():
    means = np.array([np.nan, 1.0, 1.0])
    assert percentile_interval(means) == (1.0, 1.0)
    assert np.isnan(percentile_interval(means[:1])).all()
