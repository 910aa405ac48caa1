"""The pretext task: sets that are watched, warm starts, leakage."""

import json

import pytest
import torch
from pair_runs import PRETEXT, Pairs, train
from running import metrics_of, same, weights_of

from spatial_brain.pair_experiment import reconstruction
from spatial_brain.pair_experiment.reconstruction import (
    ReconstructionBrain,
    check_warm_start,
    find_warm_start,
)
from spatial_brain.pair_experiment.sets import EvaluationSets
from spatial_brain.reporting.report import read_train_log

# A batch of four holds signals of both sets, of which other labels are known.
LOCATA = Pairs("lo", 6, T60=None)
DATASETS = {
    "train": Pairs("train", 8),
    "valid": EvaluationSets({"val": Pairs("v", 6), "LOCATA": LOCATA}),
    "test": EvaluationSets({"test": Pairs("t", 6), "LOCATA": LOCATA}),
}


class LeakyBrain(ReconstructionBrain):
    """Knows of a room of the test in its training."""

    def leakage(self):
        """What the evaluation has in common with the training."""
        return ["room Office_1 of LOCATA is in the training"]


@pytest.fixture
def _no_pictures(monkeypatch):
    """Reports without recordings, which take most of the time."""
    monkeypatch.setattr(reconstruction, "NUM_SHOWN", 0)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Output folder of a run of three epochs."""
    folder = tmp_path_factory.mktemp("source")
    train(LeakyBrain, PRETEXT, DATASETS, folder, number_of_epochs=3, lr=0.01)
    return folder


def warm(source, folder, **options):
    """A run that begins with the weights of another, and learns nothing."""
    options = {"number_of_epochs": 1, "lr": 0.0, "seed": 2, **options}
    return train(
        ReconstructionBrain,
        PRETEXT,
        DATASETS,
        folder,
        warm_start=source,
        **options,
    )


def test_sets_are_watched_and_scored_apart(source):
    log = read_train_log(source / "train_log.txt")
    assert len(log) == 3
    for record in log:
        assert record["valid loss"] != record["valid LOCATA loss"] > 0
    sets = metrics_of(source)["sets"]
    assert list(sets) == ["test", "LOCATA"]
    # The same signals with the same masks, in validation and in the test.
    best = min(log, key=lambda record: record["valid loss"])
    assert sets["LOCATA"]["loss"] == pytest.approx(
        best["valid LOCATA loss"], rel=5e-3
    )
    page = (source / "report.html").read_text()
    assert "lo0" in page and "LOCATA" in page


@pytest.mark.usefixtures("_no_pictures")
def test_first_set_alone_picks_the_epoch_with_batch_means(tmp_path):
    brain = train(
        ReconstructionBrain,
        PRETEXT,
        DATASETS,
        tmp_path,
        number_of_epochs=1,
        compat="[batch_means]",
    )
    alone = {**DATASETS, "valid": EvaluationSets({"val": Pairs("v", 6)})}
    other = train(
        ReconstructionBrain,
        PRETEXT,
        alone,
        tmp_path / "alone",
        number_of_epochs=1,
        compat="[batch_means]",
    )
    one, two = (
        b.checkpointer.find_checkpoint().meta["loss"] for b in (brain, other)
    )
    assert one == pytest.approx(two, rel=1e-6)


def test_leakage_is_reported(source):
    line = "room Office_1 of LOCATA is in the training"
    assert metrics_of(source)["leakage"] == [line]
    assert line in (source / "report.html").read_text()
    assert f"leakage: {line}" in (source / "log.txt").read_text()


@pytest.mark.usefixtures("_no_pictures")
def test_warm_start_takes_weights_and_nothing_else(source, tmp_path):
    brain = warm(source, tmp_path)
    found = find_warm_start(source)
    assert find_warm_start(found.parent) == found
    taken = torch.load(found, weights_only=True)
    trained = brain.modules.model.state_dict()
    moved = {k for k in taken if not torch.equal(taken[k], trained[k])}
    # With a learning rate of zero only statistics of batches move.
    assert all("running_" in k or "num_batches" in k for k in moved)
    assert [r["epoch"] for r in read_train_log(tmp_path / "train_log.txt")] == [
        1
    ]
    # An epoch of its own is the best one, however good the other run was.
    [own] = brain.checkpointer.list_checkpoints()
    assert own.meta["epoch"] == 1 and own.path.parent == tmp_path / "save"
    assert "warm start: " in (tmp_path / "log.txt").read_text()


def test_warm_start_from_the_latest_epoch(source, tmp_path):
    # A later epoch that is worse, and one that was cut short.
    copy = tmp_path / "source/save"
    for number, text in enumerate(
        ("loss: 1.0\nepoch: 1", "loss: 3.0\nepoch: 2", "end-of-epoch: false"), 1
    ):
        folder = copy / f"CKPT+2026-01-0{number}"
        folder.mkdir(parents=True)
        (folder / "CKPT.yaml").write_text(f"{text}\nunixtime: {number}.0")
        (folder / "model.ckpt").touch()
    best, latest = (
        find_warm_start(copy.parent, epoch) for epoch in ("best", "latest")
    )
    assert best.parent.name == "CKPT+2026-01-01"
    assert latest.parent.name == "CKPT+2026-01-02"


@pytest.mark.usefixtures("_no_pictures")
def test_resumed_run_does_not_start_warm_again(source, tmp_path):
    folder = tmp_path / "run"
    warm(source, folder, lr=0.01)
    gone = tmp_path / "moved"
    before = json.loads((folder / "metrics.json").read_text())
    options = {"number_of_epochs": 2, "lr": 0.01}
    path = folder / "save/options.json"
    made = path.read_text()
    assert str(source) in made
    # The other run is no longer where it was.
    path.write_text(made.replace(str(source), str(gone)))
    warm(gone, folder, **options)
    log = (folder / "log.txt").read_text()
    assert log.count("warm start: ") == 1
    epochs = read_train_log(folder / "train_log.txt")
    assert [record["epoch"] for record in epochs] == [1, 2]
    unbroken = tmp_path / "unbroken"
    warm(source, unbroken, **options)
    assert same(weights_of(folder), weights_of(unbroken))
    assert metrics_of(folder)["sets"] != before["sets"]


def test_warm_starts_that_cannot_be(source, tmp_path):
    class Checkpoints:
        """A run that has begun, or not."""

        def __init__(self, number=0):
            self.number = number

        def list_checkpoints(self):
            return [None] * self.number

    hparams = {
        "warm_start": tmp_path / "nowhere",
        "warm_start_epoch": "best",
        "frozen_encoders": None,
        "checkpointer": Checkpoints(),
    }
    with pytest.raises(FileNotFoundError, match="--warm_start .*nowhere"):
        check_warm_start(hparams)
    check_warm_start({**hparams, "checkpointer": Checkpoints(1)})
    check_warm_start({**hparams, "warm_start": None})
    there = {**hparams, "warm_start": source}
    check_warm_start(there)
    with pytest.raises(ValueError, match="give one of them"):
        check_warm_start({**there, "frozen_encoders": source})
    with pytest.raises(ValueError, match="one of best, latest, got 'last'"):
        check_warm_start({**there, "warm_start_epoch": "last"})
    with pytest.raises(ValueError, match="does not fit Cross"):
        other = PRETEXT.replace("spat_dim: 8", "spat_dim: 16")
        train(ReconstructionBrain, other, DATASETS, tmp_path, warm_start=source)
