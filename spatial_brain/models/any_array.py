"""Network that localises talkers with any array of microphones.

The network reads no channel by its number. Cross spectra of all pairs of
microphones, weighted by a mask that is estimated from level and coherence and
by how far a frequency stands out of its own mean, are steered to a circle of
directions with the positions of the microphones, which gives each tile of time
and frequency a likelihood of every direction. An EM over the tiles of the last
seconds tells which directions explain them together; what follows are maps over
direction, band and time, the same for every array, and layers that are
equivariant to rotations of the array about the vertical.

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

# Error of a plane wave's steered power, at least: gains, positions, echoes.
_ERROR = 0.02
# Share of the tiles that no direction explains.
_LEAST = 0.1


@loadable
class AnyArrayNetwork(nn.Module):
    """Probability of a talker for each azimuth and frame, from any array.

    Per frame and frequency the cross spectra of all pairs, phases alone, are
    averaged over ``pool`` frames with a mask of a GRU, and steered: the steered
    power r (PHAT-weighted, as in SRP-PHAT) is 1 for a plane wave that is alone.
    Tiles of ``tile`` frequencies have a log likelihood of each direction, the
    sum of their r and of their -log(1 - r) (Boehme, 1986, the level of the
    noise concentrated out), with learned weights. How much each direction has
    of the tiles of the last ``memory`` frames is found by EM, a step a frame.
    The steered power, the votes of the tiles and their votes with these shares
    as prior, averaged over bands of frequency, over a frame and over seconds,
    go with the shares through residual blocks that are causal in time and
    circular in azimuth.

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
    tile : int
        Frequencies of a tile, which is an output frame long.
    memory : int
        Output frames over whose tiles the shares of directions are found.
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
        tile=8,
        memory=64,
        mask_size=64,
        channels=48,
        dilations=(1, 2, 4, 8, 1),
    ):
        super().__init__()
        self.sample_rate, self.n_fft, self.hop = sample_rate, n_fft, hop
        self.pool, self.frame_length = pool, pool * hop
        self.tile, self.memory = tile, memory
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
        # Of r and of -log(1 - r), in each band.
        self.sharpness = nn.Parameter(
            torch.tensor([[-0.4], [0.5]]).repeat(1, num_mask_bands)
        )
        # Of more microphones likelihoods are sharper.
        self.growth = nn.Parameter(torch.tensor(0.7))
        self.averages = nn.Parameter(torch.tensor([2.0, 3.5]))
        maps = 3 * num_bands * 3 + 2 * num_bands + 2
        self.input = nn.Linear(maps, channels)
        self.blocks = nn.ModuleList(
            _Block(channels, num_directions, dilation) for dilation in dilations
        )
        self.output = nn.Linear(channels, 1)
        self.shares = nn.Parameter(torch.tensor(1.0))

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
        cells = [
            self._spectra(waveform, array, state, index)
            for index, (waveform, array) in enumerate(
                zip(waveforms, arrays, strict=True)
            )
        ]
        power = torch.stack([cell[1] for cell in cells])
        coherence = torch.stack([cell[2] for cell in cells])
        mask = self._mask(power, coherence, state)
        steered = [
            self._steered(cell[0], one, array)
            for cell, one, array in zip(cells, mask, arrays, strict=True)
        ]
        highest, scores = map(torch.stack, zip(*steered, strict=True))
        resolution = torch.stack([array[2] for array in arrays])
        maps = self._maps(highest, scores, mask, resolution, state)
        signal = _each(self.input, maps)
        shares = maps[-1]
        for index, block in enumerate(self.blocks):
            signal = block(signal, state, ("block", index))
        return _each(self.output, signal)[0] + self.shares * shares

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

    def _steered(self, cross, mask, array):
        """Steered power of frequencies, and scores of tiles.

        Powers are the highest of all elevations, [frame, frequency, direction];
        scores are [frame, tile, elevation, direction].
        """
        pairs = len(cross)
        weighted = (cross * mask).unflatten(1, (-1, self.pool)).mean(2)
        flat = torch.cat([weighted.real, weighted.imag]).permute(2, 1, 0)
        power = torch.bmm(flat / pairs, array[1])  # frequency, frame, steered
        count = (1 + math.sqrt(1 + 8 * pairs)) / 2
        bands = self.mask_bands / self.mask_bands.sum(1, keepdim=True)
        sharp = F.softplus(self.sharpness @ bands.T)
        sharp = (sharp * (count - 1) ** self.growth)[..., None, None]
        alone = -(1 + _ERROR - power.clamp(max=1)).log()
        scores = self._tiles(sharp[0] * power + sharp[1] * alone)
        size = len(self.azimuths)
        scores = scores.unflatten(2, (-1, size)).transpose(0, 1)
        power = power.unflatten(2, (-1, size)).amax(2)
        return power.transpose(0, 1), scores

    def _tiles(self, values):
        """Sums over the frequencies of tiles; they come first."""
        short = -len(values) % self.tile
        values = F.pad(values, (0, 0) * (values.ndim - 1) + (0, short))
        return values.unflatten(0, (-1, self.tile)).sum(1)

    def _maps(self, highest, scores, mask, resolution, state):
        """Maps over direction, [map, batch, frame, direction]."""
        size = len(self.azimuths)
        likelihood = (scores - scores.amax((3, 4), keepdim=True)).exp().mean(3)
        weight = mask.unflatten(1, (-1, self.pool)).mean(2)
        share = weight[..., None] * self.bands  # batch, frame, frequency, band
        share = self._tiles(share.movedim(2, 0)).movedim(0, 2)
        used = self._tiles(weight.movedim(2, 0)).movedim(0, 2)
        prior = self._shares(likelihood, used, state)
        vote = likelihood / likelihood.sum(3, keepdim=True)
        second = likelihood * prior[:, :, None]
        second = second / second.sum(3, keepdim=True)
        votes = share.mT @ torch.cat([vote, second], dim=3) * (size / 8)
        maps = [self.bands.T @ highest, *votes.split(size, 3)]
        maps = torch.cat(maps, dim=2).permute(2, 0, 1, 3)
        total = share.sum(2).permute(2, 0, 1)[..., None].repeat(3, 1, 1, 1)
        least = 0.05 * self.bands.sum(0).repeat(3)[:, None, None, None]
        results = [maps / (total + least)]
        for number, logit in enumerate(self.averages):
            decay = logit.sigmoid()[None]
            upper = _running_average(maps, decay, state, ("maps", number))
            lower = _running_average(total, decay, state, ("sum", number))
            results.append(upper / (lower + least))
        count = len(self.bands[0])
        whole = self.bands.sum(0)[:, None, None, None]
        shape = (-1, *prior.shape)
        resolution = resolution.transpose(0, 1)[:, :, None]
        return torch.cat([
            *results,
            (total[:count] / whole).expand(shape),
            resolution.expand(shape),
            torch.stack([prior * (size / 8), (prior * size).log()]),
        ])  # fmt: skip

    def _shares(self, likelihood, weight, state):
        """How much each direction has of the tiles of the last frames.

        Likelihoods are [batch, frame, tile, direction], weights [batch, frame,
        tile]; the result is [batch, frame, direction], not below ``_LEAST``
        of an even share. Of two EM steps of each frame the first begins with
        what was found a frame before; gradients are those of the second.
        """
        frames = likelihood.shape[1]
        past = state.get("tiles")
        if past is not None:
            likelihood = torch.cat([past[0], likelihood], dim=1)
            weight = torch.cat([past[1], weight], dim=1)
        state["tiles"] = [
            one[:, -self.memory + 1 :] for one in (likelihood, weight)
        ]
        first = self._first_step(likelihood, weight, frames, state)
        step, count = likelihood.shape[2], likelihood.shape[1]
        frame = torch.arange(count, device=weight.device)
        lag = frame[-frames:, None] - frame.repeat_interleave(step)
        used = (lag >= 0) & (lag < self.memory)
        tiles, amount = likelihood.flatten(1, 2), weight.flatten(1)[:, None]
        each = used * amount / (first @ tiles.mT)  # batch, frame, tile
        return _even(first * (each @ tiles))

    @torch.no_grad()
    def _first_step(self, likelihood, weight, frames, state):
        """Shares, one EM step a frame, [batch, frame, direction]."""
        batch, count, step, size = likelihood.shape
        tiles, amount = likelihood.flatten(1, 2), weight.flatten(1)[:, None]
        current = state.get("shares")
        if current is None:
            current = tiles.new_full((batch, 1, size), 1 / size)
        found = []
        for last in range(count - frames + 1, count + 1):
            part = slice(step * max(0, last - self.memory), step * last)
            mine = tiles[:, part]
            votes = (amount[..., part] / (current @ mine.mT)) @ mine
            current = _even(current * votes)
            found.append(current)
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


def _even(votes):
    """Shares of directions that have votes, none below the least."""
    votes = votes + 1e-6 / votes.shape[-1]
    votes = votes / votes.sum(-1, keepdim=True)
    return (1 - _LEAST) * votes + _LEAST / votes.shape[-1]


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
