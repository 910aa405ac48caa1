"""One training step of two-microphone localisation: ours beside the original.

    python benchmarks/dual_mic_training.py --original tencent-SSL
    python benchmarks/dual_mic_training.py --original tencent-SSL --device cuda

The original is a clone of https://github.com/zszheng147/tencent-SSL (measured
at commit 42cd173). It needs torchlibrosa, timm and einops. Both sides start
from one random state dict, loaded by name with ``strict=True``.

A step is forward, cross entropy of the sorted directions, backward, clipping
of gradients and AdamW (ours fused, as the recipe has it), on noise of three
seconds, without reading data. Both take the same batch in turn; figures are
medians of interleaved repeats. "ratio" is the time of the original over ours.
"memory" is, on a GPU, the most that is allocated during a step, parameters and
state of the optimiser included; on a CPU, what the forward pass keeps for the
backward pass. "difference" is the largest difference of the outputs in
evaluation mode before the first step.
"""

import argparse
import contextlib
import functools
import importlib
import statistics
import sys
import warnings
from pathlib import Path

import torch
from seld_training import Side
from torch import nn

from spatial_brain.models.dual_mic import DualMicLocalizer
from spatial_brain.nnet.losses.localization import localization_loss


class Original(nn.Module):
    """The original with inputs and outputs in our order of axes."""

    def __init__(self, folder):
        super().__init__()
        source = Path(folder) / "dual-mic-SSL"
        if not (source / "model.py").is_file():
            raise SystemExit(
                f"{folder} is no clone of tencent-SSL: it has no "
                "dual-mic-SSL/model.py. Get it by: git clone "
                "https://github.com/zszheng147/tencent-SSL"
            )
        sys.path.insert(0, str(source))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.network = importlib.import_module("model").SSLModel()

    def forward(self, waveform):
        """[batch, time, 2] -> [batch, talker, class]."""
        return torch.stack(self.network(waveform.transpose(1, 2)), dim=1)


def compare(precision, arguments):
    """Measure both sides; print a line of the table."""
    device = arguments.device
    tf32 = precision == "tf32"
    torch.set_float32_matmul_precision("medium" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    torch.manual_seed(0)
    original, ours = Original(arguments.original), DualMicLocalizer()
    ours.load_state_dict(original.network.state_dict(), strict=True)
    waveform = torch.randn(arguments.batch, 48000, 2, device=device)
    angles = 180 * torch.rand(arguments.batch, 2, device=device)
    autocast = contextlib.nullcontext
    if precision == "bf16":
        autocast = functools.partial(
            torch.autocast, device, dtype=torch.bfloat16
        )
    options = device, autocast, arguments.compile
    sides = {
        "original": Side(original, localization_loss, False, *options),
        "ours": Side(ours, localization_loss, True, *options),
    }
    with torch.no_grad(), autocast():
        outputs = [s.network.eval()(waveform[:2]) for s in sides.values()]
    apart = (outputs[0] - outputs[1]).abs().max()
    for side in sides.values():
        side.network.train()
    for repeat in range(arguments.warmup + arguments.repeats):
        for side in sides.values():
            side.step(waveform, angles, timed=repeat >= arguments.warmup)
    if device == "cpu":
        for side in sides.values():
            side.measure_kept(waveform, angles)
    seconds = [statistics.median(side.seconds) for side in sides.values()]
    memory = [side.memory / 1e9 for side in sides.values()]
    print(
        f"{precision:9s} {arguments.batch:5d}"
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
    parser.add_argument("--original", required=True, help="clone")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--precisions", nargs="+", help="fp32, tf32, bf16")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5, help="timed")
    parser.add_argument("--warmup", type=int, default=1, help="untimed")
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument("--compile", action="store_true", help="both sides")
    arguments = parser.parse_args()
    if arguments.precisions is None:
        cuda = arguments.device == "cuda"
        arguments.precisions = ["fp32", "tf32", "bf16"] if cuda else ["fp32"]
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    machine = (
        torch.cuda.get_device_name()
        if arguments.device == "cuda"
        else f"CPU, {torch.get_num_threads()} threads"
    )
    print(f"{machine}, torch {torch.__version__}")
    print(
        f"{'':15s} {'examples/s':>19s} {'':6s} {'memory, GB':>19s}\n"
        f"precision batch  original      ours  ratio  original      ours "
        " difference"
    )
    for precision in arguments.precisions:
        compare(precision, arguments)


if __name__ == "__main__":
    main()
