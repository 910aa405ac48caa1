"""Synthetic data in the format of dEchorate."""

from itertools import product
from pathlib import Path

import h5py
import numpy as np
import torch

from spatial_brain.atomic import atomic_path
from spatial_brain.dataio.files import write_table
from spatial_brain.datasets.real_arrays.responses.dechorate import (
    ANNOTATIONS,
    DATABASE,
    DIRECTIONAL,
    NOISES,
    OMNIDIRECTIONAL,
    RESPONSES,
)
from spatial_brain.datasets.real_arrays.synthetic.measurements import (
    simulate_responses,
)
from spatial_brain.datasets.synthetic_data import claim
from spatial_brain.simulation import diffuse_noise

# As measured in the room (paper, and the authors' table of positions), metres
# and degrees.
_ROOM_SIZE = (5.705, 5.965, 2.355)
_OFFSETS = np.array([-0.1225, -0.0825, -0.0325, 0.0325, 0.1325])
_CENTRES = np.array([
    [1.026, 3.954, 1.041], [0.775, 2.129, 0.982], [2.291, 1.669, 1.165],
    [3.408, 2.461, 1.312], [3.687, 3.876, 0.912], [3.031, 3.445, 1.462],
])  # fmt: skip
_TURNS = np.deg2rad([21.1, 250.0, -27.0, 57.7, 226.4, 143.7])
_OMNIDIRECTIONAL = np.array([
    [3.651, 1.004, 1.382], [0.892, 3.013, 1.488], [2.958, 4.558, 1.405],
])  # fmt: skip
_DIRECTIONAL = np.array([
    [1.991, 4.498, 1.506], [1.523, 0.883, 1.126], [4.287, 2.069, 1.156],
    [4.619, 3.669, 1.586], [1.991, 4.498, 1.2], [1.523, 0.883, 1.4],
])  # fmt: skip
_NOISE = np.array([
    [0.96, 4.769, 1.439], [0.876, 0.868, 1.432], [4.644, 0.812, 1.41],
    [4.692, 4.735, 1.429],
])  # fmt: skip
# Seconds: T60 without a reflecting wall, and what each of them adds.
_DEAD, _PER_WALL = 0.2, 0.08
# Seconds of the pause before and behind a noise, and its level there.
_PAUSE, _QUIET = 1.6, 0.01
# Steps of noise; coarse, so that it compresses.
_STEPS = 32


def write_synthetic_dechorate(
    folder,
    *,
    rooms=("000000", "011111"),
    fs=16000,
    duration=0.1,
    noise_duration=7.0,
    noises=tuple(NOISES),
    noise_sources=1,
    seed=0,
):
    """Write HDF5 and CSV files as dEchorate has them.

    Arguments
    ---------
    folder : str or Path
        Becomes ``dEchorate``.
    rooms : sequence of str
        States of the room; the real one has eleven.
    fs : int
        Sampling rate in Hz; the real one is 48000.
    duration : float
        Seconds of the responses.
    noise_duration : float
        Seconds of the recordings of noise, with pauses of 1.6 s before and
        behind the noise.
    noises : sequence of str
        Kinds of noise.
    noise_sources : int
        Recordings of each kind in each room, at most the 6 (noise), 4
        (babble) and 1 (silence) of the real one.
    seed : int
        Of tails and noise.

    Example
    -------
    >>> folder = getfixture("tmp_path") / "dEchorate"
    >>> write_synthetic_dechorate(folder, rooms=["000000"], noises=[])
    >>> with h5py.File(folder / "dEchorate_rir.h5") as file:
    ...     print(file["rir/000000/8"].shape)
    (1600, 31)
    """
    claim(
        folder,
        {
            "corpus": "dEchorate",
            "rooms": list(rooms),
            "fs": fs,
            "duration": duration,
            "noise_duration": noise_duration,
            "noises": list(noises),
            "noise_sources": noise_sources,
            "seed": seed,
        },
    )
    folder = Path(folder)
    if not (folder / ANNOTATIONS).is_file():
        _write_annotations(folder / ANNOTATIONS)
        write_table(folder / DATABASE, _database(rooms))
    if not (folder / RESPONSES).is_file():
        responses = {
            (state, source): _with_loopback(waveform)
            for state in rooms
            for source, waveform in enumerate(
                _simulate(state, fs, duration, seed)
            )
        }
        _write_recordings(folder / RESPONSES, "rir", responses, fs)
    for number, kind in enumerate(noises):
        path = folder / f"dEchorate_{kind}_gzip7.hdf5"
        if not path.is_file():
            sources = (
                [99]
                if kind == "silence"
                else range(min(noise_sources, NOISES[kind]))
            )
            recordings = _record_noises(
                product(rooms, sources), fs, noise_duration, seed + number
            )
            _write_recordings(path, kind, recordings, fs)


def _microphones():
    """Positions, float64 [30, 3]; distances within arrays as published."""
    along = np.stack(
        (np.cos(_TURNS), np.sin(_TURNS), np.zeros(len(_TURNS))), axis=-1
    )
    parts = _CENTRES[:, None] + _OFFSETS[:, None] * along[:, None]
    return parts.reshape(-1, 3)


def _simulate(state, fs, duration, seed):
    """Responses [source, 30, time] in a state of the room."""
    walls = sum(digit != "0" for digit in state)
    sources = np.concatenate((_DIRECTIONAL, _OMNIDIRECTIONAL))
    return simulate_responses(
        _ROOM_SIZE,
        _DEAD + _PER_WALL * walls,
        torch.from_numpy(sources).float(),
        torch.from_numpy(_microphones()).float(),
        fs=fs,
        duration=duration,
        seed=seed,
    )


def _with_loopback(waveform):
    """Recording [time, 31] of [30, time]; the last column is the loopback."""
    loopback = torch.zeros_like(waveform[:1])
    loopback[0, 0] = 1.0
    return torch.cat((waveform, loopback)).T.numpy()


def _record_noises(places, fs, duration, seed):
    """Noises at (state, source), each [time, 31]."""
    generator = torch.Generator().manual_seed(seed)
    microphones = torch.from_numpy(_microphones()).float()
    num_samples, pause = int(duration * fs), int(_PAUSE * fs)
    level = torch.full((num_samples,), _QUIET)
    level[pause : num_samples - pause] = 1.0
    noise = diffuse_noise(microphones, num_samples, fs=fs, generator=generator)
    noise = (noise * _STEPS).round() / _STEPS
    # One noise, each time shifted: recordings need not be independent.
    return {
        place: _with_loopback(level * noise.roll(number * fs // 10, dims=-1))
        for number, place in enumerate(places)
    }


def _write_recordings(path, signal, recordings, fs):
    """Write recordings and the attributes of their file."""
    shape = next(iter(recordings.values())).shape
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["signal"] = "rirs" if signal == "rir" else signal
        file.attrs["sampling_rate"] = fs
        file.attrs["n_samples"], file.attrs["n_mics"] = shape
        file.attrs["n_utts"] = 1
        for (state, source), recording in recordings.items():
            file.create_dataset(
                f"{signal}/{state}/{source}",
                data=recording,
                compression="gzip",
                compression_opts=1,
                shuffle=True,
            )


def _write_annotations(path):
    """Write positions, [3, N]."""
    view = np.zeros((3, DIRECTIONAL))
    view[0] = 1.0
    content = {
        "room_size": np.array(_ROOM_SIZE),
        "microphones": _microphones().T,
        "arrays_position": _CENTRES.T,
        "arrays_direction": view,
        "sources_directional_position": _DIRECTIONAL.T,
        "sources_directional_direction": view,
        "sources_omnidirection_position": _OMNIDIRECTIONAL.T,
        "sources_noise_position": _NOISE.T,
        "sources_noise_direction": view[:, : len(_NOISE)],
    }
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        for name, values in content.items():
            file[name] = values


def _database(rooms):
    """Lines of the table of recordings, one for each microphone."""
    walls = ("floor", "ceiling", "west", "south", "east", "north")
    microphones = _microphones()
    lines = []
    for state, source in product(rooms, range(OMNIDIRECTIONAL)):
        for number, position in enumerate(microphones):
            line = {
                "filename": f"{state}_{source}",
                "src_id": DIRECTIONAL + source,
                "src_type": "omnidirectional",
                "src_signal": "chirp",
                "room_code": state,
                "mic_type": "capsule",
                "mic_id": number,
                "array_id": number // 5,
            }
            for axis, value, ours in zip(
                "xyz", _OMNIDIRECTIONAL[source], position, strict=True
            ):
                line[f"src_pos_{axis}"] = value
                line[f"mic_pos_{axis}"] = ours
            line |= {
                f"room_rfl_{wall}": digit
                for wall, digit in zip(walls, state, strict=True)
            }
            lines.append(line)
    return lines
