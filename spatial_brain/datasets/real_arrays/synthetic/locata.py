"""A small LOCATA of synthetic voices in a simulated laboratory."""

from pathlib import Path

import numpy as np
import torch

from spatial_brain.atomic import atomic_path
from spatial_brain.dataio.audio import write_audio
from spatial_brain.dataio.parallel import progress, run_jobs
from spatial_brain.datasets.real_arrays.recordings.locata import (
    ARRAYS,
    MOVING_ARRAY,
    SETS,
    TASKS,
)
from spatial_brain.datasets.synthetic_data import claim
from spatial_brain.geometry import MicrophoneArray, rotation_matrix
from spatial_brain.simulation.motion import filter_moving, trajectory_rirs
from spatial_brain.simulation.synthesis.speech import (
    SyntheticTalker,
    synthetic_speech,
)

_ROOM = (7.1, 9.8, 3.0)
_CENTRE = np.array([3.5, 4.9, 1.2])
_FS = 48000
# Rows of a table and places that are simulated, a second.
_TRACKING, _KNOTS = 120, 2
# Seconds of the day.
_BEGIN = 11 * 3600 + 59 * 60 + 58.5
_CLOCK = ("year", "month", "day", "hour", "minute", "second")
_PLACE = ("x", "y", "z")
_REST = ("ref_vec_x", "ref_vec_y", "ref_vec_z") + tuple(
    f"rotation_{i}{j}" for i in "123" for j in "123"
)
# dB below the loudest: what is quieter is a pause.
_PAUSE = 35.0


def write_synthetic_locata(
    folder,
    recordings=1,
    *,
    sets=SETS,
    tasks=TASKS,
    arrays=("dicit", "benchmark2"),
    duration=4.0,
    t60=0.3,
    snr=30.0,
    seed=0,
    num_workers=1,
):
    """Write folders, names and formats of LOCATA.

    Interrupted, it goes on where it stopped; with other arguments it is made
    again. Real data are never touched.

    Arguments
    ---------
    folder : str or Path
        Gets ``dev`` and ``eval``.
    recordings : int
        Of each set and task.
    sets, tasks, arrays : sequence
        Some of those of the corpus.
    duration : float
        Of each recording, seconds.
    t60 : float
        Seconds.
    snr : float
        White noise at the microphones, dB.
    seed : int
        The same seed writes the same files.
    num_workers : int
        Processes.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        If real data lie there.

    Example
    -------
    >>> write_synthetic_locata.__module__.rpartition(".")[2]
    'locata'
    """
    folder = Path(folder)
    options = {
        "recordings": recordings,
        "sets": list(sets),
        "tasks": list(tasks),
        "arrays": list(arrays),
        "duration": duration,
        "t60": t60,
        "snr": snr,
        "seed": seed,
    }
    claim(folder, options)
    jobs = []
    for name in sets:
        for task in tasks:
            for number in range(1, recordings + 1):
                place = folder / name / f"task{task}" / f"recording{number}"
                entropy = [seed, SETS.index(name), task, number]
                jobs += [
                    (place / array, entropy, task, options)
                    for array in arrays
                    if not (
                        place / array / f"audio_array_{array}.wav"
                    ).is_file()
                ]
    for _ in progress(
        run_jobs(_write_recording, jobs, num_workers),
        description="writing synthetic LOCATA",
        total=len(jobs),
    ):
        pass
    return folder


class _Scene:
    """What happens in a recording; all arrays record the same."""

    def __init__(self, entropy, task, duration):
        self.seeds = np.random.SeedSequence(entropy).generate_state(8)
        rng = np.random.default_rng(self.seeds[0])
        # A row more than the audio lasts.
        self.time = np.arange(int(duration * _TRACKING) + 1) / _TRACKING
        self.share = (self.time / self.time[-1])[:, None]
        self.centre = _CENTRE + rng.uniform(-0.3, 0.3, 3)
        kind = "loudspeaker" if task < 3 else "talker"
        number = 1 + (task % 2 == 0)
        # All are in front: a line of microphones cannot tell what is behind.
        self.front = rng.uniform(-180, 180)
        self.paths = {}
        for i in range(number):
            side = (2 * i - number + 1) * rng.uniform(25, 45)
            path = self._path(rng, self.front + side, task > 2)
            self.paths[f"{kind}{i + 1}"] = path

    def _path(self, rng, azimuth, moves):
        """Positions of a source around the arrays, metres, [T, 3]."""
        distance, height = rng.uniform(1.3, 2.2), rng.uniform(-0.2, 0.5)
        turn = moves * rng.uniform(15, 35) * rng.choice([-1, 1])
        angle = np.radians(azimuth + turn * self.share[:, 0])
        away = [distance * np.cos(angle), distance * np.sin(angle)]
        return self.centre + np.stack([*away, np.full_like(angle, height)], -1)

    def pose(self, array, moves):
        """Position [T, 3] and rotation [T, 3, 3] of an array."""
        rng = np.random.default_rng([self.seeds[1], ARRAYS.index(array)])
        away = rng.uniform(-0.25, 0.25, 3) * (1, 1, 0.3)
        drift = moves * rng.uniform(-0.4, 0.4, 3) * (1, 1, 0)
        turn = moves * rng.uniform(-30, 30)
        yaw = self.front + rng.uniform(-15, 15) + turn * self.share[:, 0]
        rotation = rotation_matrix(torch.from_numpy(yaw)).numpy()
        return self.centre + away + drift * self.share, rotation

    def speech(self, index):
        """What a source emits, float32 [time]."""
        seed = int(self.seeds[2 + index])
        length = int(self.time[-1] * _FS)
        generator = torch.Generator().manual_seed(seed)
        return synthetic_speech(length, _FS, SyntheticTalker(seed), generator)


def _audio(place):
    """What is written last of a recording."""
    return place / f"audio_array_{place.name}.wav"


def _write_recording(job):
    """Simulate a recording with one array; its audio is written last."""
    place, entropy, task, options = job
    array, scene = place.name, _Scene(entropy, task, options["duration"])
    position, rotation = scene.pose(array, task in MOVING_ARRAY)
    own = MicrophoneArray.named(f"locata_{array}").positions.double().numpy()
    microphones = np.einsum("tij,mj->tmi", rotation, own) + position[:, None]
    # x of LOCATA's arrays is to the right, y to the front.
    turned = np.stack(
        (-rotation[..., 1], rotation[..., 0], rotation[..., 2]), -1
    )
    rows = len(scene.time)
    _write_table(
        place / "required_time.txt", ["valid_flag"], np.ones((rows, 1))
    )
    name = f"audio_array_timestamps_{array}.txt"
    _write_table(place / name, [], np.ones((rows, 0)))
    _write_table(
        place / f"position_array_{array}.txt",
        [*_PLACE, *_REST],
        np.concatenate((position, turned[..., 1], turned.reshape(rows, 9)), 1),
    )
    recorded = 0.0
    for index, (source, path) in enumerate(scene.paths.items()):
        still = np.zeros((rows, 12))
        still[:, 3:] = np.eye(3).reshape(9)
        _write_table(
            place / f"position_source_{source}.txt",
            [*_PLACE, *_REST],
            np.concatenate((path, still), 1),
        )
        dry = scene.speech(index)
        write_audio(place / f"audio_source_{source}.wav", dry, _FS, clip=True)
        _write_activity(place / f"VAD_{array}_{source}.txt", dry)
        recorded = recorded + _image(dry, path, microphones, scene, options)
    generator = torch.Generator().manual_seed(int(scene.seeds[7]))
    noise = torch.randn(recorded.shape, generator=generator)
    noise *= recorded.square().mean().sqrt() * 10 ** (-options["snr"] / 20)
    recorded = recorded + noise
    recorded = 0.5 * recorded / recorded.abs().max()
    write_audio(_audio(place), recorded.T, _FS)


def _image(dry, path, microphones, scene, options):
    """Sound of a source at all microphones, float32 [M, time]."""
    moves = np.ptp(path, 0).any() or np.ptp(microphones, 0).any()
    step = _TRACKING // _KNOTS if moves else len(scene.time)
    rirs = trajectory_rirs(
        _ROOM, path[::step], microphones[::step], fs=_FS, t60=options["t60"]
    )
    times = torch.from_numpy(scene.time[::step])
    return filter_moving(dry, rirs, times, fs=_FS)[:, : len(dry)]


def _write_table(path, columns, values):
    """Write a table with the clock of the tracking in front."""
    seconds = _BEGIN + np.arange(len(values)) / _TRACKING
    clock = np.zeros((len(values), 6))
    clock[:, :3] = 2018, 1, 31
    clock[:, 3], clock[:, 4] = seconds // 3600, seconds % 3600 // 60
    clock[:, 5] = seconds % 60
    with atomic_path(path, sync=False) as temporary:
        np.savetxt(
            temporary,
            np.concatenate((clock, values), 1),
            fmt="%.7g",
            delimiter="\t",
            header="\t".join((*_CLOCK, *columns)),
            comments="",
        )


def _write_activity(path, dry):
    """Write where a source is louder than its pauses, a value a sample."""
    frame = _FS // 50
    frames = torch.nn.functional.pad(dry, (0, -len(dry) % frame))
    level = frames.reshape(-1, frame).square().mean(1)
    active = level > level.max() * 10 ** (-_PAUSE / 10)
    values = active.repeat_interleave(frame)[: len(dry)].int().numpy()
    with atomic_path(path, sync=False) as temporary:
        np.savetxt(temporary, values, fmt="%d", header="activity", comments="")
