"""Wideband methods of pyroomacoustics on the blocks of a recording.

CSSM (Wang and Kaveh, 1985), WAVES (di Claudio and Parisi, 2001), TOPS (Yoon et
al., 2006) and FRIDA (Pan et al., 2017) as the library computes them, for the
frames, the band and the grid of :class:`BlockMaps`.
"""

import math
import warnings
from contextlib import contextmanager

import numpy as np
import torch
from torch.nn.functional import pad

from spatial_brain.processing.directions.blocks import BlockMaps
from spatial_brain.processing.directions.grid import DirectionGrid

# Bins of FRIDA: the strongest so many of a block.
_FRIDA_BINS = 20
# Extent across, as a share of the extent along, of what is a line to it.
_LINE = 0.1


class PyroomMaps(BlockMaps):
    """CSSM, WAVES or TOPS: maps over azimuths for a number of sources.

    A map is the library's spectrum over its maximum. Sources are taken to be
    at the height of the array. A block that the library finds nothing in, such
    as a silent one, has a flat map.

    Arguments
    ---------
    microphones : torch.Tensor
        Positions, metres, [microphone, 3].
    fs : float
        Sampling rate, hertz.
    grid : DirectionGrid, optional
        Candidates without elevation; default: azimuths.
    algorithm : str
        ``"CSSM"``, ``"WAVES"`` or ``"TOPS"``.
    num_sources : int
        How many there are, fewer than microphones.
    window : float
        Length of a frame, seconds.
    **options
        See :class:`BlockMaps`.

    Raises
    ------
    ImportError
        Without pyroomacoustics.
    ValueError
        If there are not more microphones than sources or the grid has
        elevations, and as :class:`BlockMaps`.

    Example
    -------
    >>> from spatial_brain.geometry import circular_array
    >>> maps = PyroomMaps(circular_array(4, 0.05), 16000,
    ...                   DirectionGrid.circle(10.0), algorithm="TOPS",
    ...                   band=(1000, 1300))
    >>> maps(torch.randn(1, 8000, 4)).shape
    torch.Size([1, 1, 36])
    """

    def __init__(
        self,
        microphones,
        fs,
        grid=None,
        *,
        algorithm="TOPS",
        num_sources=1,
        window=0.032,
        **options,
    ):
        grid = grid or DirectionGrid.azimuths(microphones)
        super().__init__(microphones, fs, grid, window=window, **options)
        number = len(self.microphones)
        if not 1 <= num_sources < number:
            raise ValueError(
                f"{algorithm} finds from 1 to {number - 1} sources with "
                f"{number} microphones, got {num_sources}"
            )
        if grid.has_elevation:
            raise ValueError(f"{algorithm} needs a grid without elevations")
        self.algorithm, self.num_sources = algorithm, num_sources
        self.method = self._load(algorithm)

    def _load(self, algorithm):
        """The library's object."""
        try:
            from pyroomacoustics import doa
        except ImportError as error:
            raise ImportError(
                f"{algorithm} needs the package pyroomacoustics; install it "
                "with: pip install pyroomacoustics"
            ) from error
        return doa.algorithms[algorithm](
            self.microphones.double().numpy().T,
            self.fs,
            self.n_fft,
            c=self.c,
            num_src=self.num_sources,
            azimuth=np.radians(self.grid.azimuth.double().numpy()),
        )

    def evidence(self, spectra):
        """What the library finds in blocks, see ``BlockMaps.evidence``."""
        blocks = spectra.unfold(-1, self.block_frames, self.step_frames)
        return torch.stack([
            torch.stack([self._block(block) for block in row.unbind(2)])
            for row in blocks
        ])  # fmt: skip

    def _block(self, spectra):
        """Map of a block's spectra, [bin, microphone, frame]."""
        if self._locate(spectra):
            values = np.asarray(self.method.grid.values, dtype=np.float64)
            highest = values.max()
            if np.isfinite(values).all() and highest > 0:
                return torch.from_numpy(values / highest).float()
        return torch.zeros(len(self.grid))

    def _locate(self, spectra):
        """Let the library work on a block; whether it succeeded."""
        bins = self._bins(spectra)
        if len(bins) < 2:
            return False
        # The library's spectra are those of all bins. TOPS shifts phases by
        # the places of bins in the band: its band has to begin at 0.
        before = 0 if self.algorithm == "TOPS" else self.bins.start
        after = self.n_fft // 2 + 1 - before - len(spectra)
        spectra = pad(spectra, (0, 0, 0, 0, before, after))
        with _seeded(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                self.method.locate_sources(
                    spectra.transpose(0, 1).numpy().astype(np.complex128),
                    num_src=self.num_sources,
                    freq_bins=bins + before,
                )
            except (ValueError, IndexError, np.linalg.LinAlgError):
                # Its searches fail where no bin has as many peaks as sources.
                return False
        return True

    def _bins(self, spectra):
        """Bins of the band that the library shall use, from 0."""
        power = spectra.abs().square().sum((1, 2))
        if self.algorithm == "TOPS" and power.any():
            return np.arange(len(power))
        return power.nonzero()[:, 0].numpy()

    def _curve(self, values):
        """See ``BlockMaps``; TOPS has the root of what is a paraboloid."""
        power = 2 if self.algorithm == "TOPS" else 1
        return -(values.clamp(min=1e-3) ** -power)


class PyroomFrida(PyroomMaps):
    """FRIDA: azimuths without a grid, for a number of sources.

    The 20 strongest bins of each block are used. There are no maps.

    Arguments
    ---------
    microphones : torch.Tensor
        Positions, metres, [microphone, 3], not on a line.
    fs : float
        Sampling rate, hertz.
    grid : DirectionGrid, optional
        Serves to name directions only.
    **options
        See :class:`PyroomMaps`.

    Raises
    ------
    ValueError
        If the microphones stand on a line, and as :class:`PyroomMaps`.

    Example
    -------
    >>> from spatial_brain.geometry import circular_array
    >>> frida = PyroomFrida(circular_array(4, 0.05), 16000)
    >>> frida.peaks(torch.randn(1, 8000, 4)).azimuth.shape
    torch.Size([1, 1, 1])
    """

    def __init__(self, microphones, fs, grid=None, **options):
        options["algorithm"] = "FRIDA"
        super().__init__(microphones, fs, grid, **options)
        above = self.microphones[:, :2] - self.microphones[:, :2].mean(0)
        extent = torch.linalg.svdvals(above)
        if not extent[1] > _LINE * extent[0]:
            raise ValueError(
                "FRIDA needs microphones that span a plane, seen from above; "
                "these stand on a line"
            )

    def _block(self, spectra):
        """[source, 3]: cosine, sine of the azimuth, strength; NaN: none."""
        found = torch.full((self.num_sources, 3), math.nan)
        # The library keeps a table of the bins of its first call.
        self.method.G = None
        if self._locate(spectra):
            azimuth = torch.as_tensor(self.method.azimuth_recon).float()
            strength = np.abs(self.method.alpha_recon).mean(1)
            strength = torch.as_tensor(strength).float()
            rows = torch.stack((azimuth.cos(), azimuth.sin(), strength), 1)
            rows = rows[rows.isfinite().all(1)]
            rows = rows[rows[:, 2].argsort(descending=True)]
            found[: len(rows)] = rows
        return found

    def _bins(self, spectra):
        power = spectra.abs().square().sum((1, 2))
        strongest = power.topk(min(_FRIDA_BINS, len(power))).indices
        return strongest[power[strongest] > 0].sort().values.numpy()

    def pick(self, evidence, num_peaks=1, min_separation=15.0):
        """Sources of blocks, see ``BlockMaps.pick``.

        Arguments
        ---------
        evidence : torch.Tensor
            From :meth:`evidence`, [batch, block, source, 3].
        num_peaks : int
            Sources wanted; there are ``num_sources`` at most.
        min_separation : float
            Of two that are nearer, degrees, the stronger is kept.

        Returns
        -------
        tuple of torch.Tensor
            Unit vectors, [batch, block, num_peaks, 3], and strengths over the
            greatest of the block, [batch, block, num_peaks].
        """
        shape = (*evidence.shape[:2], num_peaks)
        vectors = torch.full((*shape, 3), math.nan)
        heights = torch.zeros(shape)
        limit = math.cos(math.radians(min_separation))
        for place in np.ndindex(*shape[:2]):
            kept = []
            for x, y, strength in evidence[place].tolist():
                near = any(x * a + y * b > limit for a, b, _ in kept)
                if math.isfinite(strength) and not near:
                    kept.append((x, y, strength))
            for index, (x, y, strength) in enumerate(kept[:num_peaks]):
                vectors[(*place, index)] = torch.tensor([x, y, 0.0])
                heights[(*place, index)] = strength / max(kept[0][2], 1e-20)
        return vectors, heights


@contextmanager
def _seeded():
    """The same random numbers each time, for what has no generator."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
