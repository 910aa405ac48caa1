"""What users of the SELD recipes rely on: resume, test, scores, use."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import running
import torch
from running import check, metrics_of, weights_of

from spatial_brain.dataio.annotations import read_events
from spatial_brain.dataio.audio import read_audio, write_audio
from spatial_brain.dataio.files import write_json
from spatial_brain.inference import SELDetector
from spatial_brain.inference.convert import convert
from spatial_brain.inference.pretrained import read_weights
from spatial_brain.reporting.report import read_train_log

RECIPE = Path(__file__).resolve().parents[2] / "recipes/STARSS23"
SMALL = {
    "synthetic_data": "{clips: {train: 4, valid: 2, test: 2}, duration: 12.0, "
    "num_workers: 1}",
    "number_of_epochs": "2",
    "batch_size": "2",
    "num_workers": "0",
    "chunk_length": "5.0",
    "train_hop_length": "5.0",
    "valid_hop_length": "5.0",
    "detection_hop": "2.5",
    "feature_cache": "False",
}


def command(output, *flags, data=None, **overrides):
    options = {**SMALL, **overrides, "output_folder": str(output)}
    if data is not None:
        options["data_folder"] = str(data)
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
    output = tmp_path_factory.mktemp("seld")
    check(run(command(output)))
    return output


def scores_of(output):
    metrics = metrics_of(output)
    keys = ("ER", "F", "LE", "LR", "SELD")
    return {
        f"{name} {key}": value[key]
        for name, value in metrics["methods"].items()
        for key in keys
    }


def test_killed_run_resumes_to_the_same_result(unbroken, tmp_path):
    line = command(
        tmp_path,
        "--ckpt_interval_steps",
        "2",
        data=unbroken / "synthetic_data",
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
    assert scores_of(tmp_path) == pytest.approx(scores_of(unbroken), rel=0.05)


def test_test_only_repeats_the_test(unbroken):
    before = scores_of(unbroken)
    (unbroken / "metrics.json").unlink()
    check(run(command(unbroken, "--test_only")))
    assert scores_of(unbroken) == pytest.approx(before, rel=1e-3)


def test_rotated_test_scenes(unbroken, tmp_path):
    for name in ("save", "train_log.txt"):
        (tmp_path / name).symlink_to(unbroken / name)
    line = command(
        tmp_path,
        "--test_only",
        data=unbroken / "synthetic_data",
        num_test_rotations="16",
        compare_untrained="False",
    )
    check(run(line))
    assert set(scores_of(tmp_path)) == {
        key for key in scores_of(unbroken) if "untrained" not in key
    }


def test_cached_features(unbroken, tmp_path):
    line = command(
        tmp_path, data=unbroken / "synthetic_data", feature_cache="True"
    )
    check(run(line))
    # Features in half precision: nearly the same training.
    logs = [read_train_log(x / "train_log.txt") for x in (tmp_path, unbroken)]
    for cached, full in zip(*logs, strict=True):
        assert cached["train loss"] == pytest.approx(
            full["train loss"], rel=0.02
        )
    other = ["--augmentation_name", "augment", "--resume_anyway"]
    done = run([*line, *other])
    assert done.returncode != 0
    assert "FOARotation" in done.stdout + done.stderr


def test_two_processes(unbroken, tmp_path):
    line = command(
        tmp_path,
        "--distributed_backend=gloo",
        "--device=cpu",
        data=unbroken / "synthetic_data",
        number_of_epochs="1",
        batch_size="1",
    )
    check(running.run_ranks(line, RECIPE))
    assert (tmp_path / "report.html").is_file()
    log = (tmp_path / "train_log.txt").read_text()
    assert log.count("epoch: 1") == 1


def test_adapters_on_two_processes_and_resumed(unbroken, tmp_path):
    """What is kept stays bit by bit; the adapters alone are saved."""
    options = {
        "data": unbroken / "synthetic_data",
        "adapter": "bias",
        "initial_weights": str(unbroken),
        "keep_head": "True",
        "adapters_only": "True",
        "batch_size": "1",
    }
    flags = ["--distributed_backend=gloo", "--device=cpu"]
    line = command(tmp_path, *flags, **{**options, "number_of_epochs": "1"})
    done = running.run_ranks(line, RECIPE)
    check(done)
    printed = done.stdout + done.stderr
    assert "737,845 parameters: loaded 737,845" in printed
    assert "; frozen 7" in printed and "random values" not in printed
    done = run(command(tmp_path, "--device=cpu", **options))
    check(done)
    assert "Loading a checkpoint" in done.stdout + done.stderr
    small = tmp_path / "pretrained" / "adapters.safetensors"
    assert small.stat().st_size < 100_000
    assert not small.with_name("model.safetensors").exists()

    whole = convert("adapters", tmp_path, tmp_path / "whole", base=unbroken)
    tuned = read_weights(whole.folder / "model.safetensors")
    for name, tensor in weights_of(unbroken).items():
        kept = "bias" not in name and ".heads." not in name
        if kept and "running" not in name and "num_batches" not in name:
            assert torch.equal(tuned[name], tensor), name
    name = "network.encoder.along_time.3.bias"
    assert not torch.equal(tuned[name], weights_of(unbroken)[name])
    wav = next((unbroken / "synthetic_data" / "foa_dev").rglob("fold4*.flac"))
    detector = SELDetector.from_hparams(source=str(whole.folder))
    # Decoded the same way as the test of the run, from its own weights.
    table = detector.detect_file(wav)
    written = read_events(
        tmp_path / "predictions" / f"{wav.stem}.csv", "dcase2021"
    )
    assert len(table) == len(written)


def test_synthetic_scenes_join_the_training(unbroken, tmp_path):
    data = unbroken / "synthetic_data"
    done = run(
        command(
            tmp_path,
            data=data,
            synthetic_folder=str(data),
            number_of_epochs="1",
        )
    )
    check(done)
    assert "train: 8 rooms, 12 clips" in done.stdout + done.stderr
    assert scores_of(tmp_path)["network SELD"] > 0


@pytest.mark.parametrize(
    "overrides",
    [
        {"method": "einv2", "augmentation_name": "augment"},
        {"method": "accdoa", "augmentation_name": "augmix"},
        {"method": "seddoa", "aggregation": "agg1"},
        {"augmentation_name": "augmix1", "mask_padding": "True"},
    ],
    ids=["einv2", "accdoa augmix", "seddoa agg1", "multi_accdoa augmix1"],
)
def test_methods_and_augmentation(unbroken, tmp_path, overrides):
    done = run(
        command(
            tmp_path,
            "--precision",
            "bf16",
            data=unbroken / "synthetic_data",
            number_of_epochs="1",
            batch_size="4",
            **overrides,
        )
    )
    check(done)
    assert scores_of(tmp_path)["network SELD"] > 0


def test_four_microphones(tmp_path):
    text = (RECIPE / "hparams" / "mini.yaml").read_text(encoding="utf-8")
    text = text.replace("LogMelIntensity", "LogMelGCC")
    text = text.replace("num_channels: 7", "num_channels: 10")
    yaml = tmp_path / "mic.yaml"
    yaml.write_text(text, encoding="utf-8")
    line = command(
        tmp_path / "out",
        synthetic_data="{clips: {train: 2, valid: 2, test: 1}, duration: 6.0, "
        "formats: [mic], num_workers: 1}",
        array_format="mic",
        augmentation_name="augment",
        number_of_epochs="1",
    )
    line[2] = str(yaml)
    check(run(line))
    wav = next(
        (tmp_path / "out" / "synthetic_data" / "mic_dev").rglob("fold4*.flac")
    )
    detector = SELDetector.from_hparams(source=str(tmp_path / "out"))
    assert detector.detect_file(wav).num_frames == 60


def test_rotations_need_vectors(unbroken, tmp_path):
    done = run(
        command(
            tmp_path,
            data=unbroken / "synthetic_data",
            method="einv2",
            num_test_rotations="16",
        )
    )
    assert done.returncode != 0
    assert "give --num_test_rotations 1" in done.stdout + done.stderr


def test_missing_data_are_named(tmp_path):
    line = [sys.executable, "train.py", "hparams/maccdoa_htsat.yaml"]
    line += ["--data_folder", str(tmp_path / "nowhere")]
    done = run([*line, "--output_folder", str(tmp_path / "out")])
    assert done.returncode != 0
    printed = done.stdout + done.stderr
    assert str(tmp_path / "nowhere") in printed
    assert "--download True" in printed


def test_results_are_complete(unbroken):
    metrics = metrics_of(unbroken)
    assert set(metrics["methods"]) == {"network", "untrained", "constant"}
    for part in ("methods", "by_room", "by_overlap"):
        for scores in metrics[part].values():
            assert {"ER", "F", "LE", "LR", "SELD"} <= set(scores)
    assert set(metrics["methods"]["network"]["intervals"]) >= {"F", "SELD"}
    files = sorted((unbroken / "predictions").glob("*.csv"))
    assert len(files) == metrics["num_clips"] == 2
    for file in files:
        assert (read_events(file, "dcase2021").frame < 120).all()
    report = (unbroken / "report.html").read_text(encoding="utf-8")
    assert "http://" not in report.replace("http://www.w3.org", "")


def test_command_line_scores_the_predictions(unbroken):
    metrics = metrics_of(unbroken)
    done = run(
        [sys.executable, "-m", "spatial_brain.cli.main", "score-seld"]
        + ["--reference", str(unbroken / "synthetic_data" / "metadata_dev")]
        + ["--estimate", str(unbroken / "predictions")]
        + ["--dataset", "STARSS23", "--json"]
    )
    check(done)
    found = json.loads(done.stdout)
    for key in ("ER", "F", "LE", "LR", "SELD"):
        assert found[key] == pytest.approx(metrics["challenge"][key])


def test_trained_run_detects_events(unbroken, tmp_path):
    wav = next((unbroken / "synthetic_data" / "foa_dev").rglob("fold4*.flac"))
    table = SELDetector.from_hparams(source=str(unbroken)).detect_file(wav)
    assert table.num_frames == 120
    done = run(
        [sys.executable, "-m", "spatial_brain.cli.main", "detect", str(wav)]
        + ["--model", str(unbroken), "--output", str(tmp_path / "a.csv")]
        + ["--picture", str(tmp_path / "a.png")]
    )
    check(done)
    assert len(read_events(tmp_path / "a.csv")) == len(table)
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_real_ambisonics_scene(unbroken, shared_data, tmp_path):
    folder = shared_data / "recordings" / "aalto_eigenmike_hoa3"
    detector = SELDetector.from_hparams(source=str(unbroken))
    for path in sorted(folder.glob("*.flac")):
        waveform, fs = read_audio(path)
        # N3D to SN3D: first-order channels are larger by the root of three.
        foa = waveform[:, :4] / torch.tensor([1.0, 3**0.5, 3**0.5, 3**0.5])
        write_audio(tmp_path / "foa.wav", foa, fs, clip=True)
        table = detector.detect_file(tmp_path / "foa.wav")
        assert table.num_frames == -(-len(foa) * 10 // fs)


def test_environment_is_noted(unbroken):
    assert (unbroken / "command.txt").read_text().startswith("python ")
    # Of the Python that ran, not of the first one on PATH.
    noted = (unbroken / "env.log").read_text().splitlines()
    assert sys.executable in noted
    assert f"speechbrain=={version('speechbrain')}" in noted


def test_names_and_number_of_classes_belong_together(tmp_path):
    line = [sys.executable, "train.py", "hparams/own_events_htsat.yaml"]
    line += ["--event_folder", "null", "--class_names", "[alarm, knock]"]
    line += ["--output_folder", str(tmp_path)]
    done = running.run(line, RECIPE.parent / "SynthSELD")
    assert done.returncode == 2
    assert "--class_names gives 2 classes (alarm, knock)" in done.stderr


def test_few_clips_of_several_trials(tmp_path):
    modes, clips = ("scratch", "bias"), (4, 16)
    (tmp_path / "pretraining").mkdir()
    for folder, score in [
        ("pretraining", 0.0),
        *(
            (f"{mode}_{number}_clips_{trial}", 0.1 * trial + number / 100)
            for mode in modes
            for number in clips
            for trial in (1, 2)
        ),
    ]:
        scores = {"F": score, "LE": 20.0, "LR": 0.5, "SELD": 0.5}
        write_json(
            tmp_path / folder / "metrics.json",
            {"methods": {"network": scores}},
        )
    line = [sys.executable, "few_clips.py", "--event_folder", "none"]
    line += ["--output", str(tmp_path), "--modes", *modes]
    line += ["--clips", *map(str, clips), "--trials"]
    # All is there: nothing is trained.
    check(running.run([*line, "2"], RECIPE.parent / "SynthSELD"))
    rows = (tmp_path / "few_clips.csv").read_text().splitlines()
    assert len(rows) == 1 + 4 and rows[1].startswith("scratch,4,2,")
    values = [float(value) for value in rows[4].split(",")[3:5]]
    assert values == pytest.approx([0.31, 0.05 * 2**0.5])
    assert (tmp_path / "SELD.png").is_file()
    # One is missing and cannot be trained.
    done = running.run([*line, "3"], RECIPE.parent / "SynthSELD")
    assert done.returncode == 1 and "scratch_4_clips_3" in done.stderr
    console = tmp_path / "scratch_4_clips_3" / "console.txt"
    assert "no such folder of sound events" in console.read_text()
