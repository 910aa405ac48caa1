"""What users of WSJ0-Simu rely on: transfer, resume, stopping, grid, tables."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import running
import torch
from running import check, metrics_of, same, weights_of

from spatial_brain.dataio.audio import write_audio
from spatial_brain.datasets.wsj0_simu.prepare import open_pairs
from spatial_brain.geometry import azel_to_unit, linear_array
from spatial_brain.inference.pretrained import read_card
from spatial_brain.inference.room_acoustics import RoomAcousticsEstimator
from spatial_brain.nnet.averaging import averaged_state
from spatial_brain.simulation import simulate_rir

RECIPE = Path(__file__).resolve().parents[2] / "recipes/WSJ0-Simu"
TALKERS = "{train-clean-100: 2, dev-clean: 1, test-clean: 1}"
COMMON = {
    "speech": f"{{num_talkers: {TALKERS}, utterances_per_talker: 1}}",
    "distribution": "{T: 0.4}",
    "duration": "0.4",
    "num_workers": "0",
    "preparation_workers": "1",
    "number_of_epochs": "3",
    "batch_size": "4",
}
PRETEXT = {
    **COMMON,
    "stages": "{pretrain: {size: 12}, preval: {size: 5}, pretest: {size: 6}, "
    "pretest_ins_T500: {size: 2}}",
}
DOWNSTREAM = {
    **COMMON,
    "tdoa_duration": "0.3",
    "num_rooms": "2",
    "stages": "{train: {num_rooms: 4, rirs_per_room: 2, signals_per_rir: 2}, "
    "val: {num_rooms: 2, rirs_per_room: 3}, "
    "test: {num_rooms: 2, rirs_per_room: 3, signals_per_rir: 1}}",
}


def arguments(yaml, output, *flags, **options):
    base = DOWNSTREAM if "downstream" in yaml else PRETEXT
    argv = [f"hparams/{yaml}.yaml", "--noprogressbar", *flags]
    for key, value in {**base, **options, "output_folder": output}.items():
        argv += [f"--{key}", f"{value}"]
    return argv


def script(argv):
    name = "train_downstream" if "downstream" in argv[0] else "train"
    return [sys.executable, f"{name}.py", *argv]


def run_all(*runs):
    return "".join(check(running.run(script(argv), RECIPE)) for argv in runs)


def encoder(tensors):
    return {k: v for k, v in tensors.items() if k.startswith("spat_encoder.")}


def log_of(output, name):
    lines = (output / "train_log.txt").read_text().splitlines()
    parts = [line.replace(" - ", ", ").split(", ") for line in lines]
    return [
        float(part.split(": ")[1])
        for line in parts
        if line[0].startswith("epoch:")
        for part in line
        if part.startswith(f"{name}:")
    ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Output folders of a pretext run and of what begins with it."""
    top = tmp_path_factory.mktemp("simu")
    pretext = top / "pretext"
    data = {"manifest_folder": top / "data", "pretext": pretext}
    live = {"mode": "lineareval", "compat": "True"}
    printed = run_all(
        arguments("mini", pretext),
        arguments("mini_downstream", top / "finetune", **data),
        arguments("mini_downstream", top / "frozen", mode="lineareval", **data),
        arguments("mini_downstream", top / "live", task="T60", **live, **data),
        arguments(
            "mini",
            top / "analysis",
            manifest_folder=pretext / "data",
            frozen_encoders=pretext,
            spec_input="hidden",
        ),
    )
    (top / "printed.txt").write_text(printed)
    return top


def test_pretext_is_scored_by_sets_of_recordings(runs):
    sets = metrics_of(runs / "pretext")["sets"]
    assert list(sets) == ["pretest", "pretest_ins_T500"]
    for found in sets.values():
        # Half of the frames of one channel are hidden.
        share = found["masked_share"] / found["loss"]
        assert 0.45 < share < 0.51
        assert found["reference"] < found["silence"]
    page = (runs / "pretext/report.html").read_text()
    assert "pretest_ins_T500_000001" in page and "filled in" in page


def test_scores_do_not_depend_on_batches_and_workers(runs):
    before = metrics_of(runs / "pretext")["sets"]
    other = {"eval_batch_size": "4", "num_workers": "1"}
    run_all(arguments("mini", runs / "pretext", "--test_only", **other))
    after = metrics_of(runs / "pretext")["sets"]
    for name, found in before.items():
        assert after[name] == pytest.approx(found, rel=1e-4)


def test_modes_differ_in_what_they_train(runs):
    source = encoder(weights_of(runs / "pretext"))
    frozen = encoder(weights_of(runs / "frozen"))
    live = encoder(weights_of(runs / "live"))
    finetuned = encoder(weights_of(runs / "finetune"))
    assert same(source, frozen)
    moved = {k for k in source if not torch.equal(source[k], live[k])}
    assert moved and all("running_" in k or "num_batches" in k for k in moved)
    name = "spat_encoder.patch_embed.0.weight"
    assert not torch.equal(source[name], finetuned[name])


def test_analysis_trains_a_decoder_on_frozen_encoders(runs):
    source, analysis = (
        weights_of(runs / "pretext"),
        weights_of(runs / "analysis"),
    )
    decoder = {name for name in source if name.startswith("decoder.")}
    moved = {k for k in source if not torch.equal(source[k], analysis[k])}
    assert decoder and moved == decoder
    losses = log_of(runs / "analysis", "valid loss")
    assert losses[-1] < losses[0]
    assert (
        metrics_of(runs / "analysis")["parameters"]
        == (metrics_of(runs / "pretext")["parameters"])
    )


def test_best_epochs_are_averaged_and_baselines_stand_beside(runs):
    output = runs / "finetune"
    metrics = metrics_of(output)
    assert metrics["averaged_epochs"] == [*range(1, metrics["best_epoch"] + 1)]
    saved = {}
    for folder in (output / "save").glob("CKPT*"):
        epoch = int((folder / "counter.ckpt").read_text().split()[1][:-1])
        saved[epoch] = torch.load(folder / "model.ckpt", weights_only=True)
    mean = averaged_state(saved[e] for e in metrics["averaged_epochs"])
    assert same(mean, weights_of(output))
    pairs = open_pairs(runs / "data/train.json", rooms=(0, 2))
    labels = torch.stack([item["labels"]["TDOA"] for item in pairs])
    rows = json.loads((output / "predictions.json").read_text())
    assert len(rows) == 6 and {row["stage"] for row in rows} == {"test"}
    for row in rows:
        assert row["training_mean"] == pytest.approx(
            labels.mean().item(), abs=1e-4
        )
        assert 0.03 <= row["spacing"] <= 0.2
    by_hand = sum(abs(row["network"] - row["reference"]) for row in rows) / 6
    assert metrics["methods"]["network"]["mae"] == pytest.approx(by_hand)
    printed = (runs / "printed.txt").read_text()
    for name in ("network of the best epoch", "training mean", "GCC-PHAT"):
        assert name in printed
    assert "gcc_phat" not in metrics_of(runs / "live")["methods"]


def test_the_card_holds_facts_and_figures_of_the_run(runs):
    folder = runs / "finetune"
    card, metrics = read_card(folder / "card.json"), metrics_of(folder)
    assert card == read_card(folder / "pretrained" / "card.json")
    [error], network = card.measures, metrics["methods"]["network"]
    assert (error.value, error.low, error.high, error.correlation) == tuple(
        network.get(key)
        for key in ("mae", "mae_low", "mae_high", "correlation")
    )
    rows = json.loads((folder / "predictions.json").read_text())
    reference = [row["reference"] for row in rows]
    # No constant has a smaller error than the median.
    assert error.constant == pytest.approx(
        np.abs(reference - np.median(reference)).mean()
    )
    assert card.test_items == len(rows) and card.task == metrics["task"]
    assert card.speech == "synthetic voices" and card.seeds == [1]
    assert card.labels[0] <= rows[0]["training_mean"] <= card.labels[1]
    assert card.spacing == [0.03, 0.2] and card.items > 0


def test_loss_is_exchanged_on_the_command_line(runs, tmp_path):
    options = {"manifest_folder": runs / "data", "pretext": runs / "pretext"}
    options["loss"] = "!name:torch.nn.functional.l1_loss"
    run_all(arguments("mini_downstream", tmp_path, **options))
    squared = log_of(runs / "finetune", "train loss")
    absolute = log_of(tmp_path, "train loss")
    assert absolute[0] < squared[0]
    assert not same(weights_of(tmp_path), weights_of(runs / "finetune"))


def test_run_is_used_by_the_estimator(runs):
    estimator = RoomAcousticsEstimator.from_hparams(source=runs / "finetune")
    assert estimator.hparams.duration == 0.3
    pairs = open_pairs(runs / "data/test.json", crop=0.3)
    rows = json.loads((runs / "finetune/predictions.json").read_text())
    for item, row in zip(pairs, rows, strict=True):
        assert item["id"] == row["id"]
        [value] = estimator.estimate_batch(item["waveform"][None])
        assert value.item() == pytest.approx(row["network"], abs=1e-3)


def test_compat_and_simulation_in_the_step(runs, tmp_path):
    data = {
        "manifest_folder": tmp_path / "data",
        "storage": "on_the_fly",
        "compat": "True",
    }
    plain = arguments("mini", tmp_path / "workers", **data)
    device = {**data, "simulate_on_device": "True"}
    run_all(plain, arguments("mini", tmp_path / "device", **device))
    # Constant within an epoch; zero in the last one.
    assert log_of(tmp_path / "workers", "lr") == pytest.approx([2e-3, 1e-3, 0])
    losses = [log_of(tmp_path / n, "train loss") for n in ("workers", "device")]
    assert len(losses[0]) == 3
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    moments = torch.load(
        next((tmp_path / "workers/save").glob("CKPT*")) / "optimizer.ckpt",
        weights_only=True,
    )
    assert {int(state["step"]) for state in moments["state"].values()} == {3}


def test_kept_embeddings_do_not_change_the_result(runs, tmp_path):
    options = {"manifest_folder": runs / "data", "pretext": runs / "pretext"}
    # A signal that may change is embedded anew in each epoch.
    run_all(
        arguments(
            "mini_downstream",
            tmp_path,
            mode="lineareval",
            renew="True",
            **options,
        )
    )
    one, two = (log_of(f, "valid loss") for f in (runs / "frozen", tmp_path))
    assert one == pytest.approx(two, rel=1e-4)
    one, two = (
        weights_of(f)["mlp_head.1.weight"] for f in (runs / "frozen", tmp_path)
    )
    torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-3)


def test_evaluation_with_measured_responses(runs, tmp_path):
    places = linear_array(3, 0.1)
    center = torch.tensor([2.5, 2.0, 1.5])
    lines = ["path,azimuth,elevation,distance"]
    for azimuth in (-60, 0, 120):
        source = center + 1.2 * azel_to_unit(azimuth, 0.0)
        rir = simulate_rir((5, 4, 3), source[None], center + places, t60=0.2)
        write_audio(
            tmp_path / f"{azimuth}.wav", rir[0].T, 16000, subtype="FLOAT"
        )
        lines.append(f"{azimuth}.wav,{azimuth},0,1.2")
    (tmp_path / "rirs.csv").write_text("\n".join(lines))
    rows = [",".join(f"{x:.4f}" for x in place) for place in places.tolist()]
    (tmp_path / "array.csv").write_text("\n".join(["x_m,y_m,z_m", *rows]))
    line = [sys.executable, "evaluate_measured.py", "--signals", "2"]
    line += ["--model", str(runs / "finetune"), "--snr", "30"]
    line += ["--speech", str(runs / "data/speech"), "--split", "test-clean"]
    line += ["--rirs", str(tmp_path / "rirs.csv")]
    line += ["--array", str(tmp_path / "array.csv"), "--pairs"]
    output = ["--output", str(tmp_path / "errors.json")]
    printed = check(running.run([*line, "0,1", "2,0", *output], RECIPE))
    assert "12 signals, mean absolute error" in printed
    errors = json.loads((tmp_path / "errors.json").read_text())
    # Signs and geometry agree: a classical method finds the delays.
    assert errors["GCC-PHAT"]["median"] < 0.3
    assert errors["GCC-PHAT"]["correlation"] > 0.8
    assert errors[str(runs / "finetune")]["num_examples"] == 12
    done = running.run([*line, "0,3"], RECIPE)
    assert done.returncode and "channels from 0 to 2" in done.stderr


def test_killed_run_resumes_to_the_same_result(runs, tmp_path):
    argv = arguments(
        "mini_downstream",
        tmp_path / "run",
        manifest_folder=runs / "data",
        pretext=runs / "pretext",
    )
    line = script(argv)
    slow = [*line, "--ckpt_interval_steps", "1"]
    save = tmp_path / "run/save"
    running.kill_when(lambda: [*save.glob("CKPT*")], slow, RECIPE)
    assert not (tmp_path / "run/metrics.json").exists()
    check(running.run(line, RECIPE))
    assert same(weights_of(tmp_path / "run"), weights_of(runs / "finetune"))


def test_two_processes_share_a_training(runs, tmp_path):
    argv = arguments(
        "mini_downstream",
        tmp_path,
        manifest_folder=runs / "data",
        pretext=runs / "pretext",
    )
    line = [*script(argv), "--distributed_backend=gloo", "--device=cpu"]
    printed = check(running.run_ranks(line, RECIPE))
    assert printed.count("GCC-PHAT") == 1
    one, two = (metrics_of(f)["methods"] for f in (runs / "finetune", tmp_path))
    for method in ("training_mean", "gcc_phat"):
        assert two[method]["mae"] == pytest.approx(one[method]["mae"])


def test_mistakes_are_named(runs, tmp_path):
    cases = (
        ({}, "give --pretext <output folder"),
        ({"mode": "scratchLOW"}, "mode must be one of finetune"),
        ({"pretext": "nowhere"}, "--pretext nowhere: no such folder"),
        ({"mode": "scratch", "trial": "2"}, "rooms 4 to 5 are wanted"),
        ({"mode": "scratch", "compat": "[x]"}, "unknown compat x; known: new"),
    )
    data = {"manifest_folder": runs / "data", "skip_prep": "True"}
    lines = [
        (arguments("mini_downstream", tmp_path, **data, **options), words)
        for options, words in cases
    ]
    argv = arguments("mini", tmp_path, frozen_encoders="nowhere")
    lines.append((argv, "--frozen_encoders nowhere: no such folder"))
    for argv, words in lines:
        done = running.run(script(argv), RECIPE)
        assert done.returncode and words in done.stderr


def test_grid_resumes_selects_and_prints(runs, tmp_path):
    line = [sys.executable, "grid.py", "hparams/mini_downstream.yaml"]
    line += ["--output", str(tmp_path), "--tasks", "T60", "--rooms", "2"]
    line += ["--modes", "scratch", "--rates", "1e-3", "1e-4", "--trials", "1"]
    options = {**DOWNSTREAM, "manifest_folder": str(runs / "data")}
    del options["num_rooms"]
    options |= {"number_of_epochs": "1"}
    line += [part for k, v in options.items() for part in (f"--{k}", v)]
    printed = check(running.run([*line, "--jobs", "2"], RECIPE))
    assert "2 runs, 2 to do" in printed and "| from scratch |" in printed
    found = {
        lr: metrics_of(tmp_path / f"T60/scratch/R2_trial0/lr{lr}")
        for lr in ("0.001", "0.0001")
    }
    best = min(found, key=lambda lr: found[lr]["valid"]["loss"])
    error = found[best]["methods"]["network"]["mae"]
    assert f"{error:.3f}" in printed
    kept = [p.parent.name for p in tmp_path.rglob("pretrained")]
    assert kept == [f"lr{best}"] and not [*tmp_path.rglob("save")]
    again = check(running.run(line, RECIPE))
    assert "2 runs, 0 to do" in again
    assert again[again.index("T60") :] == printed[printed.index("T60 (") :]
    other = running.run([*line, "--seed", "2"], RECIPE)
    assert other.returncode and "made with other options" in other.stderr
    assert "best_epoch_mae" in (tmp_path / "runs.csv").read_text()
    assert "valid mae" in (tmp_path / "curves.csv").read_text()
