"""Parameters of measured impulse responses, for ``spatial-brain acoustics``."""

import math
from pathlib import Path

from spatial_brain.cli.recordings import Result


def add_arguments(parser):
    """Add the options of measured responses.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    """
    group = parser.add_argument_group("measured responses (no model needed)")
    kind = group.add_mutually_exclusive_group()
    kind.add_argument(
        "--impulse-response",
        action="store_true",
        help="the file is an impulse response: T20, T30, EDT, C50, C80, D50, "
        "Ts, DRR and IACC, per octave",
    )
    kind.add_argument(
        "--sweep",
        metavar="EXCITATION",
        help="the file is a recording of this sweep, played in the room",
    )
    kind.add_argument(
        "--clap",
        action="store_true",
        help="the file is a recording of a clap, a shot or a balloon",
    )
    group.add_argument("--csv", metavar="FILE", help="as --output, in csv")


def is_asked(args):
    """Whether a measured response is given.

    Arguments
    ---------
    args : argparse.Namespace
        What ``add_arguments`` adds.

    Returns
    -------
    bool
        Whether ``measurement`` is wanted.
    """
    return bool(args.impulse_response or args.sweep or args.clap)


def measurement(args, form):
    """What measures a response.

    Arguments
    ---------
    args : argparse.Namespace
        What ``add_arguments`` adds, "channels" and "model".
    form : str
        ``"csv"`` or ``"json"``, of the output.

    Returns
    -------
    callable
        For ``process_recordings``.

    Raises
    ------
    ValueError
        If a model is given as well.
    """
    if args.model:
        raise ValueError(
            "--model estimates from recordings of talkers; leave it out for "
            "a measured response"
        )

    def measure(path, files):
        from spatial_brain.dataio.files import without_nan
        from spatial_brain.simulation.room_parameters import room_parameters

        rir, fs = _response(args, path)
        try:
            found = room_parameters(rir, fs)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        rows = _rows(found)
        notes = {_name(one.band): one.notes for one in found if one.notes}
        content = {"path": path, "fs": fs, "parameters": rows, "notes": notes}
        content = without_nan(content)
        written = _write(found, fs, files, form, content)
        length = rir.shape[-1] / fs
        head = f"{path}: {length:.2f} s, {len(rir)} channels, {fs} Hz\n"
        lines = [
            f"{_name(one.band)}: {line}" for one in found for line in one.notes
        ]
        lines = [head, *_table(rows), *lines, *written]
        return Result(content, "\n".join(lines))

    return measure


def _write(found, fs, files, form, content):
    """Write the files that are asked for; a line for each."""
    from spatial_brain.dataio.files import write_json, write_table

    lines = []
    for name, kind in (("output", form), ("csv", "csv")):
        if not files[name]:
            continue
        if kind == "json":
            write_json(files[name], content)
        else:
            write_table(files[name], content["parameters"])
        lines.append(f"values: {files[name]}")
    if files["picture"]:
        from spatial_brain.reporting.plots import save_figure
        from spatial_brain.reporting.room_parameters import decays_and_bands

        name = Path(content["path"]).name
        save_figure(decays_and_bands(found, fs, name), files["picture"])
        lines.append(f"picture: {files['picture']}")
    return ["", *lines] if lines else []


def _response(args, path):
    """The response [channel, time] that the file is or holds, and its rate."""
    from spatial_brain.dataio.audio import read_audio
    from spatial_brain.simulation.room_parameters import (
        deconvolve,
        trim_impulse,
    )

    signal, fs = read_audio(path)
    signal = signal.T
    if args.channels:
        wrong = [c for c in args.channels if not 0 <= c < len(signal)]
        if wrong:
            raise ValueError(
                f"{path}: no channels {wrong} among {len(signal)}; "
                "--channels counts from 0"
            )
        signal = signal[args.channels]
    if args.clap:
        return trim_impulse(signal, fs), fs
    if not args.sweep:
        return signal, fs
    sweep, rate = read_audio(args.sweep)
    if rate != fs or sweep.shape[1] != 1:
        raise ValueError(
            f"{args.sweep}: {sweep.shape[1]} channels at {rate} Hz; the sweep "
            f"must have one channel at the {fs} Hz of {path}"
        )
    return deconvolve(signal, sweep[:, 0]), fs


def _name(band):
    """A band in a table."""
    return "all" if band is None else f"{band} Hz"


def _rows(found):
    """One row a band and channel."""
    rows = []
    for one in found:
        for channel in range(len(one.values["t20"])):
            row = {"band": _name(one.band), "channel": channel}
            for name, values in one.values.items():
                row[name] = values[min(channel, len(values) - 1)]
            rows.append(row)
    return rows


def _table(rows):
    """The rows as text."""
    from spatial_brain.simulation.room_parameters import PARAMETERS

    names = [name for name in PARAMETERS if any(name in row for row in rows)]
    heads = [", ".join(filter(None, PARAMETERS[name][:2])) for name in names]
    lines = [f"{'band':>8}{'channel':>8}" + "".join(f"{h:>10}" for h in heads)]
    for row in rows:
        cells = [
            f"{_text(row.get(name, math.nan), PARAMETERS[name][2]):>10}"
            for name in names
        ]
        lines.append(f"{row['band']:>8}{row['channel']:>8}{''.join(cells)}")
    return lines


def _text(value, digits):
    """A value, or a dash where there is none."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"
