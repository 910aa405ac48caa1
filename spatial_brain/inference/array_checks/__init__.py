"""A recording against the array that it is said to come from.

Before a direction is believed: does the file have the array's channels, do
all of them record the same sound, each from its own place?
"""

from spatial_brain.dataio.audio import describe, open_audio
from spatial_brain.inference.array_checks.ambisonics import (
    ambisonic_findings,
)
from spatial_brain.inference.array_checks.finding import (
    SEVERITIES,
    Finding,
    name_channels,
)
from spatial_brain.inference.array_checks.known_direction import (
    Clap,
    check_claps,
)
from spatial_brain.inference.array_checks.levels import (
    ChannelLevels,
    level_findings,
)
from spatial_brain.inference.array_checks.pieces import (
    PieceFinder,
    read_pieces,
)
from spatial_brain.inference.array_checks.plane_waves import BAND
from spatial_brain.inference.array_checks.room import room_findings
from spatial_brain.inference.array_checks.spatial import spatial_findings

__all__ = [
    "LEVELS_OF_ANY",
    "Clap",
    "Finding",
    "check_ambisonics",
    "check_claps",
    "check_recording",
    "choose_channels",
]

# Numbers decoded at once.
_PIECE = 2**21
# Findings on channels that say nothing about directions.
_UNUSABLE = ("silent", "dead_channel", "doubled_channel")
# Findings on levels that mean the same of Ambisonics, whose channels differ.
LEVELS_OF_ANY = ("clipped", "dc_offset")


def check_recording(path, array, *, channels=None, band=None):
    """Check a recording of any length against its array, in bounded memory.

    Arguments
    ---------
    path : str or Path
        The recording.
    array : MicrophoneArray
        Its array.
    channels : sequence of int, optional
        Channels of the file, from 0, in the order of the array's microphones;
        default: as :func:`choose_channels`.
    band : tuple of float, optional
        Lowest and highest frequency used for directions, hertz.

    Returns
    -------
    list of Finding
        The most severe first; notes describe a recording that is in order.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no audio.

    Example
    -------
    >>> import torch
    >>> from spatial_brain.dataio.audio import write_audio
    >>> from spatial_brain.geometry import MicrophoneArray
    >>> path = getfixture("tmp_path") / "one.wav"
    >>> write_audio(path, torch.zeros(1600, 1), 16000)
    >>> found = check_recording(path, MicrophoneArray.resolve("pair:0.1"))
    >>> found[0].kind, found[0].severity
    ('channel_count', 'error')
    """
    with open_audio(path) as file:
        info = describe(file, path)
        try:
            channels = choose_channels(info, array, channels)
        except ValueError as problem:
            return [Finding("channel_count", "error", (), str(problem))]
        levels, pieces = _read_levels(file, channels)
    found = level_findings(levels, channels)
    found += _stream_note(array, info, channels)
    unusable = {
        c for one in found if one.kind in _UNUSABLE for c in one.channels
    }
    kept = [i for i, channel in enumerate(channels) if channel not in unusable]
    mute = any(one.kind == "silent" and not one.channels for one in found)
    if len(kept) > 1 and not mute:
        found += spatial_findings(
            pieces, info.fs, array, kept, channels, band or BAND
        )
        distances = array.distances[kept][:, kept]
        found += room_findings(pieces, info.fs, kept, distances, band)
    return sorted(found, key=lambda one: SEVERITIES.index(one.severity))


def check_ambisonics(path, channels, channel_order="acn-sn3d"):
    """Check a recording that is said to be first-order Ambisonics.

    Arguments
    ---------
    path : str or Path
        The recording.
    channels : sequence of int
        Channels of the file, from 0, that are W, Y, Z and X.
    channel_order : str
        Their order and gains, see
        :func:`spatial_brain.geometry.find_channel_order`.

    Returns
    -------
    list of Finding
        The most severe first.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no audio.

    Example
    -------
    >>> import torch
    >>> from spatial_brain.dataio.audio import write_audio
    >>> path = getfixture("tmp_path") / "four.wav"
    >>> write_audio(path, torch.randn(16000, 4) * 0.1, 16000)
    >>> check_ambisonics(path, range(4))[0].kind
    'normalization'
    """
    channels = list(channels)
    with open_audio(path) as file:
        levels, pieces = _read_levels(file, channels)
    found = level_findings(levels, channels)
    silent = [one for one in found if one.kind == "silent" and not one.channels]
    if silent:
        return silent
    found = [one for one in found if one.kind in LEVELS_OF_ANY]
    found += ambisonic_findings(pieces, file.samplerate, channel_order)
    return sorted(found, key=lambda one: SEVERITIES.index(one.severity))


def _read_levels(file, channels):
    """Levels of the channels of an open file, and its loud pieces."""
    levels = ChannelLevels(len(channels))
    finder = PieceFinder(file.samplerate, len(channels))
    size = max(1, _PIECE // file.channels)
    for block in file.blocks(size, dtype="float32", always_2d=True):
        levels.add(block[:, channels])
        finder.add(block[:, channels])
    return levels, list(read_pieces(file, finder, channels))


def _stream_note(array, info, channels):
    """That the microphones are taken out of the stream of a device."""
    if array.stream_channels.get(info.num_channels) != channels:
        return []
    return [
        Finding(
            "stream_channels",
            "note",
            tuple(channels),
            f"{name_channels(channels)} of {info.num_channels} are taken as "
            f"the microphones of {array.name}; choose others with --channels",
        )
    ]


def choose_channels(info, array, channels=None):
    """Channels of a file that are the microphones of an array.

    Arguments
    ---------
    info : AudioInfo
        Header of the file.
    array : MicrophoneArray
        The array.
    channels : sequence of int, optional
        Chosen ones, from 0, in the order of the array's microphones; default:
        all, or those of a device's stream of so many channels.

    Returns
    -------
    list of int
        A channel of the file for each microphone.

    Raises
    ------
    ValueError
        If the numbers do not fit, with the remedy.

    Example
    -------
    >>> from spatial_brain.dataio.audio import AudioInfo
    >>> from spatial_brain.geometry import MicrophoneArray
    >>> info = AudioInfo("a.wav", 10, 8000, 3, "WAV", "PCM_16")
    >>> choose_channels(info, MicrophoneArray.resolve("pair:0.1"), [2, 0])
    [2, 0]
    >>> info = AudioInfo("a.wav", 10, 8000, 6, "WAV", "PCM_16")
    >>> choose_channels(info, MicrophoneArray.resolve("respeaker_usb"))
    [1, 2, 3, 4]
    """
    wanted, there = len(array), info.num_channels
    if channels is None:
        if there == wanted:
            return list(range(wanted))
        if there in array.stream_channels:
            return array.stream_channels[there]
        numbers = ",".join(map(str, range(wanted)))
        if not array.aperture > 0:
            raise ValueError(
                f"{info.path}: has {there} channel(s), first-order Ambisonics "
                f"4 (W, Y, Z, X); "
                + (
                    f"choose them with --channels {numbers} or what they are"
                    if there > wanted
                    else "of microphones give their --array"
                )
            )
        remedy = (
            f"choose the microphones' with --channels {numbers} or what "
            "they are"
            if there > wanted
            else "choose the array that recorded it"
        )
        raise ValueError(
            f"{info.path}: has {there} channel(s), the array {array.name} "
            f"{wanted} microphones; {remedy}"
        )
    channels = [int(channel) for channel in channels]
    known = set(range(there)) & set(channels)
    if not len(channels) == len(known) == wanted:
        raise ValueError(
            f"{info.path}: channels {channels} do not do: {wanted} different "
            f"ones from 0 to {there - 1} are needed, one a microphone of the "
            f"array {array.name}"
        )
    return channels
