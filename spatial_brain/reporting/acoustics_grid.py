"""Tables, pictures and report of many runs: task, mode and conditions."""

from pathlib import Path

import numpy as np

from spatial_brain.metrics.room_acoustics import TASKS, find_quantity
from spatial_brain.reporting.report import Report
from spatial_brain.reporting.room_acoustics import error_by_rooms

MODES = {
    "finetune": "fine-tuned",
    "scratch": "from scratch",
    "lineareval": "linear evaluation",
    "training_mean": "training mean",
    "gcc_phat": "GCC-PHAT",
}
BASELINES = ("training_mean", "gcc_phat")
# Headings of conditions; others are headed by their names.
CONDITIONS = {"num_rooms": "rooms", "real_sim_ratio": "real:simulated"}
ROOMS = ("num_rooms",)


def order_of(values):
    """Key that sorts facts of runs: nothing, then numbers, then text.

    Arguments
    ---------
    values : sequence
        None, numbers and text.

    Returns
    -------
    list of tuple

    Example
    -------
    >>> sorted([("1:0",), (32,), (None,), (8,)], key=order_of)
    [(None,), (8,), (32,), ('1:0',)]
    """
    return [
        (0, 0, "")
        if value is None
        else (2, 0, value)
        if isinstance(value, str)
        else (1, value, "")
        for value in values
    ]


def summarize_grid(rows, conditions=ROOMS):
    """Mean and deviation over trials.

    Arguments
    ---------
    rows : list of dict
        One a trial: ``task``, ``mode`` (``"finetune"``, ``"scratch"``,
        ``"lineareval"``, ``"training_mean"``, ``"gcc_phat"`` or others), the
        conditions (None for a method that does not depend on one) and
        ``mae``, the error on the test set.
    conditions : sequence of str
        What trials are not averaged over, such as ``"num_rooms"`` of the
        training.

    Returns
    -------
    list of dict
        One a task, mode and value of each condition, in the order of
        ``TASKS``, of ``MODES`` and of values: ``task, mode``, the conditions,
        ``num_trials, mae`` (mean) and ``deviation`` (of the trials, with n -
        1; None for a single one).

    Raises
    ------
    ValueError
        If a row lacks a key, has an unknown task, or an error that is not a
        number.

    Example
    -------
    >>> row = {"task": "T60", "mode": "finetune", "num_rooms": 8}
    >>> cells = summarize_grid([{**row, "mae": 0.1}, {**row, "mae": 0.3}])
    >>> cells[0]["num_trials"], cells[0]["mae"], round(cells[0]["deviation"], 3)
    (2, 0.2, 0.141)
    """
    trials = {}
    for row in rows:
        missing = {"task", "mode", *conditions, "mae"} - set(row)
        if missing:
            raise ValueError(f"row {row} lacks {', '.join(sorted(missing))}")
        find_quantity(row["task"])
        if not np.isfinite(row["mae"]):
            raise ValueError(f"row {row}: the error is not a number")
        key = row["task"], row["mode"], *(row[name] for name in conditions)
        trials.setdefault(key, []).append(row["mae"])
    tasks, modes = list(TASKS), _modes(trials)
    cells = []
    for task, mode, *values in sorted(
        trials,
        key=lambda key: (
            tasks.index(key[0]),
            modes.index(key[1]),
            order_of(key[2:]),
        ),
    ):
        errors = trials[(task, mode, *values)]
        cells.append(
            {
                "task": task,
                "mode": mode,
                **dict(zip(conditions, values, strict=True)),
                "num_trials": len(errors),
                "mae": float(np.mean(errors)),
                "deviation": (
                    float(np.std(errors, ddof=1)) if len(errors) > 1 else None
                ),
            }
        )
    return cells


def _modes(trials):
    """All modes that occur: those of ``MODES`` first, in its order."""
    found = dict.fromkeys(mode for _, mode, *_ in trials)
    known = [mode for mode in MODES if mode in found]
    return [*known, *(mode for mode in found if mode not in MODES)]


def _grid_table(cells, task, conditions=ROOMS):
    """Header and rows: values of the conditions down, modes across."""
    mine = [cell for cell in cells if cell["task"] == task]
    modes = list(dict.fromkeys(cell["mode"] for cell in mine))
    values = {_values(cell, conditions) for cell in mine}
    # What does not depend on a condition stands in the rows of the others.
    whole = {one for one in values if None not in one} or values
    rows = []
    for value in sorted(whole, key=order_of):
        texts = [_text_of(mine, mode, value, conditions) for mode in modes]
        rows.append(["–" if v is None else str(v) for v in value] + texts)
    heads = [CONDITIONS.get(name, name) for name in conditions]
    return [*heads, *(MODES.get(mode, mode) for mode in modes)], rows


def _values(cell, conditions):
    """Values of the conditions of a cell."""
    return tuple(cell[name] for name in conditions)


def _text_of(cells, mode, value, conditions):
    """Result of a mode under conditions, as text; None without one."""
    for cell in cells:
        own = _values(cell, conditions)
        if cell["mode"] == mode and all(
            one is None or one == other
            for one, other in zip(own, value, strict=True)
        ):
            return _cell_text(cell, cell["task"])
    return None


def _cell_text(cell, task):
    """Mean and deviation as text."""
    digits = TASKS[task].digits
    text = f"{cell['mae']:.{digits}f}"
    if cell["deviation"] is not None:
        text += f" ± {cell['deviation']:.{digits}f}"
    return text


def format_grid(rows, conditions=ROOMS):
    """Tables of all tasks as Markdown, for a terminal or a README.

    Arguments
    ---------
    rows : list of dict
        As ``summarize_grid`` takes them.
    conditions : sequence of str
        As ``summarize_grid`` takes them.

    Returns
    -------
    str
        Lines without a final line break.

    Example
    -------
    >>> print(format_grid([
    ...     {"task": "T60", "mode": "finetune", "num_rooms": 8, "mae": 0.1}]))
    T60 (reverberation time, s), mean absolute error
    <BLANKLINE>
    | rooms | fine-tuned |
    | ----: | ---------: |
    |     8 |      0.100 |
    """
    cells = summarize_grid(rows, conditions)
    parts = []
    for task in dict.fromkeys(cell["task"] for cell in cells):
        header, body = _grid_table(cells, task, conditions)
        body = [["not measured" if c is None else c for c in r] for r in body]
        widths = [
            max(map(len, column)) for column in zip(header, *body, strict=True)
        ]
        rule = ["-" * (width - 1) + ":" for width in widths]
        lines = [
            "| "
            + " | ".join(c.rjust(w) for c, w in zip(row, widths, strict=True))
            + " |"
            for row in (header, rule, *body)
        ]
        title = f"{task} ({TASKS[task].label}), mean absolute error"
        parts.append("\n".join([title, "", *lines]))
    return "\n\n".join(parts)


def grid_picture(cells, task):
    """Mean error against the number of training rooms, a line a mode.

    Arguments
    ---------
    cells : list of dict
        Of ``summarize_grid``.
    task : str
        Which of the tasks.

    Returns
    -------
    matplotlib.figure.Figure or None
        The picture; baselines are dashed, level where they have no number
        of rooms. None if no mode has a number of rooms, or there are other
        conditions.

    Example
    -------
    >>> cells = summarize_grid([
    ...     {"task": "T60", "mode": "finetune", "num_rooms": n, "mae": 1 / n}
    ...     for n in (4, 8, 16)])
    >>> len(grid_picture(cells, "T60").axes[0].get_xticks())
    3
    """
    series, lines = {}, {}
    mine = [cell for cell in cells if cell["task"] == task]
    others = {"task", "mode", "num_trials", "mae", "deviation"}
    if any(cell.keys() - others != {*ROOMS} for cell in mine):
        return None
    for mode in dict.fromkeys(cell["mode"] for cell in mine):
        own = [cell for cell in mine if cell["mode"] == mode]
        label = MODES.get(mode, mode)
        rooms = [cell["num_rooms"] for cell in own]
        errors = [cell["mae"] for cell in own]
        if None in rooms or (mode in BASELINES and len(own) == 1):
            lines[label] = float(np.mean(errors))
        elif mode in BASELINES:
            lines[label] = rooms, errors
        else:
            deviations = [cell["deviation"] for cell in own]
            deviations = [np.nan if x is None else x for x in deviations]
            series[label] = rooms, errors, deviations
    return error_by_rooms(series, task, lines) if series else None


def grid_report(
    path,
    rows,
    conditions=ROOMS,
    *,
    title="Room acoustics from two microphones",
    subtitle=None,
    notes=None,
):
    """Write the report of many runs.

    Arguments
    ---------
    path : str or Path
        HTML file; files of a run beside it (``command.txt``,
        ``hyperparams.yaml``, ``env.log``) are shown.
    rows : list of dict
        As ``summarize_grid`` takes them.
    conditions : sequence of str
        As ``summarize_grid`` takes them.
    title : str
        Heading.
    subtitle : str, optional
        A sentence: data, scale, device.
    notes : str, optional
        Text at the top.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    ValueError
        If there are no rows, or one does not do.

    Example
    -------
    >>> row = {"task": "C50", "mode": "scratch", "num_rooms": 8, "mae": 2.5}
    >>> path = grid_report(getfixture("tmp_path") / "grid.html", [row])
    >>> "from scratch" in path.read_text()
    True
    """
    if not rows:
        raise ValueError("no finished runs: there is nothing to report")
    cells = summarize_grid(rows, conditions)
    report = Report(title, subtitle)
    if notes:
        report.add_text(notes)
    tasks = list(dict.fromkeys(cell["task"] for cell in cells))
    pictures = {task: grid_picture(cells, task) for task in tasks}
    shown = {task: one for task, one in pictures.items() if one is not None}
    if shown:
        report.add_section("By number of rooms")
        report.add_figures(
            list(shown.values()),
            [f"{TASKS[task].name}; whiskers: trials" for task in shown],
        )
    for task in tasks:
        report.add_section(task)
        header, body = _grid_table(cells, task, conditions)
        trials = sorted({c["num_trials"] for c in cells if c["task"] == task})
        report.add_table(
            header,
            body,
            f"Mean absolute error of the {TASKS[task].label}, ± deviation "
            f"over trials; trials a cell: {', '.join(map(str, trials))}.",
        )
    report.add_run(Path(path).parent)
    return report.write(path)
