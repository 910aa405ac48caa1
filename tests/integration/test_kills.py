"""Whatever is killed at any moment and run again ends as if it was not."""

import contextlib
import hashlib
import http.server
import io
import re
import shutil
import tarfile
import threading
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import speechbrain as sb
import torch
from kills import check_kills, content, run_read_only
from tqdm import tqdm

from spatial_brain.dataio import archives
from spatial_brain.dataio.checkpoints import AtomicCheckpointer
from spatial_brain.dataio.download import fetch_and_unpack
from spatial_brain.dataio.files import read_json, write_json
from spatial_brain.datasets.binaural_wsj0mix.dataset import store_mixtures
from spatial_brain.datasets.binaural_wsj0mix.prepare import (
    prepare_drawn_mixtures,
)
from spatial_brain.datasets.binaural_wsj0mix.synthetic import (
    write_synthetic_wsj0,
)
from spatial_brain.datasets.dual_mic.rir_bank import prepare_rir_bank
from spatial_brain.datasets.seld.dcase2021 import (
    prepare_dcase2021,
    write_synthetic_dcase2021,
)
from spatial_brain.datasets.speech.librispeech import prepare_librispeech
from spatial_brain.datasets.speech.synthetic import write_synthetic_librispeech
from spatial_brain.datasets.wsj0_simu.prepare import prepare_wsj0_simu
from spatial_brain.experiment import SpatialBrain, run_experiment

TRAINING = """
seed: 1
output_folder: !PLACEHOLDER
save_folder: !ref <output_folder>/save
number_of_epochs: 3
ckpt_interval_steps: 1
ckpt_interval_minutes: 0
model: !new:speechbrain.nnet.containers.Sequential
    input_shape: [null, 3]
    linear: !new:torch.nn.Linear {in_features: 3, out_features: 4}
    norm: !new:torch.nn.BatchNorm1d {num_features: 4}
    dropout: !new:torch.nn.Dropout {p: 0.3}
    output: !new:torch.nn.Linear {in_features: 4, out_features: 1}
modules: {model: !ref <model>}
learning_rate_schedule: !new:spatial_brain.nnet.schedules.StepDecay
    initial: 0.01
    factor: 0.5
    every: 1
opt_class: !name:torch.optim.Adam {lr: 0.01}
loader: {batch_size: 2}
train_dataloader_opts: {batch_size: 2, shuffle: True}
valid_dataloader_opts: !ref <loader>
test_dataloader_opts: !ref <loader>
epoch_counter: !new:speechbrain.utils.epoch_loop.EpochCounter
    limit: !ref <number_of_epochs>
selection_metric: loss
checkpointer: !new:spatial_brain.dataio.checkpoints.AtomicCheckpointer
    checkpoints_dir: !ref <save_folder>
    recoverables: {model: !ref <model>, counter: !ref <epoch_counter>}
"""
# Of each kind; more are tried by hand.
MOMENTS = 5


def nothing(folder):
    """A run begins with an empty folder."""
    folder.mkdir()


def speech(folder):
    numbers = {"dev-clean": 3, "test-clean": 1}
    write_synthetic_librispeech(folder / "data", numbers, 1)
    prepare_librispeech(folder / "data", folder / "save", valid_speakers=1)


def other_speech(folder):
    """A run that finds synthetic speech of other options."""
    write_synthetic_librispeech(folder / "data", {"train-clean-100": 2}, 1)
    folder /= "data/LibriSpeech"
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {
        "train-clean-100"
    }


def voices(folder):
    write_synthetic_wsj0(folder, {"train": 2, "valid": 2, "test": 2}, 1)


def other_voices(folder):
    one = {"train": 1, "valid": 1, "test": 1}
    write_synthetic_wsj0(folder, one, 1, seed=1)


def scenes(folder):
    write_synthetic_dcase2021(
        folder / "data",
        clips={"train": 1, "valid": 1, "test": 1},
        duration=1.0,
        formats=("foa",),
    )
    prepare_dcase2021(folder / "data", folder / "save", check_counts=False)


def rooms(folder):
    prepare_rir_bank(
        folder,
        20,
        seed=1,
        t60_range=(0.1, 0.15),
        simulation={"diffuse_from": 15.0},
    )


def pairs(folder, storage):
    few = {"train-clean-100": 1, "dev-clean": 1, "test-clean": 1}
    prepare_wsj0_simu(
        None,
        folder,
        stages={"preval": {"size": 3}},
        storage=storage,
        distribution={"T": 0.5},
        speech={"num_talkers": few, "utterances_per_talker": 1},
    )


def mixtures(folder):
    prepare_drawn_mixtures(
        None,
        folder / "save",
        num_mixtures={"train": 2, "valid": 1, "test": 1},
        voices={
            "num_talkers": {"train": 2, "valid": 2, "test": 2},
            "utterances_per_talker": 1,
        },
    )
    store_mixtures(folder / "data", folder / "save", fs=8000)


PREPARATIONS = {
    "speech": speech,
    "scenes": scenes,
    "rooms": rooms,
    "shards": partial(pairs, storage="shards"),
    "wav": partial(pairs, storage="wav"),
    "mixtures": mixtures,
}


@pytest.mark.parametrize("name", PREPARATIONS)
def test_preparations(name, tmp_path):
    make = PREPARATIONS[name]
    check_kills(make, nothing, tmp_path, MOMENTS)
    # What is finished may lie on a read-only disk.
    run_read_only(lambda: make(tmp_path / "run"), tmp_path / "run")


@pytest.mark.parametrize(
    ("before", "make"),
    [(speech, other_speech), (voices, other_voices)],
)
def test_what_other_options_made_is_replaced(before, make, tmp_path):
    before(tmp_path / "before")

    def begin(folder):
        shutil.copytree(tmp_path / "before", folder)

    check_kills(make, begin, tmp_path, MOMENTS)


def checkpoints(folder):
    """Saves three checkpoints and keeps two, after those that are there."""
    model = torch.nn.Linear(2, 2)
    checkpointer = AtomicCheckpointer(folder, {"model": model})
    found = checkpointer.recover_if_possible()
    for epoch in range(1 if found is None else found.meta["epoch"] + 1, 4):
        torch.nn.init.constant_(model.weight, epoch)
        torch.nn.init.constant_(model.bias, epoch)
        checkpointer.save_and_keep_only(
            {"epoch": epoch, "error": (1 - epoch) ** 2},
            name=f"{epoch}",
            min_keys=["error"],
        )


def recovered(folder):
    """Epoch and weights of the best and of the newest checkpoint."""
    found = {}
    for name, key in (("best", "error"), ("newest", None)):
        model = torch.nn.Linear(2, 2)
        checkpointer = AtomicCheckpointer(folder, {"model": model})
        meta = checkpointer.recover_if_possible(min_key=key).meta
        found[name] = meta["epoch"], model.weight.tolist(), model.bias.tolist()
    return found


def test_checkpoints(tmp_path, caplog):
    check_kills(checkpoints, nothing, tmp_path, 20, compare=recovered)
    assert "damaged" not in caplog.text


def zip_archive(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in MEMBERS.items():
            file.writestr(name, data)


def tar_archive(path):
    with tarfile.open(path, "w:gz") as file:
        for name, data in MEMBERS.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))


MEMBERS = {
    f"set/{n % 2}/{n}.bin": np.random.default_rng(n).bytes(5000 * n)
    for n in range(6)
}


def without_markers(folder):
    """What was unpacked; markers hold times."""
    return {
        name: data
        for name, data in content(folder).items()
        if not name.endswith(".unpacked.json")
    }


@pytest.mark.parametrize(
    ("write", "name"), [(zip_archive, "a.zip"), (tar_archive, "a.tar.gz")]
)
def test_unpacking(write, name, tmp_path):
    write(tmp_path / name)
    check_kills(
        lambda folder: archives.unpack(tmp_path / name, folder),
        nothing,
        tmp_path,
        MOMENTS,
        also=[(tqdm, "update")],
        compare=without_markers,
    )
    assert without_markers(tmp_path / "run") == MEMBERS


@pytest.fixture
def server(monkeypatch):
    """Address of an archive, of which a server sends any part."""
    archive = io.BytesIO()
    zip_archive(archive)
    body = archive.getvalue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            found = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(found[1]) if found else 0
            self.send_response(206 if found else 200)
            if found:
                span = f"bytes {start}-{len(body) - 1}/{len(body)}"
                self.send_header("Content-Range", span)
            self.send_header("ETag", '"one"')
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body[start:])

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(
        target=httpd.serve_forever, args=(0.01,), daemon=True
    ).start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield (
        f"http://127.0.0.1:{httpd.server_port}/a.zip",
        f"sha256:{hashlib.sha256(body).hexdigest()}",
    )
    httpd.shutdown()
    httpd.server_close()


@pytest.mark.parametrize("known", [True, False], ids=["checksum", "none"])
def test_downloads(server, known, tmp_path, monkeypatch):
    monkeypatch.setattr("spatial_brain.dataio.download._CHUNK", 8192)
    url, checksum = server
    check_kills(
        lambda folder: fetch_and_unpack(
            url, folder, checksum if known else None
        ),
        nothing,
        tmp_path,
        MOMENTS,
        also=[(tqdm, "update")],
        compare=without_markers,
    )
    assert without_markers(tmp_path / "run") == MEMBERS


class SmallBrain(SpatialBrain):
    """Dropout, running statistics, momentum and order: all has to resume."""

    def compute_forward(self, batch, stage):
        return self.modules.model(batch)

    def compute_objectives(self, predictions, batch, stage):
        return (predictions[:, 0] - batch.sum(1)).square().mean()

    def on_stage_end(self, stage, stage_loss, epoch=None):
        if stage == sb.Stage.VALID:
            self.checkpointer.save_and_keep_only(
                {"loss": stage_loss, "epoch": epoch}, min_keys=["loss"]
            )
        elif stage == sb.Stage.TEST:
            weights = self.modules.model.state_dict()
            write_json(
                Path(self.hparams.output_folder, "metrics.json"),
                {
                    "loss": stage_loss,
                    "weights": {k: v.tolist() for k, v in weights.items()},
                },
            )


def training(folder, yaml):
    data = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    splits = {"train": data, "valid": data[:4], "test": data[4:]}
    options = ["--device=cpu", "--noprogressbar"]
    run_experiment(
        SmallBrain,
        lambda hparams: None,
        lambda hparams: splits,
        [str(yaml), *options, "--output_folder", str(folder)],
    )


def test_training(tmp_path):
    yaml = tmp_path / "train.yaml"
    yaml.write_text(TRAINING)
    check_kills(
        partial(training, yaml=yaml),
        nothing,
        tmp_path,
        MOMENTS,
        also=[(SmallBrain, "fit_batch")],
        compare=lambda folder: read_json(folder / "metrics.json"),
    )
