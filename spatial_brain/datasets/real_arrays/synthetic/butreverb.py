"""Synthetic data in the format of the BUT reverb database."""

import csv
from pathlib import Path

import torch

from spatial_brain.atomic import atomic_path
from spatial_brain.dataio.audio import write_audio
from spatial_brain.datasets.real_arrays.responses.butreverb import ROOMS
from spatial_brain.datasets.real_arrays.synthetic.measurements import (
    measured_noise,
    measured_response,
)
from spatial_brain.datasets.synthetic_data import claim
from spatial_brain.geometry import azel_to_unit
from spatial_brain.simulation.room_labels import decay_t60

_RADIUS, _FS = 0.08, 16000
# Another microphone of the room, which is not of the sphere.
_OTHER = 9
# Files of silence a microphone.
_PIECES = 2


def sphere():
    """Eight microphones on a sphere: the corners of a cube.

    Returns
    -------
    torch.Tensor
        Metres from the centre, [8, 3].

    Example
    -------
    >>> sphere().norm(dim=-1).max()
    tensor(0.0800)
    """
    azimuth = torch.arange(45.0, 405.0, 90.0).repeat(2)
    elevation = torch.tensor([35.26, -35.26]).repeat_interleave(4)
    return _RADIUS * azel_to_unit(azimuth, elevation).float()


def write_synthetic_butreverb(
    folder, *, rooms=ROOMS, sources=2, seconds=2.0, seed=0
):
    """Write a tree as that of the BUT reverb database, in simulated rooms.

    Arguments
    ---------
    folder : str or Path
        Gets ``RIRs``.
    rooms : sequence of str
        Of the corpus.
    sources : int
        Positions of the source in each room.
    seconds : float
        Of silence with each source.
    seed : int
        Of everything random.

    Raises
    ------
    ValueError
        If other data lie in the folder.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> write_synthetic_butreverb(
    ...     folder, rooms=["VUT_FIT_Q301"], sources=1, seconds=0.2
    ... )
    >>> len(list(folder.glob("RIRs/*/MicID01/*/*/mic_meta.txt")))
    9
    """
    folder = Path(folder)
    options = {
        "rooms": list(rooms),
        "sources": sources,
        "seconds": seconds,
        "seed": seed,
    }
    claim(folder, {"corpus": "BUTReverb", **options})
    for room in rooms:
        number = ROOMS.index(room)
        for source in range(1, sources + 1):
            path = folder / "RIRs" / room / "MicID01"
            _write_source(
                path / f"SpkID{source:02d}_20170901_S",
                number,
                seed + 100 * number + source,
                seconds,
            )


def _write_source(folder, number, seed, seconds):
    """Write all microphones for one source of a room."""
    size = torch.tensor([4.0, 3.5, 2.6]) + 0.4 * number
    t60 = 0.25 + 0.04 * number
    generator = torch.Generator().manual_seed(seed)
    centre = 0.4 * size
    other = 0.7 * size
    # The array of the last room touches a wall: coordinates below 0.
    if number == len(ROOMS) - 1:
        centre = torch.tensor([0.02, 1.5, 1.2])
    microphones = torch.cat([centre + sphere(), other[None]])
    source = size * (0.2 + 0.6 * torch.rand(3, generator=generator))
    # The simulated room reaches as far as the microphones.
    shift = torch.tensor([0.2, 0.0, 0.0])
    response = measured_response(
        (size + 2 * shift).tolist(),
        source + shift,
        microphones + shift,
        t60=t60,
        fs=_FS,
        seed=seed,
        seconds=1.2 * t60,
    )
    noise = measured_noise(microphones, seconds=seconds, fs=_FS, seed=seed)
    measured = decay_t60(response.T, _FS)[0].tolist()
    for index, position in enumerate(microphones.tolist()):
        label = index + 1
        path = folder / f"{label:02d}"
        write_audio(
            path / "RIR" / "IR_sweep_15s_45Hzto22kHz_FS16kHz.v00.wav",
            response[:, index],
            _FS,
            subtype="FLOAT",
        )
        for piece, part in enumerate(noise[:, index].chunk(_PIECES)):
            name = f"silence_FS16kHz.v{piece:02d}.wav"
            write_audio(path / "silence" / name, part, _FS)
        meta = {
            **_triple("Env", size.tolist()),
            **_triple("EnvSpk1", source.tolist()),
            "EnvMicID": label,
            f"EnvMic{label}TypeID": f"{'02' if label == _OTHER else '01'}-"
            f"{label}",
            **_triple(f"EnvMic{label}", position),
            f"EnvMic{label}RelRT60": round(measured[index], 4),
        }
        _write_meta(path / "mic_meta.txt", meta)


def _triple(prefix, values):
    """Depth, width and height of something."""
    names = ("Depth", "Width", "Height")
    return {
        prefix + name: f"{value:.4f}"
        for name, value in zip(names, values, strict=True)
    }


def _write_meta(path, meta):
    """Write facts, a line each."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="") as f:
        writer = csv.writer(f, delimiter="\t", lineterminator="\n")
        writer.writerows([f"${key}", value] for key, value in meta.items())
