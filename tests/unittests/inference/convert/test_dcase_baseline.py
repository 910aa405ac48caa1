"""The published networks of the challenge's baseline become usable."""

import pytest
import torch

from spatial_brain.cli.main import main
from spatial_brain.dataio.audio import read_audio, write_audio
from spatial_brain.inference import SELDetector
from spatial_brain.inference.convert import convert
from spatial_brain.models.dcase_baseline import DCASEBaseline
from spatial_brain.processing.seld_features import BaselineFeatures

CHANNELS = {"foa": 7, "mic": 10}


def published(path, format):
    """A file of the original's layout, and its network."""
    torch.manual_seed(0)
    network = DCASEBaseline(13, CHANNELS[format]).eval()
    state = network.state_dict()
    for name in ("mean", "deviation"):
        state.pop(name)
    torch.save(state, path)
    return network


@pytest.fixture
def data(tmp_path):
    """Recordings of different lengths, in sub-folders as published."""
    torch.manual_seed(1)
    for format in CHANNELS:
        for n, seconds in enumerate((0.7, 2.0)):
            waveform = 0.1 * torch.randn(round(24000 * seconds), 4)
            path = tmp_path / f"data/{format}_dev/dev-train-{n}/fold3_{n}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_audio(path, 0.5 * waveform.cumsum(0).sin(), 24000)
    return tmp_path / "data"


@pytest.mark.parametrize("format", CHANNELS)
def test_published_network_is_usable_at_once(format, data, tmp_path, capsys):
    network = published(tmp_path / "model.h5", format)
    line = ["convert", "--format", "dcase2024-baseline"]
    line += ["--checkpoint", str(tmp_path / "model.h5")]
    line += ["--output", str(tmp_path / "out"), "--data-folder", str(data)]
    assert main(line) == 0
    assert "53 tensors, 74" in capsys.readouterr().out
    detector = SELDetector.from_hparams(
        tmp_path / "out", run_opts={"device": "cpu"}
    )
    features = [
        BaselineFeatures(format)(read_audio(path)[0][None])[0]
        for path in sorted((data / f"{format}_dev").rglob("*.wav"))
    ]
    frames = torch.cat(features, 1).double()
    model = detector.mods.model
    mean, deviation = frames.mean(1), frames.std(1, correction=0)
    deviation[deviation == 0] = 1
    assert torch.allclose(model.mean.double(), mean, atol=1e-4)
    assert torch.allclose(model.deviation.double(), deviation, rtol=1e-4)
    x = features[1][None]
    with torch.no_grad():
        scaled = (x - mean[:, None]) / deviation[:, None]
        expected = network(scaled.float())["multi_accdoa"]
        found = model(x)["multi_accdoa"]
    assert torch.allclose(found, expected, atol=1e-4)
    assert detector.hparams.array_format == format
    assert detector.hparams.class_names[6] == "Walk, footsteps"
    [path, *_] = sorted((data / f"{format}_dev").rglob("*_1.wav"))
    assert detector.detect_file(path).num_frames == 20


def test_other_files_are_refused(data, tmp_path):
    path, out = tmp_path / "model.h5", tmp_path / "out"
    published(path, "foa")
    with pytest.raises(ValueError, match="give --data-folder"):
        convert("dcase2024-baseline", path, out)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError, match="no recordings in foa_dev"):
        convert("dcase2024-baseline", path, out, data_folder=empty)
    state = torch.load(path, weights_only=True)
    state["gru.bias_hh_l0"] = state["gru.bias_hh_l0"][:9]
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"model\.h5.*gru\.bias_hh_l0 is \[9"):
        convert("dcase2024-baseline", path, out, data_folder=data)
    torch.save({**state, "fnn_list.1.bias": torch.ones(117)}, path)
    with pytest.raises(ValueError, match=r"model\.h5 is no baseline.*117"):
        convert("dcase2024-baseline", path, out, data_folder=data)
    torch.save({"fnn_list.1.bias": torch.tensor(1.0)}, path)
    with pytest.raises(ValueError, match=r"model\.h5 is no baseline.*0 and 0"):
        convert("dcase2024-baseline", path, out, data_folder=data)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"model\.h5.*damaged"):
        convert("dcase2024-baseline", path, out, data_folder=data)
    assert not out.exists()


def test_short_and_strange_features_are_refused():
    network = DCASEBaseline(2, 7)
    for shape in ((1, 7, 4, 64), (1, 10, 50, 64), (7, 50, 64)):
        with pytest.raises(ValueError, match="expected features"):
            network(torch.zeros(shape))
