"""Audio files that were cut, whatever their container."""

import os
import struct

import numpy as np
import pytest
import soundfile

from spatial_brain.dataio.audio import (
    AudioFileError,
    audio_info,
    read_audio,
    scan_headers,
    stream_blocks,
)
from spatial_brain.dataio.containers import CONTAINERS

FS = 16000
CASES = [(name, None) for name in CONTAINERS] + [
    ("WAV", "FLOAT"),
    ("WAV", "MS_ADPCM"),
    ("RF64", "PCM_24"),
    ("AIFF", "FLOAT"),
    ("CAF", "ALAC_16"),
    ("NIST", "ULAW"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
]


def write(path, name="WAV", subtype=None, seconds=3):
    generator = np.random.default_rng(0)
    samples = 0.1 * generator.standard_normal((seconds * FS, 2)).clip(-3, 3)
    soundfile.write(path, samples, FS, format=name, subtype=subtype)
    return path.read_bytes()


def all_refuse(path, match):
    """Every way to a file raises the same."""
    for call in (
        audio_info,
        read_audio,
        lambda path: read_audio(path, 0, 10),
        lambda path: next(stream_blocks(path, 10)),
    ):
        with pytest.raises(AudioFileError, match=match) as caught:
            call(path)
        assert str(path) in str(caught.value)
    infos, problems = scan_headers([path])
    assert infos == [None] and str(path) in problems[0]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "subtype"), CASES)
def test_cut_files_are_refused(tmp_path, name, subtype):
    path = tmp_path / "x.audio"
    content = write(path, name, subtype)
    assert audio_info(path).num_samples == len(read_audio(path)[0])
    size = len(content)
    for kept in (30, size // 4, size // 2, size * 9 // 10, size - 40, size - 1):
        path.write_bytes(content[:kept])
        all_refuse(path, "x.audio")


def test_mp3_without_a_length_in_its_header(tmp_path):
    path = tmp_path / "x.mp3"
    content = write(path, "MP3")
    at = next(i for i in range(10, 4000) if content[i : i + 2] == content[:2])
    content = content[at:]
    assert b"Xing" not in content and b"Info" not in content
    path.write_bytes(content)
    assert audio_info(path).num_samples > 2 * FS
    path.write_bytes(content + b"TAG" + bytes(125))
    assert audio_info(path).num_samples > 2 * FS
    path.write_bytes(content[:-50])
    all_refuse(path, r"truncated, \d+ bytes of its last frame")


def test_ogg_cut_between_two_pages(tmp_path):
    path = tmp_path / "x.ogg"
    content = write(path, "OGG", seconds=20)
    path.write_bytes(content[: content.rindex(b"OggS")])
    all_refuse(path, "not the end of the stream")


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFF000, 0x80000000])
def test_length_left_open_by_a_writer_to_a_pipe(tmp_path, length):
    path = tmp_path / "x.wav"
    content = bytearray(write(path))
    at = content.index(b"data") + 4
    content[at : at + 4] = struct.pack("<L", length)
    path.write_bytes(content)
    assert len(read_audio(path)[0]) == 3 * FS


def test_chunks_behind_the_samples_are_no_samples(tmp_path):
    path = tmp_path / "x.wav"
    content = write(path)
    note = b"LIST" + struct.pack("<L", 200_001) + bytes(200_001)
    for padding in (b"", b"\0"):
        path.write_bytes(content + note + padding)
        assert len(read_audio(path)[0]) == 3 * FS
    path.write_bytes(content + bytes(1000))
    assert len(read_audio(path)[0]) == 3 * FS


@pytest.mark.parametrize("length", [0, 1000])
def test_file_that_was_never_closed(tmp_path, length):
    path = tmp_path / "x.wav"
    content = bytearray(write(path))
    at = content.index(b"data") + 4
    content[at : at + 4] = struct.pack("<L", length)
    path.write_bytes(content)
    all_refuse(path, f"declares {length} bytes.*did not close it")


def test_wav_beyond_four_gigabytes(tmp_path):
    path = tmp_path / "x.wav"
    write(path)
    with open(path, "r+b") as file:
        # The file system keeps no zeros that were never written.
        file.truncate(44 + (1 << 32) + 3 * FS * 4)
    all_refuse(path, "longer than its container can state.*-rf64 auto")
    # The same size in a container that can hold it.
    write(path, "RF64")
    header = bytearray(path.read_bytes()[:200])
    samples = (1 << 32) + 4 * FS
    start = header.index(b"ds64")
    struct.pack_into("<3Q", header, start + 8, samples, samples, samples // 4)
    path.write_bytes(header)
    os.truncate(path, header.index(b"data") + 8 + samples)
    assert audio_info(path).num_samples == samples // 4


def test_flac_without_a_length(tmp_path):
    path = tmp_path / "x.flac"
    content = bytearray(write(path, "FLAC"))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    all_refuse(path, "does not state a length")


def test_what_is_no_file_with_a_header(tmp_path):
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    all_refuse(pipe, "a pipe or a device")
    all_refuse("/dev/zero", "a pipe or a device")
    raw = tmp_path / "x.RAW"
    raw.write_bytes(bytes(1000))
    all_refuse(raw, "raw samples without a header")
    write(tmp_path / "x.voc", "VOC")
    all_refuse(tmp_path / "x.voc", "VOC is a container whose completeness")


def test_file_that_was_cut_after_it_was_read(tmp_path):
    path = tmp_path / "x.aiff"
    content = write(path, "AIFF")
    read_audio(path)
    path.write_bytes(content[:-1000])
    all_refuse(path, "truncated")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CONTAINERS)
def test_damaged_headers_end_in_one_kind_of_error(tmp_path, name):
    path = tmp_path / "x.audio"
    content = write(path, name, seconds=1)
    generator = np.random.default_rng(1)
    for kept in (4, 8, 12, 16, 20, 24, 40, 44, 60, 100):
        path.write_bytes(content[:kept])
        all_refuse(path, "x.audio")
    for _ in range(200):
        damaged = bytearray(content)
        for at in generator.integers(0, 120, 2):
            damaged[at] ^= 1 << generator.integers(8)
        path.write_bytes(damaged)
        try:
            read_audio(path)
        except AudioFileError as error:
            assert str(path) in str(error)
