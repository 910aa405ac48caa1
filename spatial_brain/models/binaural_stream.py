"""Causal binaural separation block by block, with carried state.

Blocks of live sound are short, and most of the time would go into starting
operations. So both mask networks run side by side, in NumPy, whose operations
start sooner than PyTorch's, with frames before channels.
"""

import numpy as np
import torch

from spatial_brain.nnet.temporal_norms import EPS

# Frames worked on at once: bounds memory when blocks are long.
MOST_FRAMES = 128
NUM_EARS = 2


class BinauralStream:
    """Separates live sound; made by ``BinauralTasNet.stream()``.

    Together the answers to all blocks are what the network answers to the
    whole recording, up to rounding. A sample comes out when the last window
    of the encoder that covers it is full: ``latency`` samples after it went
    in, at most. Weights are those the network had when the stream was made.

    Arguments
    ---------
    network : spatial_brain.models.binaural_tasnet.BinauralTasNet
        Causal.

    Raises
    ------
    ValueError
        If the network is not causal.

    Example
    -------
    >>> from spatial_brain.models.binaural_tasnet import BinauralTasNet
    >>> network = BinauralTasNet(num_filters=8, bottleneck=4, hidden=8,
    ...     num_blocks=2, num_repeats=1, causal=True)
    >>> stream = network.stream()
    >>> [len(stream.push(torch.randn(n, 2))) for n in (15, 1, 7, 20)]
    [0, 8, 0, 24]
    >>> stream.flush().shape
    torch.Size([11, 2, 2])
    """

    def __init__(self, network):
        if not network.causal:
            raise ValueError(
                "this network hears the whole recording before it answers; "
                "live sound needs one that was trained with causal: True"
            )
        self.latency = network.latency
        self._kernel, self._stride = network.kernel_size, network.stride
        self._both = network.rule == "parallel"
        pairs = [
            (getattr(network, f"{part}L"), getattr(network, f"{part}R"))
            for part in ("encoder", "masknet", "decoder")
        ]
        encoders, networks, decoders = pairs
        # [encoder, tap, filter]
        self._analysis = _arrays(
            encoder.conv1d.weight[:, 0].T for encoder in encoders
        )
        synthesis = _arrays(decoder.weight[:, 0] for decoder in decoders)
        copies = 2 if self._both else 1
        # [ear, filter, tap]; filters of both ears are weighed and added.
        self._synthesis = np.concatenate([synthesis] * copies, 1)[:, None]
        self._masks = _MaskNets(networks)
        self.reset()

    def reset(self):
        """Forget everything heard; the next block begins a recording."""
        kind = self._analysis.dtype
        self._waiting = np.zeros((NUM_EARS, 0), kind)
        self._tail = None
        self._taken = self._given = 0
        self._masks.reset()

    def push(self, block):
        """Take what was recorded, give what can be said by now.

        Arguments
        ---------
        block : torch.Tensor
            [time, 2], left ear first, on the CPU, of any length.

        Returns
        -------
        torch.Tensor
            The next samples, [time, 2, source]; perhaps none.

        Raises
        ------
        ValueError
            For a wrong shape.
        """
        if block.ndim != 2 or block.shape[1] != NUM_EARS:
            raise ValueError(
                f"expected a block [time, {NUM_EARS} ears], got "
                f"{list(block.shape)}"
            )
        self._taken += len(block)
        block = (
            block.detach().cpu().numpy().astype(self._waiting.dtype, copy=False)
        )
        answer = self._work(block.T)
        self._given += len(answer)
        return torch.from_numpy(answer)

    def flush(self):
        """Give the rest of the recording, and begin a new one.

        Returns
        -------
        torch.Tensor
            [time, 2, source]: with all that was given as many samples as
            were taken.
        """
        missing = self._taken - self._given
        parts = []
        if 0 < self._taken < self._kernel:
            # Too short for one window: heard as if silence followed.
            silence = np.zeros((NUM_EARS, self._kernel - self._taken))
            parts.append(self._work(silence.astype(self._waiting.dtype)))
        if self._tail is not None:
            parts.append(self._tail.transpose(2, 0, 1))
        sources = self._masks.num_sources
        # Samples behind the last whole window are not heard.
        kind = self._waiting.dtype
        parts.append(np.zeros((missing, NUM_EARS, sources), kind))
        self.reset()
        return torch.from_numpy(np.concatenate(parts)[:missing])

    def _work(self, block):
        """Samples that are final after a block [ear, time]."""
        heard = np.concatenate((self._waiting, block), 1)
        count = (heard.shape[1] - self._kernel) // self._stride + 1
        if count <= 0:
            self._waiting = heard
            sources = self._masks.num_sources
            return np.zeros((0, NUM_EARS, sources), heard.dtype)
        self._waiting = heard[:, count * self._stride :].copy()
        windows = np.lib.stride_tricks.sliding_window_view(
            heard, self._kernel, 1
        )[:, :: self._stride]
        answers = [
            self._separate(windows[:, start : start + MOST_FRAMES])
            for start in range(0, count, MOST_FRAMES)
        ]
        return np.concatenate(answers)

    def _separate(self, windows):
        """Samples [time, ear, source] of windows [ear, frame, tap]."""
        # [ear, encoder, frame, filter]
        encoded = windows[:, None] @ self._analysis
        np.maximum(encoded, 0, out=encoded)
        (left, left_by_right), (right_by_left, right) = encoded
        if self._both:
            heard = np.stack(
                (
                    np.concatenate((left, right), -1),
                    np.concatenate((left_by_right, right_by_left), -1),
                )
            )
        else:
            heard = np.stack((left, right))
        masked = self._masks(heard)
        masked *= heard[:, None]
        return self._overlap(masked @ self._synthesis)

    def _overlap(self, pieces):
        """Add up pieces [ear, source, frame, tap]; keep what is not final."""
        ears, sources, count, kernel = pieces.shape
        stride = self._stride
        more = -(-kernel // stride) - 1
        total = np.zeros((ears, sources, count + more, stride), pieces.dtype)
        for j in range(more + 1):
            part = pieces[..., j * stride : (j + 1) * stride]
            total[:, :, j : j + count, : part.shape[-1]] += part
        total = total.reshape(ears, sources, -1)
        if self._tail is not None:
            total[..., : self._tail.shape[-1]] += self._tail
        final = count * stride
        self._tail = total[..., final : final + kernel - stride].copy()
        return total[..., :final].transpose(2, 0, 1)


class _MaskNets:
    """Mask networks of both ears, with their state."""

    def __init__(self, networks):
        self.num_sources = networks[0].num_sources
        self._norm = [
            _arrays(
                getattr(network.layer_norm, name)[0] for network in networks
            )
            for name in ("gamma", "beta")
        ]
        self._enter = _map(n.bottleneck_conv1x1 for n in networks)
        self._leave = _map(n.mask_conv1x1 for n in networks)
        self._blocks = [
            _Blocks(blocks)
            for blocks in zip(*(n.blocks for n in networks), strict=True)
        ]
        self._cumulative = networks[0].norm == "cLN"

    def reset(self):
        self._count = 0
        for block in self._blocks:
            block.reset()

    def __call__(self, x):
        """Masks [ear, source, frame, filter] of [ear, frame, filter]."""
        gamma, beta = self._norm
        x = (
            _normalize(x.copy(), *_frame_moments(x)) * gamma + beta
        ) @ self._enter
        frames = x.shape[1]
        hidden = self._blocks[0].hidden
        counts = None
        if self._cumulative:
            heard = self._count + np.arange(1.0, frames + 1)
            counts = heard * hidden, 1 / (heard * hidden)
            self._count += frames
        zero = np.zeros((len(x), frames, hidden), x.dtype)
        for block in self._blocks:
            block(x, counts, zero)
        masks = x @ self._leave
        np.maximum(masks, 0, out=masks)
        masks = masks.reshape(*x.shape[:2], self.num_sources, -1)
        return masks.transpose(0, 2, 1, 3)


class _Blocks:
    """The same temporal block of both networks, with its state."""

    def __init__(self, blocks):
        weights = [block.weights for block in blocks]

        def stacked(name):
            return _arrays(getattr(w, name) for w in weights)

        self.hidden = weights[0].taps.shape[0]
        self._widen = _map_of(stacked("widen"))
        # min(x, 0) times this is what a PReLU adds to x.
        self._bends = [
            np.repeat(stacked(f"slope_{i}") - 1, self.hidden, 1)[:, None]
            for i in (1, 2)
        ]
        self._ones = np.ones((self.hidden, 1), self._widen.dtype)
        self._gamma, self._beta = (
            stacked(name)[:, 0] for name in ("gamma_1", "beta_1")
        )
        # [ear, tap, channel]
        self._taps = stacked("taps")[:, :, 0].swapaxes(1, 2).copy()
        narrow = _map_of(stacked("narrow"))
        gamma, beta = (stacked(name)[:, 0] for name in ("gamma_2", "beta_2"))
        self._narrow = gamma.swapaxes(1, 2) * narrow
        self._bias = beta @ narrow
        self._dilation = blocks[0].dilation
        lag = self._dilation if blocks[0].extra_lag else 0
        self._reach = blocks[0].reach + lag
        self._past = np.zeros(
            (len(blocks), self._reach + 2 * MOST_FRAMES, self.hidden),
            self._taps.dtype,
        )

    def reset(self):
        self._past[:, : self._reach] = 0
        self._place = self._reach
        self._sums = np.zeros((2, 2, len(self._past), 1))

    def __call__(self, x, counts, zero):
        """Add to [ear, frame, channel] what the blocks find.

        ``counts`` are the numbers that the norms of each frame hear, and one
        over them; None if those of the frame. ``zero`` is nothing in the
        shape of the hidden channels: quicker to compare with than a number.
        """
        y = _bend(x @ self._widen, self._bends[0], zero)
        y = _normalize(y, *self._moments(y, 0, counts))
        y *= self._gamma
        y += self._beta
        y = _bend(self._convolve(y), self._bends[1], zero)
        x += _normalize(y, *self._moments(y, 1, counts)) @ self._narrow
        x += self._bias

    def _moments(self, y, which, counts):
        """Mean and one over the deviation for each frame."""
        if counts is None:
            return _frame_moments(y)
        found = np.empty((2, *y.shape[:2]))
        found[0] = (y @ self._ones)[..., 0]
        found[1] = (y[:, :, None] @ y[..., None])[..., 0, 0]
        if y.shape[1] > 1:
            np.add.accumulate(found, -1, out=found)
        found += self._sums[which]
        self._sums[which] = found[..., -1:]
        (total, spread), (count, share) = found, counts
        # The variance times the square of the count.
        spread *= count
        spread -= total * total
        np.maximum(spread, 0, out=spread)
        spread += count * count * EPS
        scale = count / np.sqrt(spread)
        total *= share
        return total.astype(y.dtype)[..., None], scale.astype(y.dtype)[
            ..., None
        ]

    def _convolve(self, y):
        """Dilated depthwise convolution of the past and the present."""
        count, reach = y.shape[1], self._reach
        if self._place + count > self._past.shape[1]:
            # Moved back seldom, rather than by each block.
            self._past[:, :reach] = self._past[
                :, self._place - reach : self._place
            ].copy()
            self._place = reach
        self._past[:, self._place : self._place + count] = y
        start = self._place - reach
        self._place += count
        ear, frame, channel = self._past.strides
        # What as_strided() gives, without its checks.
        view = np.ndarray(
            (len(y), count, *self._taps.shape[1:]),
            y.dtype,
            self._past,
            start * frame,
            (ear, frame, frame * self._dilation, channel),
        )
        return np.einsum("eftc,etc->efc", view, self._taps)


def _bend(x, bend, zero):
    """PReLU in place."""
    low = np.minimum(x, zero)
    low *= bend
    x += low
    return x


def _normalize(x, mean, scale):
    """Subtract and multiply in place."""
    x -= mean
    x *= scale
    return x


def _frame_moments(x):
    """Mean and one over the deviation over channels."""
    size = x.shape[-1]
    mean = np.add.reduce(x, -1, keepdims=True)
    mean /= size
    centred = x - mean
    variance = np.einsum("efc,efc->ef", centred, centred)[..., None]
    variance /= size
    variance += EPS
    return mean, 1 / np.sqrt(variance)


def _arrays(tensors):
    """Parameters of both networks as one array."""
    stacked = torch.stack([tensor.detach().cpu() for tensor in tensors])
    if stacked.dtype.itemsize < 4:
        stacked = stacked.float()
    return stacked.numpy().copy()


def _map(layers):
    """Linear maps [ear, input, output] of the layers of both networks."""
    return _map_of(_arrays(layer["conv"].weight for layer in layers))


def _map_of(weight):
    """[ear, output, input, 1] to [ear, input, output]."""
    return np.ascontiguousarray(weight[..., 0].swapaxes(1, 2))
