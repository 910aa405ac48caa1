"""Network that localises talkers with any array of microphones.

The network reads no channel by its number. Cross spectra of all pairs of
microphones, weighted by a mask that is estimated from level and coherence and
by how far a frequency stands out of its own mean, are steered to a circle of
directions with the positions of the microphones; what follows are maps over
direction, band and time, the same for every array, and layers that are
equivariant to rotations of the array about the vertical. What they find is
averaged with what expectation maximization (EM) finds in the masked cells:
which directions together explain the last second.

Everything is causal and has a state: a recording in one piece and chunk by
chunk give the same output.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from spatial_brain.geometry import SPEED_OF_SOUND, azel_to_unit
from spatial_brain.loadable import loadable

__all__ = ["AnyArrayNetwork", "AnyArrayStream"]

# Frequencies of a tile, which is an output frame long, and the least error of
# a plane wave's steered power (gains, positions, echoes), as in LocalMixture.
_TILE = 8
_ERROR = 0.02
# Output frames over whose tiles shares of directions are found, 1 s; weight of
# a tile's log likelihoods; share of the tiles that no direction explains.
# Chosen on simulated rooms with the speakers of the validation.
_MEMORY = 16
_SHARP = 24.0
_LEAST = 0.05


@loadable
class AnyArrayNetwork(nn.Module):
    """Probability of a talker for each azimuth and frame, from any array.

    Per frame and frequency the cross spectra of all pairs, phases alone, are
    averaged over ``pool`` frames with a mask of a GRU, and steered:
    the steered power (PHAT-weighted, as in SRP-PHAT), its softmax over
    directions (a vote of each time-frequency cell, as in the first step of an
    EM over directions), and the softmax with what was before as prior (the
    second). Their averages over bands of frequency, over a frame and over
    seconds, go through residual blocks that are causal in time and circular in
    azimuth.

    In evaluation mode the logits are the mean of those of the blocks and of
    what each direction has of the last second: masked cells of ``_TILE``
    frequencies are tiles whose log likelihood of a direction is the sum of
    -log(1 - r), r the steered power, 1 of a plane wave that is alone (Boehme,
    1986, the level of the noise concentrated out), and EM steps find the
    shares that the directions have of all tiles. A weak talker beside a loud
    one has tiles of its own, but no peak of the sum. Training is of the mask
    and the blocks alone.

    Arguments
    ---------
    sample_rate : int
        Of the waveforms, Hz.
    n_fft, hop : int
        Frames of the spectra, samples.
    pool : int
        Frames an output frame averages: one output every ``pool * hop``.
    num_directions : int
        Azimuths, evenly on the circle, from -180 degrees on.
    elevations : sequence of float
        Elevations that are steered to, degrees.
    band : tuple of float
        Lowest and highest frequency that is used, Hz.
    num_bands : int
        Overlapping bands of the maps, even on the mel scale.
    num_mask_bands : int
        The same of the mask.
    mask_size : int
        Hidden size of the GRU of the mask.
    channels : int
        Of the residual blocks.
    dilations : sequence of int
        One residual block each: frames between its taps in time.

    Example
    -------
    >>> import torch
    >>> network = AnyArrayNetwork(channels=8, dilations=(1,)).eval()
    >>> positions = torch.tensor([[0.05, 0, 0], [-0.05, 0, 0], [0, 0.05, 0]])
    >>> with torch.no_grad():
    ...     logits = network(torch.randn(1, 16000, 3), positions[None])
    >>> logits.shape  # [batch, frame, direction]
    torch.Size([1, 15, 72])
    >>> network.frame_length, network.azimuths[:3].tolist()
    (1024, [-180.0, -175.0, -170.0])
    """

    def __init__(
        self,
        sample_rate=16000,
        n_fft=512,
        hop=256,
        pool=4,
        num_directions=72,
        elevations=(0.0, 30.0),
        band=(100.0, 7000.0),
        num_bands=10,
        num_mask_bands=32,
        mask_size=64,
        channels=48,
        dilations=(1, 2, 4, 8, 1),
    ):
        super().__init__()
        self.sample_rate, self.n_fft, self.hop = sample_rate, n_fft, hop
        self.pool, self.frame_length = pool, pool * hop
        self.first, self.last = (
            math.ceil(band[0] * n_fft / sample_rate),
            math.floor(band[1] * n_fft / sample_rate) + 1,
        )
        frequencies = torch.arange(self.first, self.last) * sample_rate / n_fft
        azimuths = -180 + torch.arange(num_directions) * 360 / num_directions
        directions = torch.stack([
            azel_to_unit(azimuths, torch.full_like(azimuths, elevation))
            for elevation in elevations
        ])  # fmt: skip
        for name, value in {
            "frequencies": frequencies,
            "azimuths": azimuths,
            "directions": directions.float(),
            "window": torch.hann_window(n_fft),
            "bands": _mel_bands(frequencies, num_bands),
            "mask_bands": _mel_bands(frequencies, num_mask_bands),
        }.items():
            self.register_buffer(name, value, persistent=False)
        self.mask = nn.GRU(3 * num_mask_bands, mask_size, batch_first=True)
        self.contrast = nn.Parameter(torch.full((num_mask_bands,), 3.0))
        self.mask_output = nn.Linear(mask_size, num_mask_bands)
        self.sharpness = nn.Parameter(torch.full((num_mask_bands,), 3.0))
        self.averages = nn.Parameter(torch.tensor([2.0, 3.5]))
        maps = 3 * num_bands * 3 + 2 * num_bands
        self.input = nn.Linear(maps, channels)
        self.blocks = nn.ModuleList(
            _Block(channels, num_directions, dilation) for dilation in dilations
        )
        self.output = nn.Linear(channels, 1)

    def forward(self, waveforms, positions, num_mics=None):
        """Logits of a talker at each azimuth.

        Arguments
        ---------
        waveforms : torch.Tensor
            [batch, time, microphone].
        positions : torch.Tensor
            Of the microphones, [batch, microphone, 3], metres; only
            differences matter.
        num_mics : sequence of int
            Microphones of each item of the batch; those after them are
            padding (default: all).

        Returns
        -------
        torch.Tensor
            [batch, frame, direction]; frame k ends with sample
            (k + 1) * ``frame_length``.

        Raises
        ------
        ValueError
            If the waveforms are shorter than a frame, or an item has one
            microphone alone.
        """
        if waveforms.shape[1] < self.frame_length:
            raise ValueError(
                f"{waveforms.shape[1]} samples are shorter than one frame of "
                f"{self.frame_length}"
            )
        if num_mics is None:
            num_mics = [waveforms.shape[2]] * len(waveforms)
        arrays = [
            self.steer(place[:count])
            for place, count in zip(positions, num_mics, strict=True)
        ]
        whole = waveforms.shape[1] // self.frame_length * self.frame_length
        state, logits = {}, []
        # In pieces, so that an hour needs no more memory than seconds.
        for piece in waveforms[:, :whole].split(64 * self.frame_length, 1):
            waveform = [
                one[:, :count]
                for one, count in zip(piece, num_mics, strict=True)
            ]
            logits.append(self._advance(waveform, arrays, state))
        return torch.cat(logits, dim=1)

    def stream(self, positions):
        """Start to localise chunk by chunk.

        Arguments
        ---------
        positions : torch.Tensor
            [microphone, 3], metres.

        Returns
        -------
        AnyArrayStream
            Takes chunks, returns logits.
        """
        return AnyArrayStream(self, positions)

    def steer(self, positions):
        """What depends on the array alone: its steering table and resolution.

        Arguments
        ---------
        positions : torch.Tensor
            [microphone, 3], metres.

        Returns
        -------
        tuple
            Indices of the pairs [2, pair]; table [frequency, 2 * pair,
            elevation * direction] of cosines and sines of the phases of a
            plane wave; the resolution [band, direction].

        Raises
        ------
        ValueError
            With fewer than two microphones.
        """
        count = len(positions)
        if count < 2:
            raise ValueError(
                f"{count} microphone has no direction: at least two are needed"
            )
        pairs = torch.triu_indices(count, count, 1, device=positions.device)
        baseline = positions[pairs[0]] - positions[pairs[1]]
        with torch.autocast(baseline.device.type, enabled=False):
            lead = baseline.float() @ self.directions.flatten(0, 1).T
            phase = (2 * math.pi / SPEED_OF_SOUND) * lead
            phase = self.frequencies[:, None, None] * phase
            table = torch.cat([phase.cos(), phase.sin()], dim=1)
            return pairs, table, self._resolution(table)

    def _resolution(self, table):
        """How much of a source leaks into its neighbourhood, per band."""
        step, size = 4, len(self.azimuths)
        flat = table[::step, :, :size]
        leak = flat.transpose(1, 2) @ flat / (flat.shape[1] / 2)
        index = torch.arange(size, device=table.device)
        distance = (index - index[:, None]).abs()
        near = torch.minimum(distance, size - distance) <= size // 24
        near = near / near.sum(1, keepdim=True)
        weight = self.bands[::step]
        weight = weight / weight.sum(0).clamp_min(1e-6)
        return torch.einsum("fgh,gh,fb->bg", leak, near, weight)

    def _advance(self, waveforms, arrays, state):
        """Logits of the frames that are whole; ``state`` moves on."""
        # What a steered power lacks of 1 counts: float32, under autocast too.
        with torch.autocast(waveforms[0].device.type, enabled=False):
            maps, shares = self._evidence(waveforms, arrays, state)
        signal = _each(self.input, maps)
        for index, block in enumerate(self.blocks):
            signal = block(signal, state, ("block", index))
        logits = _each(self.output, signal)[0]
        if self.training:
            return logits
        return (logits + (shares * len(self.azimuths)).log()) / 2

    def _evidence(self, waveforms, arrays, state):
        """Maps [map, batch, frame, direction], and shares of directions.

        Shares are [batch, frame, direction]; None in training.
        """
        cells = [
            self._spectra(waveform, array, state, index)
            for index, (waveform, array) in enumerate(
                zip(waveforms, arrays, strict=True)
            )
        ]
        power = torch.stack([cell[1] for cell in cells])
        coherence = torch.stack([cell[2] for cell in cells])
        mask = self._mask(power, coherence, state)
        found = [
            self._maps(cell[0], mask[index], array, state, index)
            for index, (cell, array) in enumerate(
                zip(cells, arrays, strict=True)
            )
        ]
        maps, scores = zip(*found, strict=True)
        shares = None
        if not self.training:
            shares = self._shares(torch.stack(scores), mask, state)
        return torch.stack(maps, dim=1), shares

    def _spectra(self, waveform, array, state, index):
        """Phases of all pairs, and level and coherence in the mask's bands."""
        past = state.get(("past", index))
        if past is None:
            past = waveform.new_zeros(self.n_fft - self.hop, waveform.shape[1])
        waveform = torch.cat([past, waveform])
        state["past", index] = waveform[-(self.n_fft - self.hop) :]
        spectra = torch.fft.rfft(
            waveform.T.unfold(-1, self.n_fft, self.hop) * self.window
        )[..., self.first : self.last]
        size = spectra.abs()
        power = size.square().mean(0)
        phases = spectra / (size + 1e-9)
        first, second = array[0]
        cross = phases[first] * phases[second].conj()  # pair, frame, frequency
        # Over few bins alone: the phases turn with frequency.
        near = cross.unflatten(1, (-1, self.pool)).mean(2)
        near = (near[..., 1:] + near[..., :-1]).abs().mean(0) / 2
        near = F.pad(near, (0, 1)) @ self.mask_bands / self.mask_bands.sum(0)
        return cross, power, near

    def _mask(self, power, coherence, state):
        """Weight of each frame and frequency, [batch, frame, frequency].

        A band's weight from the GRU, and how far a frequency is above its own
        mean of seconds: harmonics of speech that stand out of noise.
        """
        bins = (power + 1e-10).log10()
        level = (power @ self.mask_bands + 1e-10).log10()
        decay = power.new_tensor([0.995])
        usual = [
            _running_average(one[None], decay, state, name)[0]
            for name, one in (
                ("bins", bins),
                ("level", level),
                ("count", torch.ones_like(level[..., :1])),
            )
        ]
        bins = bins - usual[0] / usual[2]
        mean = usual[1] / usual[2]
        coherence = 4 * coherence.repeat_interleave(self.pool, 1) - 2
        inputs = [level - mean.mean(2, keepdim=True), level - mean, coherence]
        hidden, state["mask"] = self.mask(
            torch.cat(inputs, dim=2), state.get("mask")
        )
        bands = self.mask_bands / self.mask_bands.sum(1, keepdim=True)
        logit = (self.mask_output(hidden) + 1) @ bands.T
        return (logit + F.softplus(bands @ self.contrast) * bins).sigmoid()

    def _maps(self, cross, mask, array, state, index):
        """Maps over direction, [map, frame, direction]; scores of tiles.

        Scores are [frame, tile, elevation, direction]; None in training.
        """
        _, table, resolution = array
        size, pairs = len(self.azimuths), len(cross)
        count = (1 + math.sqrt(1 + 8 * pairs)) / 2
        weighted = (cross * mask).unflatten(1, (-1, self.pool)).sum(2)
        weight = mask.unflatten(0, (-1, self.pool)).sum(1)  # frame, frequency
        flat = torch.cat([weighted.real, weighted.imag]).permute(2, 1, 0)
        flat = flat / ((weight.T[..., None] + 1e-3) * pairs)
        steered = torch.bmm(flat, table)  # frequency, frame, elevation * size
        bands = self.mask_bands / self.mask_bands.sum(1, keepdim=True)
        sharp = F.softplus(bands @ self.sharpness) * (count - 1)
        scores = sharp[:, None, None] * steered
        vote = _votes(scores, size)
        tiles = None
        if not self.training:
            tiles = self._tile_scores(steered, weight, size)
        # frame, band, frequency
        share = weight[:, None] * self.bands.T
        total = share.sum(2).T[None, ..., None]  # 1, band, frame, 1
        whole = self.pool * self.bands.sum(0)[None, :, None, None]
        broad = (vote * weight.T[..., None]).sum(0)[None, None]
        slow = self.averages[1:].sigmoid()
        amount = weight.sum(1)[None, None, :, None] + 1e-3
        prior = _running_average(broad, slow, state, ("prior", index))
        amount = _running_average(amount, slow, state, ("amount", index))
        prior = 0.9 * prior[0, 0] / amount[0, 0] + 0.1 / size
        prior = prior.log().repeat(1, scores.shape[2] // size)
        second = _votes(scores + prior, size)
        highest = steered.unflatten(2, (-1, size)).amax(2)
        maps = torch.cat([highest, vote * (size / 8), second * (size / 8)], 2)
        maps = torch.bmm(share, maps.transpose(0, 1))
        maps = maps.unflatten(2, (3, size)).permute(2, 1, 0, 3)
        results = [maps / (total + 0.05 * whole)]
        for number, logit in enumerate(self.averages):
            decay, key = logit.sigmoid()[None], (number, index)
            upper = _running_average(maps, decay, state, ("maps", key))
            lower = _running_average(total, decay, state, ("sum", key))
            results.append(upper / (lower + 0.05 * whole))
        shape = (-1, maps.shape[2], size)
        maps = torch.cat([
            *(result.flatten(0, 1) for result in results),
            (total / whole)[0].expand(shape),
            resolution[:, None].expand(shape),
        ])  # fmt: skip
        return maps, tiles

    def _tile_scores(self, steered, weight, size):
        """Log likelihoods of tiles, [frame, tile, elevation, direction]."""
        power = steered * ((weight.T[..., None] + 1e-3) / self.pool)
        scores = _tiles(-(1 + _ERROR - power.clamp(max=1)).log())
        return _SHARP * scores.unflatten(2, (-1, size)).transpose(0, 1)

    def _shares(self, scores, mask, state):
        """What each direction has of the tiles, [batch, frame, direction].

        Two EM steps a frame; the first begins with what was found a frame
        before.
        """
        likelihood = (scores - scores.amax((3, 4), keepdim=True)).exp().mean(3)
        weight = mask.unflatten(1, (-1, self.pool)).mean(2)
        weight = _tiles(weight.movedim(2, 0)).movedim(0, 2)
        frames = weight.shape[1]
        past = state.get("tiles")
        if past is not None:
            likelihood = torch.cat([past[0], likelihood], dim=1)
            weight = torch.cat([past[1], weight], dim=1)
        state["tiles"] = [one[:, 1 - _MEMORY :] for one in (likelihood, weight)]
        batch, count, step, size = likelihood.shape
        current = state.get("shares")
        if current is None:
            current = likelihood.new_full((batch, 1, size), 1 / size)
        tiles, weight = likelihood.flatten(1, 2), weight.flatten(1)[:, None]
        found = []
        for last in range(count - frames + 1, count + 1):
            part = slice(step * max(0, last - _MEMORY), step * last)
            current = _em_step(current, tiles[:, part], weight[..., part])
            found.append(_em_step(current, tiles[:, part], weight[..., part]))
        state["shares"] = current
        return torch.cat(found, dim=1)


class AnyArrayStream:
    """The network chunk by chunk, with its state.

    Arguments
    ---------
    network : AnyArrayNetwork
        In evaluation mode.
    positions : torch.Tensor
        [microphone, 3], metres.

    Example
    -------
    >>> import torch
    >>> network = AnyArrayNetwork(channels=8, dilations=(1,)).eval()
    >>> stream = network.stream(torch.tensor([[0.05, 0, 0], [-0.05, 0, 0]]))
    >>> [len(stream.push(torch.randn(700, 2))) for _ in range(4)]
    [0, 1, 1, 0]
    """

    def __init__(self, network, positions):
        self.network = network
        self.array = network.steer(positions)
        self.num_mics = len(positions)
        self.state = {}
        self.rest = None

    @torch.no_grad()
    def push(self, chunk):
        """Take a chunk; logits of the frames that are now whole.

        Arguments
        ---------
        chunk : torch.Tensor
            [time, microphone], of any length.

        Returns
        -------
        torch.Tensor
            [frame, direction].

        Raises
        ------
        ValueError
            If the chunk has another number of channels than the array.
        """
        if chunk.ndim != 2 or chunk.shape[1] != self.num_mics:
            raise ValueError(
                f"a chunk is [time, microphone] of {self.num_mics} "
                f"microphones, this one is {list(chunk.shape)}"
            )
        if self.rest is not None:
            chunk = torch.cat([self.rest, chunk])
        whole = len(chunk) // self.network.frame_length
        whole *= self.network.frame_length
        self.rest = chunk[whole:]
        if not whole:
            return chunk.new_zeros(0, len(self.network.azimuths))
        return self.network._advance([chunk[:whole]], [self.array], self.state)[
            0
        ]


class _Block(nn.Module):
    """Residual block: causal in time, circular in azimuth."""

    def __init__(self, channels, num_directions, dilation):
        super().__init__()
        self.dilation = dilation
        self.norm = nn.Parameter(torch.ones(channels))
        self.before = nn.Linear(channels, channels)
        self.memory = nn.Parameter(torch.linspace(0.5, 4.5, channels))
        tap = torch.zeros(3, channels)
        tap[0], tap[2, ::2] = 1.0, 0.5
        self.tap = nn.Parameter(tap)
        around = torch.randn(channels, num_directions) / num_directions**0.5
        self.around = nn.Parameter(around * 0.3)
        self.everywhere = nn.Linear(2 * channels, channels)
        self.inside = nn.Linear(channels, 2 * channels)
        self.after = nn.Linear(2 * channels, channels)

    def forward(self, signal, state, key):
        """[channel, batch, frame, direction], the same shape."""
        size = signal.square().mean(0, keepdim=True)
        inner = signal * (size + 1e-5).rsqrt() * _fit(self.norm)
        inner = _each(self.before, inner)
        past = state.get((key, "past"))
        if past is None:
            past = F.pad(inner[:, :, :0], (0, 0, self.dilation, 0))
        longer = torch.cat([past, inner], dim=2)
        state[key, "past"] = longer[:, :, -self.dilation :]
        average = _running_average(
            inner, self.memory.sigmoid(), state, (key, "memory")
        )
        current, before, slow = (_fit(tap) for tap in self.tap)
        earlier = longer[:, :, : inner.shape[2]]
        inner = current * inner + before * earlier + slow * average
        everywhere = torch.cat([inner.mean(3), inner.amax(3)])
        everywhere = _each(self.everywhere, everywhere)[..., None]
        around = inner.flatten(1, 2) @ _circulant(self.around)
        inner = around.view_as(inner) + everywhere
        return signal + _each(self.after, F.gelu(_each(self.inside, inner)))


def _fit(weight):
    """One weight a channel, to multiply [channel, batch, frame, direction]."""
    return weight[:, None, None, None]


def _each(linear, signal):
    """A linear layer over the channels, which come first."""
    flat = torch.addmm(linear.bias[:, None], linear.weight, signal.flatten(1))
    return flat.view(-1, *signal.shape[1:])


def _circulant(kernel):
    """Matrices of a circular convolution, [channel, direction, direction]."""
    size = kernel.shape[1]
    index = torch.arange(size, device=kernel.device)
    return kernel[:, (index - index[:, None]) % size]


def _votes(scores, size):
    """Softmax over all directions, elevations summed."""
    return scores.softmax(2).unflatten(2, (-1, size)).sum(2)


def _tiles(values):
    """Sums over the frequencies of tiles; they come first."""
    short = -len(values) % _TILE
    values = F.pad(values, (0, 0) * (values.ndim - 1) + (0, short))
    return values.unflatten(0, (-1, _TILE)).sum(1)


def _em_step(shares, likelihood, weight):
    """Shares of directions [batch, 1, direction] from those before.

    Likelihoods are [batch, tile, direction], weights [batch, 1, tile].
    """
    votes = (weight / (shares @ likelihood.mT)) @ likelihood
    votes = shares * votes + 1e-6 / shares.shape[2]
    votes = votes / votes.sum(2, keepdim=True)
    return (1 - _LEAST) * votes + _LEAST / shares.shape[2]


def _mel_bands(frequencies, count):
    """Triangular bands, even on the mel scale, [frequency, band]."""
    mel = 2595 * torch.log10(1 + frequencies / 700)
    centres = torch.linspace(mel[0], mel[-1], count)
    width = (mel[-1] - mel[0]) / (count - 1)
    return (1 - (mel[:, None] - centres).abs() / width).clamp_min(0)


def _running_average(signal, decay, state, key):
    """Exponential average over time of [channel, batch, frame, direction].

    The decay, one or one a channel, is that of a frame; as a product with a
    triangular matrix, which a state from before makes exact for any division.
    """
    frames = torch.arange(signal.shape[2], device=signal.device)
    lag = (frames[:, None] - frames).clamp_min(0)
    decay = decay[:, None, None, None]
    matrix = ((1 - decay) * decay**lag).tril()
    result = matrix @ signal
    past = state.get(key)
    if past is not None:
        result = result + decay ** (frames[:, None] + 1) * past
    state[key] = result[:, :, -1:]
    return result
