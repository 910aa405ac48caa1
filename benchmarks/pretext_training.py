"""One training step of the pretext task: ours beside the public original.

    python benchmarks/pretext_training.py --sar-ssl SAR-SSL
    python benchmarks/pretext_training.py --sar-ssl SAR-SSL --device cuda

The original is a clone of https://github.com/BingYang-20/SAR-SSL (measured at
commit c6345a0). Only its folder ``code`` is used, so on another machine put
that folder anywhere and name the folder which contains it. Both sides start
from one random state dict, loaded by name with ``strict=True``.

A step is the drawing of masks, forward, loss, backward, clipping of gradients
and AdamW, on spectra of 256 bins and 256 frames, without reading data. Both
take the same batch in turn; figures are medians of interleaved repeats.
"ratio" is the time of the original over ours. "memory" is, on a GPU, the most
that is allocated during a step, parameters and state of the optimiser
included; on a CPU, what the forward pass keeps for the backward pass.
"difference" is that of the two losses under the original's masks, in
evaluation mode, before the first step.
"""

import argparse
import contextlib
import functools
import importlib
import statistics
import sys
import types
import warnings
from pathlib import Path

import torch
from seld_training import Side

from spatial_brain.models.mc_conformer import (
    CrossChannelReconstruction,
    convolution_format,
)

# The original imports networks whose files it does not have.
ABSENT = {
    "NBC": ("NBC",),
    "FNSSL": ("FNblock",),
    "UNet": ("UNet",),
    "CNN": ("resnet50", "res2net50", "densenet121"),
}


def import_original(folder):
    """Module with the original's networks."""
    source = Path(folder) / "code"
    if not (source / "model.py").is_file():
        raise SystemExit(
            f"{folder} is no clone of SAR-SSL: it has no code/model.py. Get "
            "it by: git clone https://github.com/BingYang-20/SAR-SSL"
        )
    for name, members in ABSENT.items():
        module = types.ModuleType(f"common.{name}")
        vars(module).update(dict.fromkeys(members))
        sys.modules.setdefault(f"common.{name}", module)
    sys.path.insert(0, str(source))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("model")


def difference(original, ours, features, autocast):
    """Of the losses, ours with the masks that the original drew."""
    with torch.no_grad(), autocast():
        loss, _, shown = original.eval()(features)
        # [batch, bin, frame, mic], zero where hidden.
        hidden = shown["mask"][:, 0] == 0
        outputs = ours.eval()(
            features, hidden.any(2), hidden.any(1).long().argmax(1)
        )
    return abs(loss.item() - outputs["loss"].item())


def compare(precision, arguments, module):
    """Measure both sides; print a line of the table."""
    device = arguments.device
    tf32 = precision == "tf32"
    torch.set_float32_matmul_precision("medium" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    torch.manual_seed(0)
    frames = arguments.frames
    original = module.SARSSL(
        sig_shape=[256, frames, 2, 2],
        nmasked_patch=frames // 2,
        device=device,
    )
    ours = CrossChannelReconstruction()
    ours.load_state_dict(original.state_dict(), strict=True)
    ours.to(memory_format=convolution_format(device))
    features = torch.randn(arguments.batch, 2, 256, frames, 2).to(device)
    autocast = contextlib.nullcontext
    if precision == "bf16":
        autocast = functools.partial(
            torch.autocast, device, dtype=torch.bfloat16
        )
    common = device, autocast, arguments.compile
    sides = {
        "original": Side(original, lambda y, _: y[0], False, *common),
        "ours": Side(ours, lambda y, _: y["loss"], arguments.fused, *common),
    }
    apart = difference(original, ours, features[:2], autocast)
    for side in sides.values():
        side.network.train()
    for repeat in range(arguments.warmup + arguments.repeats):
        for side in sides.values():
            side.step(features, None, timed=repeat >= arguments.warmup)
    if device == "cpu":
        for side in sides.values():
            side.measure_kept(features, None)
    seconds = [statistics.median(side.seconds) for side in sides.values()]
    memory = [side.memory / 1e9 for side in sides.values()]
    print(
        f"{precision:9s} {arguments.batch:5d} {frames:6d}"
        f" {arguments.batch / seconds[0]:9.2f}"
        f" {arguments.batch / seconds[1]:9.2f}"
        f" {seconds[0] / seconds[1]:6.2f}"
        f" {memory[0]:9.2f} {memory[1]:9.2f} {apart:11.1e}",
        flush=True,
    )


def main():
    """Read the arguments and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sar-ssl", required=True, help="clone of the peer")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--precisions", nargs="+", help="fp32, tf32, bf16")
    parser.add_argument("--batch", type=int, help="examples (2; cuda: 64)")
    parser.add_argument("--frames", type=int, default=256)
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
        ("batch", 64 if cuda else 2),
        ("repeats", 20 if cuda else 3),
        ("warmup", 5 if cuda else 1),
        ("precisions", ["fp32", "tf32", "bf16"] if cuda else ["fp32"]),
    ):
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    module = import_original(arguments.sar_ssl)
    machine = (
        torch.cuda.get_device_name()
        if cuda
        else f"CPU, {torch.get_num_threads()} threads"
    )
    print(f"{machine}, torch {torch.__version__}, 17.5 M parameters")
    sides = "  original      ours"
    print(
        f"{'':22s} {'examples/s':>19s}  ratio {'memory, GB':>19s}\n"
        f"precision batch frames{sides}       {sides}  difference"
    )
    for precision in arguments.precisions:
        compare(precision, arguments, module)
        if cuda:
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
