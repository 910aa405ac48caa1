"""What users of Binaural-WSJ0Mix rely on: variants, resume, use, mistakes."""

import csv
import json
import re
import sys
from pathlib import Path

import binaural_trees as tiny
import pytest
import running
import torch
from running import check, metrics_of, same, weights_of

from spatial_brain.cli.main import main
from spatial_brain.dataio.audio import read_audio, write_audio
from spatial_brain.inference import BinauralSeparator

RECIPE = Path(__file__).resolve().parents[2] / "recipes/Binaural-WSJ0Mix"
SMALL = {
    "voices": "{num_talkers: {train: 3, valid: 3, test: 3}, "
    "utterances_per_talker: 1, duration: [1.0, 1.5]}",
    "num_mixtures": "{train: 6, valid: 2, test: 3}",
    "training_signal_len": "4000",
    "num_filters": "8",
    "bottleneck": "4",
    "hidden": "8",
    "num_blocks": "2",
    "num_repeats": "1",
    "number_of_epochs": "2",
    "batch_size": "2",
    "num_workers": "0",
    "preparation_workers": "1",
    "sdr": "False",
    "save_audio": "False",
    "num_examples": "0",
}
# Several experiments one after the other: packages are loaded once. Reports
# take most of the time of a small run.
DRIVER = """
import json, sys
import train
from spatial_brain.experiment import run_experiment
report = train.separation_report
for argv in json.loads(sys.argv[1]):
    parts = train.SeparationBrain, train.prepare, train.dataio_prepare
    wanted = argv[argv.index("--num_examples") + 1] != "0"
    train.separation_report = report if wanted else lambda *_, **__: None
    try:
        run_experiment(*parts, argv)
    except (FileNotFoundError, ValueError) as error:
        print("refused:", error)
"""


def arguments(output, *flags, yaml="mini", **options):
    argv = [f"hparams/{yaml}.yaml", "--noprogressbar", *flags]
    for key, value in {**SMALL, **options, "output_folder": output}.items():
        argv += [f"--{key}", f"{value}"]
    return argv


def resumable(top):
    """Options of the run that is killed, and of the one that is not."""
    return {
        "yaml": "convtasnet-parallel",
        "voices": "{}",
        "speech_folder": top / "plain/data/speech",
        "data_folder": top,
        "storage": "on_the_fly",
        "dynamic_mixing": "True",
        "limit_training_signal_len": "True",
        "lr": 0.01,
        # Each worse epoch from the second on halves the rate.
        "lr_scheduler": "{patience: 0, dont_halve_until_epoch: 1}",
    }


def run_all(*runs, refused=0):
    line = [sys.executable, "-c", DRIVER, json.dumps(runs, default=str)]
    printed = check(running.run(line, RECIPE))
    assert printed.count("refused:") == refused, printed
    return printed


def network_of(output):
    return metrics_of(output)["methods"]["network"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Output folders of runs that nothing disturbed."""
    top = tmp_path_factory.mktemp("binaural")
    speech = {"speech_folder": top / "plain/data/speech"}
    fixed = {"dynamic_mixing": "False", "use_speedperturb": "True", **speech}
    live = {**fixed, "voices": "{}", "data_folder": top / "live/data"}
    noise = {"variant": "noise", "noise_folder": tiny.write_noise(top / "hum")}
    rooms = {"variant": "reverb", "rooms_folder": tiny.write_rooms(top)}
    three = {
        "num_spks": 3,
        "limit_training_signal_len": "False",
        "use_rand_shift": "True",
        "use_wavedrop": "True",
        "eval_batch_size": 2,
    }
    published = {
        "data_folder": top / "published/data",
        "storage": "disk",
        "wsj_root": tiny.write_wsj0(top / "wsj", ".wv1", upper=True),
        "hrtf": tiny.write_cipic(top / "cipic"),
        "metadata_folder": tiny.write_metadata(top / "metadata"),
        "check_counts": "False",
    }
    examples = {"save_audio": "True", "n_audio_to_save": 1, "num_examples": 2}
    run_all(
        arguments(top / "plain", **examples),
        # Three talkers of different speeds, padded in batches of two.
        arguments(top / "three", **three, **fixed),
        arguments(top / "noise", **noise, **fixed, storage="disk"),
        arguments(
            top / "noise_drawn",
            base_folder_dm=top / "plain/data/speech/wsj0/si_tr_s",
            **noise,
            **speech,
        ),
        arguments(top / "reverb", **rooms, **fixed),
        arguments(top / "reverb_drawn", **rooms, **speech),
        arguments(top / "live", yaml="convtasnet-parallel-causal", **live),
        arguments(top / "published", **noise, **published),
        arguments(top / "unbroken", **resumable(top)),
    )
    return top


def test_tables_of_the_original_and_of_ours(runs):
    network = network_of(runs / "plain")
    assert network["num_mixtures"] == 3
    with open(runs / "plain/test_results.csv", newline="") as file:
        *rows, means = csv.DictReader(file)
    assert [*means] == ["snt_id", "snr", "snr_i", "delta_ITD", "delta_ILD"]
    assert len(rows) == 3 and means["snt_id"] == "avg"
    for key, value in network["compat"].items():
        if key in means:
            assert float(means[key]) == pytest.approx(value)
            by_hand = sum(float(row[key]) for row in rows) / 3
            assert by_hand == pytest.approx(value)
    with open(runs / "plain/test_errors.csv", newline="") as file:
        rows = [*csv.DictReader(file)]
    mean = sum(float(row["snr_i"]) for row in rows) / 3
    assert mean == pytest.approx(network["snr_i"])
    log = (runs / "plain/train_log.txt").read_text()
    assert "valid loss" in log and "test snr_i" in log
    report = (runs / "plain/report.html").read_text()
    assert report.count("<audio") == 2 * 5


def test_sounds_keep_levels_and_cues(runs):
    folder = runs / "plain/save/audio_results"
    [path] = folder.glob("*_mix.wav")
    name = str(path).removesuffix("_mix.wav")
    signals = {
        part: read_audio(f"{name}_{part}.wav", fs=8000, num_channels=2)[0]
        for part in ("mix", "source1", "source2", "source1hat", "source2hat")
    }
    talkers = signals["source1"] + signals["source2"]
    assert (signals["mix"] - talkers).abs().max() < 1e-3
    peak = max(float(signal.abs().max()) for signal in signals.values())
    assert peak == pytest.approx(0.9, abs=1e-3)


def test_variants_differ_in_mixtures_and_tables(runs):
    """Noise and rooms are in the mixtures and in the tables."""
    talkers = network_of(runs / "three")
    assert talkers["num_talkers"] == 9
    # Without noise a mixture is as far from one of two talkers as from the
    # other: its SNR, mean of both, is 0 dB.
    assert abs(network_of(runs / "plain")["mixture"]["snr"]) < 0.01
    for name in ("noise", "noise_drawn"):
        assert network_of(runs / name)["mixture"]["snr"] < -0.1
    for name in ("reverb", "reverb_drawn"):
        assert "t60" in network_of(runs / name)["by"]
    log = (runs / "noise_drawn/train_log.txt").read_text()
    assert log.count("train loss") == 2


def finished_tree(folder, reverb):
    """Mixtures that another program wrote, as the original names them."""
    root = folder / ("reverb" if reverb else "2speakers") / "wav8k/min"
    for split, (first, second) in {
        "tr": ("01aa0101", "01ba0102"),
        "cv": ("02aa0101", "02ba0102"),
        "tt": ("40aa0101", "40ba0102"),
    }.items():
        name = f"subject08_{first}_-80_0_{second}_-15_62"
        if reverb:
            name = f"0_4s_{first}_-80_{second}_15"
        s1, s2 = 0.05 * torch.randn(2, 6000, 2)
        for part, signal in (("s1", s1), ("s2", s2), ("mix", s1 + s2)):
            path = root / split / part / f"{name}.wav"
            write_audio(path, signal, 8000, subtype="FLOAT")
    return folder


@pytest.mark.parametrize("reverb", [False, True])
def test_finished_mixtures_need_no_responses(tmp_path, reverb):
    options = {
        "voices": "null",
        "data_folder": finished_tree(tmp_path / "mine", reverb),
        "storage": "disk",
        "check_counts": "False",
        "variant": "reverb" if reverb else "clean",
    }
    run_all(arguments(tmp_path / "out", **options, dynamic_mixing="False"))
    data = metrics_of(tmp_path / "out")["data"]
    assert "heads or rooms of the mixtures found in mine" in data
    log = (tmp_path / "out/log.txt").read_text()
    assert "spherical" not in data + log
    printed = run_all(
        arguments(tmp_path / "other", **options, dynamic_mixing="True"),
        refused=1,
    )
    remedy = "as --rooms_folder" if reverb else "give them as --hrtf"
    assert remedy in printed


def test_killed_run_resumes_to_the_same_weights(runs, tmp_path):
    options = resumable(runs)
    line = [sys.executable, "train.py", *arguments(tmp_path, **options)]
    slow = [*line, "--ckpt_interval_minutes", "0"]
    slow += ["--ckpt_interval_steps", "1"]
    log = tmp_path / "train_log.txt"
    running.kill_when(log.exists, slow, RECIPE)
    assert not (tmp_path / "metrics.json").exists()
    check(running.run(line, RECIPE))
    assert same(weights_of(tmp_path), weights_of(runs / "unbroken"))
    # What was logged, but not saved, is logged twice.
    lines = {*log.read_text().splitlines()}
    assert lines == {*(runs / "unbroken" / log.name).read_text().splitlines()}


def test_two_processes_share_a_training(runs, tmp_path):
    line = [sys.executable, "train.py"]
    speech = runs / "plain/data/speech"
    line += arguments(tmp_path, speech_folder=speech, number_of_epochs=1)
    line += ["--distributed_backend=gloo", "--device=cpu"]
    check(running.run_ranks([*line, "--precision=bf16"], RECIPE))
    log = (tmp_path / "train_log.txt").read_text()
    assert log.count("epoch: 1,") == 1
    assert network_of(tmp_path)["num_mixtures"] == 3


def test_run_separates_a_recording(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    recording = 0.1 * torch.randn(8000, 2)
    write_audio("ears.wav", recording, 8000, subtype="FLOAT")
    main(["separate", "ears.wav", "--model", str(runs / "plain")])
    for k in (1, 2):
        assert read_audio(f"separated/ears_s{k}.wav")[0].shape == (8000, 2)
    model = BinauralSeparator.from_hparams(source=str(runs / "live"))
    whole = model.separate_batch(recording[None])[0]
    live = model.separate_file("ears.wav", streaming=True).sources
    torch.testing.assert_close(live, whole, atol=1e-5, rtol=1e-4)
    capsys.readouterr()


def test_test_only_repeats_the_test_and_mistakes_are_named(runs, tmp_path):
    before = network_of(runs / "three")
    (runs / "three/metrics.json").unlink()
    flags = {
        "dynamic_mixing": "False",
        "speech_folder": runs / "plain/data/speech",
    }
    nowhere = tmp_path / "nowhere"
    cases = (
        ({"speech_folder": nowhere}, f"{nowhere}: no such corpus"),
        ({"hrtf": nowhere}, f"{nowhere}"),
        ({"wsj_root": nowhere}, "--metadata_folder or --download True"),
        ({"variant": "wet"}, "variant must be one of clean, noise, reverb"),
        ({"rule": "both"}, "rule must be one of parallel"),
        ({"num_spks": 9}, "mixtures of 9 talkers need as many speakers"),
        ({"lr": 1e30}, "Look at the data of this batch, and try a lower lea"),
    )
    again = {**flags, "num_spks": 3, "eval_batch_size": 1}
    printed = run_all(
        arguments(runs / "three", "--test_only", **again),
        *(arguments(tmp_path, **{**flags, **o}) for o, _ in cases),
        arguments(tmp_path / "new", "--test_only", **flags),
        refused=len(cases) + 1,
    )
    for _, words in cases:
        assert words in printed
    assert "--test_only needs a trained model" in printed
    assert re.search("epoch 1, step .* is nan; the step is left out", printed)
    # Padded in a batch, or alone: the same output.
    after = network_of(runs / "three")
    for key in ("snr", "si_snr", "itd_error", "ild_error"):
        assert after[key] == pytest.approx(before[key], rel=1e-3, abs=1e-3)


def test_own_mixtures_are_trained_on_and_tested(tmp_path):
    for split in ("train", "valid", "test"):
        sources = torch.randn(2, 6000, 2).clamp(-9, 9) / 20
        parts = {"s1": sources[0], "s2": sources[1], "mix": sources.sum(0)}
        for name, signal in parts.items():
            path = tmp_path / "mine" / split / name / "Gespräch 1.wav"
            write_audio(path, signal, 8000)
    own = {"own_recordings": tmp_path / "mine", "number_of_epochs": "1"}
    drawn = arguments(tmp_path / "drawn", **own, dynamic_mixing="True")
    line = arguments(tmp_path / "out", **own, dynamic_mixing="False")
    run_all(drawn, line, refused=1)
    metrics = metrics_of(tmp_path / "out")
    assert metrics["data"].startswith("1 test mixtures of 2 sources in ")
    assert metrics["methods"]["network"]["num_mixtures"] == 1
