"""Moving sources and moving arrays.

A trajectory is a sequence of points; the response of every point filters
the signal, faded in and out between its neighbours:
y = sum_k (w_k x) * h_k with w_k >= 0 and sum_k w_k = 1. That is linear in x
and exact when nothing moves. For accurate phases the path should change by
less than c / (8 f) from point to point (1 cm at 4 kHz).
"""

import torch
from scipy.fft import next_fast_len
from torch.nn.utils.rnn import pad_sequence

from spatial_brain.geometry import SPEED_OF_SOUND, cone_angle, unit_to_azel
from spatial_brain.simulation.rir import simulate_rir

# Taps of the windowed sinc that reads signals between samples, and samples
# read at once.
TAPS = 32
READ_AT_ONCE = 2**16
CROSSFADES = ("raised_cosine", "linear", "none")
# Longest block filtered at once, in samples, at least; and numbers in the
# spectra of a batch of blocks, at most.
MIN_BLOCK = 4096
MAX_NUMBERS = 2**23


def _passing_times(num_points, num_samples, timestamps, fs):
    """Sample at which each of K points is passed, float64 [K], on the CPU."""
    if timestamps is None:
        return torch.linspace(0, num_samples - 1, num_points).double()
    knots = torch.as_tensor(timestamps, dtype=torch.float64).cpu() * fs
    if knots.shape != (num_points,):
        raise ValueError(
            f"{num_points} points need timestamps [{num_points}], got "
            f"{tuple(knots.shape)}"
        )
    if not bool((knots.diff() > 0).all()):
        raise ValueError("timestamps must rise from point to point")
    return knots


def positions_at(points, timestamps, time):
    """Positions on a trajectory, straight from point to point.

    Arguments
    ---------
    points : torch.Tensor
        Shape [K, ...]; positions or anything else that moves.
    timestamps : torch.Tensor
        When each point is passed, seconds, shape [K], rising.
    time : torch.Tensor
        Seconds, any shape. Outside of ``timestamps`` nothing moves.

    Returns
    -------
    torch.Tensor
        Shape [*time.shape, ...], float64.

    Example
    -------
    >>> points = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 0.0]])
    >>> positions_at(points, torch.tensor([0.0, 2.0]), torch.tensor(0.5))
    tensor([0.2500, 0.5000, 0.0000], dtype=torch.float64)
    """
    points = points.double()
    if len(points) == 1:
        return points.expand(*time.shape, *points.shape[1:])
    timestamps = timestamps.to(points)
    time = time.to(points).contiguous()
    index = torch.searchsorted(timestamps, time, right=True) - 1
    index = index.clamp(0, len(points) - 2)
    first, last = timestamps[index], timestamps[index + 1]
    share = ((time - first) / (last - first)).clamp(0, 1)
    share = share.reshape(*time.shape, *[1] * (points.ndim - 1))
    return torch.lerp(points[index], points[index + 1], share)


def _doppler_direct(
    dry,
    sources,
    microphones,
    num_samples,
    *,
    timestamps=None,
    fs=16000,
    sound_speed=SPEED_OF_SOUND,
):
    """Direct sound between moving points, Doppler effect included [M, time]."""
    num_points = max(len(sources), len(microphones))
    knots = _passing_times(num_points, len(dry), timestamps, fs) / fs
    knots = knots.to(dry.device)
    output = []
    for start in range(0, num_samples, READ_AT_ONCE):
        stop = min(start + READ_AT_ONCE, num_samples)
        arrival = torch.arange(start, stop, device=dry.device).double() / fs
        # [time, microphone, 3]; emission [time, microphone]
        array = positions_at(microphones.to(dry.device), knots, arrival)
        emission = arrival[:, None].expand(array.shape[:2])
        # What arrives at t left at t' with c (t - t') = |s(t') - m(t)|; every
        # step shrinks the error by speed / sound speed.
        for _ in range(6):
            source = positions_at(sources.to(dry.device), knots, emission)
            distance = torch.linalg.vector_norm(source - array, dim=-1)
            emission = arrival[:, None] - distance / sound_speed
        arriving = _read(dry, emission * fs) / distance.to(dry.dtype)
        output.append(arriving.T)
    return torch.cat(output, dim=1)


def _read(dry, position):
    """Read ``dry`` between samples with a Hann-windowed sinc; 0 outside."""
    base = position.floor()
    offset = torch.arange(-TAPS // 2 + 1, TAPS // 2 + 1, device=dry.device)
    distance = offset - (position - base)[..., None]
    kernel = torch.sinc(distance)
    kernel *= torch.cos(torch.pi * distance / (TAPS + 2)).square()
    index = base.long()[..., None] + offset
    inside = (index >= 0) & (index < len(dry))
    samples = dry[index.clamp(0, len(dry) - 1)]
    return (samples * (kernel * inside).to(dry.dtype)).sum(-1)


def trajectory_labels(
    sources,
    microphones,
    num_samples,
    *,
    fs=16000,
    timestamps=None,
    rotation=None,
    frame_length=0.1,
    hop_length=None,
    sound_speed=SPEED_OF_SOUND,
):
    """Where a source is, seen from the array, at the centre of each frame.

    Arguments
    ---------
    sources : torch.Tensor
        Trajectory, shape [K, 3] or [1, 3], metres, room frame.
    microphones : torch.Tensor
        Trajectory of the array, shape [K, M, 3] or [1, M, 3].
    num_samples : int
        Length of the dry signal; frames that fit into it get labels.
    fs : int
        Sampling rate, Hz.
    timestamps : torch.Tensor, optional
        Seconds, shape [K], as for :func:`filter_moving`.
    rotation : torch.Tensor, optional
        Turns the array's frame into the room's, shape [3, 3] or [K, 3, 3]
        (see ``spatial_brain.geometry.rotation_matrix``). By default the
        array looks along the axes of the room.
    frame_length : float
        Seconds.
    hop_length : float, optional
        Step from frame to frame, seconds; ``frame_length`` by default.
    sound_speed : float
        Metres per second.

    Returns
    -------
    dict of torch.Tensor
        "time" (centre, seconds), "azimuth", "elevation" and "cone_angle"
        (degrees) and "distance" (metres, from the centre of the
        microphones), each [F], and "tdoa" (seconds) [F, M], float32. The
        cone angle is that to the axis from the first to the last microphone,
        or to the front of the array where these coincide. The time
        difference of a microphone is positive where it receives the sound
        before the first microphone does. The sound itself arrives
        distance / c later.

    Raises
    ------
    ValueError
        If the signal is shorter than a frame.

    Example
    -------
    >>> sources = torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    >>> labels = trajectory_labels(
    ...     sources, torch.zeros(1, 1, 3), 16000, frame_length=1.0
    ... )
    >>> labels["azimuth"].round()
    tensor([45.])
    """
    hop_length = hop_length or frame_length
    count = int((num_samples / fs - frame_length) / hop_length + 1 + 1e-6)
    if count < 1:
        raise ValueError(
            f"a signal of {num_samples / fs:.3f} s has no frame of "
            f"{frame_length} s"
        )
    num_points = max(len(sources), len(microphones))
    knots = _passing_times(num_points, num_samples, timestamps, fs) / fs
    time = torch.arange(count).double() * hop_length + 0.5 * frame_length
    source = positions_at(sources.cpu(), knots, time)
    array = positions_at(microphones.cpu(), knots, time)
    frame = _rotations(rotation, knots, time)
    direction = source - array.mean(dim=1)
    ranges = torch.linalg.vector_norm(source[:, None] - array, dim=-1)
    axis = array[:, -1] - array[:, 0]
    same = torch.linalg.vector_norm(axis, dim=-1, keepdim=True) < 1e-9
    cone = cone_angle(direction, torch.where(same, frame[:, :, 0], axis))
    azimuth, elevation = unit_to_azel((frame.mT @ direction[..., None])[..., 0])
    labels = {
        "time": time,
        "azimuth": azimuth,
        "elevation": elevation,
        "cone_angle": cone,
        "distance": torch.linalg.vector_norm(direction, dim=-1),
        "tdoa": (ranges[:, :1] - ranges) / sound_speed,
    }
    return {name: value.float() for name, value in labels.items()}


def _rotations(rotation, knots, time):
    """Rotation of the array at times [F], float64 [F, 3, 3]."""
    if rotation is None:
        rotation = torch.eye(3)
    rotation = torch.as_tensor(rotation, dtype=torch.float64).cpu()
    if rotation.ndim == 2:
        rotation = rotation[None]
    blend = positions_at(rotation, knots, time)
    # The rotation nearest to the blend of two.
    left, _, right = torch.linalg.svd(blend)
    return left @ right


def filter_moving(
    dry, rirs, timestamps=None, *, fs=16000, crossfade="raised_cosine"
):
    """Filter a signal by responses that change along a trajectory.

    Arguments
    ---------
    dry : torch.Tensor
        Shape [T].
    rirs : torch.Tensor
        Responses of the K points of the trajectory, shape [K, M, N].
    timestamps : torch.Tensor, optional
        When each point is passed, seconds, shape [K], rising. Before the
        first and after the last one nothing moves. By default the points
        are spread evenly from the first to the last sample.
    fs : int
        Sampling rate, Hz; only needed with ``timestamps``.
    crossfade : str
        "raised_cosine", "linear", or "none", which switches halfway between
        points and clicks.

    Returns
    -------
    torch.Tensor
        Shape [M, T + N - 1]. Differentiable in ``dry`` and ``rirs``.

    Raises
    ------
    ValueError
        If a shape does not fit, the timestamps do not rise, or the cross-fade
        is unknown.

    Example
    -------
    >>> rirs = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    >>> filter_moving(torch.ones(5), rirs, crossfade="linear")
    tensor([[1.0000, 0.7500, 0.7500, 0.7500, 0.7500, 1.0000]])
    """
    if dry.ndim != 1 or len(dry) == 0 or rirs.ndim != 3:
        raise ValueError(
            "expected dry [T] and rirs [K, M, N], got "
            f"{tuple(dry.shape)} and {tuple(rirs.shape)}"
        )
    num_points, num_mics, taps = rirs.shape
    total = len(dry) + taps - 1
    knots = _passing_times(num_points, len(dry), timestamps, fs)
    blocks = _blocks(knots, len(dry), crossfade, max(taps, MIN_BLOCK))
    longest = int((blocks[:, 2] - blocks[:, 1]).max())
    nfft = next_fast_len(longest + taps - 1, real=True)
    at_once = max(1, MAX_NUMBERS // (num_mics * nfft))
    output = dry.new_zeros(num_mics, total + nfft)
    # Padded, so that every block can be read and written at full length.
    padded = torch.cat((dry, dry.new_zeros(longest)))
    inside = torch.arange(longest, device=dry.device)
    reach = torch.arange(nfft, device=dry.device)
    for group in blocks.to(dry.device).split(at_once):
        point, start, stop = group.unbind(1)
        time = start[:, None] + inside
        weights = _weights(time, point, knots.to(dry.device), crossfade)
        weights = weights.to(dry.dtype) * (time < stop[:, None])
        spectrum = torch.fft.rfft(padded[time] * weights, n=nfft)
        response = torch.fft.rfft(rirs[point], n=nfft)
        filtered = torch.fft.irfft(spectrum[:, None] * response, n=nfft)
        output.index_add_(
            1,
            (start[:, None] + reach).flatten(),
            filtered.transpose(0, 1).flatten(1),
        )
    return output[:, :total]


def _blocks(knots, num_samples, crossfade, longest):
    """Where each point counts: rows (point, start, stop) of samples.

    Long stretches are cut into several blocks.
    """
    if crossfade not in CROSSFADES:
        raise ValueError(
            f"crossfade must be one of {CROSSFADES}, got {crossfade!r}"
        )
    # A point counts from its predecessor to its successor.
    first, last = knots[:-1], knots[1:]
    if crossfade == "none":
        first = last = 0.5 * (knots[:-1] + knots[1:])
    starts = torch.cat((knots.new_zeros(1), first.floor()))
    stops = torch.cat((last.ceil() + 1, knots.new_tensor([num_samples])))
    starts = starts.clamp(0, num_samples).long().tolist()
    stops = stops.clamp(0, num_samples).long().tolist()
    rows = [
        (point, start, min(start + longest, stop))
        for point, (begin, stop) in enumerate(zip(starts, stops, strict=True))
        for start in range(begin, stop, longest)
    ]
    return torch.tensor(rows)


def _weights(time, point, knots, crossfade):
    """Weight of points [B] at samples [B, L], float64."""
    ends = knots.new_tensor([-torch.inf])
    before = torch.cat((ends, knots))[point, None]
    after = torch.cat((knots, -ends))[point + 1, None]
    here = knots[point, None]
    if crossfade == "none":
        rises = time >= 0.5 * (before + here)
        falls = time >= 0.5 * (here + after)
        return rises.double() - falls.double()
    rise = ((time - before) / (here - before)).nan_to_num(1.0).clamp(0, 1)
    fall = ((time - here) / (after - here)).clamp(0, 1)
    if crossfade == "raised_cosine":
        rise = torch.sin(0.5 * torch.pi * rise).square()
        fall = torch.sin(0.5 * torch.pi * fall).square()
    return torch.where(time < here, rise, 1.0 - fall)


def trajectory_rirs(
    room_size,
    sources,
    microphones,
    *,
    rotation=None,
    mic_pattern="omni",
    mic_orientation=None,
    **options,
):
    """Responses along a trajectory: point k of the source to array k.

    Arguments
    ---------
    room_size : torch.Tensor or sequence
        Shape [3], metres.
    sources : torch.Tensor
        Trajectory, shape [K, 3], or [1, 3] for a source that stands still.
    microphones : torch.Tensor
        Trajectory of the array, shape [K, M, 3] or [1, M, 3].
    rotation : torch.Tensor, optional
        Turns the array's frame into the room's, shape [3, 3] or [K, 3, 3].
    mic_pattern : str or callable or sequence
        As for ``simulate_rir``; functions see directions in the room.
    mic_orientation : torch.Tensor, optional
        Where the microphones look, in the array's frame, [3] or [M, 3].
    **options
        Further arguments of ``spatial_brain.simulation.rir.simulate_rir``.

    Returns
    -------
    torch.Tensor
        Shape [K, M, N], float32.

    Raises
    ------
    ValueError
        If the trajectories differ in length, or as ``simulate_rir``.

    Example
    -------
    >>> sources = torch.tensor([[2.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    >>> rirs = trajectory_rirs(
    ...     [5, 4, 3], sources, torch.ones(1, 1, 3), t60=0.2, duration=0.1
    ... )
    >>> rirs.shape
    torch.Size([2, 1, 1600])
    """
    sources = torch.as_tensor(sources, dtype=torch.float64)
    microphones = torch.as_tensor(microphones, dtype=torch.float64)
    num_points = max(len(sources), len(microphones))
    for name, points in (("sources", sources), ("microphones", microphones)):
        if len(points) not in (1, num_points):
            raise ValueError(
                f"{name} has {len(points)} points, expected 1 or {num_points}"
            )
    looking = _looking(mic_orientation, rotation, microphones.shape[1])
    diffuse = options.get("diffuse_from") is not None
    if len(microphones) == 1 and len(looking) == 1 and not diffuse:
        # One array, many sources.
        return simulate_rir(
            room_size,
            sources,
            microphones[0],
            mic_pattern=mic_pattern,
            mic_orientation=looking[0],
            **options,
        )
    sources = sources.expand(num_points, 3)
    microphones = microphones.expand(num_points, -1, 3)
    looking = looking * (num_points // len(looking))
    generator = options.pop("generator", None)
    seed = int(torch.randint(2**62, (1,), generator=generator))
    # The same noise for the tails of all points: cross-fades between
    # independent ones would make the reverberation swell and fade.
    rirs = [
        simulate_rir(
            room_size,
            sources[point : point + 1],
            microphones[point],
            mic_pattern=mic_pattern,
            mic_orientation=looking[point],
            generator=torch.Generator().manual_seed(seed),
            **options,
        )[0]
        for point in range(num_points)
    ]
    padded = pad_sequence([rir.T for rir in rirs], batch_first=True)
    return padded.mT.contiguous()


def _looking(orientation, rotation, num_mics):
    """Orientation [M, 3] in the room at each point, or None: a list."""
    if orientation is None:
        return [None]
    orientation = torch.as_tensor(orientation, dtype=torch.float64)
    orientation = orientation.expand(num_mics, 3)
    if rotation is None:
        return [orientation]
    rotation = torch.as_tensor(rotation, dtype=torch.float64).reshape(-1, 3, 3)
    return list(orientation @ rotation.mT)


def simulate_moving(
    room_size,
    dry,
    sources,
    microphones,
    *,
    fs=16000,
    timestamps=None,
    rotation=None,
    crossfade="raised_cosine",
    doppler=False,
    frame_length=0.1,
    hop_length=None,
    **options,
):
    """Sound of a moving source at a moving array, and where it is.

    Arguments
    ---------
    room_size : torch.Tensor or sequence
        Shape [3], metres.
    dry : torch.Tensor
        Shape [T].
    sources : torch.Tensor
        Trajectory, shape [K, 3], or [3] for a source that stands still.
    microphones : torch.Tensor
        Trajectory of the array, shape [K, M, 3], or [M, 3].
    fs : int
        Sampling rate, Hz.
    timestamps : torch.Tensor, optional
        When the K points are passed, seconds, shape [K].
    rotation : torch.Tensor, optional
        Turns the array's frame into the room's, shape [3, 3] or [K, 3, 3].
    crossfade : str
        See :func:`filter_moving`.
    doppler : bool
        Whether the direct sound has the exact Doppler effect: the signal is
        read between its samples, at the time at which it was emitted. For
        omnidirectional sources and microphones.
    frame_length : float
        Frames of the labels, seconds.
    hop_length : float, optional
        Step of the frames, seconds.
    **options
        Further arguments of :func:`trajectory_rirs` and ``simulate_rir``.

    Returns
    -------
    image : torch.Tensor
        Shape [M, T + N - 1].
    labels : dict of torch.Tensor
        See :func:`trajectory_labels`.

    Raises
    ------
    ValueError
        If shapes do not fit, or ``doppler`` meets directional patterns.

    Example
    -------
    >>> sources = torch.tensor([[2.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    >>> image, labels = simulate_moving(
    ...     [5, 4, 3], torch.randn(8000), sources, torch.ones(2, 3), t60=0.2
    ... )
    >>> image.shape[0], labels["azimuth"].shape
    (2, torch.Size([5]))
    """
    sources = torch.as_tensor(sources)
    sources = sources[None] if sources.ndim == 1 else sources
    microphones = torch.as_tensor(microphones)
    microphones = microphones[None] if microphones.ndim == 2 else microphones
    speed = options.get("sound_speed", SPEED_OF_SOUND)
    options = {**options, "fs": fs, "rotation": rotation}
    rirs = trajectory_rirs(room_size, sources, microphones, **options).to(dry)
    if doppler:
        for name in ("mic_pattern", "source_pattern"):
            if options.get(name, "omni") != "omni":
                raise ValueError(f"doppler=True needs an omni {name}")
        options.update(direct_only=True, duration=rirs.shape[-1] / fs)
        direct = trajectory_rirs(room_size, sources, microphones, **options)
        rirs = rirs - direct.to(dry)
    image = filter_moving(dry, rirs, timestamps, fs=fs, crossfade=crossfade)
    if doppler:
        image = image + _doppler_direct(
            dry,
            sources,
            microphones,
            image.shape[-1],
            timestamps=timestamps,
            fs=fs,
            sound_speed=speed,
        )
    labels = trajectory_labels(
        sources,
        microphones,
        len(dry),
        fs=fs,
        timestamps=timestamps,
        rotation=rotation,
        frame_length=frame_length,
        hop_length=hop_length,
        sound_speed=speed,
    )
    return image, labels
