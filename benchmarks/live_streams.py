"""Live localisation and detection: real-time factor and latency on one core.

    python benchmarks/live_streams.py

Noise is pushed chunk by chunk into the streams behind ``locate --live`` and
``detect --live``. "factor" is the time of all pushes over the duration of the
sound, "busy" the same of the time that the processor worked, which other
programs lengthen less; "longest" is the longest push by that clock. "latency"
is the longest time from a sound to a result that knows it, without the chunk
and the push. Live use needs a factor below 1, and "longest" below some tenths
of a second. Networks have random weights, which cost what trained ones do.
"""

import argparse
import os
import time

# NumPy's threads are set before it is imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import torch  # noqa: E402

from spatial_brain.inference import AnyArrayLocalizer, SELDetector  # noqa: E402
from spatial_brain.inference.array_directions.finder import (  # noqa: E402
    DirectionFinder,
)
from spatial_brain.models.any_array import AnyArrayNetwork  # noqa: E402
from spatial_brain.models.seld import SELDNetwork  # noqa: E402
from spatial_brain.processing.seld_features import (  # noqa: E402
    LogMelGCC,
    LogMelIntensity,
)

CHUNKS = (20, 100)  # ms
ARRAYS = ("circular:4x0.0325", "circular:6x0.0463", "eigenmike_em32")
METHODS = ("mixture", "srp-phat", "norm-music", "music")
EVENT_RATE = 24000


def finders():
    """Streams of directions: name, channels, rate and a stream."""
    for array in (*ARRAYS, "foa"):
        for method in METHODS:
            if array in ("foa", "eigenmike_em32") and method != "mixture":
                continue
            finder = DirectionFinder(array, method)
            name = f"{array}, {method}"
            yield name, len(finder.array), 16000, finder.stream(16000)
    network = AnyArrayNetwork().eval()
    hparams = {
        "sample_rate": 16000,
        "window_length": 1.024,
        "hop_length": 0.256,
        "frame_length": 0.064,
        "num_directions": len(network.azimuths),
    }
    model = AnyArrayLocalizer({"model": network}, hparams, {"device": "cpu"})
    for array in ARRAYS[:2]:
        finder = model.finder(array)
        name = f"{array}, any array"
        yield name, len(finder.array), 16000, finder.stream(16000)


def detectors():
    """The same of events."""
    for name, backbone, form, causal, hop in (
        ("causal CRNN, FOA", "crnn", "foa", True, None),
        ("causal CRNN, four microphones", "crnn", "mic", True, None),
        ("CRNN, 10 s every 1 s", "crnn", "foa", False, 1.0),
        ("HTS-AT, 10 s every 2.5 s", "htsat", "foa", False, 2.5),
    ):
        features = {"foa": LogMelIntensity, "mic": LogMelGCC}[form](EVENT_RATE)
        options = {"attention_layers": 0, "causal": True} if causal else {}
        network = SELDNetwork(
            backbone, "multi_accdoa", 13, features.num_channels, **options
        )
        hparams = {
            "features": features,
            "method": "multi_accdoa",
            "num_classes": 13,
            "class_names": list(map(str, range(13))),
            "threshold": 0.5,
            "sample_rate": EVENT_RATE,
            "array_format": form,
            "chunk_length": 10.0,
            "detection_hop": hop or 10.0,
        }
        detector = SELDetector(
            {"model": network.eval()}, hparams, {"device": "cpu"}
        )
        yield name, 4, EVENT_RATE, detector.stream()


def measure(stream, sound, size):
    """Wall and processor time over the duration, and the longest push, ms."""
    times = []
    for chunk in sound.split(size):
        start = time.perf_counter(), time.thread_time()
        stream.push(chunk)
        stop = time.perf_counter(), time.thread_time()
        times.append([b - a for a, b in zip(start, stop, strict=True)])
    stream.flush()
    total = torch.tensor(times, dtype=torch.float64)
    return total.sum(0).tolist(), 1e3 * total[:, 1].max().item()


def main():
    """Read the arguments and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--only", default="", help="rows whose name has this")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"one thread, torch {torch.__version__}")
    print("| stream | latency, s | chunk, ms | factor | busy | longest, ms |")
    print("| --- | --- | --- | --- | --- | --- |")
    for streams in (finders(), detectors()):
        for name, channels, rate, stream in streams:
            if arguments.only not in name:
                continue
            length = round(arguments.seconds * rate)
            sound = 0.1 * torch.randn(length, channels)
            # Memory is touched for the first time, tables are made.
            stream.push(sound[: 2 * rate])
            stream.flush()
            for chunk in CHUNKS:
                size = round(chunk * rate / 1000)
                (wall, busy), longest = measure(stream, sound, size)
                print(
                    f"| {name} | {stream.latency:.2f} | {chunk} | "
                    f"{wall / arguments.seconds:.3f} | "
                    f"{busy / arguments.seconds:.3f} | {longest:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
