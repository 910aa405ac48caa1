"""Windows without speech have no directions where speech alone is wanted."""

import sys
import types

import numpy as np
import pytest
import torch

from spatial_brain.dataio.audio import write_audio
from spatial_brain.inference.array_directions.finder import DirectionFinder
from spatial_brain.inference.array_directions.speech import speech_shares

FS = 16000


class LoudIsSpeech:
    """Stands for WebRTC's detector."""

    def __init__(self, mode):
        assert mode in range(4)

    def is_speech(self, frame, rate):
        """Whether 20 ms of 16 bits are loud."""
        samples = np.frombuffer(frame, dtype=np.int16)
        assert len(samples) * 50 == rate == 16000
        return bool(np.abs(samples).mean() > 300)


@pytest.fixture
def detector(monkeypatch):
    module = types.SimpleNamespace(Vad=LoudIsSpeech)
    monkeypatch.setitem(sys.modules, "webrtcvad", module)


def reader(waveform):
    return lambda start, stop: waveform[None, start:stop]


@pytest.mark.parametrize("fs", (16000, 48000))
def test_shares_are_those_of_the_windows(detector, fs):
    # Loud from 61 to 62 s, in the second channel, beyond the first minute.
    waveform = torch.zeros(63 * fs, 2)
    waveform[61 * fs : 62 * fs, 1] = 0.5
    times = np.array([1.0, 61.0, 61.5, 62.4])
    shares = speech_shares(reader(waveform), len(waveform), fs, times, 1.0)
    assert shares == pytest.approx([0.0, 0.5, 1.0, 0.1], abs=0.03)


def test_directions_are_those_of_speech(detector, tmp_path):
    generator = torch.Generator().manual_seed(0)
    loud = 0.1 * torch.randn(3 * FS, 1, generator=generator)
    waveform = torch.cat((loud, 0.01 * loud)).expand(-1, 4)
    path = tmp_path / "ahead.wav"
    write_audio(path, waveform, FS)
    everything, speech = (
        DirectionFinder(
            "linear:4x0.05", sources=1, speech_only=wanted
        ).localize_file(path)
        for wanted in (False, True)
    )
    found = np.isfinite(speech.directions[:, 0])
    assert found[speech.stops < 3.0].all()
    assert not found[speech.starts > 3.2].any()
    assert np.isfinite(everything.directions[:, 0])[-3:].all()


def test_without_the_package_it_says_which(monkeypatch):
    monkeypatch.setitem(sys.modules, "webrtcvad", None)
    with pytest.raises(ImportError, match="pip install webrtcvad-wheels"):
        speech_shares(reader(torch.zeros(FS, 1)), FS, FS, np.ones(1), 1.0)
