"""Options and habits that sub-commands share."""

import argparse
import os
import re
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

# Lines of a table; the rest is in --json, and in the picture or the files.
MAX_LINES = 30


def _channels(text):
    """Parse ``0,3`` into channel numbers."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no list of channels such as 0,3"
        ) from error


def _package(text):
    """Name of a package with its dot, ``my_package.``."""
    name = text.removesuffix(".")
    if not all(part.isidentifier() for part in name.split(".")):
        raise argparse.ArgumentTypeError(
            f"'{text}' is no package such as my_package."
        )
    return f"{name}."


# What each option is, unless a sub-command changes it.
_OPTIONS = {
    "--model": {
        "help": "name of a shipped model (see spatial-brain models), "
        "pretrained folder, output folder of a run, or hub id (default: the "
        "shipped one that fits)",
    },
    "--allow": {
        "action": "append",
        "default": [],
        "type": _package,
        "metavar": "my_package.",
        "help": "package of your own whose code may run (repeatable)",
    },
    "--savedir": {"metavar": "DIR", "help": "keep a copy of the model here"},
    "--device": {"help": "cpu, cuda:0, ... (default: a guess)"},
    "--channels": {
        "type": _channels,
        "metavar": "0,1",
        "help": "channels to use, from 0, in the order of the model's",
    },
    "--resample": {
        "action": "store_true",
        "help": "convert another sampling rate",
    },
    "--window": {
        "type": float,
        "help": "seconds of a window (default: the model's)",
    },
    "--hop": {
        "type": float,
        "help": "seconds from one window to the next (default: the model's)",
    },
    "--output": {"help": "write the result here"},
    "--json": {
        "action": "store_true",
        "help": "print a JSON object instead; of several recordings one a line",
    },
    "--picture": {"help": "draw the result over time (png)"},
}


def add_option(parser, name, **changes):
    """Add one of the options that sub-commands share.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives it.
    name : str
        Such as ``"--model"``.
    **changes
        What ``add_argument`` shall take instead, such as another ``help``.

    Example
    -------
    >>> parser = argparse.ArgumentParser()
    >>> add_option(parser, "--json")
    >>> parser.parse_args(["--json"]).json
    True
    """
    parser.add_argument(name, **{**_OPTIONS[name], **changes})


def add_model_options(parser, **changes):
    """Add the options with which ``load_model`` loads a model.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    **changes
        What ``add_argument`` shall take instead for ``--model``.
    """
    add_option(parser, "--model", **changes)
    for name in ("--allow", "--savedir", "--device"):
        add_option(parser, name)


def load_model(interface, args, source=None):
    """Load the model that the options name; print what it is for.

    Arguments
    ---------
    interface : type
        Subclass of ``spatial_brain.inference.pretrained.PretrainedModel``.
    args : argparse.Namespace
        With what ``add_model_options`` adds.
    source : str, optional
        One of several models; its copy is kept in a folder of its own.

    Returns
    -------
    PretrainedModel
        An object of the interface.

    Raises
    ------
    ValueError
        If there is no such device here, or the model does not do.
    """
    if args.allow and os.getcwd() not in sys.path:
        # As for a script of this folder, such as the one that trained it.
        sys.path.insert(0, os.getcwd())
    savedir = args.savedir
    if savedir and source is not None:
        savedir = Path(savedir) / re.sub(r"\W+", "_", source).strip("_")
    device = {"device": _check_device(args.device)} if args.device else None
    with one_line_warnings(args.prog):
        model = interface.from_hparams(
            args.model if source is None else source,
            savedir=savedir,
            run_opts=device,
            allowed=args.allow,
        )
    line = "no card: what it was trained for is unknown"
    if model.card is not None:
        line = model.card.summary()
    print(f"{args.prog}: model: {line}", file=sys.stderr)
    return model


def card_content(model):
    """The card of a model for JSON.

    Arguments
    ---------
    model : PretrainedModel
        From ``load_model``.

    Returns
    -------
    dict or None
        None where the model has no card.
    """
    return model.card and model.card.to_dict()


def one_line(error):
    """What went wrong, without traceback or line breaks.

    Arguments
    ---------
    error : Exception
        What was raised.

    Returns
    -------
    str

    Example
    -------
    >>> one_line(FileNotFoundError(2, "No such file", "a.wav"))
    'a.wav: No such file'
    """
    text = str(error)
    if isinstance(error, OSError) and error.filename and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    return " ".join(text.split())


def write_line(text, stream):
    """Print a line, beside progress bars that may be there.

    Arguments
    ---------
    text : str
        The line.
    stream : io.TextIOBase
        Standard output or error.
    """
    from tqdm import tqdm

    with tqdm.external_write_mode(stream):
        print(text, file=stream, flush=True)


@contextmanager
def one_line_warnings(prog):
    """Print what is suspicious in a file once, in a line each.

    Arguments
    ---------
    prog : str
        Name of the command, which begins the line on standard error.
    """
    from spatial_brain.inference.convert.speechbrain_binaural import (
        ConversionWarning,
    )
    from spatial_brain.inference.pretrained.card import CardWarning
    from spatial_brain.inference.recordings import RecordingWarning

    ours = (CardWarning, ConversionWarning, RecordingWarning)
    printed = set()

    def show(message, category, *place, **options):
        if not issubclass(category, ours):
            usual(message, category, *place, **options)
        elif str(message) not in printed:
            printed.add(str(message))
            write_line(f"{prog}: warning: {message}", sys.stderr)

    with warnings.catch_warnings():
        for category in ours:
            warnings.simplefilter("always", category)
        usual, warnings.showwarning = warnings.showwarning, show
        yield


def _check_device(name):
    """Name of a device with its index, after checking that it is here."""
    import torch

    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in ["cpu", *gpus]:
        raise ValueError(
            f"no device '{name}' here; use " + ", ".join(["cpu", *gpus])
        )
    return wanted
