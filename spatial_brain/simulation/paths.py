"""Paths of moving sources and arrays: positions, labels, direct sound."""

import torch

from spatial_brain.geometry import SPEED_OF_SOUND, cone_angle, unit_to_azel

# Taps of the windowed sinc that reads signals between samples, and samples
# read at once.
TAPS = 32
READ_AT_ONCE = 2**16


def passing_times(num_points, num_samples, timestamps, fs):
    """Sample at which each point of a trajectory is passed.

    Arguments
    ---------
    num_points : int
        Number of points K.
    num_samples : int
        Length of the signal.
    timestamps : torch.Tensor or None
        Seconds, shape [K], rising. None spreads the points evenly from the
        first to the last sample.
    fs : int
        Sampling rate, Hz.

    Returns
    -------
    torch.Tensor
        Samples, float64 [K], on the CPU.

    Raises
    ------
    ValueError
        If the timestamps are not [K] or do not rise.

    Example
    -------
    >>> passing_times(3, 101, None, 16000)
    tensor([  0.,  50., 100.], dtype=torch.float64)
    """
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


def doppler_direct(
    dry,
    sources,
    microphones,
    num_samples,
    *,
    timestamps=None,
    fs=16000,
    sound_speed=SPEED_OF_SOUND,
):
    """Direct sound between moving points with the exact Doppler effect.

    What arrives at time t was emitted at t' with
    c (t - t') = |s(t') - m(t)|; the signal is read there between its samples
    and divided by the distance.

    Arguments
    ---------
    dry : torch.Tensor
        Shape [T].
    sources : torch.Tensor
        Trajectory of the source, shape [K, 3], metres; K = 1 stands still.
    microphones : torch.Tensor
        Trajectories of M microphones, shape [K, M, 3] or [1, M, 3].
    num_samples : int
        Length of the result, from the moment of the first sample on.
    timestamps : torch.Tensor, optional
        Seconds, shape [K], as for :func:`filter_moving`.
    fs : int
        Sampling rate, Hz.
    sound_speed : float
        Metres per second; everything must be slower.

    Returns
    -------
    torch.Tensor
        Shape [M, num_samples].

    Example
    -------
    >>> click = torch.zeros(100)
    >>> click[10] = 1.0
    >>> microphone = torch.tensor([[[3.43, 0.0, 0.0]]])
    >>> heard = doppler_direct(click, torch.zeros(1, 3), microphone, 300)
    >>> heard[0].argmax(), heard[0, 170].round(decimals=3)
    (tensor(170), tensor(0.2920))
    """
    num_points = max(len(sources), len(microphones))
    knots = passing_times(num_points, len(dry), timestamps, fs) / fs
    knots = knots.to(dry.device)
    output = []
    for start in range(0, num_samples, READ_AT_ONCE):
        stop = min(start + READ_AT_ONCE, num_samples)
        arrival = torch.arange(start, stop, device=dry.device).double() / fs
        # [time, microphone, 3]; emission [time, microphone]
        ears = positions_at(microphones.to(dry.device), knots, arrival)
        emission = arrival[:, None].expand(ears.shape[:2])
        # Every step shrinks the error by speed / sound speed.
        for _ in range(6):
            mouth = positions_at(sources.to(dry.device), knots, emission)
            distance = torch.linalg.vector_norm(mouth - ears, dim=-1)
            emission = arrival[:, None] - distance / sound_speed
        heard = _read(dry, emission * fs) / distance.to(dry.dtype)
        output.append(heard.T)
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
        difference of a microphone is positive where it hears the source
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
    knots = passing_times(num_points, num_samples, timestamps, fs) / fs
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
