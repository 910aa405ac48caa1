"""What the commands share that measure the shipped models.

Each is ``python benchmarks/pretrained_models/NAME.py --data FOLDER``: it makes
its test signals, lets the model and the other methods estimate the same, prints
their figures and, with ``--write``, writes them into the card of the model and
its page.
"""

import argparse
import platform
import time
from pathlib import Path

import torch

from spatial_brain.inference.pretrained.figures import figure_tables
from spatial_brain.inference.publishing.page import table
from spatial_brain.inference.publishing.shipping import write_figures


def measuring_parser(text, name):
    """Parser of a command that measures a model.

    Arguments
    ---------
    text : str
        Docstring of the script.
    name : str
        Of the shipped model.

    Returns
    -------
    argparse.ArgumentParser
        With ``--data``, ``--model`` and ``--write``; one may add to it.
    """
    parser = argparse.ArgumentParser(
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with the test data"
    )
    parser.add_argument(
        "--model", default=name, help=f"another than the shipped {name}"
    )
    parser.add_argument(
        "--write", action="store_true", help="write the figures into its card"
    )
    return parser


def report(args, figures, process=None, seconds=None):
    """Print the figures, and write them into the card with ``--write``.

    Arguments
    ---------
    args : argparse.Namespace
        Of the parser.
    figures : list of Figure
        The most important first: the first of the model on measured rooms is
        the one that a line about the model shows.
    process : callable, optional
        Lets the model process a recording, for its real-time factor.
    seconds : float, optional
        Duration of that recording.
    """
    facts = {}
    if process is not None:
        factor = real_time_factor(process, seconds)
        facts = {"real_time_factor": factor, "machine": describe_machine()}
        print(f"real-time factor {factor:.3g} on {facts['machine']}")
    for title, rows in figure_tables(figures):
        print("\n".join(["", f"{title}:", "", *table(rows)]))
    if args.write:
        write_figures(args.model, figures, **facts)
        print(
            f"\nwritten into the card of {args.model}; of a shipped one, "
            "python tools/model_table.py writes the README's table anew"
        )


def real_time_factor(process, seconds):
    """Seconds of computing for a second of sound, on one thread.

    Arguments
    ---------
    process : callable
        Processes a recording.
    seconds : float
        Its duration.

    Returns
    -------
    float
        The best of three, after one that is not timed; two digits.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        process()
        times = []
        for _ in range(3):
            start = time.process_time()
            process()
            times.append(time.process_time() - start)
    finally:
        torch.set_num_threads(threads)
    return float(f"{min(times) / seconds:.2g}")


def describe_machine():
    """The processor in words.

    Returns
    -------
    str
        Such as ``"one thread of an AMD EPYC"``.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":")[1] for line in lines if line[:10] == "model name"]
    name = names[0].strip() if names else platform.processor()
    return f"one thread of {name or platform.machine()}"
