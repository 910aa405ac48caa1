"""``spatial-brain detect --live``: events as they begin and end."""

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from spatial_brain.cli.main import main
from spatial_brain.dataio.audio import write_audio
from spatial_brain.inference.seld_detector import SELDetector
from spatial_brain.inference.streaming import inputs
from spatial_brain.models.seld import SELDNetwork
from spatial_brain.processing.seld_features import LogMelIntensity
from spatial_brain.simulation.ambisonics import encode_foa

RATE = 8000


class Intensity(nn.Module):
    """Feature of a label frame: the mean of W times W, Y, Z and X."""

    def forward(self, waveform):
        frames = waveform.unflatten(1, (-1, RATE // 10))
        return (frames[..., :1] * frames).mean(2)


class SoundNetwork(nn.Module):
    """One class, where something sounds."""

    def forward(self, features):
        power, y, z, x = features.unbind(-1)
        gate = (power > 1e-6) / power.clamp(min=1e-12)
        return {"accdoa": torch.stack((x, y, z), -1) * gate[..., None]}


def causal_network():
    torch.manual_seed(0)
    network = SELDNetwork(
        "crnn", "accdoa", 1, width=8, attention_layers=0, causal=True
    )
    return network.eval(), LogMelIntensity(24000), 24000


@pytest.fixture
def clock(monkeypatch):
    """Time that stands still but in sleep."""
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now

    def sleep(seconds):
        clock.now += seconds

    clock.sleep = sleep
    monkeypatch.setattr(inputs, "time", clock)
    return clock


@pytest.fixture(autouse=True)
def _model(monkeypatch):
    """Serve networks made by hand as 'toy' and 'causal'."""

    def from_hparams(source, run_opts, **options):
        network, features, rate = SoundNetwork(), Intensity(), RATE
        if source == "causal":
            network, features, rate = causal_network()
        hparams = {
            "sample_rate": rate,
            "chunk_length": 3.0,
            "detection_hop": 1.0,
            "method": "accdoa",
            "num_classes": 1,
            "class_names": ["hiss"],
            "threshold": 0.5,
            "features": features,
            "array_format": "foa",
        }
        return SELDetector({"model": network}, hparams, run_opts)

    monkeypatch.setattr(SELDetector, "from_hparams", from_hparams)


@pytest.fixture
def scene(tmp_path):
    """Sound from the left, then, after 2 s of silence, from the front."""
    sound = torch.randn(6 * RATE) * 0.1
    sound[2 * RATE : 4 * RATE] = 0
    azimuth = torch.where(torch.arange(len(sound)) < 3 * RATE, 90.0, -20.0)
    waveform = encode_foa(sound, azimuth, 10.0)
    write_audio(tmp_path / "scene.wav", waveform, RATE, subtype="FLOAT")
    return str(tmp_path / "scene.wav")


def test_events_are_those_of_the_file(scene, clock, tmp_path, capsys):
    whole, live, table = (str(tmp_path / f"{n}.csv") for n in "abc")
    assert main(["detect", scene, "--model", "toy", "--output", whole]) == 0
    capsys.readouterr()
    common = ["detect", "--live", scene, "--model", "toy"]
    assert main([*common, "--output", live]) == 0
    with open(whole) as one, open(live) as other:
        assert one.read() == other.read()
    captured = capsys.readouterr()
    assert [line.split() for line in captured.out.splitlines()] == [
        "0.0 - hiss 90.0° 10.0° up".split(),
        "0.0 - 2.0 hiss 90.0° 10.0° up".split(),
        # It begins in the frames that the end gives.
        "4.0 - 6.0 hiss -20.0° 10.0° up".split(),
    ]
    assert clock.now == pytest.approx(6.0)
    assert "results up to 3 s after the sound" in captured.err
    assert "6.0 s of sound, 2 events (2 hiss)" in captured.err
    more = ["--delay", "0", "--json", "--output", table, "--format", "csv"]
    assert main([*common, *more]) == 0
    captured = capsys.readouterr()
    assert "results up to 1 s after the sound" in captured.err
    changes = [json.loads(line) for line in captured.out.splitlines()]
    assert [one["event"] for one in changes] == [0, 1, 1]
    assert [one["stop"] for one in changes] == [2.0, None, 6.0]
    with open(table) as file:
        rows = file.read().splitlines()
    assert rows[1:] == [
        "0.000,2.000,hiss,90.00,10.00,",
        "4.000,6.000,hiss,-20.00,10.00,",
    ]


def test_channels_and_rate_are_those_of_the_model(scene, clock, capsys):
    common = ["detect", "--live", scene, "--json", "--seconds", "2"]
    options = ["--model", "toy", "--channels", "0,3,1,2"]
    assert main([*common, *options, "--channel-order", "acn-n3d"]) == 0
    [event] = map(json.loads, capsys.readouterr().out.splitlines())
    assert event["elevation"] == pytest.approx(80, abs=0.5)
    assert main([*common, "--model", "causal"]) == 0
    error = capsys.readouterr().err
    assert "results up to 0.12 s after the sound" in error
    assert "sampling rate is 8000 Hz: above 4000 Hz there is nothing" in error


def test_the_shipped_model_is_chosen_by_the_input(scene, clock, monkeypatch):
    infos = []

    def choose(args, command, info):
        infos.append((command, info.fs, info.num_channels))
        return "toy"

    monkeypatch.setattr("spatial_brain.cli.detect.choose_shipped", choose)
    assert main(["detect", "--live", scene, "--seconds", "1"]) == 0
    assert infos == [("detect", RATE, 4)]


@pytest.mark.parametrize("options, message", [
    (["--live", "--delay", "1", "--model", "causal"], "neither hop nor delay"),
    (["--live", "--delay", "9", "--model", "toy"], "must be from 0 to 2 s"),
    (["--live", "--picture", "a.png", "--model", "toy"], "needs a recording"),
    (["--delay", "1", "--model", "toy"], "--delay needs --live"),
])  # fmt: skip
def test_refusals(scene, capsys, options, message):
    place = options.index("--live") + 1 if "--live" in options else 0
    assert main(["detect", *options[:place], scene, *options[place:]]) == 2
    assert message in capsys.readouterr().err
