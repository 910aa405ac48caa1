import shutil

import pytest
import torch

from spatial_brain.dataio.audio import read_audio
from spatial_brain.datasets.real_arrays.registry import open_corpus
from spatial_brain.datasets.real_arrays.synthetic.realman import (
    write_synthetic_realman,
    write_synthetic_realman_prerelease,
)
from spatial_brain.geometry import MicrophoneArray, azel_to_unit

MOVED = "train/ma_speech/LivingRoom1/static/0010/TRAIN_S_LIVI_0010_0001"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "RealMAN"
    write_synthetic_realman(folder, duration=1.0)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / written.name)


def test_recordings(folder):
    corpus = open_corpus("RealMAN", folder.parent)
    [train] = corpus.recordings("train")
    assert train.id == MOVED and train.room == "LivingRoom1"
    assert (train.fs, train.num_samples) == (48000, 48000)
    assert train.speakers == ("0010",)
    assert [one.room for one in corpus.recordings("val")] == ["Market"]
    text = corpus.preflight().line()
    assert "2 of 32 rooms, 480 pairs, 2 recordings" in text
    assert "missing rooms: LivingRoom3, LivingRoom4" in text


def test_each_channel_is_read_from_its_own_file(folder):
    # The original read channel 0 twice.
    corpus = open_corpus("RealMAN", folder)
    [recording] = corpus.recordings("train")
    read = corpus.read_segment(recording, 100, 4900, [31, 9])
    for column, channel in enumerate([31, 9]):
        path = folder / f"{MOVED}_CH{channel}.flac"
        assert torch.equal(read[:, column], read_audio(path)[0][100:4900, 0])
    assert not torch.equal(read[:, 0], read[:, 1])


def test_pairs(folder, tmp_path):
    assert open_corpus("RealMAN", folder).count_pairs() == 480
    compat = open_corpus("RealMAN", folder, compat=True)
    assert compat.count_pairs() == 477
    assert compat.preflight().expected["pairs"] == 477
    pairs = {tuple(pair) for pair in compat.pairs("realman").tolist()}
    assert all((j, i) in pairs for i, j in pairs)
    write_synthetic_realman_prerelease(tmp_path / "ori", duration=0.5)
    compat = open_corpus("RealMAN", tmp_path / "ori", compat=True)
    assert compat.count_pairs() == 477
    array = MicrophoneArray.named("realman_prerelease")
    all_pairs = array.pairs(0.03, 0.2, ordered=True).tolist()
    kept = compat.pairs("realman_prerelease").tolist()
    lost = [pair for pair in all_pairs if pair not in kept]
    assert len(lost) == 6
    assert all(abs(array.distances[i, j] - 0.03) < 1e-6 for i, j in lost)


def test_before_the_release(tmp_path):
    write_synthetic_realman_prerelease(tmp_path, duration=1.0)
    corpus = open_corpus("RealMAN", tmp_path)
    [train] = corpus.recordings("train")
    assert train.room == "LivingRoom1" and len(train.files) == 1
    assert [one.room for one in corpus.recordings("val")] == ["Market"]
    whole, _ = read_audio(train.files[0])
    assert torch.equal(
        corpus.read_segment(train, 5, 25, [30, 24]), whole[5:25][:, [30, 24]]
    )
    # Same microphones, in another order.
    released = MicrophoneArray.named("realman").positions
    [array] = corpus.arrays.values()
    assert torch.equal(array.positions[24], torch.zeros(3))
    order = [torch.cdist(p[None], released).argmin() for p in array.positions]
    assert sorted(order) == list(range(32))


def test_directions_agree_with_delays(folder):
    corpus = open_corpus("RealMAN", folder)
    [array] = corpus.arrays.values()
    for recording in corpus.recordings():
        found = corpus.direction(recording)
        assert found.elevation.tolist() == [0.0]
        assert found.distance.item() == pytest.approx(1.3)
        waveform = corpus.read_segment(
            recording, 0, recording.num_samples, [17, 21]
        )
        spectra = torch.fft.rfft(waveform, 2**17, dim=0)
        cross = spectra[:, 0] * spectra[:, 1].conj()
        lags = torch.fft.irfft(cross / cross.abs())
        reach = 40
        lags = torch.cat((lags[-reach:], lags[: reach + 1]))
        # Arrives at 17 later than at 21 by this many samples.
        delay = (lags.argmax() - reach) / 48000
        front = azel_to_unit(found.azimuth, torch.zeros(1))[0]
        path = (array.positions[21] - array.positions[17]) @ front
        assert abs(delay * 343 - path) < 0.02


def test_direct_path_and_voice_activity(folder):
    corpus = open_corpus("RealMAN", folder)
    [recording] = corpus.recordings("train")
    direct, fs = corpus.read_direct_path(recording)
    assert (len(direct), fs) == (48000, 48000)
    active = corpus.voice_activity(recording)
    # Speech lasts from 0.1 to 0.9 s, and comes 3.8 ms later.
    assert len(active) == 10 and not active[0] and active[2:8].any()
    path = folder / "train/dp_speech/LivingRoom1/static/0010"
    next(path.iterdir()).unlink()
    with pytest.raises(FileNotFoundError, match="needed for voice activity"):
        corpus.voice_activity(recording)


def test_directions_of_moving_speakers(folder):
    table = folder / "train/train_static_source_location.csv"
    stem = MOVED.rsplit("/", 1)[-1]
    table.write_text(
        f'filename,angle(°)\ntrain/ma_speech/x/{stem}.flac,"1.0,2.5,4"\n',
        encoding="utf-8",
    )
    corpus = open_corpus("RealMAN", folder)
    [train], [val] = corpus.recordings("train"), corpus.recordings("val")
    assert corpus.direction(train).azimuth.tolist() == [1.0, 2.5, 4.0]
    assert corpus.direction(train).distance is None
    with pytest.raises(ValueError, match="is in none of the"):
        corpus.direction(val)
    table.write_text(
        table.read_text(encoding="utf-8").replace("2.5", "east"),
        encoding="utf-8",
    )
    corpus = open_corpus("RealMAN", folder)
    with pytest.raises(ValueError, match=r"location\.csv, line 2"):
        corpus.direction(train)


def test_what_is_wrong_is_named(folder):
    (folder / f"{MOVED}_CH7.flac").unlink()
    market = folder / "train/ma_speech/Market"
    market.rename(market.with_name("Bazaar"))
    corpus = open_corpus("RealMAN", folder)
    assert corpus.recordings() == []
    text = corpus.preflight().line()
    assert "_CH*.flac: channel files 7 are missing" in text
    assert "scene Bazaar is in no split and not used (1 recordings)" in text
    deep = open_corpus("RealMAN", folder / "train").preflight()
    assert f"the corpus lies in {folder}; give that" in deep.line()
    with pytest.raises(ValueError, match="states must be some of"):
        open_corpus("RealMAN", folder, states=["running"])


def test_moving_speakers_are_asked_for(folder):
    scene = folder / "train/ma_speech/LivingRoom1"
    (scene / "static").rename(scene / "moving")
    assert open_corpus("RealMAN", folder).recordings("train") == []
    corpus = open_corpus("RealMAN", folder, states=["moving"])
    assert len(corpus.recordings("train")) == 1
