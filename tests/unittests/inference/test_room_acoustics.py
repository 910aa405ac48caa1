"""The estimator of room acoustics, with networks by hand and a real one."""

import json
import math

import numpy as np
import pytest
import torch

from spatial_brain.dataio.audio import read_audio, write_audio
from spatial_brain.inference.pretrained import save_pretrained
from spatial_brain.inference.recordings import RecordingWarning
from spatial_brain.inference.room_acoustics import (
    RoomAcoustics,
    RoomAcousticsEstimator,
)

RATE = 1000


class LevelRatio(torch.nn.Module):
    """Estimates the share of the power in the second channel."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, features):
        self.calls.append(tuple(features.shape))
        power = features.square().mean(1)
        return power[:, 1:] / power.sum(1, keepdim=True)


def make_estimator(model=None, **hparams):
    values = {
        "sample_rate": RATE,
        "duration": 1.0,
        "hop_length": 0.5,
        "task": "ABS",
        "features": torch.nn.Identity(),
        **hparams,
    }
    return RoomAcousticsEstimator(
        {"model": model or LevelRatio()}, values, run_opts={"device": "cpu"}
    )


def noise(seconds, share=0.25, seed=0, rate=RATE):
    """Two channels, the second with a share of the power."""
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randn(round(seconds * rate), 2, generator=generator) * 0.1
    samples /= samples.square().mean(0).sqrt() * 10
    share = torch.as_tensor(share)
    return samples * torch.stack((torch.sqrt(1 - share), torch.sqrt(share)), -1)


@pytest.fixture
def record(tmp_path):
    def write(waveform, rate=RATE, name="room.wav"):
        write_audio(tmp_path / name, waveform, rate, subtype="FLOAT")
        return tmp_path / name

    return write


def test_batch_estimates_and_lengths():
    estimator = make_estimator()
    waveform = torch.stack((noise(1.0, 0.25), noise(1.0, 0.6, seed=1)))
    found = estimator.estimate_batch(waveform)
    assert found.shape == (2,) and found.dtype == torch.float32
    assert found.tolist() == pytest.approx([0.25, 0.6], abs=1e-5)
    # What lies behind the length is ignored.
    changed = waveform.clone()
    changed[0, 600:] = noise(0.4, 0.9)
    lengths = torch.tensor([0.6, 1.0])
    cut = estimator(changed, lengths)
    assert torch.equal(cut, estimator.estimate_batch(waveform, lengths))
    assert {600, 1000} == {shape[1] for shape in estimator.mods.model.calls[1:]}


def test_long_signals_give_the_median_over_windows():
    pieces = [noise(1.0, share) for share in (0.2, 0.9, 0.3)]
    waveform = torch.cat(pieces)[None]
    found = make_estimator(hop_length=1.0).estimate_batch(waveform)
    assert found.item() == pytest.approx(0.3, abs=1e-5)


def test_a_silent_signal_is_nan_and_disturbs_nobody():
    waveform = torch.stack((torch.full((1000, 2), 0.5), noise(1.0)))
    with pytest.warns(RecordingWarning, match="signal 0 of the batch: is sil"):
        found = make_estimator().estimate_batch(waveform)
    assert found.isnan().tolist() == [True, False]
    assert found[1].item() == pytest.approx(0.25, abs=1e-5)


def test_folders_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="no task 'T30'; use one of TDOA, T60"):
        make_estimator(task="T30")
    with pytest.raises(ValueError, match=r"\[1, 2\].*one number each"):
        two = make_estimator(torch.nn.AdaptiveAvgPool1d(2))
        two.hparams.features = lambda waveform: waveform.mean(1)
        two.estimate_batch(noise(1.0)[None])


def test_windows_cover_a_file_to_its_end(record):
    share = torch.linspace(0.2, 0.6, 3300)
    estimator = make_estimator()
    found = estimator.estimate_file(record(noise(3.3, share)))
    assert found.starts.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.3]
    assert np.allclose(found.stops - found.starts, 1.0)
    middle = (found.starts + found.stops) / 2
    assert np.abs(found.values - (0.2 + 0.4 * middle / 3.3)).max() < 0.06
    assert found.duration == 3.3 and found.task == "ABS"
    wide = estimator.estimate_file(record(noise(3.3)), hop_length=1.0)
    assert wide.starts.tolist() == [0.0, 1.0, 2.0, 2.3]
    short = estimator.estimate_file(record(noise(0.7)))
    assert short.starts.tolist() == [0.0] and short.stops.tolist() == [0.7]
    for hop in (0.0, 1.5, -1.0):
        with pytest.raises(ValueError, match="hop"):
            estimator.estimate_file(record(noise(2.0)), hop_length=hop)


def test_silent_windows_are_shown_and_left_out(record):
    waveform = noise(4.0)
    waveform[1000:3000] = 0
    estimator = make_estimator(hop_length=1.0)
    with pytest.warns(RecordingWarning, match="2 of 4 windows"):
        found = estimator.estimate_file(record(waveform))
    assert found.silent.tolist() == [False, True, True, False]
    assert found.median == pytest.approx(0.25, abs=0.02)
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["tracks"]["ABS"]["values"][1] is None
    assert plain["meaning"] == "mean absorption"


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_silence_has_no_estimate(record):
    path = record(torch.full((2000, 2), 0.5))  # an offset is no sound
    with pytest.warns(RecordingWarning, match="is silent"):
        found = make_estimator().estimate_file(path)
    assert found.silent.all() and math.isnan(found.median)
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    track = plain["tracks"]["ABS"]
    assert track["median"] is None and track["quartiles"] == [None, None]


def test_channels_are_chosen_in_order(record):
    scene = noise(2.0)
    path = record(torch.stack((scene[:, 1], torch.zeros(2000), scene[:, 0]), 1))
    estimator = make_estimator()
    found = estimator.estimate_file(path, channels=[2, 0])
    alone = estimator.estimate_file(record(scene, name="two.wav"))
    assert np.array_equal(found.values, alone.values)


def test_other_rates_are_converted(record):
    path = record(noise(3.0, rate=2 * RATE), rate=2 * RATE)
    found = make_estimator().estimate_file(path, resample=True)
    assert found.stops[-1] == 3.0
    assert found.median == pytest.approx(0.25, abs=0.03)


def test_long_files_are_read_piece_by_piece(record, monkeypatch):
    path = record(noise(60.0))
    alive, most, longest = [], [0], []

    def spy(*args, **kwargs):
        waveform, rate = read_audio(*args, **kwargs)
        longest.append(len(waveform))
        alive.append(1)
        most[0] = max(most[0], len(alive))
        return waveform, rate

    estimator = make_estimator()
    predict = estimator._predict

    def count(batch):
        alive.clear()
        return predict(batch)

    monkeypatch.setattr(estimator, "_predict", count)
    monkeypatch.setattr(
        "spatial_brain.inference.room_acoustics.read_audio", spy
    )
    found = estimator.estimate_file(path)
    assert max(longest) == RATE and len(longest) == len(found.starts) == 119
    assert most[0] <= estimator.MAX_BATCH
    # Cutting into batches changes nothing.
    estimator.MAX_BATCH = 7
    assert np.array_equal(estimator.estimate_file(path).values, found.values)


def found_in(task, values, rate=16000):
    times = np.arange(float(len(values)))
    return RoomAcoustics(
        "a.wav", task, len(values), rate, times, times + 1, np.array(values)
    )


def test_median_and_quartiles_leave_silence_out():
    found = found_in("T60", [0.2, math.nan, 0.4, 0.6, 9.0, 0.5])
    assert found.median == 0.5  # an outlier does not pull it
    assert found.quartiles == (0.4, 0.6)
    assert len(found.tracks(0.1)) == 1


def test_what_follows_from_a_tdoa():
    spacing = 0.1
    # From the second microphone's side, from the middle, from the first's.
    far = spacing / 343 * 16000
    found = found_in("TDOA", [-far, 0.0, far / 2, far, 2 * far])
    tdoa, delay, angle = found.tracks(spacing)
    assert tdoa.unit == "samples" and tdoa.values[3] == far
    assert delay.unit == "µs"
    assert delay.values[3] == pytest.approx(1e6 * spacing / 343)
    assert angle.values == pytest.approx([0, 90, 120, 180, 180], abs=1e-4)
    assert [track.name for track in found.tracks()] == ["TDOA", "delay"]
    for bad in (0.0, -1.0, math.inf):
        with pytest.raises(ValueError, match="distance of the microphones"):
            found.tracks(bad)
    # A model at another rate counts other samples.
    slow = found_in("TDOA", [far / 4], rate=8000)
    assert slow.tracks(spacing)[2].values == pytest.approx([120])


def test_logarithms_become_surface_and_volume():
    surface = found_in("SUR", [2.0]).tracks()[1]
    volume = found_in("VOL", [math.log10(50)]).tracks()[1]
    assert (surface.unit, surface.median) == ("m²", 100)
    assert (volume.unit, volume.median) == ("m³", pytest.approx(50))


RUN = """
seed: 1
sample_rate: 16000
task: T60
duration: 0.3
hop_length: 0.1
features: !new:spatial_brain.processing.pair_spectra.PairSpectra
    n_fft: 64
    hop_length: 32
model: !new:spatial_brain.models.mc_conformer.SpatialAcousticsEstimator
    num_bins: 32
    channels: 4
    spec_dim: 16
    spat_dim: 8
modules: {model: !ref <model>}
"""


def test_a_run_of_the_real_network_is_used_at_once(tmp_path):
    mc_conformer = pytest.importorskip("spatial_brain.models.mc_conformer")
    from spatial_brain.processing.pair_spectra import PairSpectra

    net = mc_conformer.SpatialAcousticsEstimator(
        num_bins=32, channels=4, spec_dim=16, spat_dim=8
    )
    keys = RoomAcousticsEstimator.needed_keys({})
    save_pretrained(tmp_path / "pretrained", RUN, keys, {"model": net})
    estimator = RoomAcousticsEstimator.from_hparams(
        tmp_path, run_opts={"device": "cpu"}
    )
    waveform = torch.randn(3, 4800, 2) * 0.1
    with torch.no_grad():
        expected = net.eval()(PairSpectra(64, 32)(waveform))[:, 0]
    assert torch.allclose(estimator.estimate_batch(waveform), expected)
    write_audio(tmp_path / "a.wav", waveform[0], 16000, subtype="FLOAT")
    found = estimator.estimate_file(tmp_path / "a.wav")
    assert found.values == pytest.approx([expected[0].item()], rel=1e-5)
