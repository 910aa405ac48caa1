"""Sound scenes as spatial recordings, with labels frame by frame.

A plan (``scene_plans.draw_scene``) and the dry sounds of its events become
first-order Ambisonics and the signals of the tetrahedral array, in one room
and one diffuse ambience. Reverberation is image sources followed by a diffuse
tail; see ``scene_arrays``.
"""

import math

import numpy as np
import torch

from spatial_brain.geometry import SPEED_OF_SOUND, unit_to_azel
from spatial_brain.simulation.levels import active_level
from spatial_brain.simulation.mixing import convolve
from spatial_brain.simulation.motion import filter_moving
from spatial_brain.simulation.paths import positions_at
from spatial_brain.simulation.rir.fractional_delay import high_pass
from spatial_brain.simulation.scene_arrays import (
    FORMATS,
    ArrayRoom,
    array_noise,
)
from spatial_brain.simulation.scene_plans import (
    PlannedEvent,
    ScenePlan,
    draw_scene,
)

__all__ = [
    "PlannedEvent",
    "ScenePlan",
    "draw_scene",
    "event_rows",
    "render_scene",
]

# Active level of an event with gain 0 at 1 m, dB full scale.
LEVEL = -26.0
# Level that stands for the events in a clip without any, dB full scale.
_EMPTY_LEVEL = -40.0
# Recordings that would be louder are turned down to this peak.
PEAK = 0.95
FRAME = 0.1
COLUMNS = ("frame", "label", "source", "azimuth", "elevation", "distance")


def render_scene(plan, dry_events, *, fs=24000, formats=FORMATS):
    """Render a scene and label it.

    Arguments
    ---------
    plan : ScenePlan
        What happens.
    dry_events : sequence of torch.Tensor
        Sound of each event, [time], at any level; what is longer than
        planned is cut off.
    fs : int
        Sampling rate, Hz.
    formats : sequence of str
        "foa" (W, Y, Z, X; SN3D) and "mic" (four capsules on a rigid sphere);
        each is the same with or without the other.

    Returns
    -------
    signals : dict
        Name of format to recording, float32 [time, 4], of peak 0.95 or less.
    rows : dict
        The labels, see :func:`event_rows`.

    Raises
    ------
    ValueError
        If the events are not those of the plan, an event is silent, or a
        format is unknown.

    Example
    -------
    >>> plan = draw_scene(np.random.default_rng(0), 3, duration=5.0)
    >>> dry = [torch.randn(48000) for _ in plan.events]
    >>> signals, rows = render_scene(plan, dry, formats=("foa",))
    >>> signals["foa"].shape, sorted(rows) == sorted(COLUMNS)
    (torch.Size([120000, 4]), True)
    """
    formats = tuple(formats)
    if not formats or not set(formats) <= set(FORMATS):
        raise ValueError(f"formats must be some of {FORMATS}, got {formats}")
    dry_events = _prepared(plan, dry_events, fs)
    num_samples = round(plan.duration * fs)
    room = ArrayRoom(plan.room_size, plan.t60, plan.center, fs)
    total = {name: torch.zeros(4, num_samples) for name in formats}
    seeds = np.random.SeedSequence(plan.seed).generate_state(
        len(plan.events) + 1
    )
    for event, dry, seed in zip(
        plan.events, dry_events, seeds[1:], strict=True
    ):
        start = round(event.onset * fs)
        images = _event_images(room, event, dry, formats, int(seed))
        for name, image in images.items():
            image = image[:, : num_samples - start]
            total[name][:, start : start + image.shape[1]] += image
    noise = array_noise(
        num_samples, fs, formats, int(seeds[0]), _noise_colour(plan.noise_tilt)
    )
    signals = {
        name: _finished(name, total[name], noise[name], plan.snr_db, fs)
        for name in formats
    }
    lengths = [len(dry) / fs for dry in dry_events]
    return signals, event_rows(plan, lengths)


def _prepared(plan, dry_events, fs):
    """Events at their levels, without what no loudspeaker could send."""
    if len(dry_events) != len(plan.events):
        raise ValueError(
            f"the plan has {len(plan.events)} events, got {len(dry_events)}"
        )
    prepared = []
    for number, (event, dry) in enumerate(
        zip(plan.events, dry_events, strict=True)
    ):
        dry = torch.as_tensor(dry, dtype=torch.float32)
        dry = dry[: max(round(event.duration * fs), 1)]
        if dry.ndim != 1 or not bool(dry.any()):
            raise ValueError(
                f"event {number} (class {event.label}) must be a sound of "
                f"shape [time], got shape {tuple(dry.shape)}"
                + (" that is silent" if dry.ndim == 1 else "")
            )
        dry = high_pass(dry, fs)
        gain = LEVEL + event.gain_db - active_level(dry, fs)
        prepared.append(dry * 10.0 ** (gain / 20.0))
    return prepared


def _event_images(room, event, dry, formats, seed):
    """Event as each format receives it, [4, time]."""
    points = torch.from_numpy(event.points)
    early, begin = room.images(points, formats)
    tails = room.tail(early, begin, formats, seed)
    result = {}
    for name, tail in tails.items():
        part, fixed = early[name], tail
        if len(points) == 1:
            fixed = tail.clone()
            fixed[:, : part.shape[-1]] += part[0]
        image = convolve(dry[None], fixed[None])[0]
        if len(points) > 1:
            times = torch.from_numpy(event.times)
            moved = filter_moving(dry, part, times, fs=room.fs)
            image[:, : moved.shape[1]] += moved
        result[name] = image
    return result


def _noise_colour(tilt):
    """Gain of a sloping spectrum, silent below 20 Hz."""

    def gain(frequency):
        octaves = np.log2(np.maximum(frequency, 50.0) / 1000.0)
        return np.where(frequency < 20.0, 0.0, 10.0 ** (tilt * octaves / 20.0))

    return gain


def _finished(name, clean, noise, snr_db, fs):
    """Add noise to what is heard of the events; never clip: [time, 4]."""
    channels = slice(0, 1) if name == "foa" else slice(None)
    level = _EMPTY_LEVEL
    if bool(clean.any()):
        power = 10.0 ** (active_level(clean[channels], fs) / 10.0)
        level = 10.0 * math.log10(float(power.mean()))
    has = 10.0 * math.log10(float(noise[channels].square().mean()))
    mixture = clean + noise * 10.0 ** ((level - snr_db - has) / 20.0)
    peak = float(mixture.abs().max())
    return (mixture * min(1.0, PEAK / peak)).T.contiguous()


def event_rows(plan, lengths):
    """Labels of a scene: frames in which direct sound arrives, and whence.

    A frame of 100 ms is labelled if the direct sound of the event, from its
    first to its last sample, fills half of it or more; an event too short
    for that labels the frame that holds most of it. Directions are those at
    the centres of the frames, where the source was when it sent what is then
    heard.

    Arguments
    ---------
    plan : ScenePlan
        The scene.
    lengths : sequence of float
        How long each event really sounds, seconds.

    Returns
    -------
    dict of numpy.ndarray
        "frame", "label", "source" (the number of the event among those with
        labels, in the order of onsets), int64, and "azimuth", "elevation"
        (degrees), "distance" (metres), float64, each [N], sorted by frame.

    Example
    -------
    >>> event = PlannedEvent(
    ...     7, 0, 0.5, 1.0, 0.0, np.array([[2.0, 3.5, 1.5]]), np.zeros(1)
    ... )
    >>> plan = ScenePlan(
    ...     5.0, (5, 5, 3), 0.3, (2.0, 2.0, 1.5), (event,), 20.0, -3.0, 0
    ... )
    >>> rows = event_rows(plan, [0.22])
    >>> rows["frame"].tolist(), rows["azimuth"].tolist()
    ([5, 6], [90.0, 90.0])
    """
    parts, source = [], 0
    for event, length in zip(plan.events, lengths, strict=True):
        if event.interferer:
            continue
        frame = _heard_frames(plan, event, length)
        places = _sent_from(plan, event, frame)
        azimuth, elevation = unit_to_azel(torch.from_numpy(places))
        one = np.ones(len(frame), np.int64)
        parts.append(
            (
                frame,
                event.label * one,
                source * one,
                azimuth.numpy(),
                elevation.numpy(),
                np.linalg.norm(places, axis=-1),
            )
        )
        source += 1
    if not parts:
        empty = [np.zeros(0, np.int64)] * 3 + [np.zeros(0)] * 3
        return dict(zip(COLUMNS, empty, strict=True))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.lexsort((columns[2], columns[0]))
    return {
        name: column[order]
        for name, column in zip(COLUMNS, columns, strict=True)
    }


def _heard_frames(plan, event, length):
    """Frames in which an event is heard."""
    ends = _offsets(plan, event, np.array([0.0, length]))
    delays = np.linalg.norm(ends, axis=-1) / SPEED_OF_SOUND
    start = event.onset + delays[0]
    stop = event.onset + length + delays[1]
    count = max(int(round(plan.duration / FRAME, 6)), 1)
    frame = np.arange(
        min(int(start / FRAME), count - 1),
        min(int(np.ceil(stop / FRAME)), count),
    )
    filled = np.minimum(stop, (frame + 1) * FRAME)
    filled = filled - np.maximum(start, frame * FRAME)
    half = filled >= 0.5 * FRAME - 1e-9
    return frame[half] if half.any() else frame[[filled.argmax()]]


def _sent_from(plan, event, frame):
    """Where a source was when it sent what frames hear at their centres."""
    arrival = (frame + 0.5) * FRAME - event.onset
    offset = _offsets(plan, event, arrival)
    # Each step shrinks the error by speed of source / speed of sound.
    for _ in range(4):
        delay = np.linalg.norm(offset, axis=-1) / SPEED_OF_SOUND
        offset = _offsets(plan, event, arrival - delay)
    return offset


def _offsets(plan, event, time):
    """Place of a source relative to the array at times [F], [F, 3]."""
    points = torch.from_numpy(event.points)
    times = torch.from_numpy(event.times)
    places = positions_at(points, times, torch.from_numpy(np.asarray(time)))
    return places.numpy() - np.asarray(plan.center)
