"""README of a model, made from its card."""

from spatial_brain.inference import AnyArrayLocalizer
from spatial_brain.inference.pretrained.card import CARD_FILE, span_text
from spatial_brain.inference.pretrained.figures import figure_tables

_TAGS = ("audio", "spatial-audio", "multi-microphone", "spatial-brain")
# Of the card: what has a section of its own, or is for programs.
_APART = (
    "card_version", "command", "task", "measures", "figures", "golden",
    "hashes", "calibration", "training", "machine"
)  # fmt: skip
# Of the rest: ranges, and units.
_RANGES = ("channels", "spacing", "t60", "snr", "sources", "labels")
_UNITS = {
    "sample_rate": "Hz", "spacing": "m", "t60": "s", "snr": "dB", "latency": "s"
}  # fmt: skip


def model_page(card, name, command, interface):
    """README of a model.

    Arguments
    ---------
    card : ModelCard
        With a licence.
    name : str
        What the model is called by: ``"organisation/name"``, or the name of a
        shipped one.
    command : str
        Command that uses the model.
    interface : type
        Subclass of PretrainedModel that does.

    Returns
    -------
    str
        Markdown, with what the hub reads at its head.

    Example
    -------
    >>> from spatial_brain.inference import RoomAcousticsEstimator
    >>> from spatial_brain.inference.pretrained.card import ModelCard
    >>> card = ModelCard("T60", licence="mit")
    >>> page = model_page(card, "me/t60", "acoustics", RoomAcousticsEstimator)
    >>> "spatial-brain acoustics recording.wav --model me/t60" in page
    True
    """
    lines = ["---", f"license: {card.licence}", "library_name: spatial-brain"]
    lines += ["tags:", *(f"- {tag}" for tag in _TAGS), "---", ""]
    lines += [f"# {name.split('/')[-1]}: {card.task}", "", card.summary(), ""]
    lines += ["```", "pip install spatial-brain"]
    usage = f"spatial-brain {command} recording.wav --model {name}"
    if interface is AnyArrayLocalizer:
        usage += " --array NAME"
    lines += [usage, "```"]
    python = interface.__name__
    lines += ["", "```python", f"from spatial_brain.inference import {python}"]
    lines += ["", f'model = {python}.from_hparams("{name}")', "```"]
    lines += card_lines(card)
    lines += ["", f"`{CARD_FILE}` holds the same for programs, and the SHA-256"]
    lines += ["of each file, which is checked when the model is loaded."]
    if card.golden:
        lines += [
            f"`{card.golden['file']}` holds an input and the output that the",
            f"network has to give for it, to {card.golden['tolerance']:g}.",
        ]
    return "\n".join([*lines, ""])


def card_lines(card):
    """All that a card says, as sections of a page.

    Arguments
    ---------
    card : ModelCard
        The card.

    Returns
    -------
    list of str
        Lines of Markdown, which reads well as it is, too.

    Example
    -------
    >>> from spatial_brain.inference.pretrained.card import ModelCard
    >>> print("\\n".join(card_lines(ModelCard("T60", t60=[0.2, 1.3]))))
    <BLANKLINE>
    ## What it is for
    <BLANKLINE>
    - t60: 0.2 to 1.3 s
    """
    return [*_figures(card), *_measures(card), *_facts(card)]


def table(rows):
    """Lines of a table in Markdown, its columns aligned.

    Arguments
    ---------
    rows : list of list of str
        The first names the columns.

    Returns
    -------
    list of str

    Example
    -------
    >>> print("\\n".join(table([["method", "b"], ["1", "2|3"]])))
    | method | b    |
    | ------ | ---- |
    | 1      | 2\\|3 |
    """
    rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    return [
        "| "
        + " | ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        )
        + " |"
        for row in rows
    ]


def _figures(card):
    """Section of the figures beside those of other methods."""
    if not card.figures:
        return []
    lines = ["", "## What it is worth", ""]
    lines += ["Beside other methods on the same signals; 95 % intervals."]
    for title, rows in figure_tables(card.figures):
        lines += ["", f"{title}:", "", *table(rows)]
    return lines


def _measures(card):
    """Section of the figures of the run's own test."""
    if not card.measures:
        return []
    on = f" on {card.test}" if card.test else ""
    head = "The test of its training" if card.figures else "What it is worth"
    rows = [["measure", "value", "95 %", "constant", "correlation"]]
    return [
        *("", f"## {head}", "", f"Measured{on}:", ""),
        *table(rows + [_row(measure) for measure in card.measures]),
    ]


def _row(measure):
    """Cells of a measure."""
    unit = f" {measure.unit}" if measure.unit else ""
    interval = ""
    if measure.low is not None and measure.high is not None:
        interval = f"{measure.low:.3g} to {measure.high:.3g}"
    others = (
        "" if value is None else f"{value:.3g}"
        for value in (measure.constant, measure.correlation)
    )
    return [measure.name, f"{measure.value:.3g}{unit}", interval, *others]


def _facts(card):
    """Section of everything else that the card says."""
    facts = {
        name.replace("_", " "): _text(name, value)
        for name, value in card.to_dict().items()
        if name not in _APART
    }
    if "real time factor" in facts and card.machine:
        facts["real time factor"] = (
            f"{card.real_time_factor:.3g} on {card.machine}"
        )
    facts |= {
        f"training: {name}": value for name, value in card.training.items()
    }
    lines = [f"- {name}: {value}" for name, value in facts.items()]
    return ["", "## What it is for", "", *lines]


def _text(name, value):
    """A value of a card in words."""
    unit = _UNITS.get(name, "")
    if name in _RANGES:
        return span_text(value, unit)
    if name == "room_size":
        return " x ".join(f"({span_text(span)})" for span in value) + " m"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return f"{value} {unit}".strip()


def models_table(cards):
    """Table of models, a row a card.

    Arguments
    ---------
    cards : dict of str to ModelCard
        Name to card.

    Returns
    -------
    list of str
        Lines of Markdown.

    Example
    -------
    >>> from spatial_brain.inference.pretrained.card import ModelCard
    >>> card = ModelCard("T60", command="acoustics", sample_rate=16000)
    >>> print("\\n".join(models_table({"rooms": card})))
    | model | command   | input    | worth        |
    | ----- | --------- | -------- | ------------ |
    | rooms | acoustics | 16000 Hz | not measured |
    """
    rows = [
        [name, card.command, card.needs(), card.headline() or "not measured"]
        for name, card in cards.items()
    ]
    return table([["model", "command", "input", "worth"], *rows])
