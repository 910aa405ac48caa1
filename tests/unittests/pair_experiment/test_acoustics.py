"""Downstream tasks: facts of signals, labels that are missing, cells."""

import json

import pytest
import torch
from pair_runs import DOWNSTREAM, Pairs, train
from running import metrics_of

from spatial_brain.pair_experiment.acoustics import AcousticsBrain
from spatial_brain.pair_experiment.design import Design
from spatial_brain.pair_experiment.sets import EvaluationSets, labels_of


class FoldBrain(AcousticsBrain):
    """Estimates a quantity in rooms of a fold."""

    design = Design(("real_sim_ratio",), ("fold",))

    def training_labels(self):
        """Labels of the task that the run learns from."""
        return labels_of(DATASETS["train"], self.hparams.task)

    def leakage(self):
        """What the evaluation has in common with the training."""
        return ["room hall of the test is in the pre-training"]


def facts(index):
    """A pair of 10 cm; the array is not known of the last signal."""
    return {
        "spacing": 0.1,
        "distance": 0.5 + index,
        "room": "hall" if index < 3 else "office",
        "array": "" if index == 5 else "EM32",
        "noise": torch.nan if index == 5 else 1.0,
    }


VALID = Pairs("val", 6, facts)
DATASETS = {
    "train": Pairs("train", 8),
    "valid": EvaluationSets({"val": VALID}),
    "test": EvaluationSets({"val": VALID, "test": Pairs("t", 6, facts)}),
}


def run(folder, *flags, datasets=DATASETS, **options):
    return train(FoldBrain, DOWNSTREAM, datasets, folder, *flags, **options)


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run(folder, fold=3, real_sim_ratio='"1:1"')
    return folder


def test_cell_of_a_run_stands_in_its_metrics(output):
    metrics = metrics_of(output)
    names = ["task", "mode", "real_sim_ratio", "fold", "lr", "seed"]
    assert list(metrics)[:6] == names
    assert [metrics[name] for name in names[2:4]] == ["1:1", 3]
    page = (output / "report.html").read_text()
    assert "scratch, real sim ratio 1:1, fold 3, 6 test signals" in page
    line = "room hall of the test is in the pre-training"
    assert metrics["leakage"] == [line] and line in page


def test_facts_break_errors_down(output):
    rows = json.loads((output / "predictions.json").read_text())
    assert [row["room"] for row in rows] == ["hall"] * 3 + ["office"] * 3
    # The noise of the signals is not known, of one not even its array.
    assert not any("snr" in row for row in rows)
    assert sum("array" in row for row in rows) == 5
    methods = metrics_of(output)["methods"]
    by = methods["network"]["by"]
    assert {*by} == {"t60", "distance", "room"}
    for room, found in by["room"].items():
        errors = [
            abs(row["network"] - row["reference"])
            for row in rows
            if row["room"] == room
        ]
        assert found["mae"] == pytest.approx(sum(errors) / len(errors))
    log = (output / "log.txt").read_text()
    assert "no errors by array: not known of 1 of 6 test signals" in log
    # GCC-PHAT has the distance of the microphones from the facts.
    assert methods["gcc_phat"]["mae"] < 0.2
    assert methods["training_mean"]["mae"] == pytest.approx(
        sum(abs(row["reference"] - 1.625) for row in rows) / 6
    )
    page = (output / "report.html").read_text()
    assert "By room" in page and "office" in page


def test_test_only_gives_the_same(output):
    before = metrics_of(output)
    (output / "metrics.json").unlink()
    run(output, "--test_only", fold=3, real_sim_ratio='"1:1"')
    assert metrics_of(output) == before


@pytest.mark.parametrize("split", ["train", "valid"])
def test_signals_without_a_label_are_refused(split, tmp_path):
    unknown = Pairs("x", 6, facts, TDOA=torch.nan)
    wrong = unknown if split == "train" else EvaluationSets({"val": unknown})
    datasets = {**DATASETS, split: wrong}
    with pytest.raises(ValueError, match="no label TDOA of x"):
        run(tmp_path, datasets=datasets)
    assert not list(tmp_path.rglob("metrics.json"))
    with pytest.raises(ValueError, match="no label DRR of train"):
        run(tmp_path / "other", task="DRR")


def test_training_mean_needs_all_labels(tmp_path):
    class Gaps(FoldBrain):
        """Gives labels of which one is missing."""

        def training_labels(self):
            """Labels of the task that the run learns from."""
            return torch.tensor([1.0, torch.nan])

    with pytest.raises(ValueError, match="1 of 2 are known"):
        train(Gaps, DOWNSTREAM, DATASETS, tmp_path, number_of_epochs=1)


def test_classical_method_needs_the_spacing(tmp_path):
    bare = Pairs("t", 6, lambda index: {"room": "hall"})
    test = EvaluationSets({"val": VALID, "test": bare})
    with pytest.raises(ValueError, match="t0: the distance of its microphones"):
        run(tmp_path, datasets={**DATASETS, "test": test}, number_of_epochs=1)


def test_empty_sets_are_refused():
    with pytest.raises(ValueError, match="no signals in test"):
        EvaluationSets({"val": VALID, "test": []})
    with pytest.raises(ValueError, match="no data set"):
        EvaluationSets({})
