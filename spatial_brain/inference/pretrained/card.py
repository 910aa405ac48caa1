"""What a trained model is for and what it is worth, ``card.json``.

The file lies beside ``hyperparams.yaml``: in the output folder of a run, and
in its ``pretrained`` folder. It is one flat JSON object with
``card_version`` and the fields of :class:`ModelCard`; what is not known is
left out. Like everything in such a folder it may come from a stranger: it is
read as plain values of bounded size, and never builds anything.
"""

import dataclasses
import logging
import math
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from spatial_brain.dataio.files import file_digest, read_json, write_json
from spatial_brain.inference.pretrained.figures import (
    KINDS_OF_FIGURE,
    KINDS_OF_MEASURE,
    Figure,
    Measure,
    headline,
    known_fields,
)
from spatial_brain.inference.pretrained.plain_values import (
    COUNT,
    FLAG,
    POSITIVE,
    RANGE,
    TEXT,
    TEXTS,
    are,
    check_values,
    is_count,
    is_digest,
    is_number,
    is_plain,
    is_range,
    is_table,
    is_text,
)

logger = logging.getLogger(__name__)

CARD_FILE = "card.json"
CARD_VERSION = 1
# A card of ours has some 2,000 characters.
_MAX_LENGTH = 200_000


class CardWarning(UserWarning):
    """A model's card cannot be read; the model works without it."""


_TRAINING_KINDS = {
    **dict.fromkeys(("recipe", "machine"), TEXT),
    "steps": COUNT,
    "cores": COUNT,
    "hours": POSITIVE,
}
_GOLDEN_KINDS = {
    "file": (
        "the name of a file beside the card",
        lambda value: is_text(value) and re.fullmatch(r"\w[\w.-]*", value),
    ),
    "tolerance": POSITIVE,
}
# Key -> what its value has to be, and how that is checked.
_KINDS = {
    **dict.fromkeys(
        ("task", "command", "channel_order", "angles", "data", "speech"), TEXT
    ),
    **dict.fromkeys(("test", "published", "licence", "machine"), TEXT),
    **dict.fromkeys(("items", "test_items"), COUNT),
    **dict.fromkeys(("spacing", "t60", "snr", "sources", "labels"), RANGE),
    **dict.fromkeys(("classes", "data_licences"), TEXTS),
    **dict.fromkeys(("sample_rate", "real_time_factor"), POSITIVE),
    "channels": (
        "a whole number or a range [lowest, highest]",
        lambda value: is_count(value) or is_range(value),
    ),
    "latency": (
        "a number of seconds",
        lambda value: is_number(value) and value >= 0,
    ),
    "causal": FLAG,
    "seeds": ("a list of numbers", lambda value: are(value, is_count)),
    "positions": (
        "positions [[x, y, z], ...]",
        lambda value: are(
            value, lambda one: are(one, is_number) and len(one) == 3
        ),
    ),
    "room_size": (
        "three ranges [lowest, highest]",
        lambda value: are(value, is_range) and len(value) == 3,
    ),
    "calibration": (
        "an object of plain values",
        lambda value: isinstance(value, dict) and is_plain(value),
    ),
    "commit": (
        "40 hexadecimal digits",
        lambda value: is_text(value) and re.fullmatch("[0-9a-f]{40}", value),
    ),
    "hashes": (
        "an object of files and their SHA-256",
        lambda value: is_table(value, is_digest),
    ),
    **dict.fromkeys(
        ("training", "golden"),
        ("an object", lambda value: isinstance(value, dict)),
    ),
    "measures": (
        "a list of objects",
        lambda value: are(value, lambda one: isinstance(one, (dict, Measure))),
    ),
    "figures": (
        "a list of objects",
        lambda value: are(value, lambda one: isinstance(one, (dict, Figure))),
    ),
}


@dataclass(frozen=True)
class ModelCard:
    """What a model is for, what it was trained on, what it is worth.

    All fields but the task are optional. A range is ``[lowest, highest]``.

    Arguments
    ---------
    task : str
        What is predicted, such as ``"T60"``.
    command : str
        That uses it, such as ``"locate"``; in a shipped model.
    sample_rate : float
        Of the input, Hz.
    channels : int or list of int
        Of the input; a range where any number of them will do.
    channel_order : str
        What the channels are, such as ``"left ear, right ear"``.
    positions : list
        Of the microphones, metres, [microphone, 3].
    spacing : list of float
        Range of the distance of two microphones, metres.
    angles : str
        Convention of directions.
    causal : bool
        Whether an output depends on the input before it alone.
    latency : float
        Seconds of input that an output needs.
    real_time_factor : float
        Seconds of computing for a second of input, on ``machine``.
    machine : str
        In words, such as ``"one thread of an AMD EPYC"``.
    data : str
        What the model was trained on.
    data_licences : list of str
        Of what it was trained on, such as ``"VCTK: CC BY 4.0"``.
    speech : str
        Corpus of the speech in it.
    room_size : list
        Ranges of length, width and height of the rooms, metres, [3, 2].
    t60 : list of float
        Range of the reverberation times of the rooms, seconds.
    snr : list of float
        Range of the signal-to-noise ratio, dB.
    sources : list of int
        Range of the number of talkers or events at once.
    classes : list of str
        Kinds of sounds.
    labels : list of float
        Range of what is predicted, in the unit of the measures.
    items : int
        Signals, mixtures or clips of the training.
    seeds : list of int
        Of the run.
    training : dict
        What it took: ``recipe``, the YAML in this repository, ``steps``,
        ``hours``, ``cores``, and ``machine`` in words.
    commit : str
        Of this repository, in the training.
    test : str
        The test set.
    test_items : int
        Its signals, mixtures or clips.
    measures : list of Measure
        Figures on the test set of the run, the most important first.
    figures : list of Figure
        Figures on other test sets, beside those of trivial and classical
        methods, the most important first.
    published : str
        What a publication reports, where nothing was measured here.
    calibration : dict
        What confidences are made with: plain values by name.
    licence : str
        Of the model, such as ``"cc-by-4.0"``.
    golden : dict
        ``file``: an input and the output that it has to give; ``tolerance``:
        the largest difference that is none.
    hashes : dict
        Name of a file beside the card to its SHA-256, checked when a model
        is loaded.

    Example
    -------
    >>> card = ModelCard("T60", spacing=[0.03, 0.2], sample_rate=16000,
    ...                  channels=2, t60=[0.2, 1.3],
    ...                  measures=[Measure("mean absolute error", 0.12, "s")])
    >>> print(card.summary())
    T60: 16000 Hz, 2 channels, spacing 0.03 to 0.2 m; trained on T60 0.2 to
    1.3 s; test: mean absolute error 0.12 s
    """

    task: str
    command: str | None = None
    sample_rate: float | None = None
    channels: int | list | None = None
    channel_order: str | None = None
    positions: list | None = None
    spacing: list | None = None
    angles: str | None = None
    causal: bool | None = None
    latency: float | None = None
    real_time_factor: float | None = None
    machine: str | None = None
    data: str | None = None
    data_licences: list | None = None
    speech: str | None = None
    room_size: list | None = None
    t60: list | None = None
    snr: list | None = None
    sources: list | None = None
    classes: list | None = None
    labels: list | None = None
    items: int | None = None
    seeds: list | None = None
    training: dict = field(default_factory=dict)
    commit: str | None = None
    test: str | None = None
    test_items: int | None = None
    measures: list = field(default_factory=list)
    figures: list = field(default_factory=list)
    published: str | None = None
    calibration: dict = field(default_factory=dict)
    licence: str | None = None
    golden: dict = field(default_factory=dict)
    hashes: dict = field(default_factory=dict)

    def summary(self):
        """The card in one line.

        Returns
        -------
        str
        """
        parts = [
            ("", self.needs()),
            ("trained on ", self._training()),
            ("test: ", self._worth()),
        ]
        known = "; ".join(head + text for head, text in parts if text)
        return f"{self.task}: {known}"

    def needs(self):
        """What recordings have to be.

        Returns
        -------
        str
            As far as it is known.

        Example
        -------
        >>> ModelCard("T60", sample_rate=16000, channels=[1, 2]).needs()
        '16000 Hz, 1 to 2 channels'
        """
        parts = []
        if self.sample_rate is not None:
            parts.append(f"{self.sample_rate:g} Hz")
        if self.channels is not None:
            parts.append(f"{span_text(self.channels)} channels")
        if self.channel_order is not None:
            parts[-1:] = [" ".join([*parts[-1:], f"({self.channel_order})"])]
        if self.spacing is not None:
            parts.append(f"spacing {span_text(self.spacing, 'm')}")
        elif self.positions is not None:
            parts.append(f"an array of {len(self.positions)} microphones")
        if self.causal is not None:
            parts.append("causal" if self.causal else "not causal")
        if self.latency is not None:
            parts.append(f"latency {1000 * self.latency:g} ms")
        return ", ".join(parts)

    def _training(self):
        """What was learned from."""
        parts = [self.data] if self.data is not None else []
        if self.speech is not None:
            parts.append(f"speech of {self.speech}")
        if self.items is not None:
            parts.append(f"{self.items:,} items")
        ranges = (
            ("rooms", self._volume(), "m³"),
            ("T60", self.t60, "s"),
            ("SNR", self.snr, "dB"),
            ("sources", self.sources, ""),
        )
        parts += [
            f"{name} {span_text(span, unit)}"
            for name, span, unit in ranges
            if span is not None
        ]
        if self.labels is not None and self.task != "T60":
            unit = self.measures[0].unit if self.measures else ""
            parts.append(f"{self.task} {span_text(self.labels, unit)}")
        if self.classes is not None:
            parts.append(f"{len(self.classes)} classes")
        return ", ".join(parts)

    def _volume(self):
        """Range of the volume of the rooms, m³."""
        if self.room_size is None:
            return None
        return [math.prod(size) for size in zip(*self.room_size, strict=True)]

    def _worth(self):
        """Figures of the test."""
        if self.figures:
            return self.headline()
        if not self.measures:
            published = self.published and f"; published: {self.published}"
            return f"not measured here{published or ''}"
        place = []
        if self.test is not None:
            place.append(self.test)
        if self.test_items is not None:
            place.append(f"{self.test_items:,} items")
        on = f" ({', '.join(place)})" if place else ""
        return str(self.measures[0]) + on

    def headline(self):
        """The figure that stands for all, beside those of other methods.

        Returns
        -------
        str
            Empty without figures.

        Example
        -------
        >>> row = {"test_set": "office", "rooms": "measured", "name": "error"}
        >>> ModelCard("azimuth", figures=[
        ...     Figure(**row, method="this model", kind="model", value=3.0),
        ...     Figure(**row, method="MUSIC", kind="classical", value=5.0),
        ... ]).headline()
        'error 3, MUSIC 5 (measured rooms: office)'
        """
        own, *others = headline(self.figures) or [None]
        if own is None:
            return ""
        parts = [f"{own.name} {own}"]
        parts += [f"{other.method} {other.value:.3g}" for other in others]
        return f"{', '.join(parts)} ({own.rooms} rooms: {own.test_set})"

    def contradictions(self, spacing=None, estimate=None, channels=None):
        """What of a recording is outside of what the model was trained for.

        Arguments
        ---------
        spacing : float, optional
            Distance of its two microphones, metres.
        estimate : float, optional
            What the model predicts for it, in the unit of ``labels``.
        channels : int, optional
            How many of its channels are used.

        Returns
        -------
        list of str
            A sentence each; what the card does not know contradicts nothing.

        Example
        -------
        >>> ModelCard("T60", spacing=[0.03, 0.2]).contradictions(spacing=0.5)
        ['the microphones are 0.5 m apart, the model was trained for 0.03 to
        0.2 m']
        """
        unit = self.measures[0].unit if self.measures else ""
        known = self.channels
        if isinstance(known, int):
            known = [known, known]
        cases = (
            ("the recording has {} channels", channels, known, ""),
            ("the microphones are {} apart", spacing, self.spacing, "m"),
            (f"the {self.task} estimated is {{}}", estimate, self.labels, unit),
        )
        return [
            f"{text.format(f'{value:.3g} {unit}'.strip())}, the model was "
            f"trained for {span_text(span, unit)}"
            for text, value, span, unit in cases
            if not holds(span, value)
        ]

    def to_dict(self):
        """The card as it is written.

        Returns
        -------
        dict
            ``card_version`` and the fields that are known.
        """
        return {"card_version": CARD_VERSION, **card_facts(self)}


def span_text(span, unit=""):
    """A number or a range in words.

    Arguments
    ---------
    span : float or list of float
        The number, or ``[lowest, highest]``.
    unit : str
        Of it.

    Returns
    -------
    str

    Example
    -------
    >>> span_text([0.03, 0.2], "m"), span_text([2, 2]), span_text(4)
    ('0.03 to 0.2 m', '2', '4')
    """
    ends = span if isinstance(span, (list, tuple)) else (span, span)
    low, high = (f"{value:.3g}" for value in ends)
    text = low if low == high else f"{low} to {high}"
    return f"{text} {unit}".strip()


def holds(span, value):
    """Whether a value lies in a range, a hundredth of it aside.

    Arguments
    ---------
    span : list of float or None
        None, where it is not known, holds everything.
    value : float or None
        None and what is not finite contradict nothing.

    Returns
    -------
    bool

    Example
    -------
    >>> holds([0.03, 0.2], 0.201), holds([0.03, 0.2], 0.3), holds(None, 0.3)
    (True, False, True)
    """
    if span is None or value is None or not math.isfinite(value):
        return True
    low, high = span
    slack = 0.01 * max(abs(low), abs(high))
    return low - slack <= value <= high + slack


def card_facts(card):
    """Fields of a card that are known, as plain values.

    Arguments
    ---------
    card : ModelCard
        The card.

    Returns
    -------
    dict
        For :func:`make_card`.

    Example
    -------
    >>> card_facts(ModelCard("T60", t60=[0.2, 1.3]))
    {'task': 'T60', 't60': [0.2, 1.3]}
    """
    return {
        name: [known_fields(one) for one in value]
        if name in ("measures", "figures")
        else value
        for name, value in known_fields(card).items()
    }


def make_card(facts):
    """Check the values of a card and make it.

    Arguments
    ---------
    facts : dict
        Fields of :class:`ModelCard`; those that are None are left out.

    Returns
    -------
    ModelCard

    Raises
    ------
    ValueError
        If a field is not known, or is not of its kind.

    Example
    -------
    >>> make_card({"task": "T60", "t60": [0.2, 1.3]}).t60
    [0.2, 1.3]
    >>> make_card({"task": "T60", "t60": [1.3, 0.2]})
    Traceback (most recent call last):
    ...
    ValueError: t60 must be a range [lowest, highest], found [1.3, 0.2]
    """
    facts = {key: value for key, value in facts.items() if value is not None}
    check_values(facts, _KINDS, ("task",))
    parts = (
        ("training", _TRAINING_KINDS, ()),
        ("golden", _GOLDEN_KINDS, _GOLDEN_KINDS),
    )
    for name, kinds, needed in parts:
        if facts.get(name):
            check_values(facts[name], kinds, needed, f"{name}: ")
    lists = (
        ("measures", Measure, KINDS_OF_MEASURE),
        ("figures", Figure, KINDS_OF_FIGURE),
    )
    made = {name: _made(facts, name, *kinds) for name, *kinds in lists}
    return ModelCard(**{**facts, **made})


def _made(facts, name, kind, kinds):
    """Objects of a list of a card, after checking their values."""
    needed = [
        one.name
        for one in dataclasses.fields(kind)
        if one.default is dataclasses.MISSING
    ]
    made = []
    for index, one in enumerate(facts.get(name, ())):
        if isinstance(one, kind):
            one = known_fields(one)
        check_values(one, kinds, needed, f"{name}, {index}: ")
        made.append(kind(**one))
    return made


def write_card(folder, facts):
    """Write ``card.json`` into the folder of a run and that of its model.

    That the model does not beat a constant is logged.

    Arguments
    ---------
    folder : str or Path
        Output folder of a run, or a pretrained folder; made if missing.
    facts : dict or ModelCard
        As for :func:`make_card`.

    Returns
    -------
    ModelCard
        What was written.

    Raises
    ------
    ValueError
        As :func:`make_card`.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> card = write_card(folder, {"task": "T60"})
    >>> read_card(folder / "card.json") == card
    True
    """
    if isinstance(facts, ModelCard):
        facts = card_facts(facts)
    card = make_card(facts)
    for place in (Path(folder, "pretrained"), Path(folder)):
        if place.is_dir() or place == Path(folder):
            write_json(place / CARD_FILE, card.to_dict())
    if card.measures and card.measures[0].beats_constant is False:
        logger.warning(
            "%s: the model does not beat a constant: %s",
            folder,
            card.measures[0],
        )
    return card


def read_card(path):
    """Read ``card.json``, which may be anybody's.

    Arguments
    ---------
    path : str or Path
        The file.

    Returns
    -------
    ModelCard

    Raises
    ------
    ValueError
        If it is no card, or holds what a card may not hold; with file and
        field.

    Example
    -------
    >>> path = getfixture("tmp_path") / "card.json"
    >>> _ = path.write_text('{"card_version": 1, "task": "T60", "t60": 3}')
    >>> read_card(path)
    Traceback (most recent call last):
    ...
    ValueError: ...card.json: t60 must be a range [lowest, highest], found 3
    """
    path = Path(path)
    size = path.stat().st_size
    if size > _MAX_LENGTH:
        raise ValueError(f"{path}: {size:,} bytes are more than a card has")
    facts = read_json(path, remedy="correct or delete it")
    if not isinstance(facts, dict):
        raise ValueError(f"{path}: a card is an object {{...}}")
    version = facts.pop("card_version", None)
    if version != CARD_VERSION or isinstance(version, bool):
        raise ValueError(
            f"{path}: card_version is {version!s:.20}, this package reads "
            f"{CARD_VERSION}"
        )
    try:
        return make_card(facts)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def find_card(path):
    """The card in a file of a pretrained folder, if there is a good one.

    Arguments
    ---------
    path : Path or None
        The file, which may be missing; None where the folder has none.

    Returns
    -------
    ModelCard or None
        A :class:`CardWarning` names what is wrong with a broken one.

    Example
    -------
    >>> find_card(None)
    """
    if path is None or not path.exists():
        return None
    try:
        return read_card(path)
    except (OSError, ValueError) as error:
        warnings.warn(
            f"{error}; the card is ignored",
            CardWarning,
            stacklevel=3,
        )
        return None


def warn_of_other_model(card, hparams, path):
    """Warn where a card is not that of the description beside it.

    Arguments
    ---------
    card : ModelCard or None
        The card.
    hparams : dict
        Of the model: ``sample_rate``, ``microphone_positions``,
        ``class_names``, as far as there are.
    path : str or Path
        File of the card, for the message.

    Example
    -------
    >>> import pytest
    >>> with pytest.warns(CardWarning, match="8000 in its description"):
    ...     warn_of_other_model(
    ...         ModelCard("T60", sample_rate=16000), {"sample_rate": 8000}, "a")
    """
    if card is None:
        return
    for field_of_card, key in (
        ("sample_rate", "sample_rate"),
        ("positions", "microphone_positions"),
        ("classes", "class_names"),
    ):
        stated = _lists(getattr(card, field_of_card))
        real = _lists(hparams.get(key))
        if None not in (stated, real) and stated != real:
            warnings.warn(
                f"{path}: the card is of another model: {field_of_card} is "
                f"{stated!r:.60}, where {key} is {real!r:.60} in its "
                "description",
                CardWarning,
                stacklevel=3,
            )


def _lists(value):
    """A value with lists in place of tuples."""
    if isinstance(value, (list, tuple)):
        return [_lists(one) for one in value]
    return value


def check_digest(path, hashes):
    """Refuse a file that is not the one that the card was written for.

    Arguments
    ---------
    path : str or Path
        File of a model.
    hashes : dict
        Of its card: name to SHA-256; other files are not checked.

    Raises
    ------
    ValueError
        If it is another.

    Example
    -------
    >>> path = getfixture("tmp_path") / "model.safetensors"
    >>> _ = path.write_bytes(b"weights")
    >>> check_digest(path, {"model.safetensors": 64 * "0"})
    Traceback (most recent call last):
    ...
    ValueError: ...model.safetensors is not the file of its card ...
    """
    path = Path(path)
    if path.name in hashes and file_digest(path) != hashes[path.name]:
        raise ValueError(
            f"{path} is not the file of its card (another SHA-256): it is "
            f"damaged or was exchanged; get it again, or delete {CARD_FILE}"
        )
