"""Distance of a source from the curvature of its wave fronts."""

import math
from typing import NamedTuple

import torch
from scipy.interpolate import CubicSpline

from spatial_brain.geometry import SPEED_OF_SOUND, azel_to_unit
from spatial_brain.processing.directions.srp_phat import cubic_weights
from spatial_brain.processing.spatial import bin_frequencies, microphone_pairs

# Seconds of a frame; frames follow each other by a quarter.
_FRAME = 0.032
# Distances that are tried, from the nearest on (metres).
_DISTANCES, _NEAREST = 40, 0.1
# Directions around the known one: so many on each side, apart by a part of
# the beam of the highest frequencies (a wave of so many metres), then moved
# in smaller and smaller steps.
_SIDE, _WAVE, _ROUNDS, _SHRINK = 4, 0.1, 7, 0.6
# Elevations tried where the array gives none, degrees.
_ELEVATIONS = tuple(range(0, 61, 10))
# Error of the fit over its least one, as a logarithm times the root of the
# number of phases that are used, up to which a distance may be the true one:
# of nine in ten simulated rooms, see docs/locate.md. With all of the number
# large arrays would be too sure: reverberation moves many phases together.
_THRESHOLD = 0.4
# Between the distances that are tried the response is interpolated at so many.
_FINE = 400
# Positions and the speed of sound are not known better than by this factor.
_KNOWN = 1.03
# Delays in a period of the highest frequency: interpolated by cubics, the
# response is off by less than 1e-5.
_OVERSAMPLING = 64
# Delays held at once.
_CHUNK = 2**21


class Distance(NamedTuple):
    """How far away a source is.

    Arguments
    ---------
    metres : float
        From the centre of the array; NaN where only ``low`` is known.
    low, high : float
        It is between them, metres, nine times of ten; ``high`` is infinite
        where the array cannot tell.
    """

    metres: float
    low: float
    high: float


class NearField:
    """Estimates how far away sources of known direction are.

    The phases between microphones, averaged over the frames of a source
    (PHAT), are compared with those of points at its direction, over a
    logarithmic grid of distances, to infinity. For each distance the direction
    is refined. With the phases x, those a of a point and the mean S of
    Re(x a*), the error of the best fit of g a to x is the mean of |x|^2 less
    S^2; distances of which the logarithm of the error exceeds that of the best
    by no more than a threshold may be the true one. Close microphones record
    reverberation alike, which has no delay: a pair is used from the first zero
    of its diffuse coherence on, c / (2 distance).

    Arguments
    ---------
    microphones : torch.Tensor
        Positions, metres, [microphone, 3].
    fs : float
        Sampling rate, hertz.
    farthest : float
        Distance beyond which nothing is told, metres.
    band : tuple of float
        Lowest and highest frequency used, hertz.
    c : float
        Speed of sound, m/s.

    Raises
    ------
    ValueError
        If no pair of microphones is far enough apart for the band.

    Example
    -------
    >>> from spatial_brain.geometry import circular_array
    >>> near = NearField(circular_array(8, 0.2), 16000, 5.0)
    >>> phases = near.phases(torch.randn(8000, 8))
    >>> near.estimate(phases, azimuth=30.0).high
    inf
    """

    def __init__(
        self, microphones, fs, farthest, *, band=(300.0, 4000.0),
        c=SPEED_OF_SOUND,
    ):  # fmt: skip
        positions = torch.as_tensor(microphones, dtype=torch.float64)
        self.positions, self.c = positions - positions.mean(0), c
        self.n_fft = 2 ** max(4, round(math.log2(_FRAME * fs)))
        frequency = bin_frequencies(self.n_fft, fs).double()
        self.bins = (frequency >= max(band[0], 1.0)) & (frequency <= band[1])
        self.frequency = frequency[self.bins]
        self.pairs = torch.tensor(microphone_pairs(len(positions))).T
        apart = positions[self.pairs[0]] - positions[self.pairs[1]]
        apart = torch.linalg.vector_norm(apart, dim=-1)
        self.used = apart[:, None] * self.frequency >= c / 2
        if not self.used.any():
            raise ValueError(
                f"no distance can be told: microphones {apart.max():.3g} m "
                f"apart need frequencies above {c / 2 / apart.max():.0f} Hz"
            )
        aperture = float(apart.max())
        self.lag = 1 / (_OVERSAMPLING * float(self.frequency[-1]))
        self.reach = math.ceil(aperture / c / self.lag) + 2
        nearest = max(_NEAREST, aperture / 4)
        self.farthest = max(farthest, nearest)
        self.distances = torch.logspace(
            math.log10(nearest),
            math.log10(max(self.farthest, 1.01 * nearest)),
            _DISTANCES,
            dtype=torch.float64,
        )
        self.step = min(max(math.degrees(_WAVE / aperture / 4), 0.4), 3.0)
        centred = torch.linalg.svdvals(self.positions)
        self.line = not centred[1] > 0.1 * centred[0]

    def phases(self, waveform):
        """Phases between the microphones, summed over frames.

        Arguments
        ---------
        waveform : torch.Tensor
            [time, microphone].

        Returns
        -------
        torch.Tensor
            Complex, [bin, microphone, microphone]: sum of x x^H of spectra x
            of magnitude 1. Sums of several pieces can be added.
        """
        short = max(0, self.n_fft - len(waveform))
        waveform = torch.nn.functional.pad(waveform.float(), (0, 0, 0, short))
        frames = waveform.T.unfold(-1, self.n_fft, self.n_fft // 4)
        spectra = torch.fft.rfft(frames * torch.hann_window(self.n_fft))
        spectra = spectra[..., self.bins].permute(2, 0, 1)
        magnitude = spectra.abs()
        white = spectra / torch.where(magnitude > 0, magnitude, 1.0)
        return white @ white.mH

    def estimate(self, phases, azimuth, elevation=None):
        """Distance of a source.

        Arguments
        ---------
        phases : torch.Tensor
            Of its frames, from :meth:`phases`, at any scale.
        azimuth : float
            Degrees.
        elevation : float, optional
            Degrees; by default it is looked for from 0 to 60.

        Returns
        -------
        Distance

        Raises
        ------
        ValueError
            If all is silent.
        """
        scale = phases.diagonal(dim1=-2, dim2=-1).real.mean()
        if not scale > 0:
            raise ValueError("a source that is silent has no distance")
        observed = phases[:, self.pairs[0], self.pairs[1]].T / scale
        observed = torch.where(self.used, observed.to(torch.complex128), 0.0)
        response = self._profile(observed, azimuth, elevation)
        grid = self.distances.log()
        fine = torch.linspace(grid[0], grid[-1], _FINE, dtype=grid.dtype)
        between = CubicSpline(grid.numpy(), response[:-1].numpy())
        response = torch.cat((
            torch.from_numpy(between(fine.numpy())), response[-1:]
        ))  # fmt: skip
        number = self.used.sum()
        explained = response.clamp(min=0.0).square()
        error = observed.abs().square().sum() / number - explained
        error = error.clamp(min=1e-12).log()
        excess = (error - error.min()) * number.sqrt()
        return self._decide(excess, fine.exp())

    def _decide(self, excess, distances):
        """Distance from the errors at distances and, last, at infinity."""
        likely = distances[excess[:-1] <= _THRESHOLD].tolist()
        if min(excess[-2:]) <= _THRESHOLD:
            low = min(likely, default=self.farthest) / _KNOWN
            return Distance(math.nan, min(low, self.farthest), math.inf)
        best = float(distances[excess[:-1].argmin()])
        low, high = min(likely) / _KNOWN, max(likely) * _KNOWN
        return Distance(best, low, high)

    def _profile(self, observed, azimuth, elevation):
        """Highest response at each distance and, last, at infinity."""
        distances = torch.cat(
            (self.distances, self.distances.new_tensor([math.inf]))
        )
        turns = torch.arange(-_SIDE, _SIDE + 1).double() * self.step
        if self.line:
            heights = turns.new_zeros(1)
        elif elevation is None or math.isnan(elevation):
            heights = turns.new_tensor(_ELEVATIONS)
        else:
            heights = elevation + turns[1::2] / 2
        azimuths, elevations = _grid(azimuth + turns, heights, len(distances))
        around = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
        steps = self.step / 2, 5.0
        table = self._table(observed)
        for _ in range(_ROUNDS + 1):
            elevations = elevations.clamp(-90.0, 90.0)
            response = self._response(
                table,
                azel_to_unit(azimuths, elevations),
                distances[:, None].expand_as(azimuths),
            )
            best = response.argmax(1, keepdim=True)
            highest = response.gather(1, best)[:, 0]
            rises = heights if self.line else around * steps[1]
            turn, rise = _grid(around * steps[0], rises, 1)
            azimuths = azimuths.gather(1, best) + turn
            elevations = elevations.gather(1, best) + rise
            steps = steps[0] * _SHRINK, steps[1] * _SHRINK
        return highest

    def _table(self, observed):
        """Mean of cos(phase difference) of each pair by delay, [pair, lag]."""
        lags = torch.arange(-self.reach, self.reach + 1) * self.lag
        angle = 2 * math.pi * self.frequency[:, None] * lags
        table = observed.real @ angle.cos() - observed.imag @ angle.sin()
        return table / self.used.sum()

    def _response(self, table, directions, distances):
        """Mean of cos(phase difference) of points, [distance, direction]."""
        far = distances.isinf()[..., None]
        points = directions * torch.where(far, 1.0, distances[..., None])
        away = torch.linalg.vector_norm(
            points[..., None, :] - self.positions, dim=-1
        )
        # Of a plane wave the way is shorter for who is nearer to the source.
        away = torch.where(far, -(directions @ self.positions.T), away)
        begins = torch.arange(len(table)) * table.shape[1]
        found = []
        for part in away.flatten(0, 1).split(max(1, _CHUNK // len(table))):
            delays = part[:, self.pairs[0]] - part[:, self.pairs[1]]
            place = delays / (self.c * self.lag) + self.reach
            low = place.floor()
            first = low.long() + begins
            found.append(
                sum(
                    (table.flatten()[first + tap] * weight).sum(1)
                    for tap, weight in zip(
                        (-1, 0, 1, 2), cubic_weights(place - low), strict=True
                    )
                )
            )
        return torch.cat(found).reshape(distances.shape)


def _grid(first, second, rows):
    """All combinations of two lists, twice [rows, combination]."""
    parts = torch.meshgrid(first, second, indexing="ij")
    return [part.flatten().expand(rows, -1) for part in parts]
