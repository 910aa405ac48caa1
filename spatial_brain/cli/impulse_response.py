"""Parameters of measured impulse responses, for ``spatial-brain acoustics``."""

import json
import math
from pathlib import Path


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
    group.add_argument("--csv", metavar="FILE", help="write the values here")


def is_asked(args):
    """Whether a measured response is given.

    Arguments
    ---------
    args : argparse.Namespace
        What ``add_arguments`` adds.

    Returns
    -------
    bool
        Whether ``run`` is wanted.
    """
    return bool(args.impulse_response or args.sweep or args.clap)


def run(args):
    """Measure a response and print its parameters.

    Arguments
    ---------
    args : argparse.Namespace
        What ``add_arguments`` adds, "recording", "channels", "json",
        "model" and "picture".
    """
    from spatial_brain.dataio.files import without_nan, write_table
    from spatial_brain.simulation.room_parameters import room_parameters

    if args.model:
        raise ValueError(
            "--model estimates from recordings of talkers; leave it out for "
            "a measured response"
        )
    rir, fs = _response(args)
    try:
        found = room_parameters(rir, fs)
    except ValueError as error:
        raise ValueError(f"{args.recording}: {error}") from error
    rows = _rows(found)
    if args.csv:
        write_table(args.csv, [without_nan(row) for row in rows])
    if args.picture:
        from spatial_brain.reporting.plots import save_figure
        from spatial_brain.reporting.room_parameters import decays_and_bands

        name = Path(args.recording).name
        save_figure(decays_and_bands(found, fs, name), args.picture)
    if args.json:
        notes = {_name(one.band): one.notes for one in found if one.notes}
        content = {"path": str(args.recording), "fs": fs, "parameters": rows}
        content = without_nan({**content, "notes": notes})
        print(json.dumps(content, allow_nan=False))
        return
    length = rir.shape[-1] / fs
    print(f"{args.recording}: {length:.2f} s, {len(rir)} channels, {fs} Hz\n")
    print("\n".join(_table(rows)))
    for one in found:
        for line in one.notes:
            print(f"{_name(one.band)}: {line}")


def _response(args):
    """The response [channel, time] that the file is or holds, and its rate."""
    from spatial_brain.dataio.audio import read_audio
    from spatial_brain.simulation.room_parameters import (
        deconvolve,
        trim_impulse,
    )

    signal, fs = read_audio(args.recording)
    signal = signal.T
    if args.channels:
        wrong = [c for c in args.channels if not 0 <= c < len(signal)]
        if wrong:
            raise ValueError(
                f"{args.recording}: no channels {wrong} among {len(signal)}; "
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
            f"must have one channel at the {fs} Hz of {args.recording}"
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
