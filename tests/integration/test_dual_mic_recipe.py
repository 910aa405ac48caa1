"""What users of a recipe rely on: resume, test, several processes, use."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import running
import torch
from running import check, metrics_of, weights_of

from spatial_brain.dataio.audio import write_audio
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.geometry import azel_to_unit, linear_array
from spatial_brain.inference import SoundLocalizer
from spatial_brain.inference.pretrained.card import read_card
from spatial_brain.simulation import simulate_rir
from spatial_brain.simulation.synthesis.speech import (
    SyntheticTalker,
    synthetic_speech,
)

RECIPE = Path(__file__).resolve().parents[2] / "recipes/DualMic-LibriSpeech"
SMALL = {
    "synthetic_data": "{num_speakers: {dev-clean: 8, test-clean: 2}, "
    "utterances_per_speaker: 3}",
    "num_rooms": "{train: 12, valid: 4, test: 4, calibration: 4}",
    "num_mixtures": "{train: 24, valid: 4, test: 6, calibration: 6}",
    "number_of_epochs": "2",
    "batch_size": "4",
    "num_workers": "0",
}


def command(output, *flags, data=None, **overrides):
    options = {**SMALL, **overrides, "output_folder": str(output)}
    if data is not None:
        options["data_folder"] = options["manifest_folder"] = str(data)
    line = [sys.executable, "train.py", "hparams/mini.yaml"]
    line += ["--noprogressbar", *flags]
    for key, value in options.items():
        line += [f"--{key}", value]
    return line


def run(line):
    return running.run(line, RECIPE)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """Output folder of a run which nothing disturbed."""
    output = tmp_path_factory.mktemp("unbroken")
    done = run(command(output))
    check(done)
    return output


def errors_of(output):
    metrics = metrics_of(output)
    return {name: value["mae"] for name, value in metrics["methods"].items()}


def calibration_of(output):
    return read_card(output / "pretrained/card.json").calibration


def test_killed_run_resumes_to_the_same_result(unbroken, tmp_path):
    line = command(
        tmp_path, "--ckpt_interval_steps", "2", data=unbroken / "data"
    )
    save = tmp_path / "save"
    running.kill_when(lambda: [*save.glob("CKPT*")], line, RECIPE)
    assert not (tmp_path / "metrics.json").exists()
    done = run(line)
    check(done)
    assert "Loading a checkpoint" in done.stdout + done.stderr
    resumed = weights_of(tmp_path)
    for key, value in weights_of(unbroken).items():
        # Other batches or another learning rate move weights by 1e-3.
        assert (resumed[key] - value).abs().float().mean() < 1e-4, key
    assert errors_of(tmp_path) == pytest.approx(errors_of(unbroken), rel=1e-3)
    # Weights that differ by rounding give nearly the same calibration.
    one, other = calibration_of(tmp_path), calibration_of(unbroken)
    for name, values in one.items():
        assert np.allclose(values, other[name], rtol=0.1, atol=0.1), name


def test_test_only_repeats_the_test(unbroken):
    before, calibration = errors_of(unbroken), calibration_of(unbroken)
    (unbroken / "metrics.json").unlink()
    done = run(command(unbroken, "--test_only"))
    check(done)
    assert errors_of(unbroken) == pytest.approx(before, rel=1e-3)
    assert calibration_of(unbroken) == calibration


def test_calibration_has_rooms_of_its_own_and_no_test_speaker(unbroken):
    mixtures = read_manifest(unbroken / "data/calibration_mixtures.json")
    used = {one for entry in mixtures.values() for one in entry["speakers"]}
    speakers = {
        split: {
            entry["speaker"]
            for entry in read_manifest(unbroken / f"data/{split}.json").values()
        }
        for split in ("train", "valid", "test")
    }
    assert used <= speakers["valid"]
    assert not used & (speakers["train"] | speakers["test"])
    rooms = {
        name: {
            room["geometry_hash"]
            for room in read_manifest(
                unbroken / f"data/{name}_rirs.json"
            ).values()
        }
        for name in ("train", "valid", "test", "calibration")
    }
    assert sum(map(len, rooms.values())) == len(set.union(*rooms.values()))


def test_test_only_needs_a_trained_model(unbroken, tmp_path):
    done = run(command(tmp_path, "--test_only", data=unbroken / "data"))
    assert done.returncode != 0
    assert "--test_only needs a trained model" in done.stdout + done.stderr
    assert not (tmp_path / "metrics.json").exists()


@pytest.mark.parametrize("old", [False, True], ids=["torchrun", "launch"])
def test_two_processes(unbroken, tmp_path, old):
    line = command(
        tmp_path,
        "--distributed_backend=gloo",
        "--device=cpu",
        data=unbroken / "data",
        number_of_epochs="1",
    )
    if old:
        # What torch.distributed.launch adds, and what commands of old have.
        flags = ["--local-rank={rank}"]
        line.append("--distributed_launch")
        done = running.run_ranks(line, RECIPE, flags)
    else:
        done = running.torchrun(line, RECIPE)
    check(done)
    assert (tmp_path / "report.html").is_file()
    log = (tmp_path / "train_log.txt").read_text()
    assert log.count("epoch: 1") == 1


def test_half_precision(unbroken, tmp_path):
    flags = ["--precision", "bf16", "--eval_precision", "bf16"]
    done = run(
        command(tmp_path, *flags, data=unbroken / "data", number_of_epochs="1")
    )
    check(done)
    half, full = errors_of(tmp_path), errors_of(unbroken)
    # The baselines get the same mixtures, in full precision.
    for name in ("gcc_phat", "srp_phat"):
        assert half[name] == pytest.approx(full[name], rel=1e-3)


def test_old_launch_flag_without_launcher_names_torchrun(tmp_path):
    done = run(command(tmp_path, "--distributed_launch"))
    assert done.returncode != 0
    assert "torchrun --standalone --nproc_per_node" in done.stderr


def test_missing_data_are_named(tmp_path):
    line = [sys.executable, "train.py", "hparams/conformer.yaml"]
    line += ["--data_folder", str(tmp_path / "nowhere")]
    done = run([*line, "--output_folder", str(tmp_path / "out")])
    assert done.returncode == 2
    message = done.stderr.splitlines()[-1]
    assert message.startswith(f"{tmp_path / 'nowhere'}: no such folder")
    assert "--download True" in message
    assert "Traceback" not in done.stdout + done.stderr
    assert "Traceback" in (tmp_path / "out/log.txt").read_text()


def test_misspelt_options_are_named(tmp_path):
    done = run(command(tmp_path / "out", "--nubmer_of_epochs", "3"))
    assert done.returncode == 2
    assert done.stderr == (
        "no option --nubmer_of_epochs in hparams/mini.yaml; did you mean "
        "--number_of_epochs?\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.fixture
def speakers(tmp_path):
    """Folder with one sub-folder a speaker."""
    for number in range(8):
        for name in ("a", "b"):
            speech = synthetic_speech(24000, 16000, SyntheticTalker(number))
            path = tmp_path / f"corpus/s{number}x/{name}.wav"
            write_audio(path, speech, 16000, clip=True)
    return tmp_path / "corpus"


def test_one_folder_a_speaker(tmp_path, speakers):
    options = {"synthetic_data": "null", "data_folder": str(speakers)}
    out = tmp_path / "out"
    done = run(command(out, **options))
    assert done.returncode == 2
    assert "--test_splits null --test_speakers 0.1" in done.stderr
    options |= {"test_splits": "null", "number_of_epochs": "1"}
    done = run(command(out, **options))
    assert done.returncode == 2
    assert "give --test_splits, or --test_speakers" in done.stderr
    options |= {"valid_speakers": "2", "test_speakers": "0.25"}
    done = run(command(out, **options))
    check(done)
    assert metrics_of(out)["methods"]["network"]["num_mixtures"] == 6
    found = {
        split: {
            entry["speaker"]
            for entry in read_manifest(out / f"data/{split}.json").values()
        }
        for split in ("train", "valid", "test")
    }
    assert [len(found[split]) for split in found] == [4, 2, 2]
    assert len(set.union(*found.values())) == 8
    assert "folders are taken for speakers: s0x," in (
        out / "log.txt"
    ).read_text("utf-8")


def test_speech_and_rooms_of_a_part_belong_together(tmp_path):
    done = run(command(tmp_path, num_rooms="{valid: null}"))
    assert done.returncode == 2
    assert "there is speech for valid, but no rooms" in done.stderr
    done = run(command(tmp_path, valid_speakers="null"))
    assert done.returncode == 2
    assert "--valid_speakers (a number or a share" in done.stderr


def test_positions_follow_from_the_spacing(unbroken, tmp_path):
    options = {"data": unbroken / "data", "number_of_epochs": "0"}
    positions = "[[-0.1, 0, 0], [0.1, 0, 0]]"
    done = run(command(tmp_path, microphone_positions=positions, **options))
    assert done.returncode == 2
    assert "give --mic_spacing alone" in done.stderr
    del options["data"]
    options |= {
        "mic_spacing": "0.2",
        "num_rooms": "{train: 1, valid: null, test: 1, calibration: null}",
    }
    options |= {"valid_speakers": "null"}
    options |= {"num_mixtures": "{train: 4, test: 2}"}
    check(run(command(tmp_path / "wide", **options)))
    [room] = read_manifest(tmp_path / "wide/data/test_rirs.json").values()
    first, second = torch.tensor(room["mic_pos"])
    assert (second - first).norm() == pytest.approx(0.2, abs=1e-6)
    localizer = SoundLocalizer.from_hparams(source=str(tmp_path / "wide"))
    assert localizer.hparams.microphone_positions[1] == [0.1, 0.0, 0.0]
    # Rooms for the calibration are left out, and so is what needs it.
    assert not localizer.is_calibrated
    assert metrics_of(tmp_path / "wide")["calibration"] is None


def test_trained_run_locates_a_recording(unbroken, tmp_path):
    path = tmp_path / "recording.wav"
    write_audio(path, 0.1 * torch.randn(48000, 2), 16000)
    localizer = SoundLocalizer.from_hparams(source=str(unbroken))
    assert localizer.is_calibrated
    found = localizer.localize_file(path, num_talkers=2)
    assert found.directions.shape[1] == 2
    assert np.isfinite(found.confidence).all()
    assert np.allclose(found.chances.sum(1), 1)
    done = run(
        [sys.executable, "-m", "spatial_brain.cli.main", "locate"]
        + [str(path), "--model", str(unbroken), "--json"]
    )
    check(done)
    assert json.loads(done.stdout)


def test_evaluation_with_measured_responses(unbroken, tmp_path):
    center = torch.tensor([2.5, 2.0, 1.5])
    lines = ["path,azimuth,elevation,condition"]
    for azimuth in (-60, 0, 45, 120):
        source = center + 1.2 * azel_to_unit(azimuth, 0.0)
        rir = simulate_rir(
            (5, 4, 3), source[None], center + linear_array(2, 0.1), t60=0.2
        )
        write_audio(
            tmp_path / f"{azimuth}.wav", rir[0].T, 16000, subtype="FLOAT"
        )
        lines.append(f"{azimuth}.wav,{azimuth},0,dry")
    lines.append("corner.wav,,,dry")
    (tmp_path / "rirs.csv").write_text("\n".join(lines))
    line = [sys.executable, "evaluate_measured.py", "--num_mixtures", "4"]
    line += ["--model", str(unbroken), "--split", "test-clean"]
    line += ["--speech", str(unbroken / "data")]
    line += ["--rirs", str(tmp_path / "rirs.csv")]
    done = run([*line, "--output", str(tmp_path / "errors.json")])
    check(done)
    errors = json.loads((tmp_path / "errors.json").read_text())
    assert errors["network"]["num_mixtures"] == 4
    assert errors["srp_phat"]["mae"] < 25
    done = run([*line, "--azimuth", "phi"])
    assert done.returncode != 0
    assert "has no column 'phi'" in done.stderr


def test_results_are_complete(unbroken):
    metrics = metrics_of(unbroken)
    methods = metrics["methods"]
    assert {"network", "gcc_phat", "srp_phat", "chance"} <= set(methods)
    calibration = metrics["calibration"]
    assert np.sum(calibration["numbers"], 1).tolist() == [6, 6, 6]
    assert calibration["recordings"] == calibration["fitted_on"] == 18
    assert methods["best_constant"]["mae"] <= methods["chance"]["mae"]
    rows = json.loads((unbroken / "predictions.json").read_text())
    assert len(rows) == methods["network"]["num_mixtures"] == 6
    for row in rows:
        assert {"reference", "estimate", "gcc_phat", "t60"} <= set(row)
    report = (unbroken / "report.html").read_text(encoding="utf-8")
    assert "http://" not in report.replace("http://www.w3.org", "")
    assert "GCC-PHAT" in report and "SRP-PHAT" in report
    assert "How many talkers, and how sure" in report


def test_own_recordings_are_trained_on_and_tested(tmp_path):
    lines = ["file,angle1,angle2,split"]
    for k, split in enumerate(("train", "train", "valid", "test")):
        waveform = torch.randn(33000, 2).clamp(-9, 9) / 10
        write_audio(tmp_path / f"mine/Sitzung {k}.wav", waveform, 16000)
        lines.append(f"Sitzung {k}.wav,{20 + k},{100 - k},{split}")
    (tmp_path / "mine/directions.csv").write_text("\n".join(lines))
    own = {"own_recordings": str(tmp_path / "mine"), "synthetic_data": "null"}
    line = command(tmp_path / "out", **own, number_of_epochs="1")
    check(run(line))
    [row] = json.loads((tmp_path / "out/predictions.json").read_text())
    assert row["id"] == "Sitzung 3.wav" and sorted(row["reference"]) == [23, 97]
    assert {"srp_phat", "chance"} <= row.keys() and "t60" not in row
    table = tmp_path / "mine/directions.csv"
    table.write_text(table.read_text().replace(",100,", ",200,"))
    done = run(line)
    assert done.returncode == 2
    assert "angle2 is '200', expected degrees from 0 to 180" in done.stderr
