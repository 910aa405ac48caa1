"""One training step of the SELD networks: ours beside the public original.

    python benchmarks/seld_training.py --pseldnets PSELDNets
    python benchmarks/seld_training.py --pseldnets PSELDNets --device cuda

The original is a clone of https://github.com/Jinbo-Hu/PSELDNets (measured at
commit adb5e39). Only its folder ``src`` is used and nothing but PyTorch is
needed to import it, so on another machine put that folder anywhere, for
example into this checkout, and name the folder which contains it. No
checkpoint is read: both sides start from one random state dict, loaded by name
with ``strict=True``.

A step is forward, ADPIT loss, backward, clipping of gradients and AdamW, on
ten-second clips of random features and random events, without augmentation
and without reading data. Both take the same batch in turn; figures are medians
of interleaved repeats. "ratio" is the time of the original over ours.
"memory" is, on a GPU, the most that is allocated during a step, parameters and
state of the optimiser included; on a CPU, what the forward pass keeps for the
backward pass. "difference" is the largest difference of the outputs in
evaluation mode before the first step.
"""

import argparse
import contextlib
import functools
import importlib
import logging
import statistics
import sys
import time
import types
from pathlib import Path

import torch

from spatial_brain.models.seld import SELDNetwork
from spatial_brain.nnet.losses.seld import SELDLoss

FRAMES, LABELS = 1001, 100
# Constructor options of the original's configuration files.
HTSAT = {
    "spec_size": 256,
    "patch_size": 4,
    "patch_stride": [4, 4],
    "embed_dim": 96,
    "depths": [2, 2, 6, 2],
    "num_heads": [4, 8, 16, 32],
    "window_size": 8,
    "drop_path_rate": 0.1,
    "pretrained_path": None,
}
CNN14 = {
    "encoder": "CNN12",
    "num_features": [64, 128, 256, 512, 1024, 2048],
    "pretrained_path": None,
}
# Ours, class of the original, its options, its decoder.
NETWORKS = {
    "htsat": ("HTSAT", HTSAT, None),
    "cnn14_conformer": ("CRNN", CNN14, "conformer"),
}


def import_original(folder):
    """Modules of networks and loss, without the training framework.

    The networks want one function of a module that imports hydra, lightning
    and others: a logger, which is given to them here.
    """
    source = Path(folder) / "src"
    if not (source / "models" / "multi_accdoa.py").is_file():
        raise SystemExit(
            f"{folder} is no clone of PSELDNets: it has no "
            "src/models/multi_accdoa.py. Get it by: git clone "
            "https://github.com/Jinbo-Hu/PSELDNets"
        )
    utilities = types.ModuleType("utils.utilities")
    utilities.get_pylogger = logging.getLogger
    sys.modules["utils"] = types.ModuleType("utils")
    sys.modules["utils.utilities"] = utilities
    sys.path.insert(0, str(source))
    return (
        importlib.import_module("models.multi_accdoa"),
        importlib.import_module("loss.multi_accdoa"),
    )


def original_network(module, name, classes):
    """The original's network, multi-ACCDOA."""
    kind, options, decoder = NETWORKS[name]
    space = types.SimpleNamespace
    settings = space(
        data=space(n_mels=64, sample_rate=24000, hoplen=240),
        model=space(decoder=decoder, num_decoder_layers=1),
        adapt={"method": "none"},
    )
    return getattr(module, kind)(settings, classes, 7, **options)


def random_batch(size, classes, device):
    """Features, and slots with at most one event a class and frame."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(size, 7, FRAMES, 64, generator=generator)
    direction = torch.randn(size, LABELS, 3, classes, generator=generator)
    active = torch.rand(size, LABELS, classes, generator=generator) < 0.1
    target = torch.zeros(size, LABELS, 6, 4, classes)
    target[:, :, 0, 0] = active
    target[:, :, 0, 1:] = torch.nn.functional.normalize(direction, dim=2)
    target[:, :, 0, 1:] *= active[:, :, None]
    return features.to(device), target.to(device)


class Side:
    """A network with its optimiser, its loss and what was measured."""

    def __init__(self, network, loss, fused, device, autocast, compiled):
        self.network = network.to(device).train()
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), 1e-4, fused=fused or None
        )
        self.loss, self.device, self.autocast = loss, device, autocast
        self.forward = torch.compile(network) if compiled else self.network
        self.seconds, self.memory = [], 0.0

    def synchronize(self):
        """Wait for the device."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def own_bytes(self):
        """What stays allocated between steps."""
        tensors = [*self.network.parameters(), *self.network.buffers()]
        for state in self.optimizer.state.values():
            tensors += [v for v in state.values() if torch.is_tensor(v)]
        return sum(tensor.nbytes for tensor in tensors)

    def step(self, features, target, timed):
        """One training step."""
        # The original writes into its input.
        features = features.clone()
        self.synchronize()
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        start = time.perf_counter()
        with self.autocast():
            loss = self.loss(self.forward(features), target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.synchronize()
        if timed:
            self.seconds.append(time.perf_counter() - start)
            if self.device == "cuda":
                extra = torch.cuda.max_memory_allocated() - before
                self.memory = max(self.memory, extra + self.own_bytes())

    def measure_kept(self, features, target):
        """Bytes of different storages that a forward pass keeps (CPU)."""
        kept = {}
        own = {
            p.untyped_storage().data_ptr() for p in self.network.parameters()
        }

        def pack(tensor):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            self.loss(self.network(features.clone()), target)
        self.memory = sum(kept.values())


def compare(name, precision, arguments, modules):
    """Measure both sides; print a line of the table."""
    networks, losses = modules
    device = arguments.device
    tf32 = precision == "tf32"
    torch.set_float32_matmul_precision("medium" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    torch.manual_seed(0)
    original = original_network(networks, name, arguments.classes)
    ours = SELDNetwork(name, "multi_accdoa", arguments.classes)
    ours.network.load_state_dict(original.state_dict(), strict=True)
    features, target = random_batch(arguments.batch, arguments.classes, device)
    autocast = contextlib.nullcontext
    if precision == "bf16":
        autocast = functools.partial(
            torch.autocast, device, dtype=torch.bfloat16
        )
    # The original's loss prepares its own dictionary of results.
    original_loss = losses.Losses("mse", "loss_all")
    seld_loss = SELDLoss("multi_accdoa")
    options = device, autocast, arguments.compile
    sides = {
        "original": Side(
            original,
            lambda y, t: original_loss(y, {"adpit_label": t})["loss_all"],
            False,
            *options,
        ),
        "ours": Side(
            ours,
            lambda y, t: seld_loss(y, {"adpit": t}),
            arguments.fused,
            *options,
        ),
    }
    outputs = []
    with torch.no_grad(), autocast():
        for side in sides.values():
            y = side.network.eval()(features[:2].clone())["multi_accdoa"]
            outputs.append(y.float())
            side.network.train()
    for repeat in range(arguments.warmup + arguments.repeats):
        for side in sides.values():
            side.step(features, target, timed=repeat >= arguments.warmup)
    if device == "cpu":
        for side in sides.values():
            side.measure_kept(features, target)
    original, ours = (
        statistics.median(side.seconds) for side in sides.values()
    )
    print(
        f"{name:16s} {precision:5s} {arguments.batch:5d}"
        f" {arguments.batch / original:9.2f} {arguments.batch / ours:9.2f}"
        f" {original / ours:6.2f}"
        f" {sides['original'].memory / 1e9:9.2f}"
        f" {sides['ours'].memory / 1e9:9.2f}"
        f" {(outputs[0] - outputs[1]).abs().max().item():11.1e}",
        flush=True,
    )


def main():
    """Read the arguments and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pseldnets", required=True, help="clone of the peer")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--precisions", nargs="+", help="fp32, tf32, bf16")
    parser.add_argument("--batch", type=int, help="clips (2; cuda: 32)")
    parser.add_argument("--classes", type=int, default=13)
    parser.add_argument("--repeats", type=int, help="timed (3; cuda: 20)")
    parser.add_argument("--warmup", type=int, help="untimed (1; cuda: 5)")
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument(
        "--fused", action="store_true", help="ours with fused AdamW"
    )
    parser.add_argument("--compile", action="store_true", help="both sides")
    arguments = parser.parse_args()
    cuda = arguments.device == "cuda"
    for name, value in (
        ("batch", 32 if cuda else 2),
        ("repeats", 20 if cuda else 3),
        ("warmup", 5 if cuda else 1),
        ("precisions", ["fp32", "tf32", "bf16"] if cuda else ["fp32"]),
    ):
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    modules = import_original(arguments.pseldnets)
    machine = (
        torch.cuda.get_device_name()
        if cuda
        else f"CPU, {torch.get_num_threads()} threads"
    )
    print(f"{machine}, torch {torch.__version__}, multi-ACCDOA, 10 s clips")
    columns = "  original      ours"
    print(
        f"{'':28s} {'clips/s':>19s}  ratio {'memory, GB':>19s}\n"
        f"network          prec. batch{columns}       {columns}  difference"
    )
    for name in arguments.networks:
        for precision in arguments.precisions:
            compare(name, precision, arguments, modules)
            if cuda:
                torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
