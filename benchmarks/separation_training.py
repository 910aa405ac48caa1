"""One training step of binaural separation: ours beside SpeechBrain's parts.

    python benchmarks/separation_training.py --threads 1
    python benchmarks/separation_training.py --device cuda --batch 8

The reference is the network of SpeechBrain's recipe BinauralWSJ0Mix, put
together here from the encoder, mask network and decoder of the installed
SpeechBrain and with its loss. Both sides start from one random state dict,
loaded by name with ``strict=True``.

A step is forward, negative SNR under the best order, backward, clipping of
gradients and AdamW, on noise, without reading data. Both take the same batch
in turn; figures are medians of interleaved repeats. "ratio" is the time of
the reference over ours. "memory" is, on a GPU, the most that is allocated
during a step, parameters and state of the optimiser included; on a CPU, what
the forward pass keeps for the backward pass. "difference" is the largest one
of the separated signals before the first step.
"""

import argparse
import contextlib
import functools
import statistics

import speechbrain
import torch
from seld_training import Side
from speechbrain.lobes.models.conv_tasnet import MaskNet
from speechbrain.lobes.models.dual_path import Decoder, Encoder
from speechbrain.nnet.losses import get_snr_with_pitwrapper
from torch import nn

from spatial_brain.models.binaural_tasnet import BinauralTasNet
from spatial_brain.nnet.losses.separation import snr_loss

FILTERS, TAPS, STRIDE = 64, 16, 8


class Reference(nn.Module):
    """SpeechBrain's parts as its recipe puts them together.

    Arguments
    ---------
    rule : str
        ``"parallel"`` or ``"independent"``.
    num_sources : int
        Talkers.
    **options
        Of SpeechBrain's mask network.
    """

    def __init__(self, rule, num_sources=2, **options):
        super().__init__()
        self.parallel = rule == "parallel"
        inputs = FILTERS * (2 if self.parallel else 1)
        for ear in "LR":
            masks = MaskNet(inputs, 64, 128, 3, 8, 4, num_sources, **options)
            decoder = Decoder(
                in_channels=FILTERS,
                out_channels=1,
                kernel_size=TAPS,
                stride=STRIDE,
                bias=False,
            )
            self.add_module(f"encoder{ear}", Encoder(TAPS, FILTERS))
            self.add_module(f"masknet{ear}", masks)
            self.add_module(f"decoder{ear}", decoder)

    def forward(self, waveform):
        """Separate [batch, time, 2] into [batch, time, 2, source]."""
        left, right = waveform[..., 0], waveform[..., 1]
        if self.parallel:
            heard = (
                (self.encoderL(left), self.encoderR(right)),
                (self.encoderR(left), self.encoderL(right)),
            )
        else:
            heard = (self.encoderL(left),), (self.encoderR(right),)
        ears = []
        for encoded, network, decoder in zip(
            heard,
            (self.masknetL, self.masknetR),
            (self.decoderL, self.decoderR),
            strict=True,
        ):
            masks = network(torch.cat(encoded, 1)).split(FILTERS, 2)
            masked = sum(
                mask * part for mask, part in zip(masks, encoded, strict=True)
            )
            ears.append(torch.stack([decoder(part) for part in masked], -1))
        sources = torch.stack(ears, 2)
        missing = waveform.shape[1] - sources.shape[1]
        return nn.functional.pad(sources, (0, 0, 0, 0, 0, missing))


def compare(rule, precision, arguments):
    """Measure both sides; print a line of the table."""
    device = arguments.device
    tf32 = precision == "tf32"
    torch.set_float32_matmul_precision("medium" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    torch.manual_seed(0)
    reference, ours = Reference(rule), BinauralTasNet(rule)
    ours.load_state_dict(reference.state_dict(), strict=True)
    total = round(arguments.seconds * arguments.rate)
    talkers = 0.1 * torch.randn(arguments.batch, total, 2, 2, device=device)
    mixture = talkers.sum(-1)
    autocast = contextlib.nullcontext
    if precision == "bf16":
        autocast = functools.partial(
            torch.autocast, device, dtype=torch.bfloat16
        )
    options = False, device, autocast, False
    sides = {
        "reference": Side(
            reference,
            lambda y, t: get_snr_with_pitwrapper(t, y).mean(),
            *options,
        ),
        "ours": Side(ours, lambda y, t: snr_loss(y, t)[0].mean(), *options),
    }
    with torch.no_grad(), autocast():
        found = [side.network(mixture).float() for side in sides.values()]
    apart = (found[0] - found[1]).abs().max().item()
    for repeat in range(arguments.warmup + arguments.repeats):
        for side in sides.values():
            side.step(mixture, talkers, timed=repeat >= arguments.warmup)
    if device == "cpu":
        for side in sides.values():
            side.measure_kept(mixture, talkers)
    seconds = [statistics.median(side.seconds) for side in sides.values()]
    memory = [side.memory / 1e9 for side in sides.values()]
    print(
        f"{rule:11s} {precision:5s} {arguments.batch:5d}"
        f" {seconds[0]:9.3f} {seconds[1]:9.3f} {seconds[0] / seconds[1]:6.2f}"
        f" {memory[0]:9.3f} {memory[1]:9.3f} {apart:11.1e}",
        flush=True,
    )


def main():
    """Read the arguments and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument(
        "--rules",
        nargs="+",
        default=["parallel"],
        choices=("parallel", "independent"),
        help="SpeechBrain's recipe has no others",
    )
    parser.add_argument("--precisions", nargs="+", help="fp32, tf32, bf16")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rate", type=int, default=8000, help="Hz")
    parser.add_argument("--repeats", type=int, default=5, help="timed")
    parser.add_argument("--warmup", type=int, default=2, help="untimed")
    parser.add_argument("--threads", type=int, help="of the CPU")
    arguments = parser.parse_args()
    cuda = arguments.device == "cuda"
    if arguments.precisions is None:
        precisions = ["fp32", "tf32", "bf16"] if cuda else ["fp32"]
        arguments.precisions = precisions
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    machine = (
        torch.cuda.get_device_name()
        if cuda
        else f"CPU, {torch.get_num_threads()} threads"
    )
    print(
        f"{machine}, torch {torch.__version__}, SpeechBrain "
        f"{speechbrain.__version__}, {arguments.seconds:g} s at "
        f"{arguments.rate} Hz"
    )
    sides = "reference      ours"
    print(
        f"{'':24s} {'seconds a step':>18s}  ratio {'memory, GB':>19s}\n"
        f"rule        prec. batch {sides}        {sides}  difference"
    )
    for rule in arguments.rules:
        for precision in arguments.precisions:
            compare(rule, precision, arguments)


if __name__ == "__main__":
    main()
