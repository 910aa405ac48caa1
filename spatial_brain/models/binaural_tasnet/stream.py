"""Causal binaural separation block by block, with carried state.

Blocks of live sound are short, and most of the time would go into starting
operations. So what is done with a block is one compiled function.
"""

import numpy as np
import torch

from spatial_brain.models.binaural_tasnet.interaural_cues import (
    ABSOLUTE_FLOOR,
    RELATIVE_FLOOR,
)

NUM_EARS = 2


class BinauralStream:
    """Separates live sound; made by ``BinauralTasNet.stream()``.

    Together the outputs for all blocks are the network's output for the
    whole recording, up to rounding. A sample comes out when the last window
    of the encoder that covers it is full: ``latency`` samples after it went
    in, at most. Weights are those the network had when the stream was made;
    numbers are in single precision, sums of cumulative norms in double.

    The work is done by one core, in compiled code. The first stream ever made
    on a machine takes some seconds to compile it, so that no block waits; later
    ones, in other processes too, find it in numba's cache.

    Arguments
    ---------
    network : spatial_brain.models.binaural_tasnet.BinauralTasNet
        Causal.

    Raises
    ------
    ValueError
        If the network is not causal.
    ImportError
        Without numba, which some kinds of processors lack.

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
                "this network needs the whole recording before its first "
                "output; live sound needs one trained with causal: True"
            )
        kernels = _kernels()
        self._separate, self._cues = kernels.separate, ()
        # Samples before the encoder's window that the cues need.
        self._before = 0
        if network.rule == "joint":
            self._separate = kernels.separate_jointly
            self._cues = (kernels.CueWeights(**_cue_weights(network.cues)),)
            self._before = network.cues.window_length - network.kernel_size
        self.latency = network.latency
        self._kernel, self._stride = network.kernel_size, network.stride
        self._sources = network.num_sources
        self._cumulative = network.norm == "cLN"
        self._weights = kernels.Weights(**_weights(network))
        self._state = kernels.State(**_state(network))
        self.reset()
        # Compiles, or loads what was compiled before.
        self._work(np.zeros((NUM_EARS, self._kernel), np.float32))
        self.reset()

    def reset(self):
        """Forget all input; the next block begins a recording."""
        self._waiting = np.zeros((NUM_EARS, 0), np.float32)
        self._past = np.zeros((NUM_EARS, self._before), np.float32)
        self._tail = np.zeros((NUM_EARS, self._sources, 0), np.float32)
        self._taken = self._given = self._count = 0
        self._state.past[:] = 0
        self._state.sums[:] = 0

    def push(self, block):
        """Take a block of the recording, give the samples that are final.

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
        block = block.detach().cpu().numpy().astype(np.float32, copy=False)
        output = self._work(block.T)
        self._given += len(output)
        return torch.from_numpy(output)

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
            # Too short for one window: as if silence followed.
            silence = np.zeros((NUM_EARS, self._kernel - self._taken))
            parts.append(self._work(silence.astype(np.float32)))
        parts.append(self._tail.transpose(2, 0, 1))
        # Samples behind the last whole window are not separated.
        parts.append(np.zeros((missing, NUM_EARS, self._sources), np.float32))
        self.reset()
        return torch.from_numpy(np.concatenate(parts)[:missing])

    def _work(self, block):
        """Samples [time, ear, source] that are final after [ear, time]."""
        waveform = np.concatenate((self._waiting, block), 1)
        count = max(0, (waveform.shape[1] - self._kernel) // self._stride + 1)
        final = count * self._stride
        self._waiting = waveform[:, final:]
        if not count:
            return np.zeros((0, NUM_EARS, self._sources), np.float32)
        waveform = waveform[:, : final - self._stride + self._kernel]
        shape = NUM_EARS, self._sources, waveform.shape[1]
        output = np.zeros(shape, np.float32)
        output[..., : self._tail.shape[-1]] = self._tail
        waveform = np.concatenate((self._past, waveform), 1)
        self._past = waveform[:, final : final + self._before]
        self._separate(
            waveform,
            output,
            self._weights,
            *self._cues,
            self._state,
            self._count,
            self._stride,
            self._cumulative,
        )
        self._count += count
        self._tail = output[..., final:].copy()
        return output[..., :final].transpose(2, 0, 1)


def _kernels():
    """The compiled function; imported when the first stream begins."""
    try:
        from spatial_brain.models.binaural_tasnet import kernels
    except ImportError as error:
        raise ImportError(
            "live separation needs numba: pip install numba; whole "
            "recordings are separated without it"
        ) from error
    return kernels


def _weights(network):
    """Parameters by the names of the compiled function."""
    nets = _mask_networks(network)
    blocks = [block.weights for net in nets for block in net.blocks]

    def of_blocks(name):
        stacked = _stacked(getattr(block, name) for block in blocks)
        return stacked.reshape(len(nets), -1, *stacked.shape[1:])

    def of_nets(name):
        return _stacked(getattr(net, name)["conv"].weight for net in nets)

    gamma, beta = (
        _stacked(getattr(net.layer_norm, name)[0] for net in nets).swapaxes(
            1, 2
        )
        for name in ("gamma", "beta")
    )
    enter = of_nets("bottleneck_conv1x1")[..., 0].swapaxes(1, 2)
    narrow = of_blocks("narrow")[..., 0].swapaxes(2, 3)
    leave = of_nets("mask_conv1x1")[..., 0].swapaxes(1, 2)
    leave = leave.reshape(*leave.shape[:2], nets[0].num_sources, -1)
    found = {
        "analysis": _analysis(network),
        # Scales and offsets of norms are those of the next map.
        "enter": gamma * enter,
        "enter_bias": (beta.swapaxes(1, 2) @ enter)[:, 0],
        "widen": of_blocks("widen")[..., 0].swapaxes(2, 3),
        "slopes": np.concatenate(
            (of_blocks("slope_1"), of_blocks("slope_2")), 2
        ),
        "gamma": of_blocks("gamma_1")[:, :, 0, 0],
        "beta": of_blocks("beta_1")[:, :, 0, 0],
        "taps": of_blocks("taps")[:, :, :, 0].swapaxes(2, 3),
        "narrow": of_blocks("gamma_2")[:, :, 0].swapaxes(2, 3) * narrow,
        "narrow_bias": (of_blocks("beta_2")[:, :, 0] @ narrow)[:, :, 0],
        "leave": leave.swapaxes(1, 2),
        "synthesis": _synthesis(network),
    }
    return {name: np.ascontiguousarray(part) for name, part in found.items()}


def _mask_networks(network):
    """Those of the left and the right ear, or the one of both."""
    if network.rule == "joint":
        return (network.masknet,)
    return network.masknetL, network.masknetR


def _cue_weights(cues):
    """Parameters of the cues by the names of the compiled function."""
    spectra = torch.fft.rfft(torch.diag(cues.window.double()))[:, 1:-1]
    found = {
        "transform": _stacked([torch.cat((spectra.real, spectra.imag), 1)])[0],
        "project": _stacked([cues.conv.weight[..., 0].T])[0],
        "bias": _stacked([cues.conv.bias])[0],
    }
    return {
        **{name: np.ascontiguousarray(part) for name, part in found.items()},
        "relative_floor": np.float32(RELATIVE_FLOOR),
        "absolute_floor": np.float32(ABSOLUTE_FLOOR),
    }


def _analysis(network):
    """[ear, taps of the left and of the right ear, filter]."""
    own = _stacked(
        encoder.conv1d.weight[:, 0].T
        for encoder in (network.encoderL, network.encoderR)
    )
    none = np.zeros_like(own[0])
    if network.rule == "independent":
        return np.stack((np.vstack((own[0], none)), np.vstack((none, own[1]))))
    # The input of each mask network is its own ear, then the other one; that
    # of a joint one is the left ear, then the right one.
    order = (own,) if network.rule == "joint" else (own, own[::-1])
    return np.stack([np.block([[a, none], [none, b]]) for a, b in order])


def _synthesis(network):
    """[ear, filter, tap]; filters repeat for each ear of the input."""
    weight = _stacked(
        decoder.weight[:, 0] for decoder in (network.decoderL, network.decoderR)
    )
    return np.tile(weight, (1, 1 if network.rule == "independent" else 2, 1))


def _state(network):
    """What the compiled function remembers, by its names there."""
    nets = _mask_networks(network)
    blocks = list(nets[0].blocks)
    # Frames from the oldest of the convolution to the present one.
    rows = [
        1 + block.reach + (block.dilation if block.extra_lag else 0)
        for block in blocks
    ]
    hidden = blocks[0].weights.taps.shape[0]
    return {
        "past": np.zeros((len(nets), sum(rows), hidden), np.float32),
        "first": np.cumsum([0, *rows]),
        "dilation": np.array([block.dilation for block in blocks]),
        "sums": np.zeros((len(nets), len(blocks), 2, 2)),
    }


def _stacked(tensors):
    """Parameters as one array."""
    return (
        torch.stack([tensor.detach().cpu() for tensor in tensors])
        .float()
        .numpy()
    )
