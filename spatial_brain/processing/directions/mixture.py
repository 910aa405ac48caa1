"""Several directions at once from a mixture of local likelihoods."""

import math

import torch

from spatial_brain.processing.directions.blocks import BlockMaps
from spatial_brain.processing.spatial import microphone_pairs, pair_delays

# Frames of a tile, and from one tile to the next.
_TILE_FRAMES = 8
_TILE_STEP = 4
# Height of a tile, hertz.
_TILE_BAND = 250.0
# Power that no direction explains, at least, as a share: the model's own
# errors (gains, positions, reflections).
_FLOOR = 0.02
# Frames and microphones are not independent: power of a bin's likelihood, 2^n.
_SQUARINGS = 2
# Share of the tiles that no source explains.
_OUTLIERS = 0.2
# Microphones used of larger arrays: work and tables grow with their pairs.
MOST_MICROPHONES = 16
# Gain up to which a source explains nothing at all.
_NOTHING = 1e-6
# Sources are looked for among points so many degrees apart, then moved so
# often beside each other, then among all points nearby.
_COARSE = 7.0
_ROUNDS = 1


class LocalMixture(BlockMaps):
    """Sources that together explain the tiles of a block best.

    In a tile of 64 ms and 250 Hz one source mostly sounds alone. With the
    covariance R of a bin, the steering vector a (|a|^2 = M) and noise of any
    level, the likelihood of a direction is a power of 1 / (1 - a^H R a /
    (M tr R)) (Boehme, 1986; the noise's level is concentrated out): flat where
    noise or several sources rule, sharp where one direct sound does. Bins of a
    tile are multiplied, which removes ambiguities of wide arrays. A block's
    tiles are a mixture of K sources and of outliers (Mandel et al., 2010, have
    it for two ears), so that the second source must explain tiles that the
    first does not: sources are added one by one, then moved in turn.

    Of more than ``MOST_MICROPHONES`` microphones those are used that are
    farthest from each other.

    Arguments
    ---------
    microphones : torch.Tensor
        Positions, metres, [microphone, 3].
    fs : float
        Sampling rate, hertz.
    grid : DirectionGrid, optional
        Candidates; default: what the array can tell apart.
    window : float
        Length of a frame, seconds.
    **options
        See :class:`BlockMaps`.

    Raises
    ------
    ValueError
        As :class:`BlockMaps`.

    Example
    -------
    >>> from spatial_brain.geometry import circular_array
    >>> mixture = LocalMixture(circular_array(4, 0.05), 16000)
    >>> mixture.peaks(torch.randn(1, 16000, 4), num_peaks=2).azimuth.shape
    torch.Size([1, 6, 2])
    """

    # Of a stream each is a tile of all bands.
    unit_frames, unit_step = _TILE_FRAMES, _TILE_STEP

    def __init__(self, microphones, fs, grid=None, *, window=0.032, **options):
        super().__init__(microphones, fs, grid, window=window, **options)
        self.step_frames = _TILE_STEP * max(
            1, round(self.step_frames / _TILE_STEP)
        )
        tiles = max(0, round((self.block_frames - _TILE_FRAMES) / _TILE_STEP))
        self.block_frames = _TILE_FRAMES + _TILE_STEP * tiles
        used = _farthest(self.microphones, MOST_MICROPHONES)
        self.register_buffer("used", used, persistent=False)
        self.register_buffer("steering", self._steering(), persistent=False)
        points = self.grid.directions
        coarse = _spread(points, _COARSE)
        reach = math.cos(math.radians(0.75 * _COARSE))
        cosine = points[coarse] @ points.T
        most = int((cosine > reach).sum(1).max())
        around = cosine.topk(most, dim=1).indices
        self.register_buffer("coarse", coarse, persistent=False)
        self.register_buffer("around", around, persistent=False)
        height = max(1, round(_TILE_BAND / (fs / self.n_fft)))
        bins = torch.arange(len(self.frequency))
        # What remains at the upper end joins the last tile.
        whole = max(height, len(bins) // height * height)
        self.tiles = [*bins[:whole].split(height)]
        self.tiles[-1] = bins[int(self.tiles[-1][0]) :]

    def evidence(self, spectra):
        """Likelihoods of all tiles, each with a mean of 1.

        Arguments
        ---------
        spectra : torch.Tensor
            Complex, [batch, bin, microphone, frame].

        Returns
        -------
        torch.Tensor
            [batch, step, tile, direction]; a step is half a tile.
        """
        frames = spectra[:, :, self.used]
        frames = frames.unfold(-1, _TILE_FRAMES, _TILE_STEP).transpose(2, 3)
        covariance = frames @ frames.mH
        power = covariance.diagonal(dim1=-2, dim2=-1).real.sum(-1)
        observed = self._observed(
            covariance / torch.where(power > 0, power, 1.0)[..., None, None]
        )
        found = []
        for bins in self.tiles:
            rest = 1.0
            for index in bins.tolist():
                explained = observed[:, index] @ self.steering[index]
                rest = rest * (1 - explained).clamp(min=_FLOOR)
            likelihood = rest.amin(-1, keepdim=True) / rest
            for _ in range(_SQUARINGS):
                likelihood = likelihood.square()
            found.append(likelihood / likelihood.mean(-1, keepdim=True))
        return torch.stack(found, dim=2)

    def units(self, spectra):
        """Likelihoods of all tiles, see ``BlockMaps.units``."""
        return self.evidence(spectra)

    def combine(self, units):
        """The same tiles: they know nothing of blocks."""
        return units

    def _steering(self):
        """What the observed terms explain, [bin, term, direction]."""
        number = len(self.used)
        pairs = microphone_pairs(number)
        delays = pair_delays(
            self.microphones[self.used], self.grid.directions, pairs, self.c
        )
        self.register_buffer("pairs", torch.tensor(pairs), persistent=False)
        angle = 2 * math.pi * self.frequency[:, None, None] * delays
        # The diagonal explains the same share of every direction.
        same = torch.full_like(angle[:, :1], 0.5)
        steering = torch.cat((angle.cos(), angle.sin(), same), dim=1)
        return 2 / number * steering

    def _observed(self, covariance):
        """[..., mic, mic] of trace 1 -> its terms, [..., term]."""
        first, second = self.pairs.T
        # Phase of the second microphone minus that of the first.
        cross = covariance[..., second, first]
        same = covariance.diagonal(dim1=-2, dim2=-1).real.sum(-1, keepdim=True)
        return torch.cat((cross.real, cross.imag, same), dim=-1)

    def maps(self, evidence):
        """Mean log-likelihood of one source, over the highest possible.

        Arguments
        ---------
        evidence : torch.Tensor
            From :meth:`evidence`.

        Returns
        -------
        torch.Tensor
            [batch, block, direction], at most 1.
        """
        score = (1 - _OUTLIERS) * evidence + _OUTLIERS
        score = score.log().mean(2) / math.log(len(self.grid))
        return self._blocks(score).mean(-1)

    def pick(self, evidence, num_peaks=1, min_separation=15.0):
        """Sources of the blocks, see ``BlockMaps.pick``.

        Arguments
        ---------
        evidence : torch.Tensor
            From :meth:`evidence`.
        num_peaks : int
            Sources wanted.
        min_separation : float
            Smallest angle between two of them, degrees.

        Returns
        -------
        tuple of torch.Tensor
            Unit vectors, [batch, block, num_peaks, 3]; and how much each adds
            to the mean log-likelihood, as a share of the highest possible.
        """
        near = self.grid.directions[self.coarse]
        near = near @ near.T > math.cos(math.radians(min_separation))
        tiles = self._blocks(evidence).permute(0, 1, 4, 2, 3)
        few = self._blocks(evidence[..., self.coarse]).permute(0, 1, 4, 2, 3)
        found = [
            self._pick_block(*block, near, num_peaks)
            for row in zip(tiles, few, strict=True)
            for block in zip(*row, strict=True)
        ]
        vectors, gains = (
            torch.stack(part).unflatten(0, tiles.shape[:2])
            for part in zip(*found, strict=True)
        )
        return vectors, gains

    def _blocks(self, values):
        """[batch, step, ...] -> [batch, block, ..., step of the block]."""
        return values.unfold(
            1,
            (self.block_frames - _TILE_FRAMES) // _TILE_STEP + 1,
            self.step_frames // _TILE_STEP,
        )

    def _pick_block(self, tiles, few, near, number):
        """Sources of a block: likelihoods [step, tile, all or few points]."""
        few, total = few.flatten(0, 1), len(self.grid)
        chosen = _choose(few, near, number)
        vectors, gains = [], []
        for place, source in enumerate(chosen):
            others = chosen[:place] + chosen[place + 1 :]
            beside = few[:, others].sum(1, keepdim=True)
            index = self.around[source]
            fine = tiles[..., index].flatten(0, 1)
            best = index[_score(fine, beside, len(chosen)).argmax()]
            index = torch.cat((best[None], self.grid.neighbours[best]))
            fine = tiles[..., index].flatten(0, 1)
            score = _score(fine, beside, len(chosen))
            vectors.append(self.grid.refine(index[0], score))
            without = (
                _score(0.0 * beside, beside, len(others)) if others else 0.0
            )
            gains.append((score[0] - without).reshape(()) / math.log(total))
        gains, order = torch.stack(gains).sort(descending=True)
        # Noise makes gains negative, but the best direction stays the best;
        # in silence no direction is.
        silent = gains.abs() < _NOTHING
        vectors = torch.stack(vectors)[order]
        vectors = vectors.masked_fill(silent[:, None], math.nan)
        gains = gains.clamp(0, 1)
        short = number - len(gains)
        pad = torch.nn.functional.pad
        return (
            pad(vectors, (0, 0, 0, short), value=math.nan),
            pad(gains, (0, short)),
        )

    def _numbers_a_block(self):
        bins, number = len(self.frequency), len(self.used)
        steps = self.step_frames // _TILE_STEP
        return max(
            super()._numbers_a_block(),
            2 * bins * steps * number * max(number, _TILE_FRAMES),
            4 * len(self.tiles) * steps * len(self.grid),
        )


def _farthest(microphones, most):
    """Indices of at most so many microphones far from each other, in order."""
    if len(microphones) <= most:
        return torch.arange(len(microphones))
    distances = torch.cdist(microphones, microphones)
    # Begins with the one farthest from the others.
    chosen = [int(distances.sum(1).argmax())]
    while len(chosen) < most:
        chosen.append(int(distances[chosen].amin(0).argmax()))
    return torch.tensor(sorted(chosen))


def _spread(points, degrees):
    """Indices of points that are about so many degrees apart."""
    limit = math.cos(math.radians(degrees))
    left = torch.ones(len(points), dtype=torch.bool)
    chosen = []
    while left.any():
        chosen.append(int(left.int().argmax()))
        left &= points @ points[chosen[-1]] < limit
    return torch.tensor(chosen)


def _score(likelihood, beside, number):
    """Mean log-likelihood over tiles [tile, point] of a source beside others.

    Likelihoods are of at most 1e4: products of eight are far from overflow.
    """
    mixed = (1 - _OUTLIERS) / number * (likelihood + beside) + _OUTLIERS
    total = len(mixed)
    for _ in range(3):
        half = len(mixed) // 2
        rest = mixed[2 * half :]
        mixed = torch.cat((mixed[:half] * mixed[half : 2 * half], rest))
    return mixed.log().sum(0) / total


def _choose(likelihood, near, number):
    """Points of [tile, point] that explain the tiles together."""
    chosen = []
    for turn in range(number * (1 + _ROUNDS)):
        # First one after the other, then each again beside the others.
        others = chosen if turn < number else chosen[1:]
        blocked = near[others].any(0)
        if blocked.all() or (number == 1 and turn):
            break
        beside = likelihood[:, others].sum(1, keepdim=True)
        score = _score(likelihood, beside, len(others) + 1)
        best = int(score.masked_fill(blocked, -math.inf).argmax())
        chosen = [*others, best]
    return chosen
