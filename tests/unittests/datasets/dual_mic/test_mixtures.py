"""The reader gives the speech, the room and the noise of a mixture."""

import numpy as np
import pytest
import torch

from spatial_brain.dataio.audio import write_audio
from spatial_brain.datasets.dual_mic.mixtures import (
    MixtureDrawer,
    RoomMixtureReader,
)

PAIR = [[-0.05, 0, 0], [0.05, 0, 0]]


class Rooms:
    """One room whose responses are numbered."""

    ids = ["hall"]

    def __getitem__(self, room):
        assert room == "hall"
        rirs = torch.arange(2 * 2 * 5.0).view(2, 2, 5)
        return rirs, {
            "t60": 0.3,
            "distance": [1.0, 2.0],
            "azimuth": [-30.0, 100.0],
            "cone_angle": [31.0, 99.0],
        }


@pytest.fixture
def speech(tmp_path):
    entries = {}
    for name, seconds in (("short", 0.1), ("long", 0.5)):
        path = tmp_path / f"{name}.flac"
        count = int(16000 * seconds)
        write_audio(path, torch.linspace(-0.5, 0.5, count), 16000)
        entries[name] = {
            "wav": str(path),
            "speaker": name,
            "num_samples": count,
        }
    return entries


def test_short_speech_is_padded_long_speech_cut(speech):
    drawer = MixtureDrawer(speech, Rooms.ids, length=3200, crop="random")
    reader = RoomMixtureReader(Rooms(), PAIR, 16000)
    mixture = drawer.draw(np.random.default_rng(1), "short")
    parts = reader(mixture)
    assert parts.dry.shape == (3200, 2)
    assert parts.dry[1600:, 0].abs().max() == 0
    start = mixture["starts"][1]
    assert start > 0
    expected = torch.linspace(-0.5, 0.5, 8000)[start : start + 3200]
    assert torch.allclose(parts.dry[:, 1], expected, atol=1e-4)
    reader.keep_in_memory(entry["wav"] for entry in speech.values())
    assert reader(mixture).dry.equal(parts.dry)


def test_room_and_targets(speech):
    mixture = MixtureDrawer(speech, Rooms.ids, length=100).draw(
        np.random.default_rng(0), "long"
    )
    parts = RoomMixtureReader(Rooms(), PAIR, 16000)(mixture)
    assert parts.rirs.shape == (5, 2, 2)
    assert parts.rirs[3, 1, 0] == Rooms()["hall"][0][1, 0, 3]
    assert parts.angles.tolist() == [31.0, 99.0]
    azimuth = RoomMixtureReader(Rooms(), PAIR, 16000, target="azimuth")(mixture)
    assert azimuth.angles.tolist() == [30.0, 100.0]
    with pytest.raises(ValueError, match="target"):
        RoomMixtureReader(Rooms(), PAIR, 16000, target="elevation")


def test_levels_and_noise_follow_the_description(speech):
    drawer = MixtureDrawer(
        speech,
        Rooms.ids,
        length=16000,
        sir_range=(-5, 5),
        snr_range=(0, 30),
        gain_range=(-1, 1),
    )
    reader = RoomMixtureReader(Rooms(), PAIR, 16000)
    mixture = drawer.draw(np.random.default_rng(4), "long")
    parts = reader(mixture)
    assert parts.sir.tolist() == pytest.approx(mixture["sir"])
    assert parts.snr.item() == pytest.approx(mixture["snr"])
    assert parts.noise.shape == (16000, 2)
    assert reader(mixture).noise.equal(parts.noise)
    # 10 cm apart, diffuse noise is coherent at low frequencies only.
    spectrum = torch.fft.rfft(parts.noise.T)
    cross = spectrum[0] * spectrum[1].conj()
    power = spectrum.abs().square()
    for low, high, expected in ((100, 400, 0.95), (3000, 4000, -0.1)):
        band = slice(low, high)
        coherence = cross[band].sum() / power[:, band].sum(1).prod().sqrt()
        assert coherence.real == pytest.approx(expected, abs=0.15)
