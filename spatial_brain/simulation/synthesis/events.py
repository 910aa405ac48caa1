"""Stand-ins for sound events that need no download.

Thirty-one kinds named after the classes of the SELD data sets. Each draw is
another instance of its kind: pitch, tempo, timbre and pattern vary, so that
a classifier has to learn the kind and not the recording.
"""

import numpy as np
import torch

from spatial_brain.simulation.synthesis import event_kinds as kinds
from spatial_brain.simulation.synthesis.speech import (
    SyntheticTalker,
    numpy_generator,
    synthetic_speech,
)

# Recipe of each kind and its usual shortest and longest duration, seconds.
_KINDS = {
    "alarm": (kinds.alarm, (2.0, 6.0)),
    "crying_baby": (kinds.crying_baby, (2.0, 6.0)),
    "crash": (kinds.crash, (0.8, 2.5)),
    "barking_dog": (kinds.barking_dog, (1.0, 4.0)),
    "scream_female": (kinds.scream_female, (0.8, 3.0)),
    "scream_male": (kinds.scream_male, (0.8, 3.0)),
    "speech_female": ("female", (2.0, 6.0)),
    "speech_male": ("male", (2.0, 6.0)),
    "footsteps": (kinds.footsteps, (2.0, 6.0)),
    "knock": (kinds.knock, (1.0, 4.0)),
    "telephone": (kinds.telephone, (2.0, 6.0)),
    "piano": (kinds.piano, (2.0, 6.0)),
    "music": (kinds.music, (3.0, 8.0)),
    "instrument": (kinds.instrument, (2.0, 6.0)),
    "water": (kinds.water, (2.0, 6.0)),
    "bell": (kinds.bell, (2.0, 6.0)),
    "laughter": (kinds.laughter, (1.0, 4.0)),
    "clapping": (kinds.clapping, (1.5, 5.0)),
    "domestic": (kinds.domestic, (2.0, 6.0)),
    "door": (kinds.door, (0.8, 3.0)),
    "clink": (kinds.clink, (0.8, 3.0)),
    "keyboard": (kinds.keyboard, (1.5, 5.0)),
    "cupboard": (kinds.cupboard, (0.8, 3.0)),
    "drawer": (kinds.drawer, (0.8, 3.0)),
    "finger_snap": (kinds.finger_snap, (0.8, 3.0)),
    "keys": (kinds.keys, (1.0, 4.0)),
    "printer": (kinds.printer, (2.0, 6.0)),
    "scissors": (kinds.scissors, (1.0, 4.0)),
    "writing": (kinds.writing, (1.5, 5.0)),
    "engine": (kinds.engine, (2.0, 6.0)),
    "fire": (kinds.fire, (2.0, 6.0)),
}
EVENT_KINDS = tuple(_KINDS)
SHORTEST = 0.05
# The last milliseconds fade out, so that nothing ends with a click.
_FADE = 0.01


def event_durations(kind):
    """Usual shortest and longest duration of a kind of event.

    Arguments
    ---------
    kind : str
        One of ``EVENT_KINDS``.

    Returns
    -------
    tuple of float
        Seconds.

    Raises
    ------
    ValueError
        If the kind is unknown.

    Example
    -------
    >>> event_durations("crash")
    (0.8, 2.5)
    """
    if kind not in _KINDS:
        raise ValueError(f"kind must be one of {EVENT_KINDS}, got {kind!r}")
    return _KINDS[kind][1]


def synthetic_event(kind, duration=None, fs=24000, generator=None):
    """Sound event of a kind, made by a recipe.

    Arguments
    ---------
    kind : str
        One of ``EVENT_KINDS``.
    duration : float, optional
        Seconds, at least 0.05; drawn from what is usual for the kind by
        default.
    fs : int
        Sampling rate, Hz, at least 8000.
    generator : torch.Generator, optional
        The same state gives the same event. Without one the global state of
        torch is used.

    Returns
    -------
    torch.Tensor
        float32 [time]; its largest magnitude is 1. It sounds from the first
        sample to about the last.

    Raises
    ------
    ValueError
        If the kind is unknown, or ``duration`` or ``fs`` too small.

    Example
    -------
    >>> generator = torch.Generator().manual_seed(0)
    >>> event = synthetic_event("knock", 1.5, generator=generator)
    >>> event.shape, event.abs().max()
    (torch.Size([36000]), tensor(1.))
    """
    shortest, longest = event_durations(kind)
    if fs < 8000:
        raise ValueError(f"fs must be at least 8000 Hz, got {fs}")
    rng = numpy_generator(generator)
    if duration is None:
        duration = float(rng.uniform(shortest, longest))
    if not SHORTEST <= duration < float("inf"):
        raise ValueError(
            f"duration must be at least {SHORTEST} s, got {duration}"
        )
    num_samples = round(duration * fs)
    recipe = _KINDS[kind][0]
    if isinstance(recipe, str):
        event = _speech(recipe, num_samples, fs, rng)
    else:
        event = np.asarray(recipe(rng, num_samples, fs), np.float32)
    fade = min(int(_FADE * fs), num_samples)
    event[num_samples - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return torch.from_numpy(event / np.abs(event).max())


def _speech(voice, num_samples, fs, rng):
    """Speech of a new talker, [num_samples], that starts at once."""
    talker = SyntheticTalker(int(rng.integers(2**31)), voice)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    # Room for the pause before the first word.
    speech = synthetic_speech(num_samples + fs, fs, talker, generator).numpy()
    loud = np.abs(speech[: fs + 1]) > 0.02 * np.abs(speech).max()
    first = int(loud.argmax())
    return speech[first : first + num_samples].copy()
