"""What a file ``scenes.yaml`` may hold: the options of a corpus of scenes."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import ruamel.yaml

from spatial_brain.geometry.array_files import is_array_file
from spatial_brain.simulation.hrtf.sofa import AZIMUTHS
from spatial_brain.simulation.microphone_faults import MicrophoneFaults
from spatial_brain.suggestions import nearest

FORMATS = ("foa", "mic", "array", "binaural", "sum")
# Heads that need no files.
HEADS = ("sphere", "rigid-sphere", "pinnae")
AUDIO = ("flac", "wav")
# Dialects in which a corpus can be labelled, those of the challenges.
LABEL_DIALECTS = (
    "dcase2019",
    "dcase2020",
    "dcase2021",
    "starss22",
    "starss23",
    "dcase2024",
    "dcase2025",
)
_REQUIRED = object()


def _whole(low, high):
    """Check of a whole number."""

    def check(value):
        wrong = isinstance(value, bool) or not isinstance(value, int)
        if wrong or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return check


def _number(low, high):
    """Check of a number."""

    def check(value):
        wrong = isinstance(value, bool) or not isinstance(value, (int, float))
        if wrong or not math.isfinite(value) or not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return float(value)

    return check


def _series(check, length=None):
    """Check of a list."""

    def check_all(value):
        text = "a list" + (f" of {length}" if length else "")
        if not isinstance(value, (list, tuple)) or not value:
            raise ValueError(text)
        if length and len(value) != length:
            raise ValueError(text)
        try:
            return tuple(check(item) for item in value)
        except ValueError as problem:
            raise ValueError(f"{text}, each {problem}") from problem

    return check_all


def _between(low, high):
    """Check of a range [lowest, highest], or of one number."""

    def check(value):
        if isinstance(value, (int, float)):
            value = (value, value)
        try:
            ends = _series(_number(low, high), 2)(value)
        except ValueError:
            ends = (1, 0)
        if ends[0] > ends[1]:
            raise ValueError(
                f"a number or [lowest, highest] from {low:g} to {high:g}"
            )
        return ends

    return check


def _one_of(names):
    """Check of a name."""

    def check(value):
        if value not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return value

    return check


def _names(known=None):
    """Check of a list of different names."""

    def check(value):
        value = [value] if isinstance(value, str) else value
        one = _one_of(known) if known else _text
        values = _series(one)(value)
        if len(set(values)) < len(values):
            raise ValueError("a list of different names")
        return values

    return check


def _text(value):
    """Check of a name or a path."""
    if not isinstance(value, str) or not value:
        raise ValueError("a text")
    return value


def _or_null(check):
    """Check of what may be left empty."""

    def check_or_null(value):
        if value is None:
            return None
        try:
            return check(value)
        except ValueError as problem:
            raise ValueError(f"{problem}, or null") from problem

    return check_or_null


def _overlaps(value):
    """Check of one number of layers or of several."""
    check = _whole(1, 6)
    return _series(check)(value if isinstance(value, list | tuple) else [value])


def _sizes(value):
    """Check of the smallest and the largest room."""
    sides = _series(_series(_number(1.5, 100.0), 3), 2)
    try:
        low, high = sides(value)
    except ValueError:
        low, high = (1,), (0,)
    if any(a > b for a, b in zip(low, high, strict=True)):
        raise ValueError("[[x, y, z], [x, y, z]], 1.5 to 100 m, smallest first")
    return low, high


def _array(value):
    """Check of a name, formula or file of an array, or of positions."""
    if isinstance(value, str):
        return _text(value)
    try:
        return _series(_series(_number(-100.0, 100.0), 3))(value)
    except ValueError as problem:
        raise ValueError(
            "a name, a formula, a file, or [[x, y, z], ...] in m"
        ) from problem


def _faults(value):
    """Check of microphone faults, as text that a corpus remembers."""
    if isinstance(value, dict):
        parts = (f"{name}={json.dumps(one)}" for name, one in value.items())
        value = " ".join(parts)
    MicrophoneFaults.from_values(_text(value))
    return value


def _option(check: Callable, default=_REQUIRED):
    """Field of an option with its check."""
    if default is _REQUIRED:
        return field(metadata={"check": check, "required": True})
    return field(default=default, metadata={"check": check, "required": False})


@dataclass(frozen=True)
class SceneOptions:
    """Options of a corpus; the keys of ``scenes.yaml``.

    Arguments
    ---------
    scenes : int
        How many.
    events : str or None
        Folder or table of dry recordings, see ``open_events`` of
        ``datasets.seld.event_lists``; None: the embedded kinds of sound,
        which ``classes`` must name.
    speech : str or None
        Folder of dry speech; one more class, "speech", the last one.
    classes : sequence of str or None
        Classes in the order of their labels; None: all of the folder.
    split : str or None
        Take recordings of this split only.
    interferers : sequence of str or None
        Classes of sounds that are not labelled.
    interferer_probability : float
        Of scenes with one more layer, of interferers.
    duration : float
        Seconds a scene.
    seed : int
        Of all random choices; a scene depends on it and its number alone.
    fold : int
        In the names of the files, ``fold<fold>_room<room>_mix<number>``.
    rooms : int or None
        Number of rooms, used in turn; None: each scene has its own, or all
        that were measured.
    sample_rate : int
        Hz.
    formats : sequence of str
        Of ``FORMATS``.
    array : str, sequence or None
        Of the format "array": name, formula, file, or positions of the
        microphones, metres.
    faults : str or None
        Of the microphones of the format "array", such as ``"gain=1 dead=1"``,
        see ``simulation.microphone_faults``; each scene draws its own.
    head : str
        Of the format "binaural": see ``load_hrtfs``; scenes take the heads in
        turn.
    audio : str
        "flac" or "wav", both of 16 bits.
    dialect : str
        Of the labels.
    overlap : sequence of int
        Largest number of events at once; of several, each scene draws one.
    activity : float
        Share of a scene in which each layer sounds.
    min_gap : float
        Seconds between the events of a layer.
    longest_event : float
        Events are cut to it, seconds.
    moving : float
        Share of events that move.
    speeds : sequence of float
        Of sources that go around the array, degrees per second.
    room_size : tuple
        Smallest and largest room, metres.
    t60 : tuple of float
        Lowest and highest, seconds; [0, 0] is the free field.
    responses : str or None
        Measured rooms instead of simulated ones: a table, a SOFA file or a
        folder, see ``scene_corpus.measured_rooms``.
    responses_azimuth : str or None
        How they count azimuths, "counterclockwise" or "clockwise"; None: as
        the standard has it, which is checked.
    min_distance, wall_distance : float
        Of sources from the array and from walls, metres.
    noise : str or None
        "diffuse", or a folder of recorded ambience, see
        ``scene_corpus.ambience``; None: no noise.
    snr : tuple of float
        Lowest and highest level of the events over the noise, dB.
    gain : tuple of float
        Lowest and highest level of an event over the usual one, dB.
    """

    scenes: int = _option(_whole(1, 10_000_000))
    events: str = _option(_or_null(_text))
    speech: str = _option(_or_null(_text), None)
    classes: tuple = _option(_or_null(_names()), None)
    split: str = _option(_or_null(_text), None)
    interferers: tuple = _option(_or_null(_names()), None)
    interferer_probability: float = _option(_number(0.0, 1.0), 0.5)
    duration: float = _option(_number(1.0, 3600.0), 60.0)
    seed: int = _option(_whole(0, 2**31 - 1), 0)
    fold: int = _option(_whole(0, 1000), 1)
    rooms: int = _option(_or_null(_whole(1, 10_000_000)), None)
    sample_rate: int = _option(_whole(8000, 96000), 24000)
    formats: tuple = _option(_names(FORMATS), ("foa", "mic"))
    array: str | tuple = _option(_or_null(_array), None)
    faults: str = _option(_or_null(_faults), None)
    head: str = _option(_text, "sphere")
    audio: str = _option(_one_of(AUDIO), "flac")
    dialect: str = _option(_one_of(LABEL_DIALECTS), "starss23")
    overlap: tuple = _option(_overlaps, (2,))
    activity: float = _option(_number(0.01, 1.0), 0.65)
    min_gap: float = _option(_number(0.0, 60.0), 0.5)
    longest_event: float = _option(_number(0.1, 3600.0), 10.0)
    moving: float = _option(_number(0.0, 1.0), 0.3)
    speeds: tuple = _option(_series(_number(0.1, 360.0)), (10.0, 20.0, 40.0))
    room_size: tuple = _option(_sizes, ((4.0, 4.0, 2.6), (12.0, 10.0, 4.5)))
    t60: tuple = _option(_between(0.0, 10.0), (0.2, 0.8))
    responses: str = _option(_or_null(_text), None)
    responses_azimuth: str = _option(_or_null(_one_of(AZIMUTHS)), None)
    min_distance: float = _option(_number(0.1, 50.0), 0.7)
    wall_distance: float = _option(_number(0.0, 50.0), 0.5)
    noise: str = _option(_or_null(_text), "diffuse")
    snr: tuple = _option(_between(-30.0, 120.0), (6.0, 30.0))
    gain: tuple = _option(_between(-60.0, 20.0), (-6.0, 6.0))

    def as_dict(self):
        """The options as JSON holds them.

        Returns
        -------
        dict
            Key to value, lists for tuples.
        """
        return json.loads(json.dumps(asdict(self)))

    def scene(self, index):
        """Options of ``draw_scene`` that a scene has.

        Arguments
        ---------
        index : int
            Number of the scene, from 0.

        Returns
        -------
        dict
            All but the classes, the sounds and ``max_overlap``.
        """
        low, high = self.room_size
        return {
            "duration": self.duration,
            "activity": self.activity,
            "min_gap": self.min_gap,
            "longest_event": self.longest_event,
            "size_low": low,
            "size_high": high,
            "t60_range": self.t60,
            "room_seed": self.room_seed(index),
            "min_distance": self.min_distance,
            "wall_distance": self.wall_distance,
            "moving_probability": self.moving,
            "angular_speeds": self.speeds,
            "snr_range": self.snr,
            "gain_range": self.gain,
            "interferer_probability": self.interferer_probability,
        }

    def room_seed(self, index):
        """Seed of the room of a scene; None: the scene's own.

        Arguments
        ---------
        index : int
            Number of the scene, from 0.

        Returns
        -------
        tuple of int or None
        """
        if self.rooms is None:
            return None
        # One number more than the seed of a scene has.
        return (self.seed, index % self.rooms, 1)

    def name(self, index):
        """Name of a scene, without suffix.

        Arguments
        ---------
        index : int
            Number of the scene, from 0.

        Returns
        -------
        str

        Example
        -------
        >>> values = {"scenes": 9, "events": None, "classes": ["knock"]}
        >>> scene_options(values).name(4)
        'fold1_room5_mix0001'
        """
        room, number = index + 1, 1
        if self.rooms is not None:
            room, number = index % self.rooms + 1, index // self.rooms + 1
        return f"fold{self.fold}_room{room}_mix{number:04d}"


def scene_options(values, where="scenes"):
    """Check options and add the defaults.

    Arguments
    ---------
    values : dict
        Key to value, as a file holds them.
    where : str or Path
        File, for messages.

    Returns
    -------
    SceneOptions

    Raises
    ------
    ValueError
        For the first key that is unknown or missing, or has a wrong value.

    Example
    -------
    >>> scene_options({"scenes": 2, "events": None, "overlaps": 3}, "a.yaml")
    Traceback (most recent call last):
    ValueError: a.yaml: unknown key 'overlaps'; did you mean 'overlap'?
    """
    known = {option.name: option.metadata for option in fields(SceneOptions)}
    for key in values:
        if key not in known:
            likely = nearest(str(key), known)
            remedy = f"did you mean {likely!r}?" if likely else "the keys are: "
            raise ValueError(
                f"{where}: unknown key {key!r}; {remedy}"
                + ("" if likely else ", ".join(known))
            )
    checked = {}
    for key, option in known.items():
        if key in values:
            try:
                checked[key] = option["check"](values[key])
            except ValueError as problem:
                raise ValueError(
                    f"{where}: {key} is {values[key]!r}, expected {problem}"
                ) from problem
        elif option["required"]:
            raise ValueError(f"{where}: the key {key!r} is missing")
    options = SceneOptions(**checked)
    if options.events is None and options.classes is None:
        raise ValueError(
            f"{where}: without a folder of events (events: null) classes must "
            "list embedded kinds of sound"
        )
    if options.faults is not None and options.array is None:
        raise ValueError(
            f"{where}: faults are those of the format 'array'; give it, or "
            "leave them out"
        )
    if ("array" in options.formats) != (options.array is not None):
        raise ValueError(
            f"{where}: give both the format 'array' and the key 'array', or "
            "none of them"
        )
    return options


def read_scene_options(path):
    """Read and check ``scenes.yaml``.

    Arguments
    ---------
    path : str or Path
        YAML file with a line ``key: value`` for each option.

    Returns
    -------
    SceneOptions
        Relative paths count from the folder of the file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no YAML, or as :func:`scene_options`.

    Example
    -------
    >>> path = getfixture("tmp_path") / "scenes.yaml"
    >>> _ = path.write_text("scenes: 2\\nevents: null\\nclasses: [knock]\\n")
    >>> read_scene_options(path).duration
    60.0
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        values = ruamel.yaml.YAML(typ="safe", pure=True).load(text)
    except (ruamel.yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} does not hold 'key: value' lines")
    for key, names in (
        ("events", ()),
        ("speech", ()),
        ("responses", ()),
        ("head", HEADS),
        ("noise", ("diffuse",)),
    ):
        value = values.get(key)
        if isinstance(value, str) and value not in names:
            values[key] = str(path.parent / value)
    array = values.get("array")
    if isinstance(array, str) and is_array_file(path.parent / array):
        values["array"] = str(path.parent / array)
    return scene_options(values, path)
