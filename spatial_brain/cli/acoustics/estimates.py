"""What models estimated of a room, as text and as rows of a table."""

import math

from spatial_brain.cli.options import MAX_LINES


def table_rows(models, found, spacing=None):
    """A row a model, quantity and window; silent windows have no value.

    Arguments
    ---------
    models : list of str
        Where they came from.
    found : list of RoomAcoustics or RoomParameters
        One a model.
    spacing : float, optional
        Distance of the microphones, metres.

    Returns
    -------
    list of dict
        Where a model gives intervals, rows have ``low`` and ``high``, and the
        whole recording has a row before its windows.
    """
    tracks = [
        (model, one, track)
        for model, one in zip(models, found, strict=True)
        for track in one.tracks(spacing)
    ]
    has_intervals = any(track.whole is not None for _, _, track in tracks)
    rows = []
    for model, one, track in tracks:
        values = zip(one.starts, one.stops, track.values, strict=True)
        spans = [(*span, None, None) for span in values]
        if track.whole is not None:
            low, middle, high = track.whole
            spans = [(0.0, one.duration, middle, low, high), *spans]
        for start, stop, value, low, high in spans:
            row = {
                "start": f"{start:.3f}",
                "stop": f"{stop:.3f}",
                "quantity": track.name,
                "unit": track.unit,
                "value": _cell(value),
            }
            if has_intervals:
                row |= {"low": _cell(low), "high": _cell(high)}
            rows.append({**row, "model": model})
    return rows


def _cell(value):
    """A number of a table, empty where there is none."""
    return "" if value is None or math.isnan(value) else float(value)


def format_estimates(found, spacing=None):
    """Estimates as text: of the whole recording, then of the windows.

    Arguments
    ---------
    found : list of RoomAcoustics or RoomParameters
        Of one recording, one a model.
    spacing : float, optional
        Distance of the microphones, metres.

    Returns
    -------
    str
    """
    lines = [f"{found[0].path}: {found[0].duration:.1f} s"]
    single = [one for one in found if not hasattr(one, "quantities")]
    for one in found:
        if one not in single:
            lines += ["", *_intervals(one)]
    if single:
        lines += ["", *_medians(single, spacing)]
        lines += ["", "quartiles are the spread over windows, not the error"]
        lines += [f"{one.task}: {_worth(one)}" for one in single]
    # Models with the same windows share a table.
    grids = {}
    for one in found:
        key = (tuple(one.starts), tuple(one.stops))
        grids.setdefault(key, []).append(one)
    for group in grids.values():
        if len(group[0].starts) > 1:
            lines += ["", *_window_lines(group, spacing)]
    return "\n".join(lines)


def _intervals(one):
    """A line a quantity: estimate and interval; then what they are worth."""
    head = f"{one.coverage:.0%} interval"
    lines = [f"{'':15}{'estimate':>9}{head:>19}{'windows':>9}"]
    number = (~one.silent).sum()
    for track in one.tracks():
        low, middle, high = (_text(track, value) for value in track.whole)
        interval = f"{low} - {high}" if number else ""
        lines.append(f"{_head(track):15}{middle:>9}{interval:>19}{number:9d}")
    lines += ["", "mean absolute errors of the model:"]
    return lines + [f"{x}: {_worth_of(one, x)}" for x in one.quantities]


def _worth_of(one, name):
    """Error of a model of several quantities, in measured rooms if known."""
    known = one.worth(name)
    if not known:
        return "not known"
    if known[0].beats_constant is False:
        return f"does not beat a constant, do not use it: {known[0]}"
    return str(known[0])


def _medians(found, spacing):
    """A line a quantity: median, quartiles, and the error of the model."""
    head = f"{'':15}{'median':>8}{'quartiles':>19}{'windows':>9}"
    lines = [f"{head}{'test error':>12}"]
    for one in found:
        for index, track in enumerate(one.tracks(spacing)):
            number = (~one.silent).sum()
            low, high = (_text(track, value) for value in track.quartiles)
            quartiles = f"{low} - {high}" if number else ""
            # What follows from a quantity has no error of its own.
            error = one.test_error if index == 0 else None
            error = "-" if error is None else _text(track, error.value)
            lines.append(
                f"{_head(track):15}{_text(track, track.median):>8}"
                f"{quartiles:>19}{number:9d}{error:>12}"
            )
    return lines


def _worth(found):
    """What an estimate is worth: the error of the model on its test set."""
    error, card = found.test_error, found.card
    if error is None:
        published = card is not None and card.published
        known = f"; published: {published}" if published else ""
        return f"error not known{known}"
    if error.beats_constant is False:
        return (
            f"this model does not beat a constant ({error.constant:.3g}): its "
            f"estimates say nothing; {error}"
        )
    return f"on the model's test set: {error}"


def _head(track):
    """Name of a track with its unit."""
    return f"{track.name}, {track.unit}" if track.unit else track.name


def _window_lines(group, spacing):
    """One line a window with the value of each track."""
    tracks = [track for one in group for track in one.tracks(spacing)]
    heads = "".join(f"{_head(track):>15}" for track in tracks)
    lines = [f"{'time, s':>16}{heads}"]
    windows = list(zip(group[0].starts, group[0].stops, strict=True))
    for index, (start, stop) in enumerate(windows[:MAX_LINES]):
        cells = "".join(f"{_text(t, t.values[index]):>15}" for t in tracks)
        lines.append(f"{start:7.1f} -{stop:7.1f}{cells}")
    left = len(windows) - MAX_LINES
    if left > 0:
        lines.append(f"... and {left} more windows (--json shows all)")
    return lines


def _text(track, value):
    """A value of a track."""
    return "silent" if math.isnan(value) else f"{value:.{track.digits}f}"
