"""What the scenes of the simulated two-microphone data are drawn from.

The distribution, its names and its random draws are those of SAR-SSL (B. Yang
and X. Li, "Self-Supervised Learning of Spatial Acoustic Representation with
Cross-Channel Signal Reconstruction and Multi-Channel Conformer", IEEE/ACM
TASLP 32, 2024, arXiv:2312.00476): with ``compat`` a scene of a stage and an
index is the very scene of the original's generator.

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
