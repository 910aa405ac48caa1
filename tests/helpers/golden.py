"""The rule that fills weights and inputs for golden comparisons.

Weights are a function of the name in the state dict, inputs of a seed, so
that a network and its original can be run on equal numbers without either's
code or files.
"""

import math
import zlib

import numpy as np
import torch


def base(name, n):
    """Reproducible float64 numbers in [-1, 1), different for every name."""
    low = np.uint64(0xFFFFFFFF)
    h = np.arange(n, dtype=np.uint64) * np.uint64(2654435761)
    h = (h + np.uint64(zlib.crc32(("spatial:" + name).encode()))) & low
    for shift, factor in ((15, 2246822519), (13, 3266489917)):
        h ^= h >> np.uint64(shift)
        h = (h * np.uint64(factor)) & low
    h ^= h >> np.uint64(16)
    return h / 2.0**31 - 1.0


def weight(name, shape):
    """Value of the state-dict entry ``name`` as a float32 tensor."""
    n, last = math.prod(shape), name.rsplit(".", 1)[-1]
    b = base(name, n)
    if last == "running_var":
        v = 1.0 + 0.2 * b * b
    elif last == "running_mean":
        v = 0.05 * b
    elif last == "gamma":
        v = 1.0 + 0.1 * b
    elif last == "beta":
        v = 0.05 * b
    elif last.endswith(("pos_embed", "token")) or last in ("u_bias", "v_bias"):
        v = 0.5 * b
    elif len(shape) >= 2:
        v = _gain(name) * b / math.sqrt(math.prod(shape[1:]))
    elif last == "weight":
        v = 0.25 + 0.1 * b if n == 1 else 1.0 + 0.1 * b
    else:
        v = 0.05 * b
    return torch.from_numpy(v.reshape(shape).astype(np.float32))


def _gain(name):
    """Spread of a matrix, larger where a network would otherwise be flat."""
    if "conv_block" in name:
        return 2.5
    if any(part in name for part in ("query_proj", "key_proj", "pos_proj")):
        return 4.0
    return 1.5


def fill(module, skip=lambda name: False):
    """Fill every floating entry of a module's state dict but skipped ones."""
    state = module.state_dict()
    for name, value in state.items():
        if value.is_floating_point() and not skip(name):
            state[name] = weight(name, tuple(value.shape))
    module.load_state_dict(state, strict=True)
    return module


def signal(channels, samples, seed):
    """Noise reaching channel c 4 c samples late, own noise, a tone."""
    n, x = np.arange(samples, dtype=np.float64), np.zeros((samples, channels))
    v = base(f"noise:{seed}", samples + 64)
    for c in range(channels):
        x[:, c] = 0.2 * v[40 - 4 * c : 40 - 4 * c + samples]
        x[:, c] += 0.03 * base(f"own:{seed}:{c}", samples)
        phase = 2 * np.pi * (180 + 20 * seed) * n / 16000 - 0.4 * c
        x[:, c] += 0.1 * np.sin(phase)
    return torch.from_numpy(x.astype(np.float32))


def recorded(tensor, record):
    """Largest difference of a tensor from its recorded entries."""
    if list(tensor.shape) != record["shape"]:
        raise ValueError(
            f"shape {list(tensor.shape)} instead of {record['shape']}"
        )
    index = tuple(torch.tensor(record["index"]).T)
    value = torch.tensor(record["value"], dtype=torch.float64)
    return (tensor.detach().double()[index] - value).abs().max().item()
