"""Score estimates of sound event localization and detection.

The scores equal those of the challenge's own evaluator on the same folders,
its rules for the length of clips and for missing files included; with
--mode corrected the last frame and missing files count. What the scores are
not worth stands below the line that names them.
"""

import importlib
import json
import sys

from spatial_brain.cli.options import add_option

HELP = "score sound event localization and detection"
# Where the names of classes are kept.
_STARSS = ("spatial_brain.datasets.seld.starss23", "CLASS_NAMES")
_NAMES = {
    "DCASE2019": (
        "spatial_brain.dataio.annotations",
        "DCASE2019_CLASSES",
    ),
    "DCASE2021": ("spatial_brain.datasets.seld.dcase2021", "CLASS_NAMES"),
    "L3DAS22": (
        "spatial_brain.dataio.annotations",
        "L3DAS22_CLASSES",
    ),
    **dict.fromkeys(
        (
            "DCASE2022",
            "STARSS22",
            "DCASE2023",
            "STARSS23",
            "DCASE2024",
            "DCASE2025",
        ),
        _STARSS,
    ),
}
# Score -> heading, factor, decimals, unit.
_SCORES = {
    "ER": ("error rate (ER)", 1, 3, ""),
    "F": ("F-score (F)", 100, 1, " %"),
    "LE": ("localization error (LE)", 1, 1, "°"),
    "LR": ("localization recall (LR)", 100, 1, " %"),
    "DE": ("distance error (DE)", 1, 2, " m"),
    "RDE": ("relative distance error (RDE)", 100, 1, " %"),
    "precision": ("precision", 100, 1, " %"),
    "recall": ("recall", 100, 1, " %"),
    "SELD": ("SELD score", 1, 3, ""),
}
_CLASS_COLUMNS = ("F", "LE", "LR", "DE", "RDE", "SELD")


def add_arguments(parser):
    """Add the options of this sub-command.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    """
    add = parser.add_argument
    add("--reference", required=True, help="folder of references (csv)")
    add("--estimate", required=True, help="folder of estimates (csv)")
    add(
        "--dataset",
        required=True,
        help="DCASE2019 ... DCASE2025, STARSS22, STARSS23, L3DAS22 or SYNTH",
    )
    add(
        "--mode",
        default="official",
        help="official (default), present (only classes that occur), "
        "pseldnets (as published there) or corrected",
    )
    add_option(parser, "--json")
    add("--per-class", action="store_true", help="add a line a class")
    add("--per-room", action="store_true", help="add a line a room")
    add(
        "--no-intervals",
        action="store_true",
        help="without 95 %% jackknife intervals",
    )
    add("--metric", help="another than the challenge's, such as dcase2022")
    add("--average", help="macro or micro, other than the challenge's")
    add("--threshold", type=float, help="degrees of a right direction (20)")
    add(
        "--distance-threshold",
        type=float,
        help="metres: how near L3DAS22 finds (1), or the largest distance "
        "error of DCASE2024 (none)",
    )
    add("--num-classes", type=int, help="for SYNTH")
    add(
        "--columns",
        choices=("polar", "cartesian"),
        help="what the columns of the estimates are, where they are not as in "
        "the challenge: angles, or x, y, z",
    )


def run(args):
    """Score the folders and print the scores.

    Arguments
    ---------
    args : argparse.Namespace
        What ``add_arguments`` adds.
    """
    from spatial_brain.dataio.files import without_nan
    from spatial_brain.metrics.seld.files import UnreadableFiles, score_folders

    names = ("metric", "average", "threshold", "distance_threshold")
    rules = {name: getattr(args, name) for name in names}
    try:
        found = score_folders(
            args.reference,
            args.estimate,
            args.dataset,
            mode=args.mode,
            intervals=not args.no_intervals,
            by_room=args.per_room,
            num_classes=args.num_classes,
            columns=args.columns,
            **{name: rule for name, rule in rules.items() if rule is not None},
        )
    except UnreadableFiles as error:
        for message in error.messages:
            print(message, file=sys.stderr)
        number = len(error.messages)
        raise ValueError(
            f"{number} file{'s' if number > 1 else ''} cannot be read, "
            "nothing was scored"
        ) from error
    number = len(found["per_class"]["references"])
    class_names = _class_names(found["dataset"], number)
    if args.json:
        print(json.dumps(without_nan({**found, "class_names": class_names})))
    else:
        print(_format_scores(found, class_names, args.per_class))


def _class_names(dataset, number):
    """Names of the classes, or their numbers."""
    names = ()
    if dataset in _NAMES:
        module, attribute = _NAMES[dataset]
        names = getattr(importlib.import_module(module), attribute)
    if len(names) != number:
        names = [f"class {index}" for index in range(number)]
    return list(names)


def _format_scores(found, class_names, per_class):
    """Scores as text: a summary, then lines by class and by room."""
    lines = [*_head(found), ""]
    names = [name for name in _SCORES if name in found]
    for name in names:
        interval = found.get("intervals", {}).get(name)
        lines.append(_line(name, found[name], interval))
    if per_class:
        lines += ["", *_class_lines(found["per_class"], class_names)]
    if "by" in found:
        lines += ["", *_room_lines(found["by"], names)]
    return "\n".join(lines)


def _head(found):
    """What was scored, and what was not."""
    count = found["num_clips"]
    lines = [
        f"{found['dataset']}: {count} clip{'' if count == 1 else 's'}, metric "
        f"{found['metric']} ({found['average']}), mode {found['mode']}"
    ]
    missing = len(found["missing"])
    if missing:
        plural = missing > 1
        line = f"{missing} reference{'s' if plural else ''} without estimate "
        if found["mode"] == "corrected":
            line += f"{'are' if plural else 'is'} scored as missed"
        else:
            line += (
                f"{'are' if plural else 'is'} not scored (mode corrected does)"
            )
        lines.append(line)
    if found["ignored_events"]:
        lines.append(
            f"{found['ignored_events']} events of unknown classes are ignored"
        )
    return lines + found["notes"] + found["warnings"]


def _number(name, value):
    """A score with its unit."""
    if value != value:
        return "-"
    _, factor, decimals, unit = _SCORES[name]
    return f"{_digits(factor * value, decimals)}{unit}"


def _digits(value, decimals):
    """A number; what was divided by almost 0 is as short as others."""
    return f"{value:.{decimals}f}" if abs(value) < 1e6 else f"{value:.1e}"


def _line(name, value, interval):
    """Heading, score and interval."""
    heading, factor, decimals, unit = _SCORES[name]
    if value != value:
        return f"{heading:32}{'-':>8}"
    text = f"{heading:32}{_digits(factor * value, decimals):>8}{unit}"
    if interval and interval[0] == interval[0]:
        low, high = (f"{factor * end:.{decimals}f}" for end in interval)
        text = f"{text:44}[{low}, {high}]"
    return text.rstrip()


def _class_lines(scores, class_names):
    """A line a class."""
    columns = [name for name in _CLASS_COLUMNS if name in scores]
    width = max(len(name) for name in (*class_names, "class"))
    lines = [
        f"{'class':{width + 4}}"
        + "".join(f"{name:>10}" for name in columns)
        + f"{'references':>12}"
    ]
    for index, class_name in enumerate(class_names):
        cells = [_number(name, scores[name][index]) for name in columns]
        lines.append(
            f"{index:2d}  {class_name:{width}}"
            + "".join(f"{cell:>10}" for cell in cells)
            + f"{scores['references'][index]:>12}"
        )
    return lines


def _room_lines(rooms, names):
    """A line a room."""
    lines = ["room      " + "".join(f"{n:>11}" for n in names) + "   clips"]
    for room, scores in rooms.items():
        cells = [_number(name, scores[name]) for name in names]
        lines.append(
            f"{room:10}"
            + "".join(f"{cell:>11}" for cell in cells)
            + f"{scores['num_clips']:>8}"
        )
    empty = [
        room
        for room, scores in rooms.items()
        if not any(scores["per_class"]["references"])
    ]
    if empty:
        plural = "s" if len(empty) > 1 else ""
        lines.append(
            f"no reference events in room{plural} {', '.join(empty)}: "
            "scores there say nothing"
        )
    return lines
