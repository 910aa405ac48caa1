"""Simulated rooms and diffuse noise at two ears, and the stand-ins of data."""

from functools import partial

import numpy as np
import pytest
import torch

from spatial_brain.dataio.audio import audio_info, read_audio
from spatial_brain.datasets.binaural_wsj0mix.brirs import load_rooms
from spatial_brain.datasets.binaural_wsj0mix.noise import split_noise
from spatial_brain.datasets.binaural_wsj0mix.synthetic import (
    write_synthetic_noise,
    write_synthetic_rooms,
    write_synthetic_wsj0,
)
from spatial_brain.datasets.speech.pool import prepare_speech
from spatial_brain.geometry import SPEED_OF_SOUND, azel_to_unit
from spatial_brain.simulation.acoustics import critical_distance
from spatial_brain.simulation.acoustics import t60 as measure_t60
from spatial_brain.simulation.hrtf.interpolation import ild, itd
from spatial_brain.simulation.hrtf.rooms import (
    HeadRoom,
    diffuse_at_ears,
    direction_weights,
    ear_mixing,
)
from spatial_brain.simulation.hrtf.sphere import (
    spherical_head_hrtfs,
    spherical_head_responses,
)

FS = 16000
HEAD = partial(spherical_head_responses, fs=FS)
CENTER = torch.tensor([2.0, 2.6, 1.5], dtype=torch.float64)
SIZE = (6.0, 5.0, 3.0)
# Samples that the responses of the head take before the sound is there.
LATENCY = int(HEAD(torch.eye(3))[0, 0].argmax())


def room(t60, yaw=0.0):
    return HeadRoom(SIZE, t60, CENTER.tolist(), FS, head=HEAD, yaw=yaw)


def around(azimuths, distance=1.5):
    return CENTER + distance * azel_to_unit(torch.tensor(azimuths), 0.0)


def direct_part(responses, distance=1.5):
    # The floor is the first wall that the sound comes back from.
    return responses[..., : int(distance / SPEED_OF_SOUND * FS) + 70]


@pytest.mark.parametrize("t60", [0.2, 0.5])
def test_reverberation_time_is_met_at_both_ears(t60):
    responses = room(t60).binaural(around([-60.0, 0.0, 90.0]), seed=0)
    assert responses.shape == (3, 2, round(t60 * FS))
    measured = measure_t60(responses, FS)
    assert measured.shape == (3, 2)
    assert (measured / t60 - 1).abs().max() < 0.15


def test_direct_sound_has_the_cues_of_the_head():
    azimuths = [-90.0, -30.0, 0.0, 45.0, 90.0]
    responses = direct_part(room(0.3).binaural(around(azimuths), seed=0))
    alone = HEAD(azel_to_unit(torch.tensor(azimuths), 0.0))
    lag = itd(responses, FS) - itd(alone, FS)
    assert lag.abs().max() < 5e-6
    assert (ild(responses) - ild(alone)).abs().max() < 0.5
    # Left is the louder ear of sources to the left.
    assert ild(responses)[-1] > 5 > -5 > ild(responses)[0]
    for response, head in zip(responses, alone, strict=True):
        delay = 1.5 / SPEED_OF_SOUND * FS
        # The high-pass at 10 Hz takes a little of it.
        peak = response.abs().max() * 1.5
        assert float(peak) == pytest.approx(float(head.abs().max()), rel=0.15)
        arrival = int(response.sum(0).abs().argmax())
        assert abs(arrival - delay - int(head.sum(0).abs().argmax())) <= 1


def test_a_head_that_turns_hears_what_turns_with_it():
    # A source in front of a head that looks along the y axis.
    turned = room(0.3, yaw=90.0).binaural(around([90.0]), seed=0)
    assert float(ild(direct_part(turned))[0]) == pytest.approx(0.0, abs=0.1)
    right = room(0.3, yaw=90.0).binaural(around([0.0]), seed=0)
    assert float(ild(direct_part(right))[0]) < -5


def test_direct_to_reverberant_ratio():
    distances = [0.5, 1.0, 2.0]
    t60 = 0.5
    ratios = []
    for distance in distances:
        # In front: both ears alike, on average that of the open field.
        response = room(t60).binaural(around([0.0], distance), seed=1)[0]
        split = int(distance / SPEED_OF_SOUND * FS) + LATENCY + 40
        energy = response.square()
        ratios.append(float(energy[:, :split].sum() / energy[:, split:].sum()))
    ratios = 10 * np.log10(ratios)
    # 6 dB each doubling of the distance, but for early reflections.
    assert np.abs(np.diff(ratios) + 6.0).max() < 1.5
    critical = float(critical_distance(torch.tensor(SIZE), t60))
    expected = 20 * np.log10(critical / np.array(distances))
    assert np.abs(ratios - expected).max() < 4.0


def test_tails_are_of_their_seed_and_source():
    one, two = (room(0.3).binaural(around([20.0, 20.0]), s) for s in (0, 1))
    begin = 2500
    assert torch.equal(one, room(0.3).binaural(around([20.0, 20.0]), seed=0))
    assert not torch.equal(one[0], two[0])
    tails = one[..., begin:] - one[..., begin:].mean(-1, keepdim=True)
    similar = (tails[0] * tails[1]).sum() / tails[0].square().sum()
    assert abs(float(similar)) < 0.2
    # The two responses begin alike.
    torch.testing.assert_close(
        one[0, :, :600], one[1, :, :600], atol=2e-3, rtol=0
    )


def test_noise_from_everywhere():
    heads = spherical_head_hrtfs(FS, ["subject03"])
    responses, weights = heads.responses[0], direction_weights(heads)
    # On a sphere the mean square of a coordinate is a third.
    square = (heads.directions()[..., 1] ** 2 * weights).sum()
    assert float(square) == pytest.approx(1 / 3, abs=0.01)
    mixing = ear_mixing(responses.flatten(0, 1), weights.flatten())
    generator = torch.Generator().manual_seed(0)
    noise = diffuse_at_ears(
        torch.randn(2, 30 * FS, generator=generator), mixing
    )
    assert float(noise.square().mean()) == pytest.approx(1.0, rel=0.03)
    level = noise.square().mean(0)
    assert float(level[0] / level[1]) == pytest.approx(1.0, rel=0.1)
    frames = noise.T.unfold(-1, 1024, 512) * torch.hann_window(1024)
    left, right = torch.fft.rfft(frames)
    cross = (left * right.conj()).mean(0)
    coherence = (
        cross
        / (left.abs().square().mean(0) * right.abs().square().mean(0)).sqrt()
    )
    frequency = np.fft.rfftfreq(1024, 1 / FS)
    # What the responses of all directions make of it.
    spectra = torch.fft.rfft(responses.double(), n=1024)
    share = weights[..., None]
    wanted = (spectra[:, :, 0] * spectra[:, :, 1].conj() * share).sum((0, 1))
    for ear in range(2):
        wanted /= (spectra[:, :, ear].abs().square() * share).sum((0, 1)).sqrt()
    use = (frequency > 100) & (frequency < 7000)
    gap = (coherence - wanted)[torch.from_numpy(use)].abs()
    assert float(gap.median()) < 0.05 and float(gap.max()) < 0.15
    low, high = (frequency > 60) & (frequency < 150), frequency > 2000
    assert float(coherence.real[torch.from_numpy(low)].mean()) > 0.9
    assert float(coherence.abs()[torch.from_numpy(high)].mean()) < 0.2
    with pytest.raises(ValueError, match="cut the room"):
        ear_mixing(torch.ones(1, 2, 2000), torch.ones(1))
    with pytest.raises(ValueError, match="silent"):
        ear_mixing(torch.zeros(1, 2, 20), torch.ones(1))


def test_rooms_in_the_form_of_the_published_ones(tmp_path):
    t60s, azimuths = [0.2, 0.3], [-60, 0, 60]
    root = write_synthetic_rooms(tmp_path, t60s, azimuths)
    rooms = load_rooms(root, 8000)
    assert rooms.t60s == {"0_2s": 0.2, "0_3s": 0.3}
    for name, t60 in rooms.t60s.items():
        responses = torch.from_numpy(rooms.rooms[name].rirs)
        assert rooms.rooms[name].laterals == [-60.0, 0.0, 60.0]
        level = ild(responses[..., :200])
        assert level[0] > 3 and level[2] < -3
        measured = measure_t60(responses.float(), 8000)
        assert (measured / t60 - 1).abs().max() < 0.2
    # Heads and rooms differ.
    paths = sorted(root.rglob("*.wav"))
    before = {path: path.read_bytes() for path in paths}
    paths[0].unlink()
    kept = paths[-1].stat().st_mtime_ns
    write_synthetic_rooms(tmp_path, t60s, azimuths)
    assert {path: path.read_bytes() for path in paths} == before
    assert paths[-1].stat().st_mtime_ns == kept
    with pytest.raises(ValueError, match="can have a T60 of 0.01 s"):
        write_synthetic_rooms(tmp_path / "b", [0.01], azimuths)


def test_speech_in_the_form_of_wsj0(tmp_path):
    talkers = {"train": 2, "valid": 1, "test": 1}
    options = {"utterances_per_talker": 2, "duration": (0.5, 0.6)}
    root = write_synthetic_wsj0(tmp_path / "a", talkers, **options)
    found = sorted(path.relative_to(root) for path in root.rglob("*.wav"))
    assert str(found[0]) == "wsj0/si_dt_05/003/003a0001.wav"
    assert len(found) == 8
    info = audio_info(root / found[0])
    assert (info.fs, info.subtype, info.num_channels) == (16000, "PCM_16", 1)
    paths = prepare_speech(root, tmp_path / "save")
    assert sorted(paths) == ["dt", "et", "tr"]
    first = read_audio(root / found[0])[0]
    (root / found[0]).unlink()
    write_synthetic_wsj0(tmp_path / "a", talkers, **options)
    assert torch.equal(read_audio(root / found[0])[0], first)
    write_synthetic_wsj0(tmp_path / "a", talkers, **options, seed=1)
    other = read_audio(root / found[0])[0]
    count = min(len(first), len(other))
    assert not torch.equal(other[:count], first[:count])
    real = tmp_path / "real/wsj0/si_tr_s"
    real.mkdir(parents=True)
    with pytest.raises(ValueError, match="not synthetic"):
        write_synthetic_wsj0(tmp_path / "real", talkers, **options)
    with pytest.raises(ValueError, match="num_talkers needs"):
        write_synthetic_wsj0(tmp_path / "c", {"train": 1}, **options)


def test_noise_in_the_form_of_demand(tmp_path):
    root = write_synthetic_noise(tmp_path, seconds=1.0)
    parts = split_noise(root)
    assert [len(files) for files in parts.values()] == [6, 6, 6]
    assert parts["train"]["demand/DWASHING/ch01.wav"] == 16000
    levels = [
        float(read_audio(path)[0].square().mean().sqrt())
        for path in root.rglob("*.wav")
    ]
    assert min(levels) > 0.045 and max(levels) < 0.055
