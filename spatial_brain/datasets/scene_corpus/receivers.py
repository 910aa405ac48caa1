"""Arrays and heads of a corpus of scenes."""

from functools import lru_cache, partial

from spatial_brain.geometry import MicrophoneArray
from spatial_brain.simulation.hrtf import hrtf_for, load_hrtfs
from spatial_brain.simulation.hrtf.rooms import HeadReceiver
from spatial_brain.simulation.microphone_faults import MicrophoneFaults
from spatial_brain.simulation.sound_scenes.receivers import OpenArray, seeded
from spatial_brain.simulation.sound_scenes.render import PEAK

# The array stands at least at this share of each side of a room.
_NEAREST_WALL = 0.4
# Tells the random numbers of faults from those of scenes.
_FAULTS = 16


def find_array(options):
    """Array of a corpus, around its centre.

    Arguments
    ---------
    options : SceneOptions
        Options of the corpus.

    Returns
    -------
    MicrophoneArray or None
        None if no recordings of an array are wanted.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing or wrong, or the array does not fit into the
        smallest room or between the sources, or its faults do not fit it.
    """
    if "array" not in options.formats:
        return None
    if not isinstance(options.array, str):
        array = MicrophoneArray(options.array, "positions")
    else:
        array = MicrophoneArray.resolve(options.array)
    positions = array.positions - array.centre
    array = MicrophoneArray(positions, array.name, array.front)
    radius = float(positions.norm(dim=-1).max())
    for axis, side in enumerate(options.room_size[0]):
        if float(positions[:, axis].abs().max()) > _NEAREST_WALL * side:
            raise ValueError(
                f"array {array.name} does not fit into rooms of "
                f"{list(options.room_size[0])} m; room_size must be larger"
            )
    if radius >= options.min_distance:
        raise ValueError(
            f"array {array.name} has microphones {radius:.3g} m from its "
            f"centre; min_distance {options.min_distance:g} must be larger"
        )
    if options.faults is not None:
        faults = MicrophoneFaults.from_values(options.faults)
        faults.draw(len(array), seeded(_FAULTS))
    return array


def receivers_for(options, index):
    """Receivers of a scene beside Ambisonics and the tetrahedral array.

    Arguments
    ---------
    options : SceneOptions
        Options of the corpus.
    index : int
        Number of the scene, from 0.

    Returns
    -------
    dict
        Name of format to receiver.
    """
    found = {}
    if "array" in options.formats:
        array, faults = _open_array(options), draw_faults(options, index)
        if faults is not None and faults.offset.any():
            moved = array.positions + faults.offset
            array = OpenArray(moved, options.sample_rate)
        found["array"] = array
    if "binaural" in options.formats:
        found["binaural"] = _open_head(
            options.head, options.sample_rate, head_of(options, index)
        )
    return found


def draw_faults(options, index):
    """Faults that the microphones of the array have in a scene.

    Arguments
    ---------
    options : SceneOptions
        Options of the corpus.
    index : int
        Number of the scene, from 0.

    Returns
    -------
    spatial_brain.simulation.microphone_faults.DrawnFaults or None

    Raises
    ------
    ValueError
        If they do not fit the number of microphones.
    """
    if options.faults is None:
        return None
    faults = MicrophoneFaults.from_values(options.faults)
    generator = seeded(options.seed, index, _FAULTS)
    return faults.draw(len(find_array(options)), generator)


def record_with_faults(signals, options, index):
    """What microphones with faults give for a scene, never clipped.

    Arguments
    ---------
    signals : torch.Tensor
        What the array should give, [time, channel].
    options : SceneOptions
        Options of the corpus.
    index : int
        Number of the scene, from 0.

    Returns
    -------
    torch.Tensor
        Same shape; the signals themselves without faults.
    """
    faults = draw_faults(options, index)
    if faults is None:
        return signals
    generator = seeded(options.seed, index, _FAULTS, 1)
    recorded = faults.record(signals.T, generator).T.contiguous()
    return recorded * (PEAK / max(float(recorded.abs().max()), PEAK))


def find_heads(source, fs):
    """Names of the heads that scenes take in turn.

    Arguments
    ---------
    source : str
        See ``load_hrtfs``.
    fs : int
        Sampling rate, Hz.

    Returns
    -------
    list of str

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file or folder, or it holds no head.
    """
    return list(_heads(source, fs).subjects)


def head_of(options, index):
    """Name of the head of a scene.

    Arguments
    ---------
    options : SceneOptions
        Options of the corpus.
    index : int
        Number of the scene, from 0.

    Returns
    -------
    str or None
        None if no binaural recordings are wanted.
    """
    if "binaural" not in options.formats:
        return None
    names = find_heads(options.head, options.sample_rate)
    return names[index % len(names)]


@lru_cache(maxsize=1)
def _open_array(options):
    """The array as a receiver."""
    return OpenArray(find_array(options).positions, options.sample_rate)


@lru_cache(maxsize=1)
def _heads(source, fs):
    """All heads of a source."""
    return load_hrtfs(source, fs)


@lru_cache(maxsize=8)
def _open_head(source, fs, name):
    """One of the heads as a receiver."""
    head = partial(hrtf_for, heads=_heads(source, fs), subject=name)
    return HeadReceiver(head, fs)
