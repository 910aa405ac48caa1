"""Scenes of the simulated two-microphone data: rooms, arrays, sources.

The distribution, its names and its random draws are those of SAR-SSL (B. Yang
and X. Li, "Self-Supervised Learning of Spatial Acoustic Representation with
Cross-Channel Signal Reconstruction and Multi-Channel Conformer", IEEE/ACM
TASLP 32, 2024, arXiv:2312.00476): with ``compat`` a scene of a stage and an
index is the very scene of the original's generator, the same draws in the
same order.

Where the original is at odds with its own description the default follows
the description, and ``compat`` the original:

* ``"quadrant"``: sources lie in a box on one side of the array along x and y,
  chosen by the sign of o_x + o_y of the array's orientation o, so that some
  are behind the array. Default: anywhere in front of the array, at least
  ``min_src_array_dist`` away from its centre.
* ``"alternating"``: reflections change sign with every wall, as in gpuRIR.
  Default: they are positive and a high-pass removes what builds up.
* ``"independent_tail"``: late reverberation is logistic noise independent
  between the microphones. Default: Gaussian, coherent as a diffuse field.
* ``"anf_noise"``: noise by an STFT with Cholesky factors, in the order of the
  original's draws. Default: the exact coherence at every frequency.
* ``"half_surface"``: mean absorption for half of the walls' area, which is
  twice as large. Default: all walls.
* ``"float16"``: DRR and C50 rounded to half precision.
"""

from dataclasses import asdict, dataclass, fields

import numpy as np

from spatial_brain.geometry import SPEED_OF_SOUND

COMPAT = (
    "quadrant",
    "alternating",
    "independent_tail",
    "anf_noise",
    "half_surface",
    "float16",
)
NOISE_TYPES = ("diffuse_white", "spatial_white", "diffuse_babble", "none")
# First seed of each stage; "pretest_ins_*" is any stage of that beginning.
STAGE_SEEDS = {
    "pretrain": 1,
    "preval": 2_000_000,
    "pretest": 3_000_000,
    "pretest_ins_": 3_000_000,
    "train": 4_000_000,
    "val": 5_000_000,
    "test": 6_000_000,
}
# Sabine's constant as the original rounds it, and its guard.
_SABINE, _GUARD = 0.161, 1e-4
# Largest difference of requested and resulting T60, seconds.
_T60_TOLERANCE = 0.005
_MAX_TRIES = 10_000


@dataclass(frozen=True)
class SceneDistribution:
    """What scenes are drawn from; fields as the original's options.

    Arguments
    ---------
    room_sz_range : sequence
        Lowest and highest x, y and z of the room, metres.
    T60_range : sequence of float
        Seconds.
    abs_weights_range : sequence
        Relative absorption of the walls x0, x1, y0, y1, z0, z1.
    mic_array_pos : sequence
        Two microphones around the array's centre, metres.
    array_scale_range : sequence of float
        Factor on ``mic_array_pos``.
    array_rotate_azi_range : sequence of float
        Turn of the array about the vertical, degrees.
    array_pos_ratio_range : sequence
        Array centre in parts of the room's x, y and z.
    num_source_range : sequence of int
        Only one source can be simulated.
    source_state : str
        Only "static".
    min_src_array_dist : float
        Metres; see ``compat``.
    min_src_boundary_dist : float
        Distance of sources from walls, metres.
    snr_range : sequence of float
        Direct sound to noise, dB.
    noise_type : str
        "diffuse_white", "spatial_white", "diffuse_babble" or "none".
    fs : int
        Sampling rate, Hz.
    c : float
        Speed of sound, metres per second.
    ism_db : float
        Decay after which noise replaces image sources, dB.
    T : float
        Duration, seconds.
    compat : bool or sequence of str
        Behaviours of the original, see the module; True for all.

    Raises
    ------
    ValueError
        If a value cannot be used.

    Example
    -------
    >>> SceneDistribution(T60_range=(0.4, 0.8)).num_samples
    65792
    >>> SceneDistribution(compat=["quadrant"]).has("quadrant")
    True
    """

    room_sz_range: tuple = ((3, 15), (3, 10), (2.5, 6))
    T60_range: tuple = (0.2, 1.3)
    abs_weights_range: tuple = ((0.5, 1.0),) * 6
    mic_array_pos: tuple = ((-0.05, 0.0, 0.0), (0.05, 0.0, 0.0))
    array_scale_range: tuple = (0.3, 2)
    array_rotate_azi_range: tuple = (0, 360)
    array_pos_ratio_range: tuple = ((0.2, 0.8), (0.2, 0.8), (0.1, 0.5))
    num_source_range: tuple = (1, 1)
    source_state: str = "static"
    min_src_array_dist: float = 0.3
    min_src_boundary_dist: float = 0.3
    snr_range: tuple = (15, 30)
    noise_type: str = "diffuse_white"
    fs: int = 16000
    c: float = SPEED_OF_SOUND
    ism_db: float = 12
    T: float = 4.112
    compat: bool | tuple = False

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            object.__setattr__(self, field.name, _frozen(value))
        if isinstance(self.compat, bool):
            object.__setattr__(self, "compat", COMPAT if self.compat else ())
        unknown = sorted(set(self.compat) - set(COMPAT))
        if unknown:
            raise ValueError(
                f"unknown compat {', '.join(unknown)}; known: "
                f"{', '.join(COMPAT)}"
            )
        self._check_shapes()
        if self.noise_type not in NOISE_TYPES:
            raise ValueError(
                f"noise_type must be one of {NOISE_TYPES}, got "
                f"{self.noise_type!r}"
            )
        if self.source_state != "static" or self.num_source_range != (1, 1):
            raise ValueError(
                "only one static source can be simulated, got source_state="
                f"{self.source_state!r}, num_source_range="
                f"{self.num_source_range}"
            )
        if not 0 < self.ism_db < 40 or not self.T * self.fs >= 1:
            raise ValueError(
                "ism_db must be in (0, 40) dB and T at least one sample, got "
                f"{self.ism_db} and {self.T}"
            )

    def ranges(self):
        """What the scenes cover.

        Returns
        -------
        dict
            Lowest and highest ``room_size`` (x, y, z, metres), ``t60`` (s),
            ``snr`` (dB; absent without noise), ``spacing`` of the microphones
            (metres) and number of ``sources``.

        Example
        -------
        >>> SceneDistribution().ranges()["spacing"]
        [0.03, 0.2]
        """
        first, second = np.array(self.mic_array_pos)
        apart = float(np.linalg.norm(second - first))
        found = {
            "room_size": [list(span) for span in self.room_sz_range],
            "t60": list(self.T60_range),
            "snr": list(self.snr_range),
            "spacing": [round(apart * s, 6) for s in self.array_scale_range],
            "sources": list(self.num_source_range),
        }
        if self.noise_type == "none":
            del found["snr"]
        return found

    def _check_shapes(self):
        """Check ranges and their order."""
        shapes = {
            "room_sz_range": (3, 2),
            "T60_range": (2,),
            "abs_weights_range": (6, 2),
            "mic_array_pos": (2, 3),
            "array_scale_range": (2,),
            "array_rotate_azi_range": (2,),
            "array_pos_ratio_range": (3, 2),
            "snr_range": (2,),
        }
        for name, shape in shapes.items():
            value = np.asarray(getattr(self, name), dtype=float)
            if value.shape != shape or not np.isfinite(value).all():
                raise ValueError(
                    f"{name} must be finite of shape {shape}, got "
                    f"{value.tolist()}"
                )
            if name != "mic_array_pos" and (value.T[0] > value.T[-1]).any():
                raise ValueError(f"{name}: low above high: {value.tolist()}")

    def has(self, name):
        """Whether a behaviour of the original is asked for."""
        return name in self.compat

    @property
    def num_samples(self):
        """Length of a signal, samples."""
        return int(self.T * self.fs)

    def options(self):
        """Fields as a dict that JSON can hold, to make the same again."""
        return asdict(self)


def _frozen(value):
    """Lists of any depth as tuples."""
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(part) for part in value)
    return value


@dataclass(frozen=True)
class PairScene:
    """One room, two microphones, one source.

    Arguments
    ---------
    room_size : numpy.ndarray
        Metres, [3].
    t60 : float
        By Sabine's formula from the walls, seconds.
    t60_requested : float
        What was drawn, seconds.
    reflection : numpy.ndarray
        Pressure reflection coefficients (x0, x1, y0, y1, z0, z1), float32.
    microphones : numpy.ndarray
        Metres, [2, 3].
    source : numpy.ndarray
        Metres, [3].
    array_scale : float
        Factor on the array.
    array_azimuth : float
        Its turn, degrees.
    array_orientation : numpy.ndarray
        Where it looks, unit vector [3].
    array_position : numpy.ndarray
        Its centre, metres, [3].

    Example
    -------
    >>> scene = draw_room_scene(SceneDistribution(), "pretrain", 0)
    >>> scene.room_size.round(2)
    array([8.  , 8.04, 2.5 ])
    """

    room_size: np.ndarray
    t60: float
    t60_requested: float
    reflection: np.ndarray
    microphones: np.ndarray
    source: np.ndarray
    array_scale: float
    array_azimuth: float
    array_orientation: np.ndarray
    array_position: np.ndarray

    @property
    def absorption(self):
        """Energy absorption of the six walls, float64."""
        return 1 - self.reflection.astype(np.float64) ** 2

    def info(self):
        """Plain numbers and lists, for a manifest."""
        return {
            key: value.tolist() if isinstance(value, np.ndarray) else value
            for key, value in vars(self).items()
        }


def stage_seed(stage):
    """First seed of a stage.

    Arguments
    ---------
    stage : str
        "pretrain", "preval", "pretest", "pretest_ins_<any>", "train", "val"
        or "test".

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If there is no such stage.

    Example
    -------
    >>> stage_seed("pretest_ins_T1000")
    3000000
    """
    name = "pretest_ins_" if stage.startswith("pretest_ins_") else stage
    if name not in STAGE_SEEDS:
        raise ValueError(
            f"unknown stage {stage!r}; use one of {', '.join(STAGE_SEEDS)}*"
        )
    return STAGE_SEEDS[name]


def seeded(stage, number, epoch=0):
    """Random state of an item of a stage.

    Arguments
    ---------
    stage : str
        See :func:`stage_seed`.
    number : int
        Not negative.
    epoch : int
        0 is the original's state; every other one is a state of its own.

    Returns
    -------
    numpy.random.RandomState

    Example
    -------
    >>> float(seeded("pretrain", 0).uniform(3, 15)).__round__(5)
    8.00426
    """
    seed = stage_seed(stage) + number
    return np.random.RandomState([seed, epoch] if epoch else seed)


def draw_room_scene(distribution, stage, index, epoch=0):
    """Scene in a room of its own.

    Arguments
    ---------
    distribution : SceneDistribution
        What to draw from.
    stage : str
        See :func:`stage_seed`.
    index : int
        Number of the scene.
    epoch : int
        0 for the original's scenes.

    Returns
    -------
    PairScene

    Raises
    ------
    ValueError
        If no such room, or no place for the source, can be found.

    Example
    -------
    >>> original = SceneDistribution(compat=True)
    >>> draw_room_scene(original, "pretrain", 0).source.round(3)
    array([6.373, 6.267, 1.362])
    """
    rng = seeded(stage, index, epoch)
    return _draw_placement(distribution, rng, _draw_room(distribution, rng))


def draw_certain_room_scene(
    distribution, stage, room, rir, rirs_per_room=50, epoch=0
):
    """Scene in one of a number of rooms which share size and walls.

    Arguments
    ---------
    distribution : SceneDistribution
        What to draw from.
    stage : str
        See :func:`stage_seed`.
    room : int
        Number of the room, from 0.
    rir : int
        Number of the impulse response in the room.
    rirs_per_room : int
        How many there are in a room.
    epoch : int
        0 for the original's scenes; the room is the same in all epochs.

    Returns
    -------
    PairScene

    Raises
    ------
    ValueError
        As :func:`draw_room_scene`.

    Example
    -------
    >>> one, two = (
    ...     draw_certain_room_scene(SceneDistribution(), "train", 3, rir)
    ...     for rir in range(2)
    ... )
    >>> bool((one.room_size == two.room_size).all()), one.t60 == two.t60
    (True, True)
    """
    drawn = _draw_room(distribution, seeded(stage, room))
    rng = seeded(stage, room * rirs_per_room + rir, epoch)
    return _draw_placement(distribution, rng, drawn)


def _draw_room(distribution, rng):
    """Size, requested and resulting T60, and reflection coefficients."""
    size = np.array([rng.uniform(*r) for r in distribution.room_sz_range])
    x, y, z = size
    areas = np.array([y * z, y * z, x * z, x * z, x * y, x * y])
    volume = size.prod()
    low, high = np.asarray(distribution.abs_weights_range, dtype=float).T
    # Image sources must last three times the way through the room.
    least = 3 * np.linalg.norm(size) / distribution.c * 60 / distribution.ism_db
    for _ in range(_MAX_TRIES):
        requested = rng.uniform(*distribution.T60_range)
        weights = rng.uniform(low, high)
        weights = weights / weights.max()
        scale = min(1.0, _SABINE * volume / (weights @ areas) / requested)
        reflection = np.sqrt(1 - scale * weights).astype(np.float32)
        absorbed = (1 - reflection.astype(np.float64) ** 2) @ areas
        t60 = _SABINE * volume / (absorbed + _GUARD)
        if (
            abs(requested - t60) < _T60_TOLERANCE
            and (reflection > 0).all()
            and t60 >= least
        ):
            return size, float(t60), float(requested), reflection
    raise ValueError(
        f"no T60 within {distribution.T60_range} s can be simulated in a room "
        f"of {size.round(2).tolist()} m: it needs at least {least:.2f} s with "
        f"ism_db={distribution.ism_db}; raise T60_range or make rooms smaller"
    )


def _draw_placement(distribution, rng, room):
    """Array and source in a room."""
    size, t60, requested, reflection = room
    ratios = distribution.array_pos_ratio_range
    centre = np.array([rng.uniform(*r) for r in ratios]) * size
    scale = rng.uniform(*distribution.array_scale_range)
    azimuth = rng.uniform(*distribution.array_rotate_azi_range)
    cos, sin = np.cos(np.deg2rad(azimuth)), np.sin(np.deg2rad(azimuth))
    turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    microphones = centre + scale * np.array(distribution.mic_array_pos) @ turn.T
    orientation = turn @ np.array([0.0, 1.0, 0.0])
    # The original draws the number of sources, always one.
    rng.randint(1, 2)
    draw = _source_quadrant if distribution.has("quadrant") else _source_front
    source = draw(distribution, rng, size, centre, orientation)
    return PairScene(
        size,
        t60,
        requested,
        reflection,
        microphones,
        source,
        float(scale),
        float(azimuth),
        orientation,
        centre,
    )


def _source_quadrant(distribution, rng, size, centre, orientation):
    """Place of the source as the original draws it."""
    low = np.full(3, float(distribution.min_src_boundary_dist))
    high = size - distribution.min_src_boundary_dist
    away = distribution.min_src_array_dist * np.abs(orientation)
    turned = orientation != 0
    if orientation.sum() > 0:
        low[turned] = (centre + away)[turned]
    else:
        high[turned] = (centre - away)[turned]
    if (low > high).any():
        raise ValueError(
            f"no place for a source in a room of {size.round(2).tolist()} m "
            f"with the array at {centre.round(2).tolist()} m; lower "
            "min_src_array_dist or min_src_boundary_dist"
        )
    return low + rng.random_sample(3) * (high - low)


def _source_front(distribution, rng, size, centre, orientation):
    """Place of the source in front of the array."""
    margin = distribution.min_src_boundary_dist
    for _ in range(_MAX_TRIES):
        source = margin + rng.random_sample(3) * (size - 2 * margin)
        offset = source - centre
        if (
            offset @ orientation > 0
            and np.linalg.norm(offset) >= distribution.min_src_array_dist
        ):
            return source
    raise ValueError(
        f"no place for a source in a room of {size.round(2).tolist()} m with "
        f"the array at {centre.round(2).tolist()} m; lower min_src_array_dist "
        "or min_src_boundary_dist"
    )
