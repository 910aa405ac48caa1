"""Scenes: dry sources and a room become microphone signals and labels."""

from dataclasses import dataclass

import torch

from spatial_brain.simulation.mixing import add_noise, mix
from spatial_brain.simulation.motion import (
    filter_moving,
    trajectory_labels,
    trajectory_rirs,
)
from spatial_brain.simulation.noise_field import diffuse_noise


@dataclass
class Scene:
    """What microphones record, and the labels of it.

    Arguments
    ---------
    mixture : torch.Tensor
        Shape [time, channel], float32: the images summed, plus noise.
    images : torch.Tensor
        Each source alone, shape [source, microphone, time].
    noise : torch.Tensor
        Shape [time, channel]; zero without noise.
    labels : dict of torch.Tensor
        "azimuth", "elevation", "cone_angle" (degrees), "distance" (metres),
        each [S], and "tdoa" (seconds) [S, M]. If anything moves: [S, F] and
        [S, F, M], and "time" [F] (centres of the frames, seconds). See
        ``spatial_brain.simulation.motion.trajectory_labels``.
    fs : int
        Sampling rate, Hz.

    Example
    -------
    >>> Scene(torch.zeros(9, 2), torch.zeros(1, 2, 9), torch.zeros(9, 2), {}).fs
    16000
    """

    mixture: torch.Tensor
    images: torch.Tensor
    noise: torch.Tensor
    labels: dict
    fs: int = 16000


def simulate_scene(
    room,
    dry,
    *,
    fs=16000,
    sources=None,
    microphones=None,
    timestamps=None,
    rotation=None,
    level_db=None,
    snr_db=None,
    noise=None,
    noise_kind="spherical",
    frame_length=0.1,
    generator=None,
    **options,
):
    """Let sources sound in a room and record them.

    Arguments
    ---------
    room : spatial_brain.simulation.rooms.Room
        Size, positions of sources and microphones, t60 or absorption,
        patterns. Where microphones look is meant at the first point of a
        trajectory.
    dry : torch.Tensor
        Shape [S, T].
    fs : int
        Sampling rate, Hz.
    sources : torch.Tensor, optional
        Trajectories of moving sources, shape [S, K, 3], metres, in place of
        the positions in ``room``.
    microphones : torch.Tensor, optional
        Trajectory of a moving array, shape [K, M, 3], metres.
    timestamps : torch.Tensor, optional
        When the K points are passed, seconds, shape [K]; evenly spread by
        default.
    rotation : torch.Tensor, optional
        Turns the array's frame into the room's, shape [3, 3] or [K, 3, 3];
        labels are in the array's frame.
    level_db : torch.Tensor or sequence, optional
        Levels of the sources relative to the first, see :func:`mix`.
    snr_db : float, optional
        Signal-to-noise ratio, dB; no noise by default.
    noise : str or torch.Tensor, optional
        What the noise is, see ``noise_field.diffuse_noise``.
    noise_kind : str
        Its sound field.
    frame_length : float
        Length of the frames of labels if anything moves, seconds.
    generator : torch.Generator, optional
        Source of randomness.
    **options
        Further arguments of ``spatial_brain.simulation.rir.simulate_rir``.

    Returns
    -------
    Scene
        As long as the dry signals.

    Raises
    ------
    ValueError
        If the number of dry signals is not that of the sources, or as
        ``simulate_rir``.

    Example
    -------
    >>> from spatial_brain.simulation.rooms import Room
    >>> room = Room([5, 4, 3], [[4, 2, 1]], [[2, 2, 1], [2.1, 2, 1]], t60=0.2)
    >>> scene = simulate_scene(room, torch.randn(1, 8000), snr_db=20.0)
    >>> scene.mixture.shape, scene.labels["azimuth"]
    (torch.Size([8000, 2]), tensor([0.]))
    """
    moving = sources is not None or microphones is not None
    paths = torch.as_tensor(room.sources if sources is None else sources)
    paths = paths if sources is not None else paths[:, None]
    array = torch.as_tensor(room.microphones)[None]
    if microphones is not None:
        array = torch.as_tensor(microphones)
    num_samples = dry.shape[-1]
    rendered = _render(
        room,
        dry,
        (paths, array),
        {"fs": fs, "timestamps": timestamps},
        rotation,
        {"generator": generator, **options},
    )
    mixture, images = mix(rendered, level_db, fs=fs)
    labels = [
        trajectory_labels(
            path,
            array,
            num_samples,
            fs=fs,
            timestamps=timestamps,
            rotation=rotation,
            frame_length=frame_length if moving else num_samples / fs,
        )
        for path in paths
    ]
    clean = mixture
    if snr_db is not None:
        field = diffuse_noise(
            array[len(array) // 2],
            num_samples,
            fs=fs,
            kind=noise_kind,
            generator=generator,
            noise=noise,
        )
        mixture = add_noise(clean, field.T.to(clean), snr_db, fs=fs)
    return Scene(mixture, images, mixture - clean, _stack(labels, moving), fs)


def _render(room, dry, trajectories, timing, rotation, options):
    """Images of all sources, [S, M, T], as long as the dry signals."""
    paths, array = trajectories
    if len(paths) != len(dry):
        raise ValueError(
            f"{len(dry)} dry signals do not fit {len(paths)} sources"
        )
    options = {**_acoustics(room, rotation), **options}
    images = []
    for index, (signal, path) in enumerate(zip(dry, paths, strict=True)):
        rirs = trajectory_rirs(
            room.size,
            path,
            array,
            fs=timing["fs"],
            rotation=rotation,
            **{**_of_source(room, index), **options},
        )
        image = filter_moving(signal, rirs.to(signal), **timing)
        images.append(image[:, : dry.shape[-1]])
    return torch.stack(images)


def _acoustics(room, rotation):
    """Arguments of ``trajectory_rirs`` for the walls and patterns of a room."""
    looking = room.mic_orientation
    if looking is not None and rotation is not None:
        # The room says how the array looks at first, in the room's frame.
        first = torch.as_tensor(rotation, dtype=torch.float64)
        first = first.reshape(-1, 3, 3)[0]
        looking = torch.as_tensor(looking, dtype=torch.float64) @ first
    return {
        "t60": room.t60,
        "absorption": room.absorption,
        "mic_pattern": room.mic_pattern,
        "mic_orientation": looking,
    }


def _of_source(room, index):
    """Pattern and orientation of one of the sources of a room."""
    pattern, looking = room.source_pattern, room.source_orientation
    if not isinstance(pattern, str) and not callable(pattern):
        pattern = pattern[index]
    if looking is not None:
        looking = torch.as_tensor(looking)
        looking = looking[index] if looking.ndim == 2 else looking
    return {"source_pattern": pattern, "source_orientation": looking}


def _stack(labels, moving):
    """Join the labels of sources; static ones lose the axis of frames."""
    joined = {
        name: torch.stack([label[name] for label in labels])
        for name in labels[0]
    }
    if moving:
        return {**joined, "time": labels[0]["time"]}
    del joined["time"]
    return {name: value[:, 0] for name, value in joined.items()}
