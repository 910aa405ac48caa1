"""Synthetic data in the format of TAU-SRIR DB and TAU-SNoise DB."""

from pathlib import Path

import h5py
import numpy as np
import scipy.io
import torch

from spatial_brain.atomic import atomic_path
from spatial_brain.dataio.audio import write_audio
from spatial_brain.datasets.real_arrays.responses.dcase import (
    AMBIENCE,
    NOISES,
    RESPONSES,
    ROOMS,
)
from spatial_brain.datasets.real_arrays.synthetic.measurements import (
    simulate_responses,
)
from spatial_brain.datasets.synthetic_data import claim
from spatial_brain.geometry import tetrahedral_array
from spatial_brain.simulation import diffuse_noise

# What follows the room in names of folders of noise.
_PLACES = {
    "pb132": "_paatalo_classroom2",
    "pc226": "_paatalo_office",
    "sa203": "_sahkotalo_lecturehall",
    "sc203": "_sahkotalo_classroom2",
    "se203": "_sahkotalo_classroom",
    "tb103": "_tietotalo_lecturehall",
    "tc352": "_tietotalo_meetingroom",
}
# Rooms whose sources move along lines; one of them is a trapezoid.
_LINES = ("sa203", "sc203", "se203", "tb103")
_TRAPEZOIDS = ("sa203", "tb103")
# Metres and degrees of the synthetic rooms.
_MICROPHONE = (0.0, 0.0, 1.2)
_RANGES, _HEIGHTS = (1.0, 1.6), (-0.4, 0.4)
_LINE = 1.2
_RADIUS = 0.042
_ANGLES = np.array([[45.0, 35], [-45, -35], [135, -35], [-135, 35]])
# The header of a MAT file of version 7.3 stands before the HDF5 content.
_HEADER = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, synthetic data".ljust(124)


def write_synthetic_dcase(
    folder,
    *,
    rooms=tuple(ROOMS),
    num_points=3,
    fs=24000,
    duration=0.1,
    noise_duration=6.0,
    seed=0,
):
    """Write MAT files and noise as TAU's data bases have them.

    Rooms have two trajectories at two heights. Microphones are in free air,
    not on a sphere.

    Arguments
    ---------
    folder : str or Path
        Becomes ``DCASE``.
    rooms : sequence of str
        Whose responses and noises are written.
    num_points : int
        Sources of each trajectory at each height.
    fs : int
        Sampling rate of responses and noise, Hz.
    duration, noise_duration : float
        Seconds.
    seed : int
        Of tails and noise.

    Example
    -------
    >>> folder = getfixture("tmp_path") / "DCASE"
    >>> write_synthetic_dcase(folder, rooms=["gym"], noise_duration=1.0)
    >>> sorted(path.name for path in (folder / "TAU-SRIR_DB").iterdir())
    ['measinfo.mat', 'rirdata.mat', 'rirs_02_gym.mat']
    """
    claim(
        folder,
        {
            "corpus": "DCASE",
            "rooms": list(rooms),
            "num_points": num_points,
            "fs": fs,
            "duration": duration,
            "noise_duration": noise_duration,
            "seed": seed,
        },
    )
    place = Path(folder, RESPONSES)
    if not (place / "rirdata.mat").is_file():
        _save_mat(place / "measinfo.mat", {"measinfo": _measinfo()})
    for number, room in enumerate(ROOMS):
        if room not in rooms:
            continue
        path = place / f"rirs_{ROOMS[room]}_{room}.mat"
        if not path.is_file():
            _write_responses(
                path, room, number, num_points, fs, duration, seed + number
            )
        _write_noise(folder, room, fs, noise_duration, seed + number)
    # Last: with it all is there.
    _save_mat(place / "rirdata.mat", {"rirdata": _rirdata(num_points, fs)})


def _room_size(number):
    """Metres; each room has its own size."""
    return (6.0 + 0.2 * number, 5.0 + 0.1 * number, 3.0)


def _offsets(room, trajectory, height, num_points):
    """Sources around the array, float32 [point, 3]."""
    step = torch.arange(num_points, dtype=torch.float32) / num_points
    up = torch.full_like(step, _HEIGHTS[height])
    if room in _LINES:
        across = torch.full_like(step, _side(trajectory))
        return torch.stack((across, 1.5 * step - 0.7, up), dim=-1)
    angle = 2 * torch.pi * step + 0.1
    radius = _RANGES[trajectory]
    return torch.stack((radius * angle.cos(), radius * angle.sin(), up), -1)


def _side(trajectory):
    """Where a line lies, metres along x."""
    return _LINE if trajectory else -_LINE


def _write_responses(path, room, number, num_points, fs, duration, seed):
    """Write the file of a room."""
    size = _room_size(number)
    # Off the middle, where reflections of opposite walls would coincide.
    origin = torch.tensor([size[0] / 2 + 0.1, size[1] / 2 - 0.13, 0.0])
    centre = origin + torch.tensor(_MICROPHONE)
    microphones = centre + tetrahedral_array(_RADIUS)
    responses = {
        key: simulate_responses(
            size,
            0.4,
            centre + _offsets(room, *key, num_points),
            microphones,
            fs=fs,
            duration=duration,
            seed=seed,
        )
        for key in np.ndindex(2, 2)
    }
    with atomic_path(path) as temporary:
        _write_table(temporary, responses)


def _write_table(path, responses):
    """Write a MAT file of version 7.3: a structure array with references."""
    with h5py.File(path, "w", userblock_size=512) as file:
        group = file.create_group("rirs")
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        for name in ("foa", "mic"):
            table = group.create_dataset(name, (2, 2), h5py.ref_dtype)
            for (trajectory, height), waveforms in responses.items():
                data = file.create_dataset(
                    f"#refs#/{name}{trajectory}{height}",
                    data=waveforms.double().numpy(),
                )
                data.attrs["MATLAB_class"] = np.bytes_("double")
                table[height, trajectory] = data.ref
    with open(path, "r+b") as stream:
        stream.write(_HEADER + b"\x00\x02IM")


def _rirdata(num_points, fs):
    """Directions of all rooms, and of the microphones."""
    kinds = [("name", object), ("year", object), ("rirs", object)]
    room = np.empty((len(ROOMS), 1), [*kinds, ("nrirs", object)])
    for number, name in enumerate(ROOMS):
        rirs = np.empty((2, 2), [("doa_xyz", object)])
        for trajectory, height in np.ndindex(2, 2):
            offsets = _offsets(name, trajectory, height, num_points).double()
            unit = offsets / offsets.norm(dim=-1, keepdim=True)
            rirs[trajectory, height]["doa_xyz"] = unit.numpy()
        counts = np.full((2, 2), num_points)
        room[number, 0] = (name, 2020.0, rirs, counts)
    return {
        "fs": float(fs),
        "room": room,
        "tetra_mic_radius_m": _RADIUS,
        "tetra_mic_azel_deg": _ANGLES,
    }


def _measinfo():
    """Sizes of rooms and places of arrays and trajectories."""
    names = (
        "name",
        "dimensions",
        "shape",
        "formats",
        "trajectories",
        "heights",
        "distances",
        "micPosition",
        "device",
        "trajectoryType",
    )
    table = np.empty((len(ROOMS), 1), [(name, object) for name in names])
    for number, name in enumerate(ROOMS):
        line, trapezoid = name in _LINES, name in _TRAPEZOIDS
        size = np.array([_room_size(number)])
        ends = np.zeros((2, 3, 2))
        ends[:, 0] = _side(0), _side(1)
        ends[0, 1], ends[1, 1] = -0.7, 0.8
        table[number, 0] = (
            name,
            np.hstack((size, size[:, :1])) if trapezoid else size,
            "trapezoidal" if trapezoid else "rectangular",
            "mic, foa",
            np.array([[1.0, 2.0]]),
            np.array([_HEIGHTS]) + _MICROPHONE[2],
            ends if line else np.array([_RANGES]),
            np.array([_MICROPHONE]),
            "em32",
            "linear" if line else "circular",
        )
    return table


def _save_mat(path, content):
    """Write a MAT file of version 5."""
    with atomic_path(path) as temporary:
        scipy.io.savemat(temporary, content, appendmat=False, oned_as="row")


def _write_noise(folder, room, fs, duration, seed):
    """Write diffuse noise at the array."""
    name = f"{ROOMS[room]}_{room}{_PLACES.get(room, '')}"
    path = Path(folder, NOISES, name, AMBIENCE)
    if path.is_file():
        return
    noise = diffuse_noise(
        tetrahedral_array(_RADIUS),
        int(duration * fs),
        fs=fs,
        generator=torch.Generator().manual_seed(seed),
    )
    write_audio(path, 0.1 * noise.T / noise.abs().max(), fs)
