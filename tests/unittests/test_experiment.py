"""Guards of the common training loop."""

import itertools
import json
import logging
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import ruamel.yaml
import running
import torch

from spatial_brain.experiment import (
    SpatialBrain,
    on_main_process,
    parse_arguments,
)
from spatial_brain.nnet.schedules import StepDecay, WarmupCosine
from spatial_brain.training_time import StepClock


class Toy(SpatialBrain):
    """Pulls a weight towards batches; keeps what each step saw."""

    seen = ()

    def compute_forward(self, batch, stage):
        rate = self.optimizer.param_groups[0]["lr"]
        self.seen = (*self.seen, (rate, torch.rand(()).item()))
        return self.modules.model(batch)

    def compute_objectives(self, predictions, batch, stage):
        return 1e3 * predictions.square().mean()


def make(schedule=None, **options):
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 2)
    return Toy(
        {"model": model},
        lambda parameters: torch.optim.SGD(parameters, 1.0),
        {"seed": 7, "learning_rate_schedule": schedule},
        {"device": "cpu", "noprogressbar": True, **options},
    )


def fit(brain, epochs=2, batches=3):
    data = torch.ones(batches, 2)
    brain.fit(range(1, epochs + 1), torch.utils.data.DataLoader(data))
    return brain


def test_all_groups_are_clipped_together():
    for limit, clipped in ((2.0, True), (0.0, False)):
        brain = make(max_grad_norm=limit, remove_vector_weight_decay=True)
        brain.opt_class = lambda groups: torch.optim.SGD(groups, 1.0)
        before = [p.detach().clone() for p in brain.modules.parameters()]
        fit(brain, epochs=1, batches=1)
        assert len(brain.optimizer.param_groups) == 2
        moved = torch.cat(
            [
                (new - old).flatten()
                for new, old in zip(
                    brain.modules.parameters(), before, strict=True
                )
            ]
        ).norm()
        if clipped:
            assert moved.item() == pytest.approx(limit, rel=1e-3)
        else:
            assert moved > 100


def test_random_numbers_depend_on_seed_and_step_alone():
    first, second = fit(make()), make()
    torch.manual_seed(99)
    second = fit(second)
    drawn = [value for _, value in first.seen]
    assert drawn == [value for _, value in second.seen]
    assert len(set(drawn)) == 6
    other = make()
    other.hparams.seed = 8
    assert fit(other).seen[0][1] != drawn[0]


def test_learning_rate_follows_the_schedule():
    schedule = StepDecay(0.1, 0.5, every=1)
    rates = [rate for rate, _ in fit(make(schedule)).seen]
    assert rates == pytest.approx([0.1] * 3 + [0.05] * 3)
    rising = WarmupCosine(0.3, warmup=1, epochs=2)
    rates = [rate for rate, _ in fit(make(rising)).seen]
    assert rates[:4] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert rates[3] > rates[4] > rates[5] > 0


class Broken(Toy):
    """A loss, or its gradient, that is not finite in chosen steps."""

    bad, weights = {}, ()

    def compute_objectives(self, predictions, batch, stage):
        loss = super().compute_objectives(predictions, batch, stage)
        kind = self.bad.get((stage.name, self.step))
        if kind == "gradient":
            return loss + (0 * predictions).abs().sqrt().sum()
        if kind == "buffers":
            self.modules.model.register_buffer("mean", loss * math.nan)
        return loss * math.nan if kind else loss

    def on_fit_batch_end(self, batch, outputs, loss, should_step):
        weights = self.modules.model.weight.detach().clone()
        self.weights = (*self.weights, weights)


def break_at(bad, patience=3):
    brain = make(max_grad_norm=1.0, nonfinite_patience=patience)
    brain.__class__, brain.bad = Broken, bad
    return brain


@pytest.mark.parametrize(
    ("kind", "what"),
    [("loss", "the loss is nan"), ("gradient", "the gradient has the norm na")],
)
def test_a_step_that_is_not_finite_is_left_out(kind, what, caplog):
    brain = break_at({("TRAIN", 2): kind})
    with caplog.at_level(logging.WARNING):
        fit(brain, epochs=1)
    first, second, third = brain.weights
    assert torch.equal(first, second) and not torch.equal(second, third)
    assert third.isfinite().all()
    assert f"epoch 1, step 2: {what}" in caplog.text
    assert "left out (1 of at most 3 an epoch)" in caplog.text


def test_too_many_steps_that_are_not_finite_end_the_training():
    bad = {("TRAIN", 1): "loss", ("TRAIN", 3): "gradient"}
    # The count is one of an epoch.
    bad_later = {("TRAIN", 2): "loss"}
    fit(break_at(bad_later, patience=1), epochs=3)
    brain = break_at(bad, patience=1)
    message = r"epoch 1, step 3: the gradient.*\(2 steps.*lower learning rate"
    with pytest.raises(ValueError, match=message):
        fit(brain, epochs=1)
    with pytest.raises(ValueError, match="loss is nan, and with it model.mean"):
        fit(break_at({("TRAIN", 1): "buffers"}))


def test_validation_and_test_refuse_what_is_not_finite():
    data = torch.utils.data.DataLoader(torch.ones(3, 2))
    brain = break_at({("VALID", 2): "loss"})
    with pytest.raises(ValueError, match="validation of epoch 1, not saved: "):
        brain.fit([1], data, data)
    brain = break_at({("TEST", 2): "loss"})
    brain.optimizer = torch.optim.SGD(brain.modules.parameters(), 1.0)
    with pytest.raises(ValueError, match="test: the loss is nan"):
        brain.evaluate(data)


LEAVING = """
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from spatial_brain.experiment import _leave_process_group
import torch

def threads():
    names = Path("/proc/self/task").glob("*/comm")
    return sum("gloo" in name.read_text() for name in names)

torch.distributed.init_process_group("gloo", sys.argv[1], world_size=1, rank=0)
network = torch.nn.Linear(2, 1)
wrapped = {"model": torch.nn.parallel.DistributedDataParallel(network)}
brain = SimpleNamespace(modules=torch.nn.ModuleDict(wrapped))
del wrapped
brain.modules["model"](torch.ones(1, 2)).sum().backward()
before = threads()
_leave_process_group(brain)
assert brain.modules["model"] is network
print(before, threads())
"""


@pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="threads are read from /proc"
)
def test_leaving_the_group_ends_its_threads(tmp_path):
    # What is left of the group can abort the process at its end.
    store = f"file://{tmp_path / 'store'}"
    line = [sys.executable, "-c", LEAVING, store]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    before, after = done.stdout.split()
    assert int(before) > 0 and after == "0", done.stderr


def test_errors_of_the_main_process_are_raised():
    with pytest.raises(ValueError, match="Expecting value"):
        on_main_process(json.loads, "broken{")


REFUSING = """
import sys
import torch
from spatial_brain.experiment import on_main_process, one_line_errors
def prepare():
    raise ValueError("data.csv: no such file")
def one_process():
    error = ValueError("b.wav: damaged")
    error.process = 1
    raise error
rank = int(sys.argv[2])
torch.distributed.init_process_group(
    "gloo", sys.argv[1], world_size=2, rank=rank
)
with one_line_errors():
    try:
        on_main_process(prepare) if sys.argv[3] == "prepare" else one_process()
    finally:
        # Or a thread of gloo may abort the end of the process.
        torch.distributed.destroy_process_group()
"""


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("prepare", ["data.csv: no such file\n", ""]),
        ("train", ["process 1: b.wav: damaged\n"] * 2),
    ],
)
def test_bad_input_ends_every_process_with_one_line(kind, lines, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(REFUSING)
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                str(script),
                f"file://{tmp_path / 'store'}",
                str(rank),
                kind,
            ],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "RANK": str(rank)},
        )
        for rank in range(2)
    ]
    printed = [process.communicate(timeout=100)[1] for process in processes]
    assert [process.returncode for process in processes] == [2, 2], printed
    assert printed == lines


DICTIONARIES = """
counts: {train: 4, valid: 2}
scene: {gap: 1.0, voices: {train: 2}}
free: {}
stages: {train: {size: 3}, pretest_ins_T200: {size: 1}}
rooms: {size: 3}
test_dataloader_opts: {batch_size: 2}
net: !new:torch.nn.Linear {in_features: 1, out_features: 1}
"""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--counts", "{traim: 16}"], "'traim' in --counts .* mean train?"),
        (["--counts={test: 1}"], "'test' in --counts .* are: train, valid"),
        (["--scene={voices: {tain: 1}}"], "--scene: voices of .* mean train?"),
        (["--stages={traim: {size: 1}}"], "'traim' in --stages of .* train?"),
        (["--test_dataloader_opts={batch_sise: 1}"], "mean batch_size?"),
    ],
)
def test_typos_in_dictionaries_are_named(tmp_path, options, message):
    path = tmp_path / "small.yaml"
    path.write_text(DICTIONARIES)
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        parse_arguments([str(path), *options])


def test_keys_of_dictionaries_that_are_the_users_to_choose(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(DICTIONARIES)
    # What another YAML file of the recipe has.
    (tmp_path / "other.yaml").write_text("scene: {laterals: [0, 90]}\n")
    for option in (
        "--free={anything: 1}",
        "--stages={pretest_ins_X: {size: 2}}",
        "--scene={laterals: [1, 2]}",
        "--test_dataloader_opts={pin_memory: True}",
        "--net={bias: False}",
        "--rooms=null",
    ):
        assert parse_arguments([str(path), option])[2]


def test_missing_yaml_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.yaml"):
        parse_arguments([str(tmp_path / "nowhere.yaml")])


@pytest.fixture
def yaml(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text("number_of_epochs: 2\ndata_folder: !PLACEHOLDER\n")
    return str(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nubmer_of_epochs", "3"], "did you mean --number_of_epochs?"),
        (["--number-of-epochs=3"], "did you mean --number_of_epochs?"),
        (["--devcie", "cpu"], "no option --devcie in .*; did you mean --devi"),
        (["--xyz", "3"], "no option --xyz in .*small.yaml; options are its"),
        (["--number_of_epochs", "3"], "small.yaml needs --data_folder"),
        (["number_of_epochs=3"], "cannot read: number_of_epochs=3"),
        (["--data_folder=a", "--data_folder=b"], "each once, the value in"),
        (["--number_of_epochs", "{a: b"], "cannot read: number_of_epochs: {a"),
    ],
)
def test_wrong_options_are_named(yaml, options, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        parse_arguments([yaml, *options])


def test_equals_signs_in_values_stay(yaml):
    for options in (["--data_folder", "a=b.pth"], ["--data_folder=a=b.pth"]):
        overrides = parse_arguments([yaml, *options])[2]
        assert overrides == 'data_folder: "a=b.pth"'


@pytest.mark.parametrize(
    "path", ["2023", "1e5", "a: b", "@lab", "x #2", "[mine]", "- a", "yes", "ä"]
)
def test_paths_are_text(yaml, path):
    for options in (["--data_folder", path], [f"--data_folder={path}"]):
        overrides = parse_arguments([yaml, *options])[2]
        assert ruamel.yaml.YAML(typ="safe").load(overrides) == {
            "data_folder": path
        }
    for text, value in (("null", None), ("'2023'", "2023")):
        overrides = parse_arguments([yaml, "--data_folder", text])[2]
        assert ruamel.yaml.YAML(typ="safe").load(overrides) == {
            "data_folder": value
        }


def test_heads_may_be_lists_of_paths(tmp_path, monkeypatch):
    path = tmp_path / "small.yaml"
    path.write_text("hrtf: null\n")
    heads = "{train: [pinnae, /a b/2.sofa], valid: pinnae, test: pinnae}"
    for options in (["--hrtf", heads], [f"--hrtf={heads}"]):
        overrides = parse_arguments([str(path), *options])[2]
        found = ruamel.yaml.YAML(typ="safe").load(overrides)["hrtf"]
        assert found["train"] == ["pinnae", "/a b/2.sofa"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "[mine]").mkdir()
    overrides = parse_arguments([str(path), "--hrtf", "[mine]"])[2]
    assert overrides == 'hrtf: "[mine]"'


SCRIPT = """
from spatial_brain.experiment import SpatialBrain, run_experiment

def prepare(hparams):
    if hparams["broken"]:
        int("x")
    raise ValueError("no clips:\\n  give another --seed")

if __name__ == "__main__":
    run_experiment(SpatialBrain, prepare, dict)
"""


def test_scripts_end_in_one_line(tmp_path):
    """Bad input: one line, code 2, traceback in the log; bugs: traceback."""
    (tmp_path / "train.py").write_text(SCRIPT)
    keys = "seed: 1\nbroken: False\noutput_folder: out"
    (tmp_path / "a.yaml").write_text(keys)
    line = [sys.executable, "train.py", "a.yaml"]
    done = running.run([*line, "--sede", "2"], tmp_path)
    assert done.returncode == 2
    assert done.stderr == "no option --sede in a.yaml; did you mean --seed?\n"
    assert not (tmp_path / "out").exists()
    done = running.run(line, tmp_path)
    assert done.returncode == 2
    assert done.stderr == "no clips: give another --seed\n"
    assert "Traceback" not in done.stdout
    log = (tmp_path / "out/log.txt").read_text()
    assert "Traceback" in log and "in prepare" in log
    done = running.run([*line, "--broken", "True"], tmp_path)
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_launch_flags_of_old_are_understood(tmp_path, monkeypatch):
    path = tmp_path / "a.yaml"
    path.write_text("seed: 1\n")
    monkeypatch.setenv("RANK", "0")
    flags = ["--distributed_launch", "--local-rank=0", "--seed", "2"]
    name, _, overrides = parse_arguments([str(path), *flags])
    assert name == str(path) and overrides == "seed: 2"


TOY = """
import os, signal, sys, time
import torch
from spatial_brain.dataio.files import read_json
from spatial_brain.experiment import SpatialBrain, run_experiment

class Brain(SpatialBrain):
    def compute_forward(self, batch, stage):
        return self.modules.model(batch)

    def compute_objectives(self, predictions, batch, stage):
        return predictions.square().mean()

    def on_stage_end(self, stage, stage_loss, epoch=None):
        if stage.name == "VALID":
            print("epoch", epoch)
            self.checkpointer.save_checkpoint({"loss": stage_loss})

def prepare(hparams):
    time.sleep(hparams["pause"])

class Data(torch.utils.data.Dataset):
    def __init__(self, fate):
        self.fate = fate

    def __len__(self):
        return 2

    def __getitem__(self, index):
        if self.fate == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fate == "refused":
            read_json("nothing.json")
        return torch.ones(1)

def datasets(hparams):
    return dict.fromkeys(("train", "valid", "test"), Data(hparams["fate"]))

if __name__ == "__main__":
    run_experiment(Brain, prepare, datasets)
"""
TOY_YAML = """
seed: 1
output_folder: out
save_folder: !ref <output_folder>/save
pause: 0
fate: fine
lr: 0.1
number_of_epochs: 1
num_workers: 0
shape: {inputs: 1, outputs: 1}
model: !new:torch.nn.Linear
    in_features: !ref <shape[inputs]>
    out_features: !ref <shape[outputs]>
modules: {model: !ref <model>}
learning_rate_schedule: null
opt_class: !name:torch.optim.SGD
    lr: !ref <lr>
train_dataloader_opts: {num_workers: !ref <num_workers>}
valid_dataloader_opts: {num_workers: !ref <num_workers>}
test_dataloader_opts: {num_workers: !ref <num_workers>}
epoch_counter: !new:speechbrain.utils.epoch_loop.EpochCounter
    limit: !ref <number_of_epochs>
selection_metric: loss
checkpointer: !new:spatial_brain.dataio.checkpoints.AtomicCheckpointer
    checkpoints_dir: !ref <save_folder>
    recoverables: {model: !ref <model>, counter: !ref <epoch_counter>}
"""


@pytest.fixture
def toy(tmp_path):
    (tmp_path / "train.py").write_text(TOY)
    (tmp_path / "toy.yaml").write_text(TOY_YAML)
    line = [sys.executable, "train.py", "toy.yaml", "--device=cpu"]

    def start(*options):
        return running.run([*line, "--noprogressbar", *options], tmp_path)

    assert start().returncode == 0
    start.line, start.folder = line, tmp_path
    return start


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        (["--lr", "0.2"], "lr 0.1 -> 0.2"),
        (["--shape", "{outputs: 2}"], "shape .*outputs"),
        (["--opt_class", "!name:torch.optim.Adam"], "opt_class .*Adam"),
        (["--seed", "2", "--number_of_epochs", "3"], "seed 1 -> 2.$"),
    ],
)
def test_a_folder_of_another_experiment_is_refused(toy, options, changed):
    kept = (toy.folder / "out/hyperparams.yaml").read_text()
    done = toy(*options)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    message, _, remedy = done.stderr.partition(" Choose another")
    assert re.search(changed, message) and "--resume_anyway" in remedy
    # What lies there is still labelled as what it is.
    assert (toy.folder / "out/hyperparams.yaml").read_text() == kept


def test_what_does_not_change_the_experiment_may_differ(toy):
    done = toy("--number_of_epochs", "3")
    assert done.returncode == 0 and "epoch 3" in done.stdout
    assert "epoch 1" not in done.stdout
    log = (toy.folder / "out/log.txt").read_text()
    assert "number_of_epochs 1 -> 3" in done.stderr + log
    done = toy("--lr", "0.3", "--number_of_epochs=4", "--resume_anyway")
    assert done.returncode == 0 and "epoch 4" in done.stdout
    # From here on these are the options of the folder.
    assert toy("--lr", "0.3", "--number_of_epochs=4").returncode == 0
    assert toy().returncode == 2
    assert toy("--test_only").returncode == 0


def test_an_output_folder_that_cannot_be_is_named(toy):
    done = toy("--output_folder", "train.py/out")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("train.py/out: Not a directory; choose")


def test_a_folder_in_use_is_refused_until_its_process_ends(toy):
    first = subprocess.Popen(
        [*toy.line, "--pause", "60", "--resume_anyway"],
        cwd=toy.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        options = toy.folder / "out/save/options.json"
        limit = time.monotonic() + 60
        while '"pause": "60"' not in options.read_text():
            assert time.monotonic() < limit and first.poll() is None
            time.sleep(0.05)
        done = toy("--pause", "60")
        assert done.returncode == 2
        assert "another process is running in this folder" in done.stderr
    finally:
        first.kill()
        first.wait()
    assert toy("--resume_anyway").returncode == 0


def test_a_stopped_run_says_so_and_leaves_its_folder(toy):
    options = toy.folder / "out/save/options.json"
    done = running.run(
        [*toy.line, "--pause", "60", "--resume_anyway"],
        toy.folder,
        stop=(lambda: '"pause": "60"' in options.read_text(), signal.SIGTERM),
    )
    assert done.returncode == 143
    assert done.stderr.endswith(
        "\nterminated; run the same command again to go on from what is "
        "finished\n"
    )
    assert toy("--resume_anyway").returncode == 0


@pytest.mark.parametrize(
    ("fate", "message"),
    [
        ("killed", r"DataLoader worker .* out of memory\? .*fewer --num_work"),
        ("refused", r"nothing\.json: no such file; run the preparation first"),
    ],
)
def test_what_ends_a_worker_is_one_line(toy, fate, message):
    done = toy("--fate", fate, "--num_workers=1", "--output_folder=new")
    assert done.returncode == 2
    assert re.fullmatch(f"{message}[^\n]*\n", done.stderr), done.stderr


@pytest.mark.parametrize(("epochs", "said"), [(1000, True), (3, False)])
def test_long_training_without_gpu_is_announced(epochs, said, caplog):
    caplog.set_level(logging.INFO)
    limit = SimpleNamespace(limit=epochs)
    brain = make()
    brain.hparams.epoch_counter = limit
    brain.quick = "hparams/mini.yaml"
    ticks = itertools.count()
    # 2 s a step, the first 100.
    brain._clock = StepClock(lambda: 2 * next(ticks) + 100)
    # The evaluation between the epochs does not count.
    fit(brain, epochs=2, batches=4)
    left = epochs - 1
    line = (
        f"about 2 h for {left} epochs of 4 steps, 2 s each on "
        f"{torch.get_num_threads()} threads, evaluation not counted; "
        "hparams/mini.yaml takes minutes"
    )
    assert [line in m for m in caplog.messages].count(True) == said
    assert ("without a GPU" in caplog.text) == said
