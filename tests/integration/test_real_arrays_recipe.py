"""What users of RealArrays rely on: ranks, warm start, resume, preflight."""

import json
import sys
from pathlib import Path

import pytest
import running
from running import check, metrics_of, same, weights_of

from spatial_brain.dataio.audio import write_audio
from spatial_brain.geometry import MicrophoneArray, azel_to_unit
from spatial_brain.simulation import simulate_rir

RECIPE = Path(__file__).resolve().parents[2] / "recipes/RealArrays"
TALKERS = "{train-clean-100: 2, dev-clean: 1, test-clean: 1}"
SYNTHETIC = {
    "LOCATA": {"recordings": 1, "arrays": ["benchmark2"], "duration": 1.0},
    "LibriCSS": {"utterances": 1, "duration": 1.0},
    "BUTReverb": {
        "rooms": ["VUT_FIT_E112", "VUT_FIT_Q301"],
        "sources": 1,
        "seconds": 0.6,
    },
}
OPTIONS = {
    "only_corpora": "[LOCATA, LibriCSS, BUTReverb]",
    "speech": f"{{num_talkers: {TALKERS}, utterances_per_talker: 1}}",
    "stages": "{pretrain: {size: 12}, preval: {size: 4}, pretest: {size: 4}}",
    "num_items": "{train: 12, val: 4, test: 3}",
    "duration": "0.4",
    "batch_size": "4",
    "num_workers": "0",
    "number_of_epochs": "2",
}


def arguments(output, *flags, data, **options):
    argv = ["hparams/mini.yaml", *flags]
    given = {**OPTIONS, "manifest_folder": data, **options}
    given["synthetic_data"] = json.dumps(SYNTHETIC)
    for key, value in {**given, "output_folder": output}.items():
        argv += [f"--{key}", f"{value}"]
    return argv


def data(output, *flags, ranks=1, **options):
    line = [sys.executable, "data.py", *arguments(output, *flags, **options)]
    return (running.run if ranks == 1 else running.run_ranks)(line, RECIPE)


def train(output, *flags, ranks=1, **options):
    flags = ("--noprogressbar", *flags)
    if ranks > 1:
        flags = (*flags, "--device=cpu", "--distributed_backend=gloo")
    line = [sys.executable, "train.py", *arguments(output, *flags, **options)]
    return (running.run if ranks == 1 else running.run_ranks)(line, RECIPE)


@pytest.fixture(scope="module")
def top(tmp_path_factory):
    """A run, and its data."""
    top = tmp_path_factory.mktemp("real")
    check(train(top / "run", data=top / "data"))
    return top


def test_corpora_and_what_leaks_stand_in_the_results(top):
    metrics = metrics_of(top / "run")
    assert list(metrics["sets"]) == ["val", "LOCATA"]
    assert metrics["corpora"] == {
        "LOCATA": {"share": 1 / 11, "rooms": ["lab"]},
        "LibriCSS": {"share": 5 / 11, "rooms": ["room"]},
        "BUTReverb": {"share": 5 / 11, "rooms": ["VUT_FIT_Q301"]},
    }
    [line] = metrics["leakage"]
    assert "1 of its 1 recordings themselves, are in the training" in line
    page = (top / "run/report.html").read_text()
    assert line in page and "trained with LOCATA, LibriCSS" in page
    # A training without them has nothing to report.
    clean = top / "clean"
    check(
        train(
            clean,
            data=top / "data",
            corpora="{LOCATA: {weight: 0}}",
            number_of_epochs=1,
        )
    )
    metrics = metrics_of(clean)
    assert "leakage" not in metrics and "LOCATA" in metrics["sets"]
    assert list(metrics["corpora"]) == ["LibriCSS", "BUTReverb"]


def test_tests_and_resumed_runs(top, tmp_path):
    before = metrics_of(top / "run")["sets"]
    check(
        train(
            top / "run", "--test_only", data=top / "data", eval_batch_size="3"
        )
    )
    for name, found in metrics_of(top / "run")["sets"].items():
        assert found == pytest.approx(before[name], rel=1e-4)
    schedule = {"learning_rate_schedule": "null", "lr": 0.001}
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    found = []
    for folder, epochs in ((parts, 1), (parts, 2), (whole, 2)):
        options = {"number_of_epochs": epochs, **schedule}
        check(train(folder, data=top / "data", **options))
        found.append(weights_of(folder))
    first, resumed, unbroken = found
    assert same(resumed, unbroken) and not same(first, unbroken)


def test_warm_start_from_another_run(top, tmp_path):
    check(
        train(
            tmp_path,
            data=top / "data",
            warm_start=top / "run",
            number_of_epochs=1,
            lr=0.0,
            learning_rate_schedule="null",
        )
    )
    log = (tmp_path / "log.txt").read_text()
    assert "warm start: " in log
    source, warm = weights_of(top / "run"), weights_of(tmp_path)
    moved = [k for k in source if not source[k].equal(warm[k])]
    # Batch normalisation counts, even without a learning rate.
    assert all("running_" in k or "num_batches" in k for k in moved)
    nowhere = train(tmp_path / "b", data=top / "data", warm_start="nowhere")
    assert nowhere.returncode == 2
    assert nowhere.stderr.strip().endswith(
        "--warm_start nowhere: no such folder or checkpoint"
    )


def test_data_and_training_of_several_ranks(top, tmp_path):
    shards = {"storage": "shards", "items_per_file": 3}
    types = {"data_type": "[rir, noise, signals, recordings]"}
    for name, ranks in (("one", 1), ("two", 2)):
        folder = tmp_path / name
        options = {"data": folder, "data_folder": top / "data/corpora"}
        done = data(folder / "run", ranks=ranks, **options, **shards, **types)
        check(done)
    files = [
        path.relative_to(tmp_path / "one")
        for path in sorted((tmp_path / "one").rglob("*"))
        if path.suffix in (".npy", ".flac")
        and "speech" not in path.parts
        and "run" not in path.parts
    ]
    kinds = {path.parts[0] for path in files}
    assert {"responses", "recordings"} < kinds and len(files) > 10
    for path in files:
        one, two = (tmp_path / name / path for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes(), path
    options = {"data": tmp_path / "two", "number_of_epochs": 1}
    options["data_folder"] = top / "data/corpora"
    folder = tmp_path / "two/run"
    check(train(folder, ranks=2, **options, **shards, **types))
    assert metrics_of(folder)["sets"]["val"]["loss"] > 0


def test_measured_table_is_one_of_the_corpora(tmp_path):
    folder = tmp_path / "corpora/TABLE"
    folder.mkdir(parents=True)
    array = MicrophoneArray.named("ace_mobile")
    lines = ["path,azimuth,elevation,distance,condition"]
    (folder / "array.csv").write_text(
        "x,y,z\n"
        + "".join(f"{x},{y},{z}\n" for x, y, z in array.positions.tolist())
    )
    centre = array.positions.mean(0) - array.positions.new([2, 2, 1.5])
    for condition in ("dry", "wet"):
        for azimuth in (0, 90):
            source = 1.2 * azel_to_unit(azimuth, 0.0)
            rir = simulate_rir(
                [4.0, 5.0, 3.0],
                (source - centre)[None],
                array.positions - centre,
                t60=0.2,
                fs=16000,
            )
            name = f"{condition}_{azimuth}.wav"
            write_audio(
                folder / name, rir.reshape(3, -1).T, 16000, subtype="FLOAT"
            )
            lines.append(f"{name},{azimuth},0,1.2,{condition}")
    (folder / "responses.csv").write_text("\n".join(lines) + "\n")
    run = tmp_path / "run"
    check(
        train(
            run,
            data=tmp_path / "data",
            data_folder=tmp_path / "corpora",
            only_corpora="[TABLE]",
            corpora="{TABLE: {val_rooms: [wet], val_weight: 1}}",
            monitored="[TABLE]",
            number_of_epochs=1,
        )
    )
    metrics = metrics_of(run)
    assert metrics["corpora"] == {"TABLE": {"share": 1.0, "rooms": ["dry"]}}
    assert list(metrics["sets"]) == ["val", "TABLE"]


def test_preflight_and_what_is_refused(top, tmp_path):
    folder = {"data": tmp_path, "data_folder": top / "data/corpora"}
    everything = {**folder, "only_corpora": "null"}
    shown = check(data(tmp_path, "--preflight", **everything))
    assert "BUTReverb in " in shown and "2 of 9 rooms" in shown
    assert "MIR in " in shown and "nothing; not in RIR/MIR" in shown
    assert "AMI from https://groups.inf.ed.ac.uk" in shown
    assert [*tmp_path.iterdir()] == []
    for options, message in (
        ({"only_corpora": "[TABLE]"}, "not in TABLE; give its folder: --corp"),
        ({"only_corpora": "[MRI]"}, "no corpus 'MRI'"),
        ({"only_corpora": "[LOCATA, LibriCSS]"}, "no corpus for val is there"),
        ({"data_type": "[rirs]"}, "--data_type rirs: known are rir, noise"),
        ({"download": "[MC_WSJ_AV]"}, "Linguistic Data Consortium"),
        ({"download": "{LOCATA: [devel]}"}, "LOCATA has no subset 'devel'"),
        ({"corpora": "{BUTReverb: {room: 1}}"}, "has no option room"),
    ):
        done = train(tmp_path / "run", **{**folder, **options})
        assert done.returncode == 2, done.stdout + done.stderr
        assert message in done.stderr.strip().splitlines()[-1]
