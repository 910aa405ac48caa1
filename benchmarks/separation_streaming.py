"""Binaural separation live, and of whole files beside SpeechBrain's parts.

    python benchmarks/separation_streaming.py

Live: the causal parallel network gets noise block by block on one core.
"p50" and "p99" are the times a block takes, "factor" is the sum of all
times over the duration of the sound; "busy" are the same of the time that the
processor worked on it, which other programs lengthen less. Live use needs a
factor less than 1, and p99 below the length of a block. The sound comes
later by the algorithm's latency (the window of the encoder), the length of a
block, and the time the block takes. "difference" is the largest one from what
the network outputs for all of the sound at once, over the largest output.
"ready" is the time until a stream can take its first block, much of it for
compilation if the machine never made one.

Whole files: the parallel network that is not causal, and the causal one with
SpeechBrain's extra lag, beside the same of SpeechBrain's parts, in turn;
medians.
"""

import argparse
import os
import statistics
import time

# NumPy's threads are set before it is imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import torch  # noqa: E402
from separation_training import Reference  # noqa: E402

from spatial_brain.models.binaural_tasnet import BinauralTasNet  # noqa: E402

RATE = 8000  # Hz
BLOCKS = (8, 16, 32, 64, 128, 256)  # samples


def live(norm, size, seconds):
    """Stream blocks of one size; print a line of the table."""
    torch.manual_seed(0)
    network = BinauralTasNet(causal=True, norm=norm).eval()
    stream = network.stream()
    waveform = 0.1 * torch.randn(round(seconds * RATE) // size * size, 2)
    # Memory is touched for the first time, caches are filled.
    for block in waveform[: 50 * size].split(size):
        stream.push(block)
    stream.reset()
    outputs, times = [], []
    for block in waveform.split(size):
        start = time.perf_counter(), time.thread_time()
        outputs.append(stream.push(block))
        stop = time.perf_counter(), time.thread_time()
        times.append([b - a for a, b in zip(start, stop, strict=True)])
    outputs.append(stream.flush())
    with torch.no_grad():
        wanted = network(waveform[None])[0]
    apart = (torch.cat(outputs) - wanted).abs().max() / wanted.abs().max()
    times = torch.tensor(times, dtype=torch.float64)
    # [p50, p99], [clock, busy]
    p50, p99 = 1e3 * times.quantile(torch.tensor([0.5, 0.99]).double(), 0)
    factor = times.sum(0) / (len(waveform) / RATE)
    latency, length = (1e3 * n / RATE for n in (network.latency, size))
    columns = [f"{p50[k]:8.2f} {p99[k]:8.2f} {factor[k]:8.3f}" for k in (0, 1)]
    print(
        f"{norm:8s} {latency:7.1f} {length:6.1f} {' '.join(columns)}"
        f" {apart.item():11.1e}",
        flush=True,
    )


def whole(name, options, reference_options, seconds, repeats):
    """Separate a file on both sides; print a line of the table."""
    torch.manual_seed(0)
    reference = Reference("parallel", **reference_options).eval()
    ours = BinauralTasNet(**options).eval()
    ours.load_state_dict(reference.state_dict(), strict=True)
    waveform = 0.1 * torch.randn(1, round(seconds * RATE), 2)
    times = {reference: [], ours: []}
    outputs = {}
    with torch.inference_mode():
        for repeat in range(repeats + 1):
            for network, found in times.items():
                start = time.perf_counter()
                outputs[network] = network(waveform)
                if repeat:
                    found.append(time.perf_counter() - start)
    factors = [statistics.median(t) / seconds for t in times.values()]
    apart = (outputs[reference] - outputs[ours]).abs().max().item()
    print(
        f"{name:8s} {factors[0]:9.4f} {factors[1]:9.4f}"
        f" {factors[0] / factors[1]:6.2f} {apart:11.1e}",
        flush=True,
    )


def main():
    """Read the arguments and print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=3, help="whole files")
    parser.add_argument("--blocks", type=int, nargs="+", default=BLOCKS)
    parser.add_argument("--norms", nargs="+", default=["cLN", "channel"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"one thread, torch {torch.__version__}, {RATE} Hz")
    start = time.perf_counter()
    BinauralTasNet(causal=True).stream()
    print(f"ready    {time.perf_counter() - start:.1f} s")
    print(
        "live     latency  block      p50      p99   factor"
        " busy p50      p99   factor  difference\n"
        "              ms     ms       ms       ms         "
        "       ms       ms"
    )
    for norm in arguments.norms:
        for size in arguments.blocks:
            live(norm, size, arguments.seconds)
    print("\nwhole    reference      ours  ratio  difference")
    common = arguments.seconds, arguments.repeats
    whole("gLN", {}, {}, *common)
    legacy = {"causal": True, "causal_legacy": True}
    whole("causal", legacy, {"causal": True, "norm_type": "cLN"}, *common)


if __name__ == "__main__":
    main()
