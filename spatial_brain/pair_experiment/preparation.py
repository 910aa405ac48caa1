"""The preparation of an experiment's data as a command of its own."""

import os
import re
import sys
from pathlib import Path

from hyperpyyaml import load_hyperpyyaml

from spatial_brain.experiment import one_line_errors, parse_arguments

# No network is needed, no folder for its checkpoints, nothing to begin with.
_NOT_NEEDED = ("model", "checkpointer", "warm_start")


def run_preparation(prepare, show=None, argv=None):
    """Prepare the data of a YAML file, this process's share of it.

    Under ``torchrun`` the processes share the work. ``--preflight`` prints
    what ``show`` returns instead.

    Arguments
    ---------
    prepare : callable
        ``prepare(hparams, rank, num_ranks)``.
    show : callable, optional
        ``show(hparams)`` returns lines of text; default: there is no
        ``--preflight``.
    argv : list of str, optional
        Hyper-parameter file and options; default: the command line.

    Raises
    ------
    SystemExit
        With the status 2 and one line about it, for bad input.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.yaml"
    >>> _ = path.write_text("data_folder: a\\nmodel: !new:none.Such\\n")
    >>> run_preparation(
    ...     lambda hparams, rank, num_ranks: print(hparams["data_folder"]),
    ...     argv=[str(path), "--data_folder", "/data"],
    ... )
    /data
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    with one_line_errors():
        only_look = show is not None and "--preflight" in argv
        if only_look:
            argv.remove("--preflight")
        hparams_file, _, overrides = parse_arguments(argv)
        text = Path(hparams_file).read_text(encoding="utf-8")
        for key in _NOT_NEEDED:
            if re.search(rf"^{key}:", text, re.MULTILINE):
                overrides += f"\n{key}: null"
        hparams = load_hyperpyyaml(text, overrides)
        if only_look:
            print("\n".join(show(hparams)))
            return
        rank = int(os.environ.get("RANK", 0))
        num_ranks = int(os.environ.get("WORLD_SIZE", 1))
        prepare(hparams, rank, num_ranks)
