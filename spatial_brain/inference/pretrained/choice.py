"""Which of the shipped models fits a recording."""

from typing import NamedTuple

from spatial_brain.inference.pretrained.card import (
    CARD_FILE,
    holds,
    read_card,
    span_text,
)
from spatial_brain.inference.shipped import shipped_folders


class Choice(NamedTuple):
    """A model for a recording.

    Arguments
    ---------
    name : str
        Of the shipped model.
    reason : str
        Why, and what is assumed.
    resample : bool
        Whether the recording has to be converted to its rate.
    """

    name: str
    reason: str
    resample: bool


def shipped_cards(command=None):
    """Cards of the shipped models.

    Arguments
    ---------
    command : str, optional
        Only of those that it uses.

    Returns
    -------
    dict of str to ModelCard

    Example
    -------
    >>> shipped_cards("dance")
    {}
    """
    cards = {
        name: read_card(folder / CARD_FILE)
        for name, folder in shipped_folders().items()
    }
    return {
        name: card
        for name, card in cards.items()
        if command in (None, card.command)
    }


def choose_model(command, path, channels, fs, spacing=None, resample=False):
    """The shipped model that fits a recording.

    Of several that fit it is the one for the fewest numbers of channels.

    Arguments
    ---------
    command : str
        Such as ``"separate"``.
    path : str
        The recording, for the error message.
    channels : int or None
        Of the recording, as far as they are used; None: not known.
    fs : float or None
        Its sampling rate, Hz; above that of the model it can be converted.
    spacing : float, optional
        Distance of its two microphones, metres.
    resample : bool
        Whether a rate below that of the model is converted, too.

    Returns
    -------
    Choice

    Raises
    ------
    ValueError
        If none fits, with what there is.

    Example
    -------
    >>> choose_model("dance", "a.wav", 2, 16000)
    Traceback (most recent call last):
    ...
    ValueError: a.wav: no model is shipped for dance; give --model
    """
    cards = shipped_cards(command)
    if not cards:
        raise ValueError(
            f"{path}: no model is shipped for {command}; give --model"
        )
    found = {
        name: _misfits(card, channels, None if resample else fs, spacing)
        for name, card in cards.items()
    }
    fitting = [name for name, misfits in found.items() if not misfits]
    if not fitting:
        reasons = "; ".join(
            f"{name} {', '.join(misfits)}" for name, misfits in found.items()
        )
        raise ValueError(
            f"{path}: no shipped model fits {_described(channels, fs)}: "
            f"{reasons}; give --model"
        )
    name = min(fitting, key=lambda name: _width(cards[name].channels))
    return Choice(name, *_reason(cards[name], channels, fs))


def _misfits(card, channels, fs, spacing):
    """What of a recording does not do for a model, as parts of a sentence."""
    misfits = []
    if channels is not None and not _width(card.channels, channels):
        misfits.append(
            f"takes {span_text(card.channels)} channels (--channels chooses "
            "those of a file)"
        )
    if fs is not None and fs < card.sample_rate:
        misfits.append(f"needs {card.sample_rate:g} Hz (--resample converts)")
    if not holds(card.spacing, spacing):
        misfits.append(
            f"is for microphones {span_text(card.spacing, 'm')} apart, not "
            f"{spacing:g} m"
        )
    return misfits


def _width(channels, number=None):
    """How many numbers of channels do; 0 if a given number does not."""
    low, high = channels if isinstance(channels, list) else (channels, channels)
    if number is not None and not low <= number <= high:
        return 0
    return high - low + 1


def _reason(card, channels, fs):
    """Why a model is taken, what is assumed, and whether to convert."""
    text = _described(channels, fs)
    if card.channel_order:
        text += f", channels taken as {card.channel_order}"
    resample = fs not in (None, card.sample_rate)
    if resample:
        text += f", converted to {card.sample_rate:g} Hz"
    return text, resample


def _described(channels, fs):
    """Channels and rate of a recording in words."""
    parts = []
    if channels is not None:
        parts.append(f"{channels} channel{'' if channels == 1 else 's'}")
    if fs is not None:
        parts.append(f"{fs:g} Hz")
    return ", ".join(parts) or "live sound"
