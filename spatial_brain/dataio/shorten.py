"""NIST sphere files that are compressed with shorten, as the LDC ships them.

libsndfile does not know this form of WSJ0 and other corpora. The format is
that of T. Robinson, "SHORTEN: Simple lossless and near-lossless waveform
compression" (CUED/F-INFENG/TR.156, 1994): blocks of each channel in turn,
Rice-coded residuals of a polynomial or linear prediction. Decoded are 16-bit
samples, versions 1 and 2.
"""

import io
import re
import wave

import numpy as np

from spatial_brain.compilation import compiled

_MAGIC = b"ajkg"
# Samples that a byte may stand for: more are in no recording.
_MAX_RATIO = 512
_MAX_CHANNELS, _MAX_BLOCK, _MAX_MEAN, _MAX_ORDER = 8, 1 << 16, 64, 32
# Types of samples: 16 bits, signed, either order of bytes in the original.
_TYPES = (3, 5)
# Bits that fields of the header and of commands begin with.
_FIELD, _FUNCTION, _ENERGY, _ORDER, _WEIGHT, _SHIFT = 2, 2, 3, 2, 5, 2
_SKIPPED, _LENGTH, _BYTE = 7, 5, 8
_QUIT, _BLOCKSIZE, _BITSHIFT, _QLPC, _ZERO, _VERBATIM = 4, 5, 6, 7, 8, 9


def is_shortened(path):
    """Whether a file is a NIST sphere file compressed with shorten.

    Arguments
    ---------
    path : str or Path
        Any file.

    Returns
    -------
    bool
        By its header alone.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.wav"
    >>> _ = path.write_bytes(b"RIFF")
    >>> is_shortened(path)
    False
    """
    with open(path, "rb") as file:
        header = file.read(1024)
    return header.startswith(b"NIST_1A") and b"shorten" in header


def read_shortened(path):
    """Decode a shortened NIST sphere file.

    Arguments
    ---------
    path : str or Path
        The file.

    Returns
    -------
    io.BytesIO
        The same samples as a WAV file.

    Raises
    ------
    ValueError
        If it is damaged, or holds other samples than those of 16 bits.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.wv1"
    >>> _ = path.write_bytes(b"NIST_1A\\n   1024\\n... shorten")
    >>> read_shortened(path)
    Traceback (most recent call last):
    ValueError: sample_count is missing in its header
    """
    with open(path, "rb") as file:
        content = file.read()
    start = re.match(rb"NIST_1A\s+(\d{1,6})", content)
    count, channels, fs = (
        _header_number(content, name)
        for name in ("sample_count", "channel_count", "sample_rate")
    )
    data = content[int(start[1]) :] if start else b""
    if not data.startswith(_MAGIC) or len(data) < 6:
        raise ValueError("no samples follow its header")
    if not 1 <= channels <= _MAX_CHANNELS or not 1 <= fs <= 1_000_000:
        raise ValueError(f"{channels} channels at {fs} Hz are in its header")
    if not 1 <= count * channels <= _MAX_RATIO * len(data):
        raise ValueError(
            f"its header declares {count} samples, of {len(data)} bytes"
        )
    version = data[4]
    if version not in (1, 2):
        raise ValueError(f"version {version} of shorten is not known")
    samples = np.zeros((count, channels), dtype=np.int16)
    bits = np.frombuffer(data[5:], dtype=np.uint8)
    done = _decode(bits, version, samples)
    if done == _OTHER_TYPE:
        raise NotImplementedError("holds other samples than those of 16 bits")
    if done != count:
        raise ValueError(
            "damaged or truncated: the samples that its header declares "
            "cannot be decoded; copy it again"
        )
    output = io.BytesIO()
    with wave.open(output, "wb") as file:
        file.setparams((channels, 2, fs, count, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    output.seek(0)
    return output


def _header_number(content, name):
    """Number of a field in the header of a sphere file."""
    pattern = rb"\n%s -(?:i|s\d+) (\d{1,12})\s" % name.encode()
    found = re.search(pattern, content[:4096])
    if found is None:
        raise ValueError(f"{name} is missing in its header")
    return int(found[1])


# What ``_decode`` returns where it cannot go on.
_DAMAGED, _OTHER_TYPE = -1, -2


@compiled()
def _bits(data, at, number):
    """Unsigned number of so many bits; -1 behind the end."""
    if at[0] + number > 8 * len(data):
        at[0] = 8 * len(data) + 1
        return -1
    value = 0
    for _ in range(number):
        bit = at[0]
        value = value << 1 | data[bit >> 3] >> (7 - (bit & 7)) & 1
        at[0] = bit + 1
    return value


@compiled()
def _unsigned(data, at, number):
    """Rice code: zeros, a one, and so many bits; -1 behind the end."""
    high = 0
    while True:
        bit = _bits(data, at, 1)
        if bit < 0 or high > 1 << 30:
            return -1
        if bit:
            break
        high += 1
    low = _bits(data, at, number)
    return -1 if low < 0 else high << number | low


@compiled()
def _signed(data, at, number):
    """Rice code with the sign in the last bit; 0 behind the end."""
    value = _unsigned(data, at, number + 1)
    if value < 0:
        return 0
    return ~(value >> 1) if value & 1 else value >> 1


@compiled()
def _field(data, at):
    """Number of the header that states its own length first."""
    number = _unsigned(data, at, _FIELD)
    if number < 0 or number > 32:
        at[0] = 8 * len(data) + 1
        return -1
    return _unsigned(data, at, number)


@compiled()
def _quotient(value, divisor):
    """Division that rounds towards zero."""
    return value // divisor if value >= 0 else -(-value // divisor)


@compiled()
def _offset(means, version, shift):
    """Offset of a block, by the means of those before."""
    if len(means) == 0:
        return 0
    total = len(means) // 2 if version > 1 else 0
    for mean in means:
        total += mean
    offset = _quotient(total, len(means))
    if version > 1 and shift > 0:
        offset = offset >> (shift - 1) >> 1
    return offset


@compiled()
def _block(data, at, function, offset, version, buffer, first, size):
    """Decode one block behind the history in front of ``first``."""
    end = first + size
    if function == _ZERO:
        buffer[first:end] = 0
        return True
    energy = _unsigned(data, at, _ENERGY)
    if energy < 0 or energy > 30:
        return False
    if function != _QLPC:
        for i in range(first, end):
            a, b, c = buffer[i - 1], buffer[i - 2], buffer[i - 3]
            value = _signed(data, at, energy)
            if function == 0:
                value += offset
            elif function == 1:
                value += a
            elif function == 2:
                value += 2 * a - b
            else:
                value += 3 * (a - b) + c
            buffer[i] = value
        return at[0] <= 8 * len(data)
    order = _unsigned(data, at, _ORDER)
    if order < 0 or order > first:
        return False
    weights = np.zeros(order, dtype=np.int64)
    for i in range(order):
        weights[i] = _signed(data, at, _WEIGHT)
    buffer[first - order : first] -= offset
    for i in range(first, end):
        total = 1 << _WEIGHT if version > 1 else 0
        for j in range(order):
            total += weights[j] * buffer[i - j - 1]
        buffer[i] = _signed(data, at, energy) + (total >> _WEIGHT)
    buffer[first:end] += offset
    return at[0] <= 8 * len(data)


@compiled()
def _add_mean(means, block, version, shift):
    """Keep the mean of a block, the oldest goes."""
    size = len(block)
    if len(means):
        total = block.sum() + (size // 2 if version > 1 else 0)
        means[:-1] = means[1:]
        means[-1] = _quotient(total, size)
        if version > 1:
            means[-1] <<= shift


@compiled()
def _put(block, shift, samples):
    """Write a block where it belongs; False if it does not fit 16 bits."""
    for i in range(len(block)):
        value = block[i] << shift
        if not -32768 <= value <= 32767:
            return False
        samples[i] = value
    return True


@compiled()
def _decode(data, version, samples):
    """Fill samples [time, channel]; their number, or what went wrong."""
    at = np.zeros(1, dtype=np.int64)
    kind, channels, size = _field(data, at), _field(data, at), _field(data, at)
    order, num_means = _field(data, at), _field(data, at)
    skipped = _field(data, at)
    if skipped > _MAX_BLOCK:
        return _DAMAGED
    for _ in range(skipped):
        _unsigned(data, at, _SKIPPED)
    if at[0] > 8 * len(data) or channels != samples.shape[1]:
        return _DAMAGED
    if kind not in _TYPES:
        return _OTHER_TYPE
    if (
        not 1 <= size <= _MAX_BLOCK
        or order > _MAX_ORDER
        or num_means > _MAX_MEAN
    ):
        return _DAMAGED
    first = max(3, order)
    buffers = np.zeros((channels, first + size), dtype=np.int64)
    means = np.zeros((channels, num_means), dtype=np.int64)
    largest, shift, done, channel = size, 0, 0, 0
    while True:
        function = _unsigned(data, at, _FUNCTION)
        if function == _QUIT:
            return done
        if function == _BLOCKSIZE:
            size = _field(data, at)
            if not 1 <= size <= largest:
                return _DAMAGED
        elif function == _BITSHIFT:
            shift = _unsigned(data, at, _SHIFT)
            if not 0 <= shift <= 16:
                return _DAMAGED
        elif function == _VERBATIM:
            skipped = _unsigned(data, at, _LENGTH)
            if skipped > _MAX_BLOCK:
                return _DAMAGED
            for _ in range(skipped):
                _unsigned(data, at, _BYTE)
        elif 0 <= function <= 3 or function in (_QLPC, _ZERO):
            buffer, mean = buffers[channel], means[channel]
            offset = _offset(mean, version, shift)
            good = _block(
                data, at, function, offset, version, buffer, first, size
            )
            if not good or done + size > len(samples):
                return _DAMAGED
            block = buffer[first : first + size]
            _add_mean(mean, block, version, shift)
            if not _put(block, shift, samples[done : done + size, channel]):
                return _DAMAGED
            buffer[:first] = buffer[size : size + first].copy()
            channel += 1
            if channel == channels:
                channel, done = 0, done + size
        else:
            return _DAMAGED
