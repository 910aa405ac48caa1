"""Audio files: segments, formats, damage, resampling, streaming."""

import resource
from functools import partial

import numpy as np
import pytest
import soundfile
import torch
from torchaudio.functional import resample

from spatial_brain.dataio import audio
from spatial_brain.dataio.audio import (
    AudioFileError,
    audio_info,
    check_audio,
    list_problems,
    read_audio,
    resample_audio,
    scan_headers,
    stream_blocks,
    write_audio,
)

FS = 16000


def noise(num_samples, num_channels=2, scale=0.1):
    generator = torch.Generator().manual_seed(num_samples)
    return scale * torch.randn(num_samples, num_channels, generator=generator)


@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [
        ("wav", None, 3.1e-5),
        ("wav", "FLOAT", 0),
        ("wav", "PCM_24", 1.3e-7),
        ("flac", None, 3.1e-5),
        ("sph", None, 3.1e-5),
        ("aif", None, 3.1e-5),
        ("ogg", None, 0.5),
        ("mp3", None, 0.5),
        ("opus", None, 0.5),
    ],
)
def test_formats(tmp_path, suffix, subtype, tolerance):
    waveform = noise(FS)
    path = tmp_path / "sub" / f"x.{suffix}"
    write_audio(path, waveform, FS, subtype=subtype)
    info = audio_info(path)
    assert (info.num_channels, info.fs) == (2, FS)
    read, fs = read_audio(path, fs=FS, num_channels=2)
    assert fs == FS and read.dtype == torch.float32
    assert read.shape == waveform.shape and read.is_contiguous()
    assert (read - waveform).abs().max() <= tolerance
    segment, _ = read_audio(path, start=1234, num_samples=777)
    assert torch.allclose(segment, read[1234 : 1234 + 777], atol=1e-6)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_only_the_segment_is_decoded(tmp_path, monkeypatch):
    path = tmp_path / "x.wav"
    write_audio(path, noise(100_000), FS)
    lengths = []
    real = soundfile.SoundFile.read

    def read(self, frames=-1, *args, **kwargs):
        lengths.append(frames)
        return real(self, frames, *args, **kwargs)

    monkeypatch.setattr(soundfile.SoundFile, "read", read)
    read_audio(path, start=90_000, num_samples=100)
    assert lengths == [100]


@pytest.mark.parametrize(
    ("start", "num_samples", "message"),
    [
        (0, 1001, "asked for samples 0 to sample 1001, but it has 1000"),
        (1000, None, "samples 1000 to the end"),
        (999, 2, "to sample 1001"),
        (-1, 2, "start must be"),
        (0, 0, "num_samples"),
    ],
)
def test_segments_past_the_end(tmp_path, start, num_samples, message):
    path = tmp_path / "x.wav"
    write_audio(path, noise(1000), FS)
    with pytest.raises(ValueError, match=message) as caught:
        read_audio(path, start, num_samples)
    assert str(path) in str(caught.value)


def test_missing_and_strange_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.wav"):
        read_audio(tmp_path / "nothing.wav")
    with pytest.raises(AudioFileError, match="is a folder"):
        read_audio(tmp_path)
    text = tmp_path / "text.wav"
    text.write_text("hello")
    with pytest.raises(AudioFileError, match=r"text.wav.*corrupt"):
        audio_info(text)
    empty = tmp_path / "empty.wav"
    soundfile.write(empty, np.zeros(0), FS)
    with pytest.raises(AudioFileError, match=r"empty.wav.*no samples"):
        audio_info(empty)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
def test_truncated_files_are_noticed(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    write_audio(path, noise(FS), FS)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioFileError, match=f"x.{suffix}"):
        read_audio(path)


def test_wav_written_to_a_pipe_is_accepted(tmp_path):
    path = tmp_path / "x.wav"
    write_audio(path, noise(FS), FS)
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff" * 4
    path.write_bytes(content)
    assert len(read_audio(path)[0]) == FS


def test_not_finite_samples(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, np.array([0.0, np.nan]), FS, subtype="FLOAT")
    with pytest.raises(AudioFileError, match=r"x.wav.*NaN"):
        read_audio(path)


def test_expected_rate_and_channels(tmp_path):
    path = tmp_path / "x.wav"
    write_audio(path, noise(100, 3), 8000)
    with pytest.raises(AudioFileError, match=r"8000 Hz, expected 16000.*resam"):
        read_audio(path, fs=FS)
    with pytest.raises(AudioFileError, match="has 3 channels, expected 2"):
        read_audio(path, num_channels=2)


def test_scan_names_the_unusable_in_their_order(tmp_path):
    for name, fs in (("good", FS), ("rate", 8000), ("late", FS)):
        write_audio(tmp_path / f"{name}.wav", noise(100), fs)
    (tmp_path / "corrupt.wav").write_bytes(b"RIFFxxxxWAVE")
    names = ("good", "rate", "missing", "corrupt", "late")
    infos, problems = scan_headers(
        [tmp_path / f"{name}.wav" for name in names],
        partial(check_audio, fs=FS, num_channels=2),
    )
    assert [info and info.num_samples for info in infos] == [
        100,
        None,
        None,
        None,
        100,
    ]
    assert len(problems) == 3
    for name, problem in zip(names[1:4], problems, strict=True):
        assert f"{name}.wav" in problem
    assert len(scan_headers([tmp_path / "rate.wav"])[1]) == 0
    assert scan_headers([]) == ([], [])


def test_list_of_problems_is_short():
    text = list_problems([f"{n}.wav: odd" for n in range(12)], 30, "files")
    lines = text.splitlines()
    assert lines[0] == "12 of 30 files are unusable:"
    assert len(lines) == 12 and lines[-1] == "  ... and 2 more"


def test_sphere_with_wv1_suffix(tmp_path):
    path = tmp_path / "x.sph"
    write_audio(path, noise(1000, 1), FS)
    wv1 = path.rename(tmp_path / "x.wv1")
    assert len(read_audio(wv1)[0]) == 1000


@pytest.mark.parametrize("target", [16000, 24000, 44100, 11025])
def test_resampled_segment_equals_the_whole(tmp_path, target):
    path = tmp_path / "x.wav"
    write_audio(path, noise(9000), 22050, subtype="FLOAT")
    whole = resample(read_audio(path)[0].T, 22050, target).T
    read, fs = read_audio(path, fs=target, resample=True)
    assert fs == target
    assert torch.allclose(read, whole, atol=1e-6)
    for start, length in ((0, 50), (1, 1), (1717, 900), (len(whole) - 3, 3)):
        part, _ = read_audio(path, start, length, target, resample=True)
        assert torch.allclose(part, whole[start : start + length], atol=1e-6)


@pytest.mark.parametrize("rates", [(22050, 16000), (16000, 44100)])
def test_weights_of_each_sample_are_those_of_the_table(rates, monkeypatch):
    waveform = noise(3000)
    # In 32 bits, torchaudio's own weights are off by 1e-5.
    table = resample(waveform.double().T, *rates).T
    assert (resample_audio(waveform, *rates) - table).abs().max() < 2e-5
    monkeypatch.setattr(audio, "_MAX_TABLE", 0)
    monkeypatch.setattr(audio, "_MAX_WEIGHTS", 1 << 14)
    assert (resample_audio(waveform, *rates) - table).abs().max() < 1e-6


@pytest.mark.parametrize("old_fs", [47999, 44101, 192001, 11027])
def test_rates_that_share_no_factor(tmp_path, old_fs):
    path = tmp_path / "x.wav"
    times = torch.arange(2 * old_fs, dtype=torch.float64) / old_fs
    tones = torch.stack([torch.sin(2000 * t * times) for t in (1, 3)], 1)
    write_audio(path, 0.5 * tones, old_fs, subtype="FLOAT")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read, _ = read_audio(path, fs=FS, resample=True)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert used < 300_000, f"{used} kB"
    assert len(read) == 2 * FS
    times = torch.arange(2 * FS, dtype=torch.float64) / FS
    for channel, t in enumerate((1, 3)):
        error = read[:, channel] - 0.5 * torch.sin(2000 * t * times)
        # The pass band of the filter, away from the ends.
        assert error[100:-100].abs().max() < 2e-3
    part, _ = read_audio(path, 20_001, 500, FS, resample=True)
    assert torch.allclose(part, read[20_001:20_501], atol=1e-6)


def test_rates_that_no_recording_has(tmp_path):
    path = tmp_path / "x.wav"
    for fs in (1, 2**31 - 1):
        soundfile.write(path, np.zeros(100), fs)
        with pytest.raises(AudioFileError, match=f"rate of {fs} Hz"):
            read_audio(path, fs=FS, resample=True)
    with pytest.raises(ValueError, match="rate of 10 Hz is not that"):
        resample_audio(torch.zeros(100, 1), 10, FS)


@pytest.mark.parametrize("hop", [None, 100, 37])
@pytest.mark.parametrize("fs", [None, 24000])
def test_stream_blocks(tmp_path, hop, fs):
    path = tmp_path / "x.wav"
    write_audio(path, noise(1234), FS, subtype="FLOAT")
    whole, rate = read_audio(path, fs=fs, resample=fs is not None)
    blocks = list(stream_blocks(path, 300, hop, fs=fs, resample=fs is not None))
    step = hop or 300
    assert [start for start, _ in blocks] == [
        step * i for i in range(len(blocks))
    ]
    for start, block in blocks:
        assert torch.allclose(block, whole[start : start + 300], atol=1e-6)
    start, last = blocks[-1]
    assert start + len(last) == len(whole)
    assert all(len(block) == 300 for _, block in blocks[:-1])
    start, last = list(stream_blocks(path, 300, hop, pad=True))[-1]
    assert len(last) == 300 and not last[1234 - start :].any()


def test_stream_exact_multiple_and_bad_hop(tmp_path):
    path = tmp_path / "x.wav"
    write_audio(path, noise(600), FS)
    assert [start for start, _ in stream_blocks(path, 300)] == [0, 300]
    with pytest.raises(ValueError, match="hop"):
        next(stream_blocks(path, 300, 301))


def test_clipping_is_refused(tmp_path):
    path = tmp_path / "x.wav"
    loud = torch.tensor([0.5, -1.5])
    with pytest.raises(ValueError, match=r"x.wav: peak 1.5 would be clipped"):
        write_audio(path, loud, FS)
    assert not list(tmp_path.iterdir())
    write_audio(path, loud, FS, clip=True)
    assert read_audio(path)[0].min() == -1
    write_audio(path, loud, FS, subtype="FLOAT")
    assert torch.equal(read_audio(path)[0][:, 0], loud)


def test_writing_what_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match="NaN"):
        write_audio(tmp_path / "x.wav", torch.tensor([torch.nan]), FS)
    with pytest.raises(ValueError, match="suffix"):
        write_audio(tmp_path / "x.xyz", torch.zeros(3), FS)
    with pytest.raises(ValueError, match="FLAC cannot hold FLOAT"):
        write_audio(tmp_path / "x.flac", torch.zeros(3), FS, subtype="FLOAT")
    with pytest.raises(ValueError, match="shape"):
        write_audio(tmp_path / "x.wav", torch.zeros(1, 2, 3), FS)
    assert not list(tmp_path.iterdir())


def test_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.wav"
    write_audio(path, noise(100), FS)
    before = path.read_bytes()

    def killed(file, *args, **kwargs):
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(soundfile, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        write_audio(path, noise(200), FS)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_real_recordings(shared_data):
    folder = shared_data / "recordings"
    paths = sorted(folder.rglob("*.flac"))
    assert paths
    for path in paths:
        info = audio_info(path)
        assert info.fs == 24000 and info.num_channels in (4, 8)
        whole, _ = read_audio(path)
        assert len(whole) == info.num_samples
        part, _ = read_audio(path, 24000, 4800)
        assert torch.equal(part, whole[24000:28800])
