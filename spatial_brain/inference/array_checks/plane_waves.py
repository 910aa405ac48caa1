"""How well plane waves explain the channels of a recording, in some order."""

import math

import torch

from spatial_brain.geometry import SPEED_OF_SOUND
from spatial_brain.processing.directions.grid import DirectionGrid
from spatial_brain.processing.spatial import bin_frequencies

# Seconds: frames, and blocks over which their spectra are averaged.
_FRAME, _BLOCK = 0.032, 0.4
# Hertz.
BAND = (200.0, 6000.0)
# Lags per period of the highest frequency.
_FINE = 12
# Degrees between directions: of a sphere, and of a line.
_SPHERE, _LINE = (3.0, 10.0), (0.5, 4.0)


def block_coherences(waveform, fs, band=BAND):
    """Complex coherence of all channels in the blocks of a recording.

    Arguments
    ---------
    waveform : torch.Tensor
        [time, channel].
    fs : float
        Sampling rate, hertz.
    band : tuple of float
        Lowest and highest frequency used, hertz.

    Returns
    -------
    tuple of torch.Tensor
        Coherence, complex64 [block, channel, channel, bin]; frequencies,
        hertz, [bin]; and power, [block, channel].

    Example
    -------
    >>> noise = torch.randn(16000, 1)
    >>> coherence, _, _ = block_coherences(noise.expand(-1, 2), 16000)
    >>> coherence[:, 0, 1].abs().mean().round(decimals=2)
    tensor(1.)
    """
    n_fft = 2 ** round(math.log2(_FRAME * fs))
    hop = n_fft // 4
    frequency = bin_frequencies(n_fft, fs)
    used = (frequency >= band[0]) & (frequency <= min(band[1], 0.45 * fs))
    frames = max(4, round(_BLOCK * fs / hop))
    length = (frames - 1) * hop + n_fft
    if len(waveform) < length:
        frames = max(1, 1 + (len(waveform) - n_fft) // hop)
        length = (frames - 1) * hop + n_fft
    taper = torch.hann_window(n_fft)
    coherences, powers = [], []
    for start in range(0, len(waveform) - length + 1, length - n_fft + hop):
        piece = waveform[start : start + length].T.unfold(-1, n_fft, hop)
        spectra = torch.fft.rfft(piece * taper)[..., used].permute(2, 0, 1)
        cross = spectra @ spectra.mH
        power = cross.diagonal(dim1=-2, dim2=-1).real
        scale = (power[:, :, None] * power[:, None]).sqrt().clamp(min=1e-20)
        coherences.append((cross / scale).permute(1, 2, 0))
        powers.append(power.sum(0))
    number = waveform.shape[1]
    if not coherences:
        empty = torch.zeros(0, number, number, int(used.sum()))
        return empty.cfloat(), frequency[used], torch.zeros(0, number)
    return torch.stack(coherences), frequency[used], torch.stack(powers)


def chance_coherence(fs):
    """Mean magnitude of the coherence of independent noise in a block.

    Arguments
    ---------
    fs : float
        Sampling rate, hertz.

    Returns
    -------
    float

    Example
    -------
    >>> chance_coherence(16000) < 0.25
    True
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(round(8 * _BLOCK * fs), 2, generator=generator)
    return float(block_coherences(noise, fs)[0][:, 0, 1].abs().mean())


class PlaneWaveFit:
    """Fit of plane waves to coherences, for any order and sign of channels.

    The fit of a block is the highest mean over pairs and frequencies of the
    coherence that a plane wave from one direction would turn into 1: an
    SRP-PHAT map's maximum with coherence as weight. The fit of a recording is
    the mean of its blocks.

    Arguments
    ---------
    coherence : torch.Tensor
        [block, channel, channel, bin].
    frequency : torch.Tensor
        Hertz, [bin].
    microphones : torch.Tensor
        Positions, metres, [channel, 3].
    """

    def __init__(self, coherence, frequency, microphones):
        microphones = torch.as_tensor(microphones, dtype=torch.float32)
        self.number = number = len(microphones)
        distances = torch.cdist(microphones, microphones)
        reach = float(distances.max()) / SPEED_OF_SOUND
        step = 1 / (_FINE * float(frequency[-1]))
        self.steps = math.ceil(reach / step)
        lags = torch.arange(-self.steps, self.steps + 1) * step
        angle = 2 * math.pi * frequency[:, None] * lags
        self.pairs = torch.triu_indices(number, number, 1)
        rows = coherence[:, self.pairs[0], self.pairs[1]]
        upper = rows.real @ angle.cos() - rows.imag @ angle.sin()
        # [channel, channel, block, lag]
        self.table = upper.new_zeros(number, number, len(upper), len(lags))
        upper = upper.permute(1, 0, 2) / len(frequency)
        self.table[self.pairs[0], self.pairs[1]] = upper
        self.table[self.pairs[1], self.pairs[0]] = upper.flip(-1)
        grid = _directions(microphones, float(frequency[-1]))
        delays = (microphones @ grid.T) / SPEED_OF_SOUND
        # Channel j is reached before i by so many steps, [pair, direction].
        first, second = delays[self.pairs[0]], delays[self.pairs[1]]
        self.where = ((second - first) / step).round().long() + self.steps
        self.signs = torch.ones(number)
        self.order = list(range(number))
        self.maps = self._sum(self.order, self.signs)

    @property
    def fits(self):
        """Fit of each block as the channels stand, [block]."""
        return self._fit(self.maps)

    def exchanged(self, one, two):
        """Fits of the blocks with two channels exchanged, [block].

        Arguments
        ---------
        one, two : int
            Microphones.
        """
        order = list(self.order)
        order[one], order[two] = order[two], order[one]
        return self._fit(self._changed(order, self.signs, (one, two)))

    def inverted(self, one):
        """Fits of the blocks with a microphone's sign changed, [block].

        Arguments
        ---------
        one : int
            Microphone.
        """
        signs = self.signs.clone()
        signs[one] *= -1
        return self._fit(self._changed(self.order, signs, (one,)))

    def exchange(self, one, two):
        """Exchange two channels for good."""
        order = list(self.order)
        order[one], order[two] = order[two], order[one]
        self.maps = self._changed(order, self.signs, (one, two))
        self.order = order

    def invert(self, one):
        """Change a microphone's sign for good."""
        signs = self.signs.clone()
        signs[one] *= -1
        self.maps = self._changed(self.order, signs, (one,))
        self.signs = signs

    def channel_fits(self):
        """Fit of the pairs of each microphone, [microphone].

        In the direction that fits each block best.
        """
        best = self.maps.argmax(1)
        blocks = torch.arange(len(best))
        total = torch.zeros(self.number)
        for pair, (i, j) in enumerate(self.pairs.T.tolist()):
            values = self.table[self.order[i], self.order[j]]
            fit = values[blocks, self.where[pair, best]].mean()
            total[[i, j]] += fit * self.signs[i] * self.signs[j]
        return total / max(1, self.number - 1)

    def _fit(self, maps):
        """Maps of sums over pairs to the fit of each block."""
        return maps.amax(1) / self.pairs.shape[1]

    def _sum(self, order, signs, chosen=None):
        """Sum over pairs of the table at each direction, [block, direction]."""
        chosen = range(self.pairs.shape[1]) if chosen is None else chosen
        maps = self.table.new_zeros(self.table.shape[2], self.where.shape[1])
        for pair in chosen:
            i, j = self.pairs[:, pair].tolist()
            values = self.table[order[i], order[j]][:, self.where[pair]]
            maps = maps + values * (signs[i] * signs[j])
        return maps

    def _changed(self, order, signs, which):
        """Maps after a change that concerns some microphones."""
        involved = sum((self.pairs == one).any(0) for one in which) > 0
        chosen = involved.nonzero()[:, 0].tolist()
        return (
            self.maps
            - self._sum(self.order, self.signs, chosen)
            + self._sum(order, signs, chosen)
        )


def _directions(microphones, highest):
    """Unit vectors that an array can tell apart, [direction, 3]."""
    centred = (microphones - microphones.mean(0)).double()
    _, extent, axes = torch.linalg.svd(centred, full_matrices=True)
    extent = torch.cat((extent, extent.new_zeros(3)))[:3]
    aperture = float(torch.pdist(microphones).max())
    quarter = math.degrees(0.25 * SPEED_OF_SOUND / highest / aperture)
    if extent[1] < 0.02 * extent[0]:
        step = min(max(quarter, _LINE[0]), _LINE[1])
        number = math.ceil(180 / step)
        angle = torch.linspace(0, math.pi, number + 1, dtype=torch.float64)
        points = angle.cos()[:, None] * axes[0] + angle.sin()[:, None] * axes[1]
        return points.float()
    step = min(max(quarter, _SPHERE[0]), _SPHERE[1])
    flat = extent[2] < 0.02 * extent[0]
    return DirectionGrid.sphere(step, axes[2] if flat else None).directions
