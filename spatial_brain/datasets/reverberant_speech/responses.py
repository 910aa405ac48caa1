"""Simulated responses with their labels, in one file."""

import math
from functools import partial
from pathlib import Path

import numpy as np
import torch

from spatial_brain.dataio.array_store import build_store
from spatial_brain.datasets.reverberant_speech.rooms import draw_room
from spatial_brain.simulation import acoustics
from spatial_brain.simulation.noise_floor import NoiseFloor, find_noise_floor
from spatial_brain.simulation.rir import simulate_rir
from spatial_brain.simulation.room_parameters import octave_band
from spatial_brain.simulation.rooms import geometry_hash

_TRIES = 20
_OCTAVES = (500, 1000, 2000)
# Room for what octave filters put before the onset, s.
_LEAD = 0.1


def prepare_responses(
    folder, num_rooms, seed, *, name, fs=16000, num_workers=1, **rooms
):
    """Draw rooms and simulate their responses, all in one file.

    Room ``i`` depends on ``(seed, i)`` alone. A run that is killed goes on
    where it stopped; what was made with the same arguments is kept. Item
    ``i`` of the :class:`spatial_brain.dataio.array_store.ArrayStore` has the
    shape [source, microphone, time]; its largest value is 1. Its entry has
    ``labels``: "T60" (s), "DRR", "C50" (dB) and "DIST" (m), [source][2] each,
    null where a response does not show it, and ``room_size`` (m).

    Arguments
    ---------
    folder : str or Path
        Where the responses go.
    num_rooms : int
        Number of rooms.
    seed : int
        Not negative.
    name : str
        File name of the manifest, without suffix.
    fs : int
        Sampling rate, Hz.
    num_workers : int
        Processes, each with one thread.
    **rooms
        Arguments of ``draw_room``.

    Returns
    -------
    Path
        The manifest ``<name>.json``.

    Example
    -------
    >>> kinds = {"office": {"share": 1, "low": [3, 3, 2.5], "high": [5, 4, 3]}}
    >>> path = prepare_responses(
    ...     getfixture("tmp_path"), 1, seed=1, name="rirs", kinds=kinds
    ... )
    >>> from spatial_brain.dataio.array_store import ArrayStore
    >>> ArrayStore(path)[0].shape[:2]
    torch.Size([3, 2])
    """
    return build_store(
        Path(folder, f"{name}.json"),
        partial(_make_room, seed, rooms, fs),
        num_rooms,
        options={"seed": seed, "rooms": rooms, "fs": fs},
        dtype="float16",
        num_workers=num_workers,
        description=f"simulating {name}",
    )


def _make_room(seed, rooms, fs, index):
    """Draw room ``index``, simulate it and describe it."""
    for attempt in range(_TRIES):
        state = np.random.SeedSequence([seed, index, attempt])
        state = int(state.generate_state(1, np.uint64)[0] >> 1)
        generator = torch.Generator().manual_seed(state)
        room, options = draw_room(generator, **rooms)
        try:
            rir = _simulate(room, fs, generator, options)
        except acoustics.UnreachableT60:
            if attempt == _TRIES - 1:
                raise
            continue
        labels = _true_labels(room, rir, fs)
        # Materials may give any T60.
        low, high = rooms.get("t60_range", (0.0, math.inf))
        if bool(((labels["T60"] >= low) & (labels["T60"] <= high)).any()):
            break
    description = {
        "labels": {name: _plain(value) for name, value in labels.items()},
        "room_size": room.size.tolist(),
        "geometry_hash": geometry_hash(room),
    }
    peak = rir.abs().amax((1, 2), keepdim=True)
    return f"room{index:06d}", rir / peak, description


def _simulate(room, fs, generator, options):
    """Responses of a room, [source, microphone, time]."""
    return simulate_rir(
        room.size,
        room.sources,
        room.microphones,
        fs=fs,
        t60=room.t60,
        absorption=room.absorption,
        source_pattern=room.source_pattern,
        mic_pattern=room.mic_pattern,
        mic_orientation=room.mic_orientation,
        generator=generator,
        **options,
    )


def _true_labels(room, rir, fs):
    """Parameters of simulated responses, [source, microphone] each."""
    floor = NoiseFloor.absent(rir)
    direct = acoustics.direct_sample(room.sources, room.microphones, fs)
    return {
        **response_labels(rir, fs, direct, floor),
        "DIST": torch.cdist(room.sources, room.microphones),
    }


def response_labels(rir, fs, direct=None, floor=None):
    """What the models of this recipe predict, read from the response itself.

    T60 is that of speech, the mean of the octaves at 500 Hz, 1 and 2 kHz (of
    the first two ISO 3382-1 makes its single number); what the octaves above
    reverberate, speech hardly shows.

    Arguments
    ---------
    rir : torch.Tensor
        [..., time].
    fs : int
        Sampling rate, Hz.
    direct : torch.Tensor, optional
        Sample of the direct path, [...]; default: its onset.
    floor : NoiseFloor, optional
        Default: looked for, as measured responses need.

    Returns
    -------
    dict
        "T60" (T20, mean of three octaves, s), "DRR" and "C50" of the whole
        response (dB), float64 [...]; NaN where a response does not show it.

    Example
    -------
    >>> generator = torch.Generator().manual_seed(0)
    >>> noise = torch.randn(16000, generator=generator)
    >>> decay = 10 ** (-3 * torch.arange(16000) / 16000 / 0.5)
    >>> round(response_labels(noise * decay, 16000)["T60"].item(), 1)
    0.5
    """
    lead = torch.nn.functional.pad(rir.double(), (round(_LEAD * fs), 0))
    octaves = [octave_band(lead, fs, centre) for centre in _OCTAVES]
    times = [acoustics.t60(x, fs, floor=floor) for x in octaves]
    floor = floor or find_noise_floor(rir, fs)
    return {
        "T60": torch.stack(times).mean(0),
        "DRR": acoustics.drr(rir, fs, direct, floor=floor),
        "C50": acoustics.c50(rir, fs, direct, floor=floor),
    }


def _plain(values):
    """Nested lists of numbers, None where a value is not finite."""
    return [
        [round(x, 5) if math.isfinite(x) else None for x in row]
        for row in values.tolist()
    ]
