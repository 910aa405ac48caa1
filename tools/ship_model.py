"""Make the folder of a shipped model of a run.

    python tools/ship_model.py recipes/AnyArray/results/any_array/1 any-array \
        --recipe recipes/AnyArray/hparams/any_array.yaml --licence cc-by-4.0 \
        --data-licences "LibriSpeech: CC BY 4.0" --steps 40000 --hours 9.5 \
        --cores 1 --recording meeting.flac --array my_array.json

Writes ``spatial_brain/pretrained_models/NAME``: weights as safetensors,
hyper-parameters, the card with all hashes, a golden pair of a second of the
recording, and the page. What the card lacks yet is named; the commands of
benchmarks/pretrained_models write the figures.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import torch

from spatial_brain.dataio.audio import read_audio
from spatial_brain.geometry import MicrophoneArray
from spatial_brain.inference.pretrained.card import read_card
from spatial_brain.inference.pretrained.source import model_folder
from spatial_brain.inference.publishing.shipping import (
    missing_facts,
    ship_model,
)
from spatial_brain.inference.shipped import SHIPPED

ROOT = Path(__file__).resolve().parents[1]


def parse():
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("run", help="output folder of a run, or its pretrained folder")
    add("name", help="of the model, such as any-array")
    add("--recipe", required=True, help="its YAML, from the repository's root")
    add("--licence", required=True, help="of the model")
    add("--data-licences", nargs="+", required=True, metavar="'DATA: LICENCE'",
        help="of all that it was trained on")  # fmt: skip
    add("--steps", type=int, required=True, help="of the optimiser")
    add("--hours", type=float, required=True, help="that they took, all runs")
    add("--cores", type=int, required=True, help="that they used")
    add("--machine", help="that trained it, in words")
    add("--latency", type=float, help="seconds, if the card has none")
    add("--commit", help="at which it was trained (default: the current one)")
    add("--recording", help="for the golden pair (default: seeded noise)")
    add("--start", type=float, default=0.0, help="of it, seconds")
    add("--seconds", type=float, default=1.0, help="of it")
    add("--array", help="its array, of a network that is called with it")
    return parser.parse_args()


def golden_input(args, card):
    """Input of the golden pair, [time, channel]."""
    fs = int(card.sample_rate)
    number = round(args.seconds * fs)
    if args.recording is None:
        channels = card.channels
        if args.array is not None:
            channels = len(MicrophoneArray.resolve(args.array))
        elif not isinstance(channels, int):
            channels = channels[-1]
        generator = torch.Generator().manual_seed(0)
        # Noise that swells, so that parts of the output differ.
        swell = torch.linspace(0.02, 0.2, number)[:, None]
        return swell * torch.randn(number, channels, generator=generator)
    start = round(args.start * fs)
    return read_audio(args.recording, start, number, fs, resample=True)[0]


def head_commit():
    """The current commit."""
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.check_output(command, cwd=ROOT, text=True).strip()


def main():
    """Make the folder."""
    args = parse()
    if not (ROOT / args.recipe).is_file():
        sys.exit(f"there is no recipe {args.recipe} in this repository")
    card = read_card(model_folder(args.run) / "card.json")
    training = {
        name: getattr(args, name)
        for name in ("recipe", "steps", "hours", "cores", "machine")
        if getattr(args, name) is not None
    }
    facts = {} if args.latency is None else {"latency": args.latency}
    positions = None
    if args.array is not None:
        positions = MicrophoneArray.resolve(args.array).positions
    card = ship_model(
        args.run,
        SHIPPED / args.name,
        golden_input(args, card),
        positions,
        licence=args.licence,
        data_licences=args.data_licences,
        training=training,
        commit=args.commit or head_commit(),
        **facts,
    )
    print(f"{SHIPPED / args.name}: {card.summary()}")
    missing = missing_facts(card)
    if missing:
        print("the card lacks: " + ", ".join(missing))


if __name__ == "__main__":
    main()
