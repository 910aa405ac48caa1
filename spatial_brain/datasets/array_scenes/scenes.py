"""Speakers in a room around an array of any geometry, recorded with faults."""

from dataclasses import dataclass

import numpy as np
import torch

from spatial_brain.datasets.array_scenes.arrays import draw_array
from spatial_brain.geometry import SPEED_OF_SOUND, unit_to_azel, wrap_azimuth
from spatial_brain.simulation.coloured_noise import coloured_noise
from spatial_brain.simulation.microphone_faults import MicrophoneFaults
from spatial_brain.simulation.mixing import add_noise, convolve, mix
from spatial_brain.simulation.motion import filter_moving, trajectory_rirs
from spatial_brain.simulation.rir import simulate_rir
from spatial_brain.simulation.rooms import sample_room

# Samples of a frame of labels.
FRAME = 256
# A source is active where a frame of its dry sound is at most that far below
# its loudest one, dB.
_ACTIVE = 30.0
# Direct sound and images to that level, then a noise tail, dB.
_DIFFUSE_FROM = 15.0
# Points of a path; degrees between them at most.
_POINTS, _STEP = (2, 8), 8.0
# Shares of noise fields, and how noise is coloured.
_FIELDS = {"spherical": 0.5, "independent": 0.3, "both": 0.2}
_COLOURS = ("white", "pink", "low", "rough")
# Share of the scenes whose field swells and fades by up to so many dB.
_UNSTEADY, _SWELL = 0.3, 10.0
# Microphones' own noise below all else, dB, in half of the scenes.
_OWN_NOISE = (25.0, 50.0)
# Peak of a recording, dB below full scale.
_PEAK = (-30.0, -1.0)
# Fewer microphones than this have none to spare.
_SPARE = 4
_TRIES = 10


@dataclass
class ArrayScene:
    """A recording of an array, and who speaks where.

    Arguments
    ---------
    waveform : torch.Tensor
        [time, microphone], full scale 1.
    positions : torch.Tensor
        Of the microphones, as they are said to be, metres, [microphone, 3].
    azimuth : torch.Tensor
        Degrees, [source, frame], frames of 256 samples; NaN for sources that
        there are not.
    elevation : torch.Tensor
        The same.
    active : torch.Tensor
        Whether the direct sound arrives with speech, [source, frame].
    conditions : dict
        ``array`` (kind), ``microphones``, ``aperture`` (m), ``t60`` (s),
        ``snr`` (dB), ``talkers``.

    Example
    -------
    >>> ArrayScene(*[torch.zeros(2, 2)] * 5, {"t60": 0.3}).conditions
    {'t60': 0.3}
    """

    waveform: torch.Tensor
    positions: torch.Tensor
    azimuth: torch.Tensor
    elevation: torch.Tensor
    active: torch.Tensor
    conditions: dict


class SceneDrawer:
    """Draws scenes: array, room, speakers, noise and faults.

    Arguments
    ---------
    speech : dict
        Manifest with ``wav``, ``speaker``, ``num_samples``.
    read : callable
        ``read(wav, start, num_samples)`` gives samples, [time].
    num_samples : int
        Length of a scene, a multiple of 256.
    fs : int
        Sampling rate, Hz.
    microphones : dict
        Number of microphones to its share.
    talkers : dict
        Number of talkers to its share.
    array : dict
        Options of ``draw_array``.
    shifts : sequence of float
        Standard deviations, metres, one is drawn: how far microphones are from
        where they are said to be, along each axis.
    room : dict
        Options of ``sample_room``.
    moving : float
        Share of the speakers who go around the array.
    turn_range : tuple of float
        By how many degrees they do.
    pausing : float
        Share of the speakers who are silent in a part of the scene.
    level_range : tuple of float
        Level of others relative to the first, dB.
    snr_range : tuple of float
        dB, uniform.
    faults : dict
        Name of a fault of ``MicrophoneFaults`` to its value and the share of
        the scenes with it, such as ``{"gain": [1.0, 0.5]}``. Arrays of two or
        three microphones have no dead one.

    Raises
    ------
    ValueError
        If shares or lengths cannot be meant, or there are fewer speakers than
        talkers.

    Example
    -------
    >>> speech = {"a": {"wav": "a", "speaker": "a", "num_samples": 4096}}
    >>> def read(wav, start, num_samples):
    ...     return torch.randn(num_samples)
    >>> drawer = SceneDrawer(speech, read, num_samples=4096, talkers={1: 1.0})
    >>> scene = drawer.draw(np.random.default_rng(1), 4)
    >>> scene.waveform.shape, scene.azimuth.shape, scene.active.any().item()
    (torch.Size([4096, 4]), torch.Size([1, 16]), True)
    """

    def __init__(
        self,
        speech,
        read,
        *,
        num_samples,
        fs=16000,
        microphones=None,
        talkers=None,
        array=None,
        shifts=(0.0, 0.0005, 0.001),
        room=None,
        moving=0.15,
        turn_range=(10.0, 50.0),
        pausing=0.4,
        level_range=(-5.0, 5.0),
        snr_range=(-3.0, 30.0),
        faults=None,
    ):
        if num_samples < FRAME or num_samples % FRAME:
            raise ValueError(
                f"num_samples must be a multiple of {FRAME}, got {num_samples}"
            )
        self.microphones = _shares("microphones", microphones or {4: 1.0}, 2)
        self.talkers = _shares("talkers", talkers or {1: 1.0, 2: 1.0}, 0)
        self.most = max(self.talkers[0])
        self.utterances = {}
        for entry in speech.values():
            self.utterances.setdefault(entry["speaker"], []).append(entry)
        self.speakers = list(self.utterances)
        if len(self.speakers) < self.most:
            raise ValueError(
                f"scenes have up to {self.most} talkers, the speech has "
                f"{len(self.speakers)} speakers; give more speech or fewer "
                "talkers"
            )
        self.read, self.num_samples, self.fs = read, num_samples, fs
        self.array, self.room = dict(array or {}), dict(room or {})
        self.shifts, self.moving, self.turn_range = shifts, moving, turn_range
        self.pausing, self.level_range = pausing, level_range
        self.snr_range = snr_range
        self.faults = dict(faults or {})
        MicrophoneFaults(**{k: value for k, (value, _) in self.faults.items()})

    def draw_microphones(self, rng):
        """Draw a number of microphones.

        Arguments
        ---------
        rng : numpy.random.Generator
            Source of the choice.

        Returns
        -------
        int
        """
        return _choose(rng, self.microphones)

    def draw(self, rng, num_microphones):
        """Draw a scene.

        Arguments
        ---------
        rng : numpy.random.Generator
            Source of all choices.
        num_microphones : int
            Of the array.

        Returns
        -------
        ArrayScene

        Raises
        ------
        ValueError
            If no room is found for the array and its speakers.
        """
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        kind, positions = draw_array(rng, num_microphones, **self.array)
        number = _choose(rng, self.talkers)
        shift = rng.choice(self.shifts) * rng.standard_normal(positions.shape)
        room, paths = self._draw_room(rng, generator, positions + shift, number)
        dry = self._draw_speech(rng, number)
        clean = torch.zeros(self.num_samples, num_microphones)
        if number:
            images = self._record(room, dry, paths, generator)
            level = rng.uniform(*self.level_range, number)
            level[0] = 0.0
            clean, _ = mix(images, level, fs=self.fs)
        snr = float(rng.uniform(*self.snr_range))
        waveform = self._add_noise(rng, generator, clean, room, snr, number)
        peak = 10 ** (rng.uniform(*_PEAK) / 20)
        conditions = {
            "array": kind,
            "microphones": num_microphones,
            "aperture": float(torch.pdist(positions).max()),
            "t60": room.t60,
            "snr": snr,
            "talkers": number,
        }
        return ArrayScene(
            waveform * (peak / waveform.abs().max().clamp_min(1e-12)),
            positions.float(),
            *self._labels(room, positions + shift, dry, paths),
            conditions,
        )

    def _draw_room(self, rng, generator, positions, number):
        """A room that can be simulated, and the path of each speaker."""
        for attempt in range(_TRIES):
            try:
                room = sample_room(
                    generator,
                    array=positions,
                    num_sources=max(number, 1),
                    random_yaw=False,
                    **self.room,
                )
            except ValueError:
                if attempt == _TRIES - 1:
                    raise
            else:
                break
        centre = (room.microphones - positions).mean(0)
        paths = [
            self._path(rng, room, source, centre)
            for source in room.sources[:number]
        ]
        return room, paths

    def _path(self, rng, room, source, centre):
        """Points a speaker passes, [K, 3]: one, or an arc in the room."""
        turn = rng.choice([-1, 1]) * rng.uniform(*self.turn_range)
        if rng.random() >= self.moving:
            return source[None]
        count = int(np.clip(np.ceil(abs(turn) / _STEP) + 1, *_POINTS))
        angles = torch.linspace(0, np.radians(turn), count).double()
        way = source - centre
        points = torch.stack(
            (
                way[0] * angles.cos() - way[1] * angles.sin(),
                way[0] * angles.sin() + way[1] * angles.cos(),
                way[2].expand(count),
            ),
            dim=-1,
        )
        points = centre + points
        wall = self.room.get("source_wall_distance", 0.5)
        inside = (points >= wall).all() and (points <= room.size - wall).all()
        return points if inside else source[None]

    def _draw_speech(self, rng, number):
        """Speech of different speakers, [talker, time]."""
        speakers = rng.permutation(len(self.speakers))[:number]
        dry = torch.zeros(number, self.num_samples)
        for row, speaker in zip(dry, speakers, strict=True):
            files = self.utterances[self.speakers[speaker]]
            entry = files[rng.integers(len(files))]
            count = min(entry["num_samples"], self.num_samples)
            start = rng.integers(entry["num_samples"] - count + 1)
            place = rng.integers(self.num_samples - count + 1)
            samples = torch.as_tensor(self.read(entry["wav"], start, count))
            row[place : place + count] = samples.float()
            if rng.random() < self.pausing:
                _silence_part(rng, row)
        return dry

    def _record(self, room, dry, paths, generator):
        """Images of the speakers, [talker, microphone, time]."""
        options = {
            "t60": room.t60,
            "fs": self.fs,
            "diffuse_from": _DIFFUSE_FROM,
            "generator": generator,
        }
        images = dry.new_zeros(len(dry), len(room.microphones), dry.shape[1])
        still = [place for place, path in enumerate(paths) if len(path) == 1]
        if still:
            points = torch.cat([paths[place] for place in still])
            rirs = simulate_rir(room.size, points, room.microphones, **options)
            images[still] = convolve(dry[still], rirs, self.num_samples)
        for place in set(range(len(paths))) - set(still):
            rirs = trajectory_rirs(
                room.size, paths[place], room.microphones[None], **options
            )
            image = filter_moving(dry[place], rirs)
            images[place] = image[:, : self.num_samples]
        return images

    def _add_noise(self, rng, generator, clean, room, snr, number):
        """A recording with its noise, and with faults of its microphones."""
        options = {"fs": self.fs, "generator": generator}
        field = str(rng.choice(list(_FIELDS), p=list(_FIELDS.values())))
        names = ["spherical", "independent"] if field == "both" else [field]
        noise = torch.zeros_like(clean)
        for name in names:
            colour = _draw_colour(rng, self.num_samples, self.fs)
            part = coloured_noise(
                room.microphones,
                self.num_samples,
                colour,
                kind=name,
                **options,
            )
            noise += part * _swell(rng, self.num_samples)
        noisy = add_noise(clean, noise, snr, fs=self.fs) if number else noise
        chosen = {}
        for name, (value, share) in self.faults.items():
            spare = noisy.shape[1] >= _SPARE or name != "dead"
            if rng.random() < share and spare:
                chosen[name] = value
        if chosen:
            drawn = MicrophoneFaults(**chosen).draw(noisy.shape[1], generator)
            noisy = drawn.apply(noisy.mT).mT
        own, has_own = rng.uniform(*_OWN_NOISE), rng.random() < 0.5
        if has_own:
            level = noisy.square().mean().sqrt() * 10 ** (-own / 20)
            white = torch.randn(noisy.shape, generator=generator)
            noisy = noisy + white * level
        return noisy

    def _labels(self, room, positions, dry, paths):
        """Azimuth, elevation and activity, each [source, frame]."""
        frames = self.num_samples // FRAME
        azimuth = torch.full((self.most, frames), torch.nan)
        elevation, active = azimuth.clone(), torch.zeros_like(azimuth).bool()
        centre = (room.microphones - positions).mean(0)
        share = (torch.arange(frames) + 0.5) / frames
        for row, (signal, path) in enumerate(zip(dry, paths, strict=True)):
            ways = path - centre
            angles, up = unit_to_azel(ways)
            turned = wrap_azimuth(angles[-1] - angles[0])
            azimuth[row] = wrap_azimuth(angles[0] + turned * share).float()
            elevation[row] = up[0].float()
            late = float(torch.linalg.vector_norm(ways[0])) / SPEED_OF_SOUND
            late = min(round(late * self.fs), self.num_samples)
            arrived = torch.nn.functional.pad(signal, (late, 0))
            power = arrived[: self.num_samples].reshape(frames, FRAME)
            power = power.square().mean(1)
            least = power.max() * 10 ** (-_ACTIVE / 10)
            active[row] = (power > least) & (power > 0)
        return azimuth, elevation, active


def _shares(name, shares, least):
    """Numbers and their probabilities, checked."""
    numbers = [int(number) for number in shares]
    weights = np.array([float(share) for share in shares.values()])
    if not numbers or min(numbers) < least or not (weights >= 0).all():
        raise ValueError(
            f"{name} must give shares of numbers from {least} on, got {shares}"
        )
    if not weights.sum() > 0:
        raise ValueError(f"{name}: the shares sum up to nothing: {shares}")
    return numbers, weights / weights.sum()


def _choose(rng, shares):
    """One of the numbers of ``_shares``."""
    numbers, weights = shares
    return int(numbers[rng.choice(len(numbers), p=weights)])


def _silence_part(rng, signal):
    """Make a part of a signal silent, at most two thirds of it."""
    total = len(signal)
    length = int(total * rng.uniform(0.15, 0.65))
    # It may reach over an end: who starts late or stops early.
    start = int(rng.integers(-length // 2, total - length // 2))
    signal[max(start, 0) : start + length] = 0.0


def _draw_colour(rng, num_samples, fs):
    """Amplitudes of the bins of a noise's spectrum."""
    frequency = torch.fft.rfftfreq(num_samples, 1 / fs).clamp_min(50.0)
    name = rng.choice(_COLOURS)
    corner, knots = rng.uniform(200, 2000), rng.uniform(-8, 8, 12)
    if name == "white":
        return torch.ones_like(frequency)
    if name == "pink":
        return frequency.rsqrt()
    if name == "low":
        return (1 + (frequency / corner).square()).rsqrt()
    place = torch.log(frequency / 50.0) / np.log(fs / 100.0)
    level = np.interp(place.numpy(), np.linspace(0, 1, len(knots)), knots)
    return frequency.rsqrt() * torch.from_numpy(10 ** (level / 20)).float()


def _swell(rng, num_samples):
    """Gain over time, [time, 1]: 1, or what swells and fades."""
    if rng.random() >= _UNSTEADY:
        return torch.ones(1, 1)
    level = torch.from_numpy(rng.uniform(-_SWELL, _SWELL, (1, 1, 9))).float()
    level = torch.nn.functional.interpolate(
        level, num_samples, mode="linear", align_corners=True
    )
    return 10 ** (level[0].T / 20)
