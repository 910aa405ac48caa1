"""Each fault of a recording, through all four interfaces, file and batch."""

import math
import warnings

import numpy as np
import pytest
import soundfile
import torch

from spatial_brain.inference import (
    BinauralSeparator,
    RoomAcousticsEstimator,
    SELDetector,
    SoundLocalizer,
)
from spatial_brain.inference.recordings import RecordingWarning, median

RATE = 1000


def constant(*shape):
    """A model whose output is zeros of a shape, for each item of a batch."""
    return lambda inputs: torch.zeros(len(inputs), *shape)


def make_localizer():
    hparams = {
        "sample_rate": RATE,
        "microphone_positions": [[-0.05, 0, 0], [0.05, 0, 0]],
        "window_length": 1.0,
        "hop_length": 1.0,
        "target": "cone",
        "decoder": lambda logits: logits.argmax(-1) + 0.5,
    }
    return SoundLocalizer, hparams, constant(2, 180)


def make_estimator():
    hparams = {
        "sample_rate": RATE,
        "duration": 1.0,
        "hop_length": 1.0,
        "task": "T60",
        "features": torch.nn.Identity(),
    }
    return RoomAcousticsEstimator, hparams, constant(1)


def make_separator():
    hparams = {"sample_rate": RATE, "num_sources": 2, "window_length": 1.0}
    return (
        BinauralSeparator,
        hparams,
        lambda waveform: torch.stack((waveform, waveform), -1),
    )


def make_detector(array_format="foa"):
    hparams = {
        "sample_rate": RATE,
        "chunk_length": 1.0,
        "detection_hop": 1.0,
        "method": "accdoa",
        "num_classes": 1,
        "class_names": ["noise"],
        "threshold": 0.5,
        "features": torch.nn.Identity(),
        "array_format": array_format,
    }
    return (
        SELDetector,
        hparams,
        lambda features: {"accdoa": torch.zeros(len(features), 10, 3)},
    )


# Interface: how it is made, its verb, channels, shortest signal in seconds.
INTERFACES = {
    "localizer": (make_localizer, "localize", 2, 0.5),
    "estimator": (make_estimator, "estimate", 2, 0.5),
    "separator": (make_separator, "separate", 2, 0.13),
    "detector": (make_detector, "detect", 4, 0.05),
}


class Model(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.calls = function, 0

    def forward(self, inputs):
        self.calls += 1
        return self.function(inputs)


class Subject:
    """One interface, used by file or by batch."""

    def __init__(self, name, way, folder):
        make, verb, self.channels, self.shortest = INTERFACES[name]
        cls, hparams, function = make()
        self.model = Model(function)
        modules = {"model": self.model}
        self.interface = cls(modules, hparams, run_opts={"device": "cpu"})
        self.verb, self.way = verb, way
        self.path = folder / "scene.wav"
        self.name = "scene.wav" if way == "file" else "signal 0 of the batch"

    def __call__(self, waveform, fs=RATE, **options):
        if self.way == "batch":
            run = getattr(self.interface, f"{self.verb}_batch")
            return run(waveform[None], **options)
        soundfile.write(self.path, waveform.numpy(), fs, subtype="FLOAT")
        return getattr(self.interface, f"{self.verb}_file")(
            self.path, **options
        )

    def noise(self, seconds=4.0):
        generator = torch.Generator().manual_seed(0)
        shape = (round(seconds * RATE), self.channels)
        waveform = torch.randn(shape, generator=generator) * 0.1
        if self.channels == 4:
            # As a diffuse field in Ambisonics of SN3D.
            waveform[:, 1:] /= math.sqrt(3)
        return waveform


@pytest.fixture(params=["file", "batch"])
def way(request):
    return request.param


@pytest.fixture(params=INTERFACES)
def subject(request, way, tmp_path):
    return Subject(request.param, way, tmp_path)


@pytest.fixture(params=INTERFACES)
def reader(request, tmp_path):
    return Subject(request.param, "file", tmp_path)


@pytest.fixture(params=INTERFACES)
def batcher(request, tmp_path):
    return Subject(request.param, "batch", tmp_path)


def silent(waveform):
    return waveform * 0 + 0.5  # an offset is no sound


def silent_windows(waveform):
    waveform[1000:3000] = 0
    return waveform


def dead(waveform):
    waveform[:, 1] *= 1e-5
    return waveform


def identical(waveform):
    return waveform[:, :1].repeat(1, waveform.shape[1])


def clipped(waveform):
    waveform[:, 1] = (30 * waveform[:, 1]).clamp(-1, 1)
    return waveform


WARNINGS = [
    (silent, "is silent (below -80 dBFS throughout)", "raise its level"),
    (
        silent_windows,
        "2 of 4 windows of 1 s are silent (below -80 dBFS), the first from "
        "1.0 s on",
        "cut that stretch out",
    ),
    (dead, "channel 1 is silent", "use other channels"),
    (identical, "all channels are the same", "a microphone for each channel"),
    (clipped, "channel 1 is clipped", "record at a lower level"),
]


@pytest.mark.parametrize(
    ("spoil", "fault", "remedy"), WARNINGS, ids=lambda value: ""
)
def test_what_is_suspicious_is_warned_of_and_used(
    subject, spoil, fault, remedy
):
    with pytest.warns(RecordingWarning) as caught:
        found = subject(spoil(subject.noise()))
    assert found is not None and subject.model.calls
    # What is wrong with a channel may be wrong with Ambisonics, too.
    [warning] = [one for one in caught if fault in str(one.message)]
    message = str(warning.message)
    for part in (f"{subject.name}: {fault}", remedy):
        assert part in message
    # It points to the line of the user.
    assert warning.filename == __file__


def test_a_sound_recording_raises_no_warning(subject):
    loud = 30 * subject.noise()  # of more than full scale, yet not cut off
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        subject(subject.noise())
        subject(loud)
        subject(subject.noise(3.001))


def test_several_faults_are_several_warnings(subject):
    waveform = clipped(silent_windows(subject.noise()))
    waveform[:, 0] = 0
    with pytest.warns(RecordingWarning) as caught:
        subject(waveform)
    [one, two, three] = [str(warning.message) for warning in caught]
    assert "channel 0 is silent" in one and "2 of 4 windows" in two
    assert "channel 1 is clipped" in three


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_samples_that_are_no_numbers_are_refused(subject, value):
    waveform = subject.noise()
    waveform[2700, 1] = value
    with pytest.raises(ValueError) as error:
        subject(waveform)
    message = str(error.value)
    assert f"{subject.name}: holds NaN or infinite samples" in message
    assert f"2700 of channel 1 (at 2.700 s) is {value}; cut" in message
    assert not subject.model.calls


def test_signals_that_are_too_short_are_refused(subject):
    subject(subject.noise(subject.shortest))
    subject.model.calls = 0
    with pytest.raises(ValueError) as error:
        subject(subject.noise(subject.shortest)[:-1])
    message = str(error.value)
    assert f"{subject.name}: {subject.shortest - 1 / RATE:.3f} s is too" in (
        message
    )
    assert f"needs at least {subject.shortest:.3f} s" in message
    assert not subject.model.calls


def test_no_samples_are_refused(subject):
    with pytest.raises(ValueError, match="holds no samples"):
        subject(subject.noise(0))


def test_files_with_other_channels_are_refused(reader):
    waveform, number = reader.noise(), reader.channels
    numbers = ",".join(map(str, range(number)))
    more = torch.cat((waveform, waveform[:, :1].flip(0)), 1)
    with pytest.raises(ValueError) as error:
        reader(more)
    for part in (
        f"scene.wav: has {number + 1} channel(s)",
        f"the model needs {number}",
        f"--channels {numbers} (channels=[",
    ):
        assert part in str(error.value)
    with pytest.raises(ValueError, match=r"has 1 channel.*another model"):
        reader(waveform[:, :1])
    all_but_last = list(range(number - 1))
    for last in (all_but_last[-1:], [number + 1], [-1], [number, 0], []):
        with pytest.raises(ValueError, match=f"do not do.*from 0 to {number}"):
            reader(more, channels=[*all_but_last, *last])
    assert not reader.model.calls
    reader(more, channels=[*all_but_last, number])


def test_other_channels_may_be_silent_but_not_damaged(reader):
    waveform = torch.cat((reader.noise(), torch.zeros(4000, 1)), 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reader(waveform, channels=range(reader.channels))
    waveform[1, -1] = math.nan
    with pytest.raises(ValueError, match=f"channel {reader.channels} .* nan"):
        reader(waveform, channels=range(reader.channels))


def test_batches_of_another_shape_are_refused(batcher):
    waveform = batcher.noise()
    wrong = (waveform[:, :1], waveform.repeat(1, 2), waveform[0], waveform[0:0])
    for one in wrong:
        with pytest.raises(ValueError, match=rf"\[1, {one.shape[0]}"):
            batcher(one)
    for lengths, message in (
        ([1.0, 1.0], r"lengths \[1\], one a signal, got \[2\]"),
        ([1.5], "signal 0 of the batch.*above 0 and at most 1, got 1.5"),
        ([0.0], "above 0 and at most 1, got 0"),
        ([0.01], "0.040 s is too short"),
    ):
        with pytest.raises(ValueError, match=message):
            batcher(waveform, lengths=torch.tensor(lengths))
    assert not batcher.model.calls


def test_what_lies_behind_the_length_is_not_checked(batcher):
    waveform = batcher.noise()
    waveform[3000:] = math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batcher(waveform, lengths=torch.tensor([0.75]))


def test_other_rates_are_refused_or_converted(reader):
    waveform = reader.noise(8.0)
    with pytest.raises(
        ValueError, match=r"scene\.wav.*2000 Hz.*1000 Hz.*--resample"
    ):
        reader(waveform, fs=2 * RATE)
    assert not reader.model.calls
    waveform[2000:6000] = 0
    with pytest.warns(RecordingWarning, match="2 of 4 windows of 1 s"):
        reader(waveform, fs=2 * RATE, resample=True)


def test_files_that_end_early_are_refused(reader, monkeypatch):
    real = soundfile.SoundFile.read

    def read(file, frames, **options):
        return real(file, frames, **options)[:900]

    monkeypatch.setattr(soundfile.SoundFile, "read", read)
    with pytest.raises(ValueError, match=r"scene\.wav: ends at sample .*again"):
        reader(reader.noise())
    assert not reader.model.calls


def test_missing_files_are_refused(reader):
    run = getattr(reader.interface, f"{reader.verb}_file")
    with pytest.raises(FileNotFoundError, match="missing.wav"):
        run("missing.wav")


def test_remedies_fit_the_model(tmp_path):
    for name, remedy in (
        ("localizer", "record with that array"),
        ("estimator", "record with two microphones"),
        ("separator", "record with a microphone in each ear"),
        ("detector", r"Ambisonics \(W, Y, Z, X\)"),
    ):
        subject = Subject(name, "file", tmp_path)
        with pytest.raises(ValueError, match=remedy):
            subject(subject.noise()[:, :1])
    subject.interface.hparams.array_format = "mic"
    with pytest.raises(ValueError, match="a four-microphone array"):
        subject(subject.noise()[:, :1])


def test_flat_tops_need_three_equal_samples(reader):
    for value, number, clips in ((1.0, 3, 1), (1.0, 2, 0), (0.5, 9, 0)):
        waveform = reader.noise()
        waveform[500 : 500 + number] = -value
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            reader(waveform)
        assert len(caught) == clips


def test_median_leaves_out_what_is_missing():
    values = np.array([[1.0, 5], [np.nan, np.nan], [3, 7], [2, 9]])
    assert median(values).tolist() == [2, 7]
    assert median(values[:, 0]) == 2
    assert np.isnan(median(values[1:2])).all()
    assert np.isnan(median([]))


def test_a_network_that_gives_no_numbers_is_no_silence(subject):
    function = subject.model.function

    def lost(inputs):
        output = function(inputs)
        if isinstance(output, dict):
            return {key: part * math.nan for key, part in output.items()}
        return output * math.nan

    subject.model.function = lost
    with pytest.raises(ValueError, match="output holds NaN.*check its weights"):
        subject(subject.noise())


def test_quiet_recordings_are_warned_of(subject):
    waveform = subject.noise()
    with pytest.warns(RecordingWarning, match=r"very quiet \(-6\d dBFS"):
        subject(waveform * 10 ** (-47 / 20))


def test_a_lower_rate_lacks_what_the_model_was_trained_with(reader):
    reader.interface.hparams.sample_rate = 2 * RATE
    with pytest.warns(RecordingWarning, match=r"is 1000 Hz: above 500 Hz"):
        reader(reader.noise(), resample=True)
