"""Sound scenes as spatial recordings, with labels frame by frame.

A plan (``plan.draw_scene``) and the dry sounds of its events become first-order
Ambisonics and the signals of the tetrahedral array, in one room and one diffuse
ambience. Reverberation is image sources followed by a diffuse tail.

Both formats receive one sound field at one place. Image sources are found once;
each has its exact FOA gains and, for capsules on the rigid sphere, is a plane
wave that is scattered exactly. The diffuse field after them, and noise from
everywhere, has the cross-spectra that all eight channels have in a diffuse
field: with the series of ``ambisonics.radial_response`` these have closed
forms,

    < H_i H_j* > = sum_n (2 n + 1) |b_n|^2 P_n(a_i . a_j),
    < H_i W >    = b_0,    < H_i (u . e) > = b_1 (a_i . e),

means over directions u, for capsules in the directions a_i and dipoles e.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch

from spatial_brain.geometry import (
    SPEED_OF_SOUND,
    unit_to_azel,
)
from spatial_brain.simulation.ambisonics import (
    foa_gains,
)
from spatial_brain.simulation.mixing import active_level, convolve
from spatial_brain.simulation.motion import filter_moving, positions_at
from spatial_brain.simulation.rir.absorption import (
    Decay,
    absorption_for_t60,
)
from spatial_brain.simulation.rir.calibration import calibrated_walls
from spatial_brain.simulation.rir.fractional_delay import (
    SKIRT,
    high_pass,
    impulse_response,
)
from spatial_brain.simulation.rir.lattice import build_lattice
from spatial_brain.simulation.sound_scenes.receivers import coloured
from spatial_brain.simulation.sound_scenes.rigid_sphere import (
    KNOTS,
    capsule_response,
    diffuse_field,
)

FORMATS = ("foa", "mic")
# Time over which the level of the images is taken where the tail takes over.
_JOIN = 0.02
# Blocks of long noise: samples, and samples of the cross-fade between them.
_BLOCK, _CROSSFADE = 2**17, 2**12
# Active level of an event with gain 0 at 1 m, dB full scale.
LEVEL = -26.0
# Level that stands for the events in a clip without any, dB full scale.
_EMPTY_LEVEL = -40.0
# Recordings that would be louder are turned down to this peak.
PEAK = 0.95
# Of the labels, seconds.
FRAME = 0.1
COLUMNS = ("frame", "label", "source", "azimuth", "elevation", "distance")


@dataclass(frozen=True)
class ArrayRoom:
    """A room and an array in it, ready to be asked for responses.

    Arguments
    ---------
    size : sequence of float
        Metres.
    t60 : float
        Seconds; 0 is the free field, with the direct sound alone.
    center : sequence of float
        Of the array, metres.
    fs : int
        Sampling rate, Hz.
    diffuse_from : float
        Decay in dB after which the diffuse tail replaces the images.

    Example
    -------
    >>> room = ArrayRoom((5.0, 4.0, 3.0), 0.3, (2.0, 2.0, 1.5), 16000)
    >>> early, begin = room.images(torch.tensor([[3.0, 2.0, 1.5]]), ("foa",))
    >>> early["foa"].shape[:2], early["foa"][0, 0].argmax().item()
    (torch.Size([1, 4]), 47)
    """

    size: tuple
    t60: float
    center: tuple
    fs: int
    diffuse_from: float = 15.0

    @functools.cached_property
    def _decays(self):
        """Absorption, mean decay of the images, and decay of the tail."""
        key = (tuple(map(float, self.size)), float(self.t60))
        [[absorption, *_]] = calibrated_walls([(*key, None)], fs=self.fs)
        wanted = absorption_for_t60(key[0], self.t60, SPEED_OF_SOUND, 0.0)
        decay, shape = (
            Decay(key[0], [value] * 6) for value in (absorption, wanted)
        )
        return absorption, decay, shape

    def images(self, sources, formats, receivers=None):
        """Responses up to the moment at which the tail takes over.

        Arguments
        ---------
        sources : torch.Tensor
            Positions, shape [K, 3], metres.
        formats : sequence of str
            Of ``FORMATS``.
        receivers : dict, optional
            Name to receiver, see ``sound_scenes.receivers``.

        Returns
        -------
        tuple
            Name of format or receiver to responses, float32 [K, channel, N],
            and that moment, in samples; the few samples after it hold what is
            left of the images.
        """
        begin, images = self._images(sources)
        num_samples = begin + SKIRT + math.ceil(8e-3 * self.fs)
        receivers = receivers or {}
        responses = []
        for pair in images:
            response = _array_response(*pair, num_samples, self.fs, formats)
            for name, receiver in receivers.items():
                response[name] = receiver.response(*pair, num_samples)
            responses.append(response)
        return {
            name: torch.stack([response[name] for response in responses])
            for name in (*formats, *receivers)
        }, begin

    def _images(self, sources):
        """Sample at which the tail takes over, and images up to there.

        Of each source [3] their offsets [I, 3] and amplitudes [I].
        """
        sources = torch.as_tensor(sources, dtype=torch.float64)
        center = torch.as_tensor(self.center, dtype=torch.float64)
        last = float(torch.linalg.vector_norm(sources - center, dim=-1).max())
        end = last / SPEED_OF_SOUND + 1.25 * _JOIN
        if self.t60:
            _, _, shape = self._decays
            end = max(float(shape.level_time(self.diffuse_from)), end)
        return int(end * self.fs), self._each_images(sources, center, end)

    def _length(self, begin):
        """Samples of a response whose tail begins at ``begin``."""
        return max(math.ceil(self.t60 * self.fs), begin + self.fs // 20)

    def _each_images(self, sources, center, end):
        """Yield offset [I, 3] and amplitude [I] of the images of sources."""
        if not self.t60:
            for offset in (sources - center).float()[:, None]:
                yield offset, 1.0 / torch.linalg.vector_norm(offset, dim=-1)
            return
        absorption, _, _ = self._decays
        count = len(sources)
        one = torch.ones(count, 1, dtype=torch.float64)
        lattice = build_lattice(
            one * torch.tensor(self.size, dtype=torch.float64),
            sources,
            center.expand(count, 3),
            (one * absorption).expand(count, 6),
            one[:, 0] * (SPEED_OF_SOUND * end),
        )
        for pair in range(count):
            x, y, z = (table[pair] for table in lattice.delta)
            a, b, c = (table[pair] for table in lattice.gain)
            square = (x * x)[:, None, None] + (y * y)[:, None] + z * z
            near = square < lattice.reach[pair] ** 2
            i, j, k = near.nonzero(as_tuple=True)
            offset = torch.stack((x[i], y[j], z[k]), dim=-1)
            back = lattice.axes[pair].argsort()
            gain = a[i] * b[j] * c[k] / square[near].sqrt()
            yield offset[:, back], gain

    def tail(self, early, begin, formats, seed, receivers=None):
        """Diffuse sound that goes on where the images stop.

        Arguments
        ---------
        early : dict
            What :meth:`images` gave for all points of one source.
        begin : int
            The moment it gave.
        formats : sequence of str
            Of ``FORMATS``.
        seed : int
            Decides the noise; FOA is the same with or without "mic".
        receivers : dict, optional
            Name to receiver; each gets noise of its own.

        Returns
        -------
        dict
            Name of format or receiver to response, float32 [channel, N]; zero
            before ``begin``. Its level is that of the images of all points, on
            average.
        """
        length = self._length(begin)
        if not self.t60:
            return {
                name: torch.zeros(part.shape[1], length)
                for name, part in early.items()
            }
        _, decay, shape = self._decays
        mean = decay.samples(decay.mean, length, self.fs)
        mean = torch.from_numpy(mean)
        energy = shape.samples(shape.energy, length, self.fs)
        window = slice(max(begin - int(_JOIN * self.fs), 0), begin)
        before = float(energy[window].mean())
        envelope = torch.from_numpy(np.sqrt(energy[begin:] / before))
        noise = _noise(length - begin, self.fs, formats, receivers, seed)
        result = {}
        for name, part in early.items():
            # The mean of images that are all positive is no diffuse sound,
            # but it has to go on, or its end would be audible.
            mean_gain, diffuse = _diffuse_field(name, self.fs, receivers)
            level = mean_gain[:, None] * mean
            power = (part[..., window] - level[:, window]).var(-1)
            power = power.sum(-1).mean() / diffuse
            gain = power.sqrt()
            response = torch.zeros(part.shape[1], length)
            response[:, begin:] = gain * envelope * noise[name]
            response[:, begin:] += level[:, begin:]
            result[name] = response
        return result


def _diffuse_field(name, fs, receivers):
    """Gains averaged over directions, and power in a diffuse field."""
    if name == "foa":
        return torch.tensor([1.0, 0.0, 0.0, 0.0]), 2.0
    if name == "mic":
        return torch.ones(4), diffuse_field(fs).power
    return receivers[name].mean_gain, receivers[name].power


def _noise(num_samples, fs, formats, receivers, seed, colour=None):
    """Diffuse noise, format or receiver to [channel, time]."""
    noise = {}
    if formats:
        noise = _array_noise(num_samples, fs, formats, seed, colour)
    for name, receiver in (receivers or {}).items():
        noise[name] = receiver.noise(num_samples, seed)
        if colour is not None:
            noise[name] = coloured(noise[name], fs, colour)
    return noise


def _array_response(offset, gain, num_samples, fs, formats):
    """Responses to plane waves: format to [4, num_samples]."""
    if not formats:
        return {}
    distance = torch.linalg.vector_norm(offset, dim=-1)
    direction = offset / distance[:, None]
    delay = distance * (fs / SPEED_OF_SOUND)
    result = {}
    if "foa" in formats:
        amplitude = foa_gains(direction).T * gain
        result["foa"] = impulse_response(delay[None], amplitude, num_samples)
    if "mic" in formats:
        result["mic"] = capsule_response(
            direction, delay, gain, num_samples, fs
        )
    return result


def _array_noise(num_samples, fs, formats, seed, gain=None):
    """Diffuse noise, format to float32 [4, time]; ``gain`` is its colour."""
    # White noise has power 1 in W, 1/3 in Y, Z, X, and from 1 to nearly 2 at
    # the capsules, where the sphere reflects high frequencies.
    if num_samples <= _BLOCK:
        return _noise_block(num_samples, fs, formats, (seed, 0), gain)
    step = _BLOCK - _CROSSFADE
    total = {name: torch.zeros(4, num_samples) for name in formats}
    # Blocks are independent: their powers add.
    rise = torch.linspace(0.0, 0.5 * math.pi, _CROSSFADE).sin()
    for number, start in enumerate(range(0, num_samples, step)):
        block = _noise_block(_BLOCK, fs, formats, (seed, number), gain)
        for name, part in block.items():
            if number:
                part[:, :_CROSSFADE] *= rise
            part[:, step:] *= rise.flip(0)
            part = part[:, : num_samples - start]
            total[name][:, start : start + _BLOCK] += part
    return total


def _noise_block(num_samples, fs, formats, seeds, gain):
    """One block of diffuse noise."""
    # Of a power of two, so that knots fall on bins.
    length = 2 ** math.ceil(math.log2(max(num_samples, 2 * KNOTS)))
    bins = length // 2 + 1
    white = []
    for stream in range(2 if "mic" in formats else 1):
        generator = torch.Generator().manual_seed(
            int(np.random.SeedSequence((*seeds, stream)).generate_state(1)[0])
        )
        white.append(torch.randn(4, bins, 2, generator=generator))
    white = torch.view_as_complex(torch.cat(white)) * math.sqrt(length / 2)
    if gain is not None:
        frequency = np.fft.rfftfreq(length, 1.0 / fs)
        white *= torch.from_numpy(gain(frequency).astype(np.float32))
    result = {}
    if "foa" in formats:
        result["foa"] = white[:4] * torch.tensor([1.0, *[3**-0.5] * 3])[:, None]
    if "mic" in formats:
        factor = _stretched(fs, bins)
        result["mic"] = torch.einsum("ijf,jf->if", factor, white)
    return {
        name: torch.fft.irfft(part, n=length)[:, :num_samples]
        for name, part in result.items()
    }


@functools.lru_cache(maxsize=8)
def _stretched(fs, bins):
    """Rows of the capsules in the factor at all bins, [4, 8, bins]."""
    factor = diffuse_field(fs).factor[:, 4:].permute(1, 2, 0)
    share = torch.arange((bins - 1) // (KNOTS - 1)) * ((KNOTS - 1) / (bins - 1))
    between = factor[..., :-1, None] + factor.diff()[..., None] * share
    return torch.cat((between.flatten(2), factor[..., -1:]), dim=-1)


def render_scene(
    plan,
    dry_events,
    *,
    fs=24000,
    formats=FORMATS,
    receivers=None,
    ambience=None,
    responses=None,
):
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
        "foa" (W, Y, Z, X; SN3D), "mic" (four capsules on a rigid sphere) and
        "sum" (the dry events added, one channel, without distance, room and
        noise); each is the same with or without the others.
    receivers : dict, optional
        Name to receiver, see ``sound_scenes.receivers``: more formats. Their
        direct sound and reflections are those of the same room; diffuse
        reverberation and noise are drawn for each alone.
    ambience : dict, optional
        Name of format or receiver to recorded noise, [time, channel], at any
        level; what is not named gets none. Default: diffuse noise.
    responses : callable, optional
        From an event and the names of formats to the responses of its points
        in a measured room, name to [K, channel, N]; default: simulated.

    Returns
    -------
    signals : dict
        Name of format or receiver to recording, float32 [time, channel], of
        peak 0.95 or less.
    rows : dict
        The labels: arrays [N] sorted by "frame", with "label", "source" (the
        number of the event among those with labels, in the order of onsets),
        "azimuth", "elevation" (degrees) and "distance" (metres). A frame of
        100 ms is labelled if the direct sound of an event, from its first to
        its last sample, fills half of it or more; an event too short for that
        labels the frame that holds most of it. Directions are those at the
        centres of the frames, where the source was when it emitted what then
        arrives.

    Raises
    ------
    ValueError
        If the events are not those of the plan, an event is silent, or a
        format is unknown.

    Example
    -------
    >>> from spatial_brain.simulation.sound_scenes.plan import draw_scene
    >>> plan = draw_scene(np.random.default_rng(0), 3, duration=5.0)
    >>> dry = [torch.randn(48000) for _ in plan.events]
    >>> signals, rows = render_scene(plan, dry, formats=("foa",))
    >>> signals["foa"].shape, sorted(rows) == sorted(COLUMNS)
    (torch.Size([120000, 4]), True)
    """
    receivers = receivers or {}
    spatial = _checked(formats, receivers)
    dry_events = _prepared(plan, dry_events, fs)
    num_samples = round(plan.duration * fs)
    total = {name: torch.zeros(4, num_samples) for name in spatial}
    for name, receiver in receivers.items():
        total[name] = torch.zeros(receiver.num_channels, num_samples)
    if responses is None:
        room = ArrayRoom(plan.room_size, plan.t60, plan.center, fs)
        images_of = functools.partial(_event_images, room, spatial, receivers)
    else:
        images_of = functools.partial(_measured_images, responses, [*total], fs)
    if "sum" in formats:
        total["sum"] = torch.zeros(1, num_samples)
    seeds = np.random.SeedSequence(plan.seed).generate_state(
        len(plan.events) + 1
    )
    for event, dry, seed in zip(
        plan.events, dry_events, seeds[1:], strict=True
    ):
        start = round(event.onset * fs)
        images = images_of(event, dry, int(seed))
        for name, image in {**images, "sum": dry[None]}.items():
            if name in total:
                image = image[:, : num_samples - start]
                total[name][:, start : start + image.shape[1]] += image
    if ambience is None:
        colour = _noise_colour(plan.noise_tilt)
        noise = _noise(
            num_samples, fs, spatial, receivers, int(seeds[0]), colour
        )
    else:
        noise = {name: part.T for name, part in ambience.items()}
    signals = {
        name: _finished(name, clean, noise.get(name), plan.snr_db, fs)
        for name, clean in total.items()
    }
    lengths = [len(dry) / fs for dry in dry_events]
    return signals, _event_rows(plan, lengths)


def _checked(formats, receivers):
    """Formats that are spatial, of those wanted."""
    known = (*FORMATS, "sum")
    wrong = not set(formats) <= set(known) or set(receivers) & set(known)
    if wrong or not (formats or receivers):
        raise ValueError(
            f"formats must be some of {known} and receivers have other names, "
            f"got {tuple(formats)} and {tuple(receivers)}"
        )
    return tuple(name for name in formats if name in FORMATS)


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


def _measured_images(responses, formats, fs, event, dry, _):
    """Event as each format receives it in a measured room."""
    times = torch.from_numpy(event.times)
    return {
        name: convolve(dry[None], part)[0]
        if len(part) == 1
        else filter_moving(dry, part, times, fs=fs)
        for name, part in responses(event, formats).items()
    }


def _event_images(room, formats, receivers, event, dry, seed):
    """Event as each format and receiver receives it, [channel, time]."""
    if not (formats or receivers):
        return {}
    points = torch.from_numpy(event.points)
    early, begin = room.images(points, formats, receivers)
    tails = room.tail(early, begin, formats, seed, receivers)
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
    """Add noise to the events; never clip: [time, 4]."""
    channels = slice(0, 1) if name == "foa" else slice(None)
    level = _EMPTY_LEVEL
    if bool(clean.any()):
        power = 10.0 ** (active_level(clean[channels], fs) / 10.0)
        level = 10.0 * math.log10(float(power.mean()))
    mixture = clean
    if noise is not None:
        has = 10.0 * math.log10(float(noise[channels].square().mean()))
        mixture = clean + noise * 10.0 ** ((level - snr_db - has) / 20.0)
    peak = max(float(mixture.abs().max()), PEAK)
    return (mixture * (PEAK / peak)).T.contiguous()


def _event_rows(plan, lengths):
    """Labels of a scene whose events last for ``lengths``, in seconds."""
    parts, source = [], 0
    for event, length in zip(plan.events, lengths, strict=True):
        if event.interferer:
            continue
        frame = _arrival_frames(plan, event, length)
        places = _emitted_from(plan, event, frame)
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


def _arrival_frames(plan, event, length):
    """Frames in which the direct sound of an event arrives."""
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


def _emitted_from(plan, event, frame):
    """Where a source was when it emitted what arrives mid-frame, [F, 3]."""
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
