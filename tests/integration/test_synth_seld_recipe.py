"""SynthSELD: scenes drawn while training, scores by overlap, given weights."""

import sys
from pathlib import Path

import pytest
import running
import yaml
from running import check, metrics_of, weights_of

from spatial_brain.dataio.annotations import read_events
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.seld.chunks import clip_events
from spatial_brain.datasets.seld.pseldnets import write_synthetic_pseldnets
from spatial_brain.inference import SELDetector
from spatial_brain.metrics.seld import SELDScores

RECIPE = Path(__file__).resolve().parents[2] / "recipes/SynthSELD"
KINDS = ["knock", "piano"]
PARTS = "{train: null, test: [test1800_ov1, test900_ov2, test360_ov3]}"
SCENES = """\
scenes: 4
events: null
classes: [knock, piano]
t60: 0
overlap: [1, 2]
"""


def command(output, data, *flags, yaml="mini", **overrides):
    options = {
        "output_folder": str(output),
        "data_folder": str(data / "twin"),
        "train_scenes": str(data / "scenes.yaml"),
        "parts": PARTS,
        "protocol": "original",
        "num_classes": "2",
        "synthetic_data": "null",
        "feature_cache": "False",
        "chunk_length": "2.0",
        "valid_hop_length": "2.0",
        "detection_hop": "2.0",
        "number_of_epochs": "1",
        "num_workers": "0",
        "batch_size": "2",
        "backbone": "crnn",
        "method": "seddoa",
        **overrides,
    }
    line = [sys.executable, "train.py", f"hparams/{yaml}.yaml"]
    line += ["--noprogressbar", *flags]
    for key, value in options.items():
        line += [f"--{key}", value]
    return line


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder of the data, and of a run on scenes drawn while training."""
    data = tmp_path_factory.mktemp("synth")
    write_synthetic_pseldnets(
        data / "twin",
        clips={"test1800_ov1": 2, "test900_ov2": 2, "test360_ov3": 1},
        duration=2.0,
        kinds=KINDS,
        scene={"t60_range": (0.15, 0.25), "size_high": (5, 4, 3)},
    )
    (data / "scenes.yaml").write_text(SCENES)
    output = data / "out"
    done = running.run(
        command(output, data, aggregation="agg1", threshold="0.1"), RECIPE
    )
    check(done)
    assert "drawn anew in every epoch: 4 scenes" in done.stdout + done.stderr
    return data, output


def test_scores_by_overlap_are_those_of_the_subsets(trained):
    data, output = trained
    entries = read_manifest(
        output / "data" / "test.json", data_root=data / "twin"
    )
    references = clip_events(entries)
    metrics = metrics_of(output)
    assert set(metrics["by_overlap"]) == {"ov1", "ov2", "ov3"}
    assert metrics["num_clips"] == 5
    for overlap, found in metrics["by_overlap"].items():
        part = {"ov1": "test1800_ov1", "ov2": "test900_ov2"}
        part = part.get(overlap, "test360_ov3")
        scores = SELDScores(2, mode="pseldnets")
        for clip, reference in references.items():
            if clip.startswith(part):
                path = output / "predictions" / f"{clip}.csv"
                scores.append(
                    reference,
                    read_events(path, "dcase2021"),
                    num_frames=reference.num_frames,
                )
        by_hand = scores.compute()
        assert found["num_clips"] == by_hand["num_clips"] > 0
        for name in ("ER", "F", "LR"):
            # Written directions are whole degrees.
            assert found[name] == pytest.approx(by_hand[name], abs=0.02), name
        assert found["LE"] == pytest.approx(by_hand["LE"], abs=1.0)
        assert metrics["challenge"][part]["ER"] >= 0


def test_the_original_protocol_chooses_and_reports_as_published(trained):
    _, output = trained
    found = metrics_of(output)["methods"]
    assert {scores["mode"] for scores in found.values()} == {"pseldnets"}
    # The epoch is chosen on the clips that are reported, by the same score.
    (path,) = (output / "save").glob("CKPT*/CKPT.yaml")
    chosen = yaml.safe_load(path.read_text())["SELD"]
    assert chosen == pytest.approx(found["network"]["SELD"], rel=1e-3)


def test_released_weights_are_tested_without_training(trained, tmp_path):
    data, output = trained
    detector = SELDetector.from_hparams(source=str(output))
    assert list(detector.hparams.class_names) == KINDS
    line = command(
        tmp_path / "tested",
        data,
        "--test_only",
        yaml="synth_seddoa_agg",
        threshold="0.1",
        initial_weights=str(output / "pretrained"),
        keep_head="True",
    )
    done = running.run(line, RECIPE)
    check(done)
    assert "nothing was trained here: the test is of" in (
        done.stdout + done.stderr
    )
    old, new = (metrics_of(x) for x in (output, tmp_path / "tested"))
    assert new["methods"]["network"]["SELD"] == pytest.approx(
        old["methods"]["network"]["SELD"], rel=1e-3
    )
    assert running.same(weights_of(output), weights_of(tmp_path / "tested"))
    line[line.index("--keep_head") + 1] = "False"
    done = running.run(line, RECIPE)
    assert done.returncode == 2
    assert "as it is with --keep_head True" in done.stderr


def test_other_drawn_scenes_are_named_and_other_classes_refused(
    trained, tmp_path
):
    data, output = trained
    text = SCENES.replace("[knock, piano]", "[piano, knock]")
    (tmp_path / "scenes.yaml").write_text(text)
    scenes = {"train_scenes": str(tmp_path / "scenes.yaml")}
    save = {"save_folder": str(output / "save")}
    line = command(tmp_path / "out", data, "--test_only", **scenes, **save)
    done = running.run(line, RECIPE)
    assert done.returncode == 2
    assert "the classes are piano, knock, those of validation" in done.stderr
    assert "with other scenes: classes ['knock', 'piano'] -> ['piano'" in (
        done.stdout + done.stderr
    )
