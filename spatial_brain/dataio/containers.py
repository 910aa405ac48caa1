"""Whether an audio file is as long as its header declares.

libsndfile takes a file that was cut for a shorter one: of most containers it
reads what is there, and at best says so in a log. Here the length in the
header is compared with the bytes of the file, container by container.
Compressed streams state no bytes: of FLAC and MP3 the last sample is decoded,
and a stream in Ogg has to end with its end-of-stream page.

Layouts: RIFF and WAVE (Microsoft 1991), RF64 (EBU Tech 3306), Wave64 (Sony
Pictures 2004), AIFF (Apple 1989), CAF (Apple 2011), AU (Sun/NeXT), NIST sphere
(NIST 1990), Ogg (RFC 3533), MPEG audio (ISO/IEC 11172-3).
"""

import functools
import os
import re
import struct

# How libsndfile names the containers whose length can be checked here.
CONTAINERS = (
    "WAV",
    "WAVEX",
    "RF64",
    "W64",
    "AIFF",
    "AU",
    "CAF",
    "NIST",
    "FLAC",
    "OGG",
    "MP3",
)
# Bytes behind the samples, part of no chunk, that are still let pass.
_MAX_REST = 1 << 16
_MAX32 = 1 << 32
# Chunks that are looked at in one file.
_MAX_CHUNKS = 4096
# More than a page of Ogg (65,307 bytes) and than 20 frames of MP3.
_TAIL = 1 << 17
_COPY = "copy it again"
# Frames that have to follow each other before MP3 is believed to be MP3.
_CHAIN = 5


def find_loss(path, file):
    """What an audio file lacks of what its header declares.

    A file is looked at once in a process, unless it changes.

    Arguments
    ---------
    path : str
        The file.
    file : soundfile.SoundFile
        The same, open at its first sample; it is there again afterwards.

    Returns
    -------
    str
        What is missing and what to do; empty if the file is complete, or if
        its header leaves the length open, as those who write to a pipe do.

    Example
    -------
    >>> import soundfile
    >>> path = str(getfixture("tmp_path") / "a.au")
    >>> soundfile.write(path, [0.0] * 800, 16000)
    >>> os.truncate(path, 1000)
    >>> with soundfile.SoundFile(path) as file:
    ...     file.frames, find_loss(path, file)
    (488, 'truncated, its header declares 1600 bytes of samples but 976 ...')
    """
    status = os.stat(path)
    key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    if key not in _sound_files():
        loss = _find_loss(path, file)
        if loss:
            return loss
        _sound_files().add(key)
    return ""


@functools.cache
def _sound_files():
    """Files of this process that were found complete."""
    return set()


def _find_loss(path, file):
    """As ``find_loss``, without a memory."""
    name = file.format
    if name not in CONTAINERS:
        return (
            f"{name} is a container whose completeness cannot be checked; "
            "convert it to .wav or .flac, for example with ffmpeg"
        )
    if name in ("FLAC", "MP3"):
        return _check_last_sample(file) or (
            _check_mp3(path) if name == "MP3" else ""
        )
    with open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if name == "OGG":
            return _check_ogg(stream, size)
        if name == "NIST":
            return _compare(*_nist_samples(stream), size)
        if name == "AU":
            return _compare(*_au_samples(stream), size)
        return _check_chunks(stream, size)


def _compare(start, declared, size, end=None):
    """Compare bytes declared from ``start`` with those of the file."""
    if declared is None:
        return ""
    found = max(0, size - start)
    if found < declared:
        return (
            f"truncated, its header declares {declared} bytes of samples but "
            f"{found} are there; {_COPY}"
        )
    if found - declared >= _MAX32 - _MAX_REST:
        return (
            f"its header declares {declared} of {found} bytes: it is longer "
            "than its container can state. Convert it (a .wav by ffmpeg "
            "-ignore_length 1 -i IN.wav -rf64 auto OUT.wav)"
        )
    rest = size - (start + declared if end is None else end)
    if rest > _MAX_REST:
        return (
            f"its header declares {declared} bytes of samples, but {rest} more "
            "follow that belong to nothing: the program that wrote it did not "
            "close it. Repair it (a .wav by ffmpeg -ignore_length 1 -i IN.wav "
            "OUT.wav)"
        )
    return ""


class _Chunks:
    """How the chunks of a container are written."""

    def __init__(self, header, first, data, *, align, inclusive=False):
        self.header = struct.Struct(header)
        # Where the first chunk begins.
        self.first = first
        self.data = data
        self.align = align
        # Whether a size counts the chunk's own header.
        self.inclusive = inclusive


_W64_DATA = b"data" + bytes.fromhex("f3acd3118cd100c04f8edb8a")
# By the first four bytes.
_CHUNKS = {
    b"RIFF": _Chunks("<4sL", 12, b"data", align=2),
    b"RIFX": _Chunks(">4sL", 12, b"data", align=2),
    b"RF64": _Chunks("<4sL", 12, b"data", align=2),
    b"BW64": _Chunks("<4sL", 12, b"data", align=2),
    b"riff": _Chunks("<16sQ", 40, _W64_DATA, align=8, inclusive=True),
    b"FORM": _Chunks(">4sL", 12, b"SSND", align=2),
    b"caff": _Chunks(">4sQ", 8, b"data", align=1),
}


def _check_chunks(stream, size):
    """Compare the chunk of the samples, and those behind it, with a file."""
    form = stream.read(4)
    layout = _CHUNKS.get(form)
    if layout is None:
        return f"begins with {form!r}, which is no known container; {_COPY}"
    position, data, long_size = layout.first, None, None
    for _ in range(_MAX_CHUNKS):
        chunk = _chunk_at(stream, position, layout)
        # Some programs leave the byte out that makes a chunk even.
        if chunk is None and position % 2 == 0 and data and layout.align == 2:
            chunk = _chunk_at(stream, position - 1, layout)
            position -= chunk is not None
        if chunk is None:
            break
        name, length = chunk
        start = position + layout.header.size
        if name == b"ds64":
            header = stream.read(16).ljust(16, b"\0")
            long_size = struct.unpack("<8xQ", header)[0]
        if name == layout.data and data is None:
            length = _length_of_samples(form, length, long_size)
            data = start, length
        if length is None or start + length > size:
            break
        position = start + length + -(start + length) % layout.align
    if data is None:
        return f"has no chunk of samples; {_COPY}"
    return _compare(*data, size, min(position, size))


def _chunk_at(stream, position, layout):
    """Name and length of the chunk at a position; None: there is none."""
    stream.seek(position)
    header = stream.read(layout.header.size)
    if len(header) < layout.header.size:
        return None
    name, length = layout.header.unpack(header)
    length -= layout.header.size if layout.inclusive else 0
    if length < 0 or not all(32 <= byte < 127 for byte in name[:4]):
        return None
    return name, length


def _length_of_samples(form, length, long_size):
    """Bytes of samples by a header; None where it leaves them open."""
    if form in (b"RF64", b"BW64"):
        length = length if long_size is None else long_size
        return None if length == _MAX32 - 1 or length >> 63 else length
    if form in (b"caff", b"riff"):
        return None if length >> 63 else length
    # What ffmpeg (all ones), sox and arecord (about half) write to a pipe.
    half = 0x7FFFF000 - (1 << 16) <= length <= 0x80000024
    return None if half or length >= 0xFFFFFF00 else length


def _au_samples(stream):
    """Where the samples of an AU file begin, and their bytes."""
    header = stream.read(12)
    order = "<" if header.startswith(b"dns.") else ">"
    start, length = struct.unpack(f"{order}2L", header[4:])
    return start, None if length in (0, _MAX32 - 1) else length


def _nist_samples(stream):
    """Where the samples of a NIST sphere file begin, and their bytes."""
    header = stream.read(1024)
    begin = re.match(rb"NIST_1A\s+(\d+)", header)
    numbers = [
        re.search(rb"\n%s -(?:i|s\d+) (\d+)" % name, header)
        for name in (b"sample_count", b"channel_count", b"sample_n_bytes")
    ]
    if begin is None or not all(numbers):
        return 0, None
    count, channels, width = (int(number[1]) for number in numbers)
    return int(begin[1]), count * channels * width


def _check_last_sample(file):
    """Decode the last sample; the file is at the first one afterwards."""
    if file.frames >= 1 << 48:
        return (
            "its header does not state a length; encode it again, for example "
            "with ffmpeg"
        )
    try:
        file.seek(file.frames - 1)
        found = len(file.read(1))
        file.seek(0)
    except RuntimeError:  # What soundfile raises for libsndfile's errors.
        found = 0
    if found:
        return ""
    return (
        f"truncated or damaged, its header declares {file.frames} samples but "
        f"the last one cannot be decoded; {_COPY}"
    )


def _tail(path):
    """The last bytes of a file."""
    with open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        stream.seek(max(0, size - _TAIL))
        return stream.read()


def _check_ogg(stream, size):
    """Look for the page that ends a stream in Ogg."""
    stream.seek(max(0, size - _TAIL))
    tail = stream.read()
    at = tail.rfind(b"OggS")
    page = tail[at:]
    cut = f"truncated, its last page is not the end of the stream; {_COPY}"
    if at < 0 or len(page) < 27 or len(page) < 27 + page[26]:
        return cut
    length = 27 + page[26] + sum(page[27 : 27 + page[26]])
    ends = page[5] & 4
    return "" if ends and len(page) >= length else cut


# Kilobits per second by version (1, or 2 and 2.5) and layer, ISO/IEC 11172-3
# and 13818-3; hertz of version 1.
_MP3_RATES = {
    (1, 1): tuple(range(0, 449, 32)),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MP3_RATES[2, 3] = _MP3_RATES[2, 2]
_MP3_FS = (44100, 48000, 32000)


def _check_mp3(path):
    """Whether the last frame of an MP3 file is there in full length."""
    data = _tail(path)
    # Tags of the other kinds stand in front of ID3v1.
    data = data[:-128] if data[-128:-125] == b"TAG" else data
    at = data.rfind(b"APETAGEX")
    data = data[:at] if at >= 0 else data
    for start in re.finditer(rb"\xff[\xe0-\xff]", data):
        position, frames = start.start(), 0
        while length := _mp3_frame(data, position):
            position += length
            frames += 1
        if frames >= _CHAIN:
            over = position - len(data)
            return (
                f"truncated, {over} bytes of its last frame are missing; "
                f"{_COPY}"
                if over > 0
                else ""
            )
    return ""


def _mp3_frame(data, position):
    """Bytes of the MPEG frame at a position; 0: there is none."""
    header = data[position : position + 4]
    if len(header) < 4 or header[0] != 0xFF or header[1] < 0xE0:
        return 0
    version = {0: 2.5, 2: 2, 3: 1}.get(header[1] >> 3 & 3)
    layer = 4 - (header[1] >> 1 & 3)
    rate, fs, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version is None or layer == 4 or rate in (0, 15) or fs == 3:
        return 0
    bits = 1000 * _MP3_RATES[1 if version == 1 else 2, layer][rate]
    fs = _MP3_FS[fs] / {1: 1, 2: 2, 2.5: 4}[version]
    if layer == 1:
        return 4 * (int(12 * bits / fs) + padding)
    half = 2 if layer == 3 and version != 1 else 1
    return int(144 * bits / fs / half) + padding
