"""NIST sphere files compressed with shorten."""

import numpy as np
import pytest

from spatial_brain.dataio.audio import (
    AudioFileError,
    audio_info,
    read_audio,
    scan_headers,
    stream_blocks,
)
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.speech.corpora import list_utterances
from spatial_brain.datasets.speech.pool import prepare_speech
from spatial_brain.datasets.speech.wsj0 import find_wsj0, readable_wsj0

BLOCK = 50


class Writer:
    """Bits of a shortened stream."""

    def __init__(self):
        self.bits = []

    def unsigned(self, value, number):
        self.bits += [0] * (value >> number) + [1]
        self.bits += [value >> n & 1 for n in reversed(range(number))]

    def signed(self, value, number):
        folded = ~(value << 1) if value < 0 else value << 1
        self.unsigned(folded, number + 1)

    def field(self, value):
        number = value.bit_length()
        self.unsigned(number, 2)
        self.unsigned(value, number)

    def data(self):
        bits = self.bits + [0] * (-len(self.bits) % 32)
        return np.packbits(bits).tobytes()


def quotient(value, divisor):
    return int(value / divisor)


def encode(samples, version=2, num_means=4, kind=5, shift=0, seed=0):
    """Shorten samples [time, channel] by functions drawn at random."""
    generator = np.random.default_rng(seed)
    samples = samples >> shift
    writer = Writer()
    channels = samples.shape[1]
    for value in (kind, channels, BLOCK, 4, num_means, 1):
        writer.field(value)
    writer.unsigned(7, 7)  # a byte to skip
    if shift:
        writer.unsigned(6, 2)
        writer.unsigned(shift, 2)
    padded = np.concatenate((np.zeros((4, channels), int), samples))
    means = np.zeros((channels, num_means), int)
    size = BLOCK
    for first in range(0, len(samples), BLOCK):
        if len(samples) - first < size:
            size = len(samples) - first
            writer.unsigned(5, 2)
            writer.field(size)
        for channel in range(channels):
            past = [int(x) for x in padded[: first + 4 + size, channel]]
            block = past[first + 4 :]
            offset = 0
            if num_means:
                half = num_means // 2 if version > 1 else 0
                offset = quotient(means[channel].sum() + half, num_means)
                if version > 1 and shift:
                    offset = offset >> (shift - 1) >> 1
            write_block(writer, past, size, offset, version, generator)
            if num_means:
                half = size // 2 if version > 1 else 0
                mean = quotient(sum(block) + half, size)
                mean = mean << shift if version > 1 else mean
                means[channel] = [*means[channel][1:], mean]
    writer.unsigned(4, 2)
    return b"ajkg" + bytes([version]) + writer.data()


def write_block(writer, past, size, offset, version, generator):
    """One block, the last of ``past``."""
    first = len(past) - size
    if not any(past[first:]):
        return writer.unsigned(8, 2)
    function = int(generator.choice([0, 1, 2, 3, 7]))
    writer.unsigned(function, 2)
    writer.unsigned(9, 3)
    if function == 7:
        weights = [int(x) for x in generator.integers(-20, 20, 3)]
        writer.unsigned(len(weights), 2)
        for weight in weights:
            writer.signed(weight, 5)
    for i in range(first, len(past)):
        if function == 7:
            total = 32 if version > 1 else 0
            for j, weight in enumerate(weights):
                total += weight * (past[i - j - 1] - offset)
            expected = (total >> 5) + offset
        else:
            a, b, c = past[i - 1], past[i - 2], past[i - 3]
            expected = (offset, a, 2 * a - b, 3 * (a - b) + c)[function]
        writer.signed(past[i] - expected, 9)


def write(path, samples, **options):
    lines = [
        "NIST_1A\n   1024",
        f"channel_count -i {samples.shape[1]}",
        f"sample_count -i {len(samples)}",
        "sample_rate -i 16000",
        "sample_n_bytes -i 2",
        "sample_coding -s26 pcm,embedded-shorten-v2.00",
        "end_head\n",
    ]
    header = "\n".join(lines).encode().ljust(1024)
    path.write_bytes(header + encode(samples, **options))
    return path


def draw(count=333, channels=1):
    generator = np.random.default_rng(count)
    samples = generator.normal(300, 2000, (count, channels)).astype(int)
    samples[100:150] = 0
    return samples


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kind": 3, "seed": 1},
        {"num_means": 0, "seed": 2},
        {"version": 1, "seed": 3},
        {"shift": 2, "seed": 4},
    ],
    ids=str,
)
def test_samples_are_those_that_were_shortened(tmp_path, options, channels):
    samples = draw(channels=channels)
    shift = options.get("shift", 0)
    samples = samples >> shift << shift
    path = write(tmp_path / "x.wv1", samples, **options)
    read, fs = read_audio(path, fs=16000)
    assert fs == 16000
    assert np.array_equal(np.rint(read.numpy() * 32768), samples)
    assert audio_info(path).num_samples == len(samples)
    part, _ = read_audio(path, 70, 90)
    assert np.array_equal(part, read[70:160])
    assert sum(len(b) for _, b in stream_blocks(path, 100)) == len(samples)


def test_damaged_files_are_named(tmp_path):
    path = write(tmp_path / "x.wv1", draw())
    content = path.read_bytes()
    for kept in (1000, 1024, 1028, 1030, 1100, len(content) - 8):
        path.write_bytes(content[:kept])
        with pytest.raises(AudioFileError, match="x.wv1: shorten-compressed"):
            read_audio(path)
    generator = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(content)
        at = generator.integers(0, len(damaged))
        damaged[at] ^= 1 << generator.integers(8)
        path.write_bytes(damaged)
        _, problems = scan_headers([path])
        assert all("x.wv1" in problem for problem in problems)


def test_headers_that_declare_something_else(tmp_path):
    path = write(tmp_path / "x.wv1", draw())
    content = path.read_bytes()
    for old, new, match in (
        (b"count -i 333", b"count -i 334", "cannot be decoded"),
        (b"count -i 333", b"count -i 332", "cannot be decoded"),
        (b"count -i 333", b"count -i 99999999999", "declares 99999999999"),
        (b"channel_count -i 1", b"channel_count -i 2", "cannot be decoded"),
        (b"channel_count -i 1", b"channel_count -i 0", "0 channels"),
        (b"sample_rate", b"sample_rats", "sample_rate is missing"),
        (b"ajkg\x02", b"ajkg\x07", "version 7"),
    ):
        changed = content.replace(old, new)
        head, tail = changed.split(b"ajkg")
        path.write_bytes(head[:1024].ljust(1024) + b"ajkg" + tail)
        with pytest.raises(AudioFileError, match=match):
            read_audio(path)


def test_other_samples_need_a_tool(tmp_path):
    path = write(tmp_path / "x.wv1", draw(), kind=7)
    with pytest.raises(AudioFileError, match=r"x.wv1: shor.*sph2pipe -f wav"):
        read_audio(path)


def test_every_reader_of_wsj0_takes_the_discs_of_the_ldc(tmp_path):
    for subset, speaker in (
        ("si_tr_s", "01t"),
        ("si_dt_05", "050"),
        ("si_et_05", "440"),
    ):
        path = tmp_path / f"11-1.1/wsj0/{subset}/{speaker}/{speaker}o0301.wv1"
        path.parent.mkdir(parents=True)
        write(path, draw())
    # By published names, as lists of utterances, as pools of speakers.
    name = "wsj0/si_dt_05/050/050o0301.wav"
    [info] = readable_wsj0(find_wsj0(tmp_path, [name])).values()
    assert info.num_samples == 333
    found = list_utterances(tmp_path, fs=16000)
    assert [u.num_samples for u in found] == [333] * 3
    paths = prepare_speech(tmp_path, tmp_path / "save", fs=16000)
    parts = [list(read_manifest(path).values()) for path in paths.values()]
    assert [part[0]["num_samples"] for part in parts] == [333] * 3
    assert len(read_audio(parts[0][0]["wav"])[0]) == 333
