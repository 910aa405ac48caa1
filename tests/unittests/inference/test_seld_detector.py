"""The event detector: chunks, refusals, channel orders, with networks."""

import math
import warnings
import weakref
from functools import partial

import numpy as np
import pytest
import torch

from spatial_brain.dataio.audio import audio_info, read_audio, write_audio
from spatial_brain.dataio.events import EventTable
from spatial_brain.inference import seld_detector
from spatial_brain.inference.pretrained import save_pretrained
from spatial_brain.inference.recordings import RecordingWarning
from spatial_brain.inference.seld_detector import (
    SELDetector,
    _warn_of_microphones,
)
from spatial_brain.models.seld import SELDNetwork
from spatial_brain.processing.seld_features import LogMelIntensity
from spatial_brain.simulation.ambisonics import encode_foa

RATE = 1000


class Intensity(torch.nn.Module):
    """Feature of a label frame: the mean of W times W, Y, Z and X."""

    def forward(self, waveform):
        frames = waveform.unflatten(1, (-1, RATE // 10))
        return (frames[..., :1] * frames).mean(2)


class SoundNetwork(torch.nn.Module):
    """Class 1 where something sounds, from where it sounds; frame by frame."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, features):
        self.batches.append(len(features))
        power, y, z, x = features.unbind(-1)
        active = (power > 1e-6) / power.clamp(min=1e-12)
        vector = torch.stack((x, y, z), -1) * active[..., None]
        nothing = torch.zeros_like(vector)
        # The class runs faster than the axis.
        return {"accdoa": torch.stack((nothing, vector), -1).flatten(2)}


def make_detector(**hparams):
    values = {
        "sample_rate": RATE,
        "chunk_length": 10.0,
        "detection_hop": 10.0,
        "method": "accdoa",
        "num_classes": 2,
        "class_names": ["silence", "noise"],
        "threshold": 0.5,
        "features": Intensity(),
        "array_format": "foa",
        **hparams,
    }
    return SELDetector({"model": SoundNetwork()}, values, {"device": "cpu"})


def scene(seconds, rate=RATE, seed=0):
    """A source that turns left by 40 degrees every 3 s, then pauses for 1 s."""
    generator = np.random.default_rng(seed)
    number = round(seconds * rate)
    time = np.arange(number) / rate
    sound = generator.standard_normal(number) * 0.1
    # Low enough to survive a change of the sampling rate.
    sound = np.convolve(sound, np.ones(8 * rate // 1000), "same")
    sound *= (time % 4) < 3
    azimuth = torch.from_numpy(40.0 * (time // 4) - 170).float()
    return encode_foa(torch.from_numpy(sound).float(), azimuth, 20.0)


def expected_rows(seconds):
    frames = np.arange(math.ceil(seconds * 10))
    frames = frames[(frames / 10) % 4 < 3 - 1e-9]
    return frames, (40.0 * (frames // 40) + 10.0) % 360.0 - 180.0


@pytest.fixture
def record(tmp_path):
    def write(waveform, rate=RATE, name="scene.wav"):
        write_audio(tmp_path / name, waveform, rate, subtype="FLOAT")
        return tmp_path / name

    return write


@pytest.mark.parametrize("seconds", [0.05, 1.0, 10.0, 10.03, 95.0, 95.03])
@pytest.mark.parametrize("hop", [10.0, 2.5, 1.0])
def test_any_length_is_covered_to_its_end(record, seconds, hop):
    table = make_detector().detect_file(record(scene(seconds)), hop=hop)
    frames, azimuth = expected_rows(seconds)
    assert table.num_frames == math.ceil(seconds * 10)
    assert table.frame.tolist() == frames.tolist()
    assert (table.label == 1).all()
    turn = (table.azimuth - azimuth + 180) % 360 - 180
    assert np.abs(turn).max() < 1e-3
    assert np.abs(table.elevation - 20).max() < 1e-3


def test_chunks_equal_the_whole(record):
    path = record(scene(47.3))
    whole = make_detector(chunk_length=50.0).detect_file(path, hop=50.0)
    for hop in (10.0, 3.3, 0.5):
        table = make_detector(detection_hop=hop).detect_file(path)
        assert table.frame.tolist() == whole.frame.tolist()
        assert np.allclose(table.directions, whole.directions, atol=1e-5)


def test_batches_equal_files(record):
    detector = make_detector(detection_hop=2.0)
    one, two = scene(23.4, seed=1), scene(23.4, seed=2)
    batch = detector.detect_batch(
        torch.stack((one, two)), torch.tensor([1.0, 0.5])
    )
    for table, part in zip(batch, (one, two[:11700]), strict=True):
        alone = detector.detect_file(record(part))
        assert table.num_frames == alone.num_frames
        assert table.frame.tolist() == alone.frame.tolist()
        assert np.allclose(table.azimuth, alone.azimuth, atol=1e-4)
    assert len(detector(one[None])[0]) == len(batch[0])


def test_memory_does_not_grow(record, monkeypatch):
    alive, most = [], []
    stream = seld_detector.stream_blocks

    def watched(*args, **kwargs):
        for start, block in stream(*args, **kwargs):
            alive.append(weakref.ref(block))
            most.append(sum(ref() is not None for ref in alive))
            yield start, block

    monkeypatch.setattr(seld_detector, "stream_blocks", watched)
    detector = make_detector()
    detector.detect_file(record(scene(300.0)), hop=1.0)
    assert len(alive) == 291
    assert max(most) <= detector.MAX_BATCH + 2
    assert max(detector.mods.model.batches) == detector.MAX_BATCH


def test_other_rates_are_converted(record):
    path = record(scene(12.0, rate=4000), rate=4000)
    detector = make_detector()
    # A last frame of one sample is a frame.
    odd = record(scene(1.00025, rate=4000), rate=4000, name="odd.wav")
    assert detector.detect_file(odd, resample=True).num_frames == 11
    table = detector.detect_file(path, resample=True)
    frames, azimuth = expected_rows(12.0)
    middle = np.isin(table.frame, frames) & (table.frame % 40 < 29)
    table = table.select(middle & (table.frame % 40 > 0))
    assert len(table) == 28 * 3
    assert np.abs(table.elevation - 20).max() < 1e-2
    wanted = dict(zip(frames, azimuth, strict=True))
    turn = table.azimuth - [wanted[frame] for frame in table.frame]
    assert np.abs((turn + 180) % 360 - 180).max() < 1e-2


def test_channel_orders(record):
    waveform = scene(5.0)
    w, y, z, x = waveform.unbind(-1)
    detector = make_detector()
    wanted = detector.detect_file(record(waveform))
    for name, channels in (
        ("WXYZ", (w, x, y, z)),
        ("wzyx", (w, z, y, x)),
        ("FuMa", (w / math.sqrt(2), x, y, z)),
        ("acn-n3d", (w, *(math.sqrt(3) * one for one in (y, z, x)))),
    ):
        path = record(torch.stack(channels, -1), name=f"{name}.wav")
        table = detector.detect_file(path, channel_order=name)
        assert table.frame.tolist() == wanted.frame.tolist()
        assert np.allclose(table.directions, wanted.directions, atol=1e-6)
        # Vectors are longer than 1 where W is too quiet.
        options = {"channel_order": name, "threshold": 1.2}
        assert len(detector.detect_file(path, **options)) == 0


def test_thresholds(record):
    path = record(scene(4.0))
    detector = make_detector()
    assert len(detector.detect_file(path)) == 30
    assert len(detector.detect_file(path, threshold=1.1)) == 0
    assert len(detector.detect_file(path, threshold=[1.1, 0.5])) == 30
    assert len(detector.detect_file(path, threshold=[0.5, 1.1])) == 0
    assert len(make_detector(threshold=[0.5, 1.1]).detect_file(path)) == 0
    with pytest.raises(ValueError, match="3 thresholds for 2 classes"):
        detector.detect_file(path, threshold=[0.5] * 3)


def test_channels_are_chosen_in_order(record):
    w, y, z, x = scene(5.0).unbind(-1)
    detector = make_detector()
    wanted = detector.detect_file(record(scene(5.0)))
    path = record(torch.stack((x, 0.3 * w, z, y, w), -1), name="five.wav")
    table = detector.detect_file(path, channels=[4, 3, 2, 0])
    assert np.array_equal(table.directions, wanted.directions)
    table = detector.detect_file(
        path, channels=[0, 2, 3, 4], channel_order="XZYW"
    )
    assert np.array_equal(table.directions, wanted.directions)


def test_refused_options(record):
    path, detector = record(scene(1.0)), make_detector()
    for hop in (0.25, 0.0, -1.0):
        with pytest.raises(ValueError, match="hop must be a multiple of 0.1"):
            detector.detect_file(path, hop=hop)
    with pytest.raises(ValueError, match="at most a chunk of 10.0 s, got 11"):
        detector.detect_file(path, hop=11.0)
    with pytest.raises(ValueError, match="'ABCD'"):
        detector.detect_file(path, channel_order="ABCD")
    with pytest.raises(ValueError, match="four microphones"):
        make_detector(array_format="mic").detect_file(
            path, channel_order="WXYZ"
        )
    with pytest.raises(ValueError, match="2 names for num_classes=3"):
        make_detector(num_classes=3)


def test_a_model_of_another_frame_rate_is_refused(record):
    detector = make_detector()
    detector.mods.model.register_forward_hook(
        lambda module, inputs, outputs: {"accdoa": outputs["accdoa"][:, ::2]}
    )
    with pytest.raises(ValueError, match="'accdoa' has 50 frames.*100"):
        detector.detect_file(record(scene(1.0)))


HPARAMS = """
sample_rate: 24000
array_format: foa
chunk_length: 2.0
detection_hop: 1.0
method: {method}
num_classes: 3
class_names: [bark, bell, "knock, knock"]
threshold: 0.02
features: !new:spatial_brain.processing.seld_features.LogMelIntensity
    sample_rate: !ref <sample_rate>
modules:
    model: !new:spatial_brain.models.seld.SELDNetwork
        backbone: crnn
        method: !ref <method>
        num_classes: !ref <num_classes>
"""
KEYS = (*SELDetector.HPARAMS_NEEDED,)


@pytest.mark.parametrize(
    "method", ["accdoa", "multi_accdoa", "einv2", "seddoa"]
)
def test_a_saved_network_detects(method, tmp_path, record):
    torch.manual_seed(1)
    network = SELDNetwork("crnn", method, 3).eval()
    text = HPARAMS.format(method=method)
    folder = save_pretrained(
        tmp_path / "pretrained", text, KEYS, {"model": network}
    )
    detector = SELDetector.from_hparams(folder, run_opts={"device": "cpu"})
    noise = torch.randn(24000 * 5 + 100, 4) * 0.05
    table = detector.detect_file(record(noise, 24000))
    assert isinstance(table, EventTable)
    assert table.num_frames == 51
    assert len(table) > 0
    assert np.isin(table.label, range(3)).all()
    # The first second is in the first chunk alone.
    [start] = detector.detect_batch(noise[None, :48000], hop=2.0)
    first = table.segment(0, 10)
    begin = start.segment(0, 10)
    assert first.frame.tolist() == begin.frame.tolist()
    assert np.allclose(first.azimuth, begin.azimuth, atol=0.1)
    short = detector.detect_file(record(noise[:24000], 24000))
    assert short.num_frames == 10


def test_a_folder_that_lacks_something_is_refused(tmp_path):
    network = SELDNetwork("crnn", "accdoa", 3)
    text = HPARAMS.format(method="accdoa")
    keys = [key for key in KEYS if key != "class_names"]
    folder = save_pretrained(tmp_path / "pre", text, keys, {"model": network})
    with pytest.raises(ValueError, match="class_names"):
        SELDetector.from_hparams(folder)


def test_real_recordings(shared_data):
    paths = sorted(shared_data.glob("recordings/**/*_foa.flac"))
    assert paths
    values = {"sample_rate": 24000, "features": LogMelIntensity(24000)}
    detector = make_detector(method="accdoa", threshold=0.02, **values)
    detector.mods["model"] = SELDNetwork("crnn", "accdoa", 2).eval()
    for path in paths:
        table = detector.detect_file(
            path, resample=True, channel_order="acn-n3d"
        )
        assert table.num_frames == math.ceil(audio_info(path).duration * 10)
        assert len(table) > 0


def test_recorded_ambisonics_and_recorded_microphones(shared_data, tmp_path):
    check = partial(_warn_of_microphones, channels=range(4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in shared_data.glob("recordings/**/*_foa.flac"):
            check(path, channel_order="acn-n3d")
    path = tmp_path / "microphones.wav"
    rooms = sorted(shared_data.glob("rir/r3vival/**/*.flac"))[::50]
    assert len(rooms) == 3
    for room in rooms:
        rir, fs = read_audio(room)
        sound = torch.randn(2 * fs) * (torch.arange(2 * fs) % fs < fs // 2)
        size = len(sound) + len(rir)
        spectrum = torch.fft.rfft(rir.T, size) * torch.fft.rfft(sound, size)
        heard = torch.fft.irfft(spectrum, size).T
        heard = 0.1 * heard / heard.std() + 1e-3 * torch.randn(heard.shape)
        write_audio(path, heard[:, [0, 2, 4, 5]], fs, subtype="FLOAT")
        with pytest.warns(RecordingWarning, match="to be four microphones"):
            check(path, channel_order="acn-sn3d")
