"""Live sound events are those of the whole recording."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from spatial_brain.dataio.audio import write_audio
from spatial_brain.dataio.events import COLUMNS, concatenate, sound_events
from spatial_brain.dataio.labels import decode_outputs
from spatial_brain.inference.seld_detector import SELDetector
from spatial_brain.models.seld import SELDNetwork
from spatial_brain.processing.seld_features import LogMelIntensity

RATE = 1000
CAUSAL_RATE = 24000


class Means(nn.Module):
    """Feature of a label frame: the means of the channels."""

    def forward(self, waveform):
        return waveform.unflatten(1, (-1, RATE // 10)).mean(2)


class Drift(nn.Module):
    """One class; x, y, z of a frame lean towards those of the chunk."""

    def forward(self, features):
        vectors = features[..., [3, 1, 2]]
        return {"accdoa": vectors + 0.2 * vectors.mean(1, keepdim=True)}


def make_detector(**hparams):
    values = {
        "sample_rate": RATE,
        "chunk_length": 3.0,
        "detection_hop": 1.0,
        "method": "accdoa",
        "num_classes": 1,
        "class_names": ["hiss"],
        "threshold": 0.5,
        "features": Means(),
        "array_format": "foa",
        **hparams,
    }
    modules = {"model": hparams.pop("model", Drift())}
    return SELDetector(modules, values, {"device": "cpu"})


def scene(seconds):
    """Turns left by 40 degrees every 2 s, then pauses for half a second."""
    time = torch.arange(round(seconds * RATE)) / RATE
    angle = torch.deg2rad(40.0 * (time // 2.5) - 170)
    there = ((time % 2.5) < 2).float()
    zero = torch.zeros_like(time)
    return torch.stack(
        (there, there * angle.sin(), zero, there * angle.cos()), 1
    )


def live(stream, sound, size):
    """All that a stream gives."""
    return [
        *(stream.push(chunk) for chunk in sound.split(size)),
        stream.flush(),
    ]


def check_events(found, table):
    """Whether live rows and events are those of a table."""
    rows = concatenate([one.table for one in found])
    for name in COLUMNS:
        np.testing.assert_allclose(
            getattr(rows, name), getattr(table, name), atol=1e-3
        )
    before = 0
    for one in found[:-1]:
        # With the first frame in which an event is not there.
        for event in one.ended.values():
            assert before <= round(10 * event.stop) < one.table.num_frames
        before = one.table.num_frames
    ended = {k: event for one in found for k, event in one.ended.items()}
    begun = {k: event for one in found for k, event in one.begun.items()}
    wanted = sound_events(table)
    assert sorted(begun) == sorted(ended) == list(range(len(wanted)))
    assert [begun[k].start for k in range(len(wanted))] == [
        event.start for event in wanted
    ]
    np.testing.assert_allclose(
        [ended[k] for k in range(len(wanted))], wanted, atol=1e-3
    )


@pytest.mark.parametrize("seconds", [0.06, 2.96, 3.0, 3.01, 11.42, 12.0])
@pytest.mark.parametrize("hop", [3.0, 1.0, 0.7])
def test_chunks_of_any_network_are_those_of_the_file(seconds, hop):
    detector, sound = make_detector(), scene(seconds)
    [table] = detector.detect_batch(sound[None], hop=hop)
    stream = detector.stream(hop=hop)
    for size in (33, 1250, 20000):
        check_events(live(stream, sound, size), table)
    assert stream.latency == pytest.approx(3.0)


def test_less_delay_gives_frames_earlier():
    detector, sound = make_detector(), scene(8.0)
    stream = detector.stream(delay=0.5)
    assert stream.latency == pytest.approx(1.5)
    found = live(stream, sound, 100)
    frames = [one.table.num_frames for one in found]
    # The chunk until 3 s gives frames until 2.5 s; then one a second.
    assert frames[28:31] == [0, 25, 25] and frames[39] == 35
    assert frames[-1] == 80
    rows = concatenate([one.table for one in found])
    assert len(rows) == len(np.unique(rows.frame)) == 65
    with pytest.raises(ValueError, match="from 0 to 2 s"):
        detector.stream(delay=2.5)


def causal_detector(method="multi_accdoa"):
    torch.manual_seed(0)
    network = SELDNetwork(
        "crnn", method, 2, width=8, attention_layers=0, causal=True
    )
    for head in network.network.heads.values():
        nn.init.normal_(head.weight, std=1.0)
    return make_detector(
        model=network.eval(),
        features=LogMelIntensity(CAUSAL_RATE),
        sample_rate=CAUSAL_RATE,
        method=method,
        num_classes=2,
        class_names=["a", "b"],
    )


@pytest.mark.parametrize("method", ["multi_accdoa", "einv2"])
def test_a_causal_network_goes_on_with_its_state(method):
    detector = causal_detector(method)
    sound = 0.1 * torch.randn(round(1.23 * CAUSAL_RATE), 4)
    length = math.ceil(len(sound) / 2400) * 2400
    padded = nn.functional.pad(sound, (0, 0, 0, length - len(sound)))
    with torch.no_grad():
        outputs = detector.mods.model(detector.hparams.features(padded[None]))
    table = decode_outputs({k: x[0] for k, x in outputs.items()}, method)
    assert len(table) > 5
    stream = detector.stream()
    for size in (480, 2400, 30000):
        check_events(live(stream, sound, size), table)
    # A label frame, and half a window.
    assert stream.latency == pytest.approx(0.1 + 512 / CAUSAL_RATE)


def test_a_causal_network_keeps_its_state_over_the_chunks_of_a_file(tmp_path):
    detector = causal_detector()
    sound = 0.1 * torch.randn(round(1.23 * CAUSAL_RATE), 4)
    write_audio(tmp_path / "a.wav", sound, CAUSAL_RATE, subtype="FLOAT")
    found = live(detector.stream(), sound, 2400)
    assert len(concatenate([one.table for one in found])) > 5
    detector.hparams.chunk_length = detector.hparams.detection_hop = 0.5
    table = detector.detect_file(tmp_path / "a.wav")
    check_events(found, table)
    [other] = detector.detect_batch(sound[None])
    check_events(found, other)
    assert table.num_frames == other.num_frames == 13
    # Chunks of their own, where somebody asks for them.
    apart = detector.detect_file(tmp_path / "a.wav", hop=0.5)
    assert not np.allclose(apart.azimuth, table.azimuth, atol=0.1)


def test_only_what_can_be_is_taken():
    assert causal_detector().is_causal and not make_detector().is_causal
    with pytest.raises(ValueError, match="neither hop nor delay"):
        causal_detector().stream(delay=1.0)
    stream = make_detector().stream()
    assert len(stream.flush().table) == 0
