"""Templates run as their READMEs say, and say what is wrong with bad data."""

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import running
import torch

from spatial_brain.dataio.annotations import read_events
from spatial_brain.dataio.audio import read_audio, write_audio
from spatial_brain.inference import (
    BinauralSeparator,
    SELDetector,
    SoundLocalizer,
)

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
SMALL = {
    "localization": {
        "synthetic_data": "{num_recordings: {train: 6, valid: 2, test: 2}, "
        "duration: 1.0, num_workers: 1}"
    },
    "seld": {
        "synthetic_data": "{clips: {train: 2, valid: 1, test: 1}, "
        "duration: 6.0, num_workers: 1}",
        "detection_hop": "2.5",
    },
    "separation": {
        "synthetic_data": "{num_mixtures: {train: 6, valid: 2, test: 2}, "
        "duration: 1.0, num_workers: 1}",
        "model": "{num_filters: 16, bottleneck: 16, hidden: 16}",
    },
}
COMMON = {"batch_size": "2", "num_workers": "0", "number_of_epochs": "2"}


def commands(kind, language=""):
    """Lines of the blocks of a README in a language."""
    text = (TEMPLATES / kind / "README.md").read_text("utf-8")
    blocks = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return "".join(blocks).splitlines()


def command(kind, output, *flags, **options):
    """The first training command of the README, made small."""
    lines = commands(kind)
    line = shlex.split(
        next(x for x in lines if x.startswith("python ")), comments=True
    )
    options = {**COMMON, **SMALL[kind], **options, "output_folder": output}
    for key, value in options.items():
        flags += (f"--{key}", str(value))
    return [sys.executable, *line[1:], "--noprogressbar", *flags]


def run(kind, *args, **options):
    return running.run(command(kind, *args, **options), TEMPLATES / kind)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Kind of template -> output folder of a run, made when asked for."""
    outputs = {}

    def output_of(kind):
        if kind not in outputs:
            output = tmp_path_factory.mktemp(kind)
            running.check(run(kind, output))
            outputs[kind] = output
        return outputs[kind]

    return output_of


def own_data(finished, kind, folder):
    """A copy of the synthetic data that counts as a user's own."""
    shutil.copytree(finished(kind) / "data", folder)
    (folder / "SYNTHETIC.json").unlink()
    return folder


def refused(kind, data, output, **options):
    """What a run prints that ends because of its data."""
    done = run(
        kind, output, **{"synthetic_data": "null"} | options, data_folder=data
    )
    assert done.returncode == 2
    # One line at the end, no traceback.
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("kind", SMALL)
def test_run_leaves_what_the_readme_says(finished, kind):
    output = finished(kind)
    text = (TEMPLATES / kind / "README.md").read_text("utf-8")
    left = text.partition("A run leaves")[2].partition("\n\n")[0]
    names = re.findall(r"`([\w./]+)`", left)
    assert len(names) >= 6
    for name in names:
        assert (output / name).exists(), name
    metrics = running.metrics_of(output)
    assert metrics["methods"]["network"]
    log = (output / "log.txt").read_text()
    assert re.search(rf"INFO - {output}/data, \d+ Hz, .*: train: \d+ clip", log)
    train_log = (output / "train_log.txt").read_text()
    assert "epoch: 2 - train loss" in train_log
    assert "epoch: best - test loss" in train_log


@pytest.mark.parametrize("kind", SMALL)
def test_own_folder_gives_the_same_training(finished, kind, tmp_path):
    data = own_data(finished, kind, tmp_path / "data")
    options = {"synthetic_data": "null", "data_folder": data}
    running.check(run(kind, tmp_path / "out", **options))
    ours, theirs = (
        running.metrics_of(output)["methods"]["network"]
        for output in (tmp_path / "out", finished(kind))
    )
    assert json.dumps(ours) == json.dumps(theirs)


@pytest.mark.parametrize("kind", SMALL)
def test_test_only_and_forgotten_option(finished, kind, tmp_path):
    output = finished(kind)
    before = running.metrics_of(output)
    (output / "metrics.json").unlink()
    running.check(run(kind, output, "--test_only"))
    assert running.metrics_of(output) == before
    data = own_data(finished, kind, tmp_path / "data")
    printed = refused(
        kind,
        data,
        tmp_path / "out",
        synthetic_data=SMALL[kind]["synthetic_data"],
    )
    assert f"{data}: holds data that are not synthetic" in printed


def test_killed_run_goes_on(finished, tmp_path):
    # The data are simulated by two processes this time.
    data = SMALL["localization"]["synthetic_data"].replace(": 1}", ": 2}")
    options = {"ckpt_interval_steps": 1, "synthetic_data": data}
    line = command("localization", tmp_path, **options)
    save = tmp_path / "save"
    running.kill_when(
        lambda: [*save.glob("CKPT*")], line, TEMPLATES / "localization"
    )
    running.check(running.run(line, TEMPLATES / "localization"))
    assert running.same(
        running.weights_of(tmp_path),
        running.weights_of(finished("localization")),
    )


def test_two_processes(finished, tmp_path):
    line = command(
        "localization",
        tmp_path,
        "--distributed_backend=gloo",
        "--device=cpu",
        number_of_epochs="1",
        batch_size="1",
    )
    running.check(running.run_ranks(line, TEMPLATES / "localization"))
    assert running.metrics_of(tmp_path)["methods"]["network"]


def test_two_sources_and_three_microphones(tmp_path):
    options = {
        "num_sources": "2",
        "azimuth_columns": "[left, right]",
        "num_microphones": "3",
        "microphone_positions": "[[0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1]]",
        "max_distance": "0.15",
    }
    running.check(run("localization", tmp_path, **options))
    metrics = running.metrics_of(tmp_path)["methods"]
    assert [x["num_talkers"] for x in metrics.values()] == [4, 4]


def test_unknown_positions(finished, tmp_path):
    data = finished("localization") / "data"
    options = {"microphone_positions": "null", "data_folder": data}
    options["synthetic_data"] = "null"
    running.check(run("localization", tmp_path, **options))
    assert [*running.metrics_of(tmp_path)["methods"]] == ["network"]
    localizer = SoundLocalizer.from_hparams(source=str(tmp_path))
    assert localizer.localize_batch(torch.randn(1, 16000, 4)).degrees.ndim == 2


PARTS = """
import torch
from spatial_brain.processing.spatial import GCCPhat

class Net(torch.nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.features = GCCPhat(num_delays=25, max_delay=0.0003)
        self.scores = torch.nn.Linear(6 * 25, num_classes)

    def forward(self, waveform):
        return self.scores(self.features(waveform).flatten(1))[:, None]

def loss(logits, azimuths):
    index = ((azimuths + 180) / 360 * logits.shape[-1]).long()
    return torch.nn.functional.cross_entropy(logits[:, 0], index[:, 0])
"""


def test_model_and_loss_of_ones_own(finished, tmp_path):
    copy = shutil.copytree(TEMPLATES / "localization", tmp_path / "mine")
    (copy / "my_parts.py").write_text(PARTS)
    text = (copy / "hparams.yaml").read_text("utf-8")
    text = re.sub(
        r"model: !new:.*\n( .*\n)*",
        "model: !new:my_parts.Net\n    num_classes: !ref <num_classes>\n",
        text,
    )
    text = re.sub(r"loss: !name:.*\n.*", "loss: !name:my_parts.loss", text)
    (copy / "hparams.yaml").write_text(text)
    running.check(running.run(command("localization", copy / "out"), copy))
    line = [sys.executable, "-m", "spatial_brain.cli.main", "locate"]
    line += ["--model", str(copy / "out")]
    line += [str(copy / "out" / "data" / "recordings" / "test_0000.wav")]
    done = running.run(line, copy)
    assert done.returncode == 2
    assert "--allow" in done.stderr
    running.check(running.run([*line, "--allow", "my_parts."], copy))


def use(kind, finished, *arguments):
    """What the README's ``spatial-brain`` command prints."""
    line = next(x for x in commands(kind) if x.startswith("spatial-brain"))
    sub_command = shlex.split(line)[1]
    model = ["--model", str(finished(kind))]
    line = [sys.executable, "-m", "spatial_brain.cli.main", sub_command]
    done = running.run([*line, *map(str, arguments), *model], TEMPLATES)
    return running.check(done)


def test_trained_localizer(finished, tmp_path):
    output = finished("localization")
    wav = output / "data" / "recordings" / "test_0001.wav"
    picture = tmp_path / "directions.png"
    printed = use("localization", finished, wav, "--json", "--picture", picture)
    found = json.loads(printed)
    assert found["target"] == "full_azimuth"
    assert picture.stat().st_size > 1000
    [talker] = found["talkers"]
    # The only window of a recording of one second is that of the test.
    rows = json.loads((output / "predictions.json").read_text())
    [row] = [row for row in rows if row["id"] == "recordings/test_0001.wav"]
    assert talker["direction"] == pytest.approx(row["estimate"][0], abs=0.01)
    localizer = SoundLocalizer.from_hparams(source=str(output))
    assert localizer.localize_file(wav).talkers == found["talkers"]


def test_trained_detector(finished, tmp_path):
    output = finished("seld")
    wav = output / "data" / "audio" / "test" / "scene000.wav"
    csv = tmp_path / "events.csv"
    use("seld", finished, wav, "--output", csv)
    written = read_events(output / "predictions" / "test" / "scene000.csv")
    assert len(read_events(csv)) == len(written)
    detector = SELDetector.from_hparams(source=str(output))
    assert detector.detect_file(wav).num_frames == 60


def test_trained_separator(finished, tmp_path):
    wav = finished("separation") / "data" / "test" / "mix" / "mix0000.wav"
    use("separation", finished, wav, "--output", tmp_path)
    files = sorted(tmp_path.glob("*.wav"))
    assert len(files) == 2
    separator = BinauralSeparator.from_hparams(
        source=str(finished("separation"))
    )
    sources = separator.separate_file(wav).sources
    assert torch.allclose(sources[..., 0], read_audio(files[0])[0], atol=1e-5)


def test_bad_recordings(finished, tmp_path):
    data = own_data(finished, "localization", tmp_path / "data")
    table = data / "directions.csv"
    lines = table.read_text().splitlines()
    file, azimuth, split = lines[1].split(",")
    table.write_text("\n".join([lines[0], f"{file},200,{split}", *lines[2:]]))
    printed = refused("localization", data, tmp_path / "out")
    assert f"{table}, line 2: azimuth is '200', expected degrees" in printed
    table.write_text("\n".join([lines[0], f"no.wav,1,{split}", *lines[2:]]))
    printed = refused("localization", data, tmp_path / "out")
    assert f"{data}/no.wav" in printed
    table.write_text("\n".join(line.rpartition(",")[0] for line in lines))
    printed = refused("localization", data, tmp_path / "out")
    assert "no recording has a split; fill a column split" in printed
    # The remedy of the message.
    options = {"synthetic_data": "null", "data_folder": data}
    options |= {"valid_fraction": "0.2", "test_fraction": "0.2"}
    running.check(run("localization", tmp_path / "out", **options))
    log = (tmp_path / "out" / "log.txt").read_text()
    assert "splits drawn file by file, valid_fraction 0.2" in log


def test_bad_annotations(finished, tmp_path):
    data = own_data(finished, "seld", tmp_path / "data")
    csv = data / "metadata" / "train" / "scene001.csv"
    csv.write_text("0,3,0,10,0,100\n")
    assert f"{csv}, line 1" in refused("seld", data, tmp_path / "out")
    csv.unlink()
    printed = refused("seld", data, tmp_path / "out")
    assert f"{csv}: no such file (1 of 4 recordings" in printed


def test_bad_mixtures(finished, tmp_path):
    data = own_data(finished, "separation", tmp_path / "data")
    wav = data / "train" / "s2" / "mix0001.wav"
    write_audio(wav, torch.zeros(8000, 1), 8000)
    printed = refused("separation", data, tmp_path / "out")
    assert f"{wav}: has 1 channels, expected 2" in printed
    shutil.rmtree(data / "valid")
    write_audio(wav, torch.zeros(8000, 2), 8000)
    printed = refused("separation", data, tmp_path / "out")
    assert "no recording for valid" in printed
