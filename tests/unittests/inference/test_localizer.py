"""The localiser: windows, refusals, tracking; with a network made by hand."""

import json

import numpy as np
import pytest
import torch
from posteriors import outputs, recordings

from spatial_brain.cli.main import main
from spatial_brain.dataio.audio import read_audio, write_audio
from spatial_brain.geometry import MicrophoneArray
from spatial_brain.inference import SoundLocalizer
from spatial_brain.inference.localizer import Localization
from spatial_brain.inference.pretrained import save_pretrained
from spatial_brain.inference.pretrained.card import ModelCard
from spatial_brain.inference.recordings import RecordingWarning
from spatial_brain.inference.talkers import TalkerCalibration
from spatial_brain.models.dual_mic import DualMicLocalizer
from spatial_brain.processing.decoding import decode_classes

RATE = 1000
CLASSES = 180


class LevelNetwork(torch.nn.Module):
    """Predicts the share of the power in microphone 1, as an angle.

    Talker A is at 180 degrees times the share, talker B opposite; which one
    comes first depends on the last sample, as if the heads were random.
    """

    def __init__(self):
        super().__init__()
        self.calls, self.inputs = [], []

    def forward(self, waveform):
        self.calls.append(tuple(waveform.shape))
        self.inputs.append(waveform)
        power = waveform.square().mean(1)
        angle = 180 * power[:, 1] / power.sum(1).clamp_min(1e-12)
        pair = torch.stack((angle, 180 - angle), 1)
        pair = torch.where(waveform[:, -1, :1] > 0, pair, pair.flip(1))
        centres = torch.arange(CLASSES) + 0.5
        return -((centres - pair[..., None]) ** 2) / 8


def decode(logits):
    return logits.argmax(-1) + 0.5


def make_localizer(**hparams):
    values = {
        "sample_rate": RATE,
        "microphone_positions": [[-0.05, 0, 0], [0.05, 0, 0]],
        "window_length": 1.0,
        "hop_length": 0.5,
        "target": "cone",
        "decoder": decode,
        **hparams,
    }
    return SoundLocalizer(
        {"model": LevelNetwork()}, values, run_opts={"device": "cpu"}
    )


def noise(seconds, angle=60.0, seed=0, rate=RATE):
    """Two channels whose powers stand for ``angle`` (and its opposite)."""
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randn(round(seconds * rate), 2, generator=generator) * 0.1
    share = torch.as_tensor(angle) / 180
    gains = torch.stack((torch.sqrt(1 - share), torch.sqrt(share)), -1)
    return samples * gains


@pytest.fixture
def record(tmp_path):
    def write(waveform, rate=RATE, name="scene.wav"):
        write_audio(tmp_path / name, waveform, rate, subtype="FLOAT")
        return tmp_path / name

    return write


def test_batch_predictions_and_lengths():
    localizer = make_localizer()
    waveform = torch.stack((noise(1.0, 60.0), noise(1.0, 20.0, seed=1)))
    found = localizer.localize_batch(waveform)
    expected = torch.tensor([[60.0, 120.0], [20.0, 160.0]])
    assert torch.allclose(found.degrees, expected, atol=6)
    # Without a calibration nothing is known of it.
    assert found.confidence.isnan().all()
    # What lies behind the length is ignored.
    waveform[0, 600:] = noise(0.4, 170.0)
    cut = localizer(waveform, torch.tensor([0.6, 1.0])).degrees
    assert torch.allclose(cut, expected, atol=8)
    assert 600 in {shape[1] for shape in localizer.mods.model.calls}


def test_a_silent_row_is_nan_and_disturbs_nobody():
    localizer = make_localizer()
    waveform = torch.stack((torch.zeros(1000, 2), noise(1.0)))
    with pytest.warns(RecordingWarning, match="signal 0 of the batch: is sil"):
        found = localizer.localize_batch(waveform)
    assert found.degrees[0].isnan().all()
    assert torch.equal(
        found.degrees[1], localizer.localize_batch(waveform[1:]).degrees[0]
    )


def test_windows_cover_a_file_to_its_end(record):
    localizer = make_localizer()
    found = localizer.localize_file(record(noise(3.3)))
    assert found.starts.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.3]
    assert np.allclose(found.stops - found.starts, 1.0)
    assert found.directions.shape == found.confidence.shape == (6, 2)
    assert found.talkers[0]["direction"] == pytest.approx(60, abs=4)
    assert found.talkers[1]["direction"] == pytest.approx(120, abs=4)
    wide = localizer.localize_file(record(noise(3.3)), window_length=2.0)
    assert wide.starts.tolist() == [0.0, 1.0, 1.3]
    short = localizer.localize_file(record(noise(0.7)))
    assert short.stops.tolist() == [0.7]
    assert short.talkers[0]["spread"] is None
    json.dumps(found.to_dict(), allow_nan=False)


def test_talker_one_stays_talker_one(record):
    # The heads swap at random; a talker walks from 30 to 70 degrees.
    angle = torch.linspace(30.0, 70.0, 20 * RATE)
    found = make_localizer().localize_file(record(noise(20, angle)))
    middle = (found.starts + found.stops) / 2
    expected = 30 + 40 * middle / 20
    assert np.abs(found.directions[:, 0] - expected).max() < 8
    assert np.abs(found.directions[:, 1] - (180 - expected)).max() < 8
    assert found.talkers[0]["spread"] == pytest.approx(10, abs=4)


def test_azimuth_all_around(record):
    """The level network's angle a, as the azimuth 2 a - 180."""
    localizer = make_localizer(
        target="full_azimuth",
        microphone_positions=None,
        num_microphones=2,
        decoder=lambda logits: 2 * decode(logits) - 180,
    )
    found = localizer.localize_file(record(noise(3.0, 40.0)))
    directions = [talker["direction"] for talker in found.talkers]
    assert directions == pytest.approx([-100.0, 100.0], abs=12)
    degrees = localizer.localize_batch(noise(3.0, 40.0)[None]).degrees[0]
    assert degrees.tolist() == pytest.approx(directions, abs=6)


def test_silent_windows_are_shown_and_left_out(record):
    waveform = noise(4.0)
    waveform[1000:3000] = 0
    localizer = make_localizer(hop_length=1.0)
    with pytest.warns(RecordingWarning, match="2 of 4 windows"):
        found = localizer.localize_file(record(waveform))
    assert found.silent.tolist() == [False, True, True, False]
    assert found.to_dict()["windows"][1]["directions"] is None
    assert found.talkers[0]["direction"] == pytest.approx(60, abs=5)


def test_channels_are_chosen_in_order(record):
    scene = noise(2.0)
    four = torch.stack((scene[:, 1], *torch.zeros(2, 2000), scene[:, 0]), -1)
    path = record(four)
    localizer = make_localizer()
    found = localizer.localize_file(path, channels=[3, 0])
    alone = localizer.localize_file(record(scene, name="two.wav"))
    assert np.array_equal(found.directions, alone.directions)
    assert torch.equal(*localizer.mods.model.inputs)


def test_other_rates_are_converted(record):
    path = record(noise(3.0, rate=2 * RATE), rate=2 * RATE)
    found = make_localizer().localize_file(path, resample=True)
    assert found.stops[-1] == 3.0
    assert found.talkers[0]["direction"] == pytest.approx(60, abs=5)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_silence_has_no_direction(record):
    path = record(torch.full((2000, 2), 0.5))  # an offset is no sound
    with pytest.warns(RecordingWarning, match="is silent"):
        found = make_localizer().localize_file(path)
    assert found.silent.all() and np.isnan(found.talkers[0]["direction"])
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    talker = {
        "direction": None,
        "spread": None,
        "confidence": 0.0,
        "windows": 0,
    }
    assert plain["talkers"] == [talker, talker]


def test_windows_that_cannot_be_are_refused(record):
    path = record(noise(2.0))
    for window, hop in ((0.0, None), (1.0, 2.0), (1.0, 0.0)):
        with pytest.raises(ValueError, match="window"):
            make_localizer().localize_file(
                path, window_length=window, hop_length=hop
            )


def test_long_files_are_read_piece_by_piece(record, monkeypatch):
    path = record(noise(60.0))
    longest = []

    def spy(*args, **kwargs):
        waveform, rate = read_audio(*args, **kwargs)
        longest.append(len(waveform))
        return waveform, rate

    monkeypatch.setattr("spatial_brain.inference.localizer.read_audio", spy)
    localizer = make_localizer()
    found = localizer.localize_file(path)
    assert max(longest) == RATE and len(longest) == len(found.starts) == 119
    batches = [shape[0] for shape in localizer.mods.model.calls]
    assert max(batches) <= localizer.MAX_BATCH and sum(batches) == 119
    # Cutting into batches changes nothing.
    localizer.MAX_BATCH = 7
    again = localizer.localize_file(path)
    assert np.array_equal(found.directions, again.directions)


def test_summary_is_a_median_with_its_deviation():
    found = Localization(
        "a.wav",
        "azimuth",
        3.0,
        np.arange(3.0),
        np.arange(3.0) + 1,
        np.array([[10.0, 90], [12, 90], [170, 90]]),
        np.array([[0.5, 1], [0.7, 1], [0.6, 1]]),
    )
    first = found.talkers[0]
    assert first["direction"] == 12.0  # an outlier does not pull it
    assert first["spread"] == 2.0
    assert first["confidence"] == pytest.approx(0.6)


class Posteriors(torch.nn.Module):
    """Gives chosen outputs, one after another."""

    def __init__(self, logits):
        super().__init__()
        self.logits, self.next = logits, 0

    def forward(self, waveform):
        first, self.next = self.next, self.next + len(waveform)
        return self.logits[first : self.next]


@pytest.fixture(scope="module")
def calibration():
    return TalkerCalibration.fit(
        *recordings(120, seed=1), decode_classes, "cone"
    ).to_dict()


@pytest.fixture
def play(calibration, record):
    """Result for a recording, a window of 1 s an output."""

    def localize(logits, **options):
        localizer = SoundLocalizer(
            {"model": Posteriors(logits)},
            {
                "sample_rate": RATE,
                "microphone_positions": [[-0.05, 0, 0], [0.05, 0, 0]],
                "window_length": 1.0,
                "hop_length": 1.0,
                "target": "cone",
                "decoder": decode_classes,
            },
            run_opts={"device": "cpu"},
        )
        localizer.card = ModelCard("directions", calibration=calibration)
        return localizer.localize_file(record(noise(len(logits))), **options)

    return localize


def test_one_talker_is_one(play):
    logits = outputs([[57.0, 63.0]] * 6)
    found = play(logits)
    [talker] = found.talkers
    assert talker["direction"] == pytest.approx(60, abs=2)
    assert talker["confidence"] > 0.8 and talker["windows"] == 6
    assert found.chances.argmax(1).tolist() == [1] * 6
    # A phantom in one window is none of the recording's talkers.
    logits[3] = outputs([[57.0, 140.0]])[0]
    assert len(play(logits).talkers) == 1
    # Asked for two, the second one has no confidence to speak of.
    first, second = play(outputs([[57.0, 63.0]] * 6), num_talkers=2).talkers
    assert min(first["confidence"], second["confidence"]) < 0.5


def test_two_talkers_are_two_and_noise_is_none(play):
    first, second = play(outputs([[40.0, 130.0]] * 4)).talkers
    assert first["direction"] == pytest.approx(40, abs=2)
    assert second["direction"] == pytest.approx(130, abs=2)
    [only] = play(outputs([[57.0, 63.0]] * 4), num_talkers=1).talkers
    assert only["direction"] == pytest.approx(60, abs=2)
    nobody = play(outputs([[50.0, 120.0]] * 4, width=60.0))
    assert not nobody.talkers and nobody.directions.shape == (4, 0)
    plain = json.loads(json.dumps(nobody.to_dict(), allow_nan=False))
    assert plain["talkers"] == []
    assert plain["windows"][0]["directions"] is None
    assert plain["windows"][0]["chances"][0] > 0.5
    assert plain["num_talkers"] == "auto"
    assert plain["notes"][0].startswith("assumes the array of the model")


def test_talkers_who_take_turns_are_both_found(play):
    logits = outputs([[38.0, 42.0]] * 4 + [[118.0, 122.0]] * 4)
    found = play(logits)
    directions = [talker["direction"] for talker in found.talkers]
    assert directions == pytest.approx([40, 120], abs=2)
    assert [talker["windows"] for talker in found.talkers] == [4, 4]


@pytest.mark.parametrize("number", [0, 3, "two", 1.5])
def test_numbers_of_talkers_that_cannot_be_are_refused(play, number):
    with pytest.raises(ValueError, match="finds auto or 1 to 2"):
        play(outputs([[57.0, 63.0]]), num_talkers=number)


def test_a_calibration_of_another_network_is_refused(play):
    logits = outputs([[57.0, 63.0, 100.0]])
    with pytest.raises(ValueError, match="2 outputs, this one has 3"):
        play(logits)


@pytest.mark.parametrize(
    ("array", "parts"),
    [
        ("pair:0.06", ["2 microphones 6.0 cm", "2 microphones 10.0 cm", "23"]),
        ("pair:0.0982", ["9.8 cm", "1 degrees off"]),
        ("circular:4x0.05", ["4 microphones within 10.0 cm", "10.0 cm apart"]),
    ],
)
def test_another_array_is_refused(array, parts):
    with pytest.raises(ValueError, match="is not that of the model") as error:
        make_localizer().check_array(array)
    for part in [array, *parts]:
        assert part in str(error.value)


def test_the_same_array_however_it_lies_is_accepted():
    localizer = make_localizer()
    for array in ("pair:0.1", "pair:0.099", "pair:0.101"):
        assert "is that of the model" in localizer.check_array(array)
    moved = MicrophoneArray([[1.0, 2.0, 0.5], [1.1, 2.0, 0.5]], "moved")
    assert "moved is that of the model" in localizer.check_array(moved)
    turned = MicrophoneArray([[0.05, 0, 0], [-0.05, 0, 0]], "turned")
    with pytest.raises(ValueError, match="reverse order.*--channels 1,0"):
        localizer.check_array(turned)
    unknown = make_localizer(microphone_positions=None, num_microphones=2)
    assert "is not checked" in unknown.check_array("pair:0.3")


RUN = """
seed: 1
sample_rate: 16000
microphone_positions: [[-0.05, 0.0, 0.0], [0.05, 0.0, 0.0]]
window_length: 1.0
hop_length: 0.5
target: cone
num_classes: 36
model: !new:spatial_brain.models.dual_mic.DualMicLocalizer
    num_classes: !ref <num_classes>
    dim: 32
    depth: 1
    heads: 2
    dim_head: 16
    patch_channels: (8, 16)
modules: {model: !ref <model>}
decoder: !name:spatial_brain.models.dual_mic.decode_classes
    method: peak
"""


def test_a_run_of_the_real_network_is_used_at_once(tmp_path, capsys):
    net = DualMicLocalizer(
        dim=32, depth=1, heads=2, dim_head=16, patch_channels=(8, 16)
    )
    # Untrained predictions are all alike; make them differ.
    torch.nn.init.normal_(net.head.weight, std=2.0)
    folder = tmp_path / "pretrained"
    keys = SoundLocalizer.HPARAMS_NEEDED
    save_pretrained(folder, RUN, keys, {"model": net})
    localizer = SoundLocalizer.from_hparams(
        tmp_path, savedir=tmp_path / "kept", run_opts={"device": "cpu"}
    )
    waveform = torch.randn(3, 16000, 2) * 0.1
    with torch.no_grad():
        logits = net.eval()(waveform)
    degrees = decode_classes(logits, "peak").sort(-1).values
    found = localizer.localize_batch(waveform)
    assert torch.allclose(found.degrees, degrees, atol=1e-3)
    named = SoundLocalizer.from_array("pair:0.1", str(tmp_path))
    again = named.localize_batch(waveform)
    assert torch.equal(again.degrees, found.degrees)
    _check_model_as_method(tmp_path, waveform[0], capsys)


def _check_model_as_method(folder, waveform, capsys):
    """--array with a model as --method is --model with that array."""
    path = folder / "a.wav"
    write_audio(path, waveform.repeat(3, 1), 16000)
    command = ["locate", str(path), "--json"]
    shown = []
    for options in (
        ["--array", "pair:0.1", "--method", str(folder)],
        ["--model", str(folder), "--positions", "pair:0.1"],
    ):
        assert main([*command, *options]) == 0
        shown.append(json.loads(capsys.readouterr().out))
    assert shown[0] == shown[1]
    for options, message in (
        (["--array", "pair:0.06"], "array pair:0.06 (2 microphones 6.0 cm"),
        (["--array", "foa"], "foa"),
        (["--array", "circular:4x0.05"], "4 microphones"),
        ([], "give --array, or --model in its place"),
    ):
        assert main([*command, *options, "--method", str(folder)]) == 2
        assert message in capsys.readouterr().err
