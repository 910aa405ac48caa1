"""Sound events of live sound: a line where one begins, and where it ends."""

import json
from collections import Counter

_COLUMNS = "start,stop,name,azimuth,elevation,confidence"
#: Of ``--output``: name to the suffix of its files.
FORMATS = {"dcase": ".csv", "csv": ".csv", "jsonl": ".jsonl"}


class EventView:
    """Shows the events of live sound.

    Arguments
    ---------
    form : str
        Of ``--output``, a key of ``FORMATS``.
    names : sequence of str
        Of the classes.
    kinds : sequence of str, optional
        Findings on levels that mean something; default: all.
    """

    def __init__(self, form, names, kinds=None):
        self.kinds, self.notes = kinds, []
        self.header = [_COLUMNS] if form == "csv" else []
        self._form, self._names = form, [str(name) for name in names]
        self._width = max(map(len, self._names))
        self._seen = Counter()

    def take(self, found):
        """Lines, objects and rows of what is new.

        Arguments
        ---------
        found : LiveEvents
            From an ``EventStream``.

        Returns
        -------
        tuple of list
        """
        ends = list(found.ended.items())
        begins = [
            (number, event._replace(stop=None))
            for number, event in found.begun.items()
            if number not in found.ended
        ]
        self._seen.update(self._names[event.label] for _, event in ends)
        changes = sorted(ends + begins, key=lambda change: change[1].start)
        objects = [self._plain(*change) for change in changes]
        if self._form == "dcase":
            rows = _frames(found.table)
        elif self._form == "csv":
            rows = [self._row(event) for _, event in ends]
        else:
            rows = [json.dumps(one) for one in objects]
        return [self._line(event) for _, event in changes], objects, rows

    def summary(self):
        """How many events there were of each class.

        Returns
        -------
        str
        """
        total = sum(self._seen.values())
        counts = [f"{n} {name}" for name, n in self._seen.most_common()]
        text = f"{total} event{'s' * (total != 1)}"
        return text + (f" ({', '.join(counts)})" if counts else "")

    def _line(self, event):
        """An event for people; without an end where it begins."""
        stop = "" if event.stop is None else f"{event.stop:.1f}"
        return (
            f"{event.start:7.1f} -{stop:>7}  "
            f"{self._names[event.label]:{self._width}}"
            f"{event.azimuth:9.1f}°{event.elevation:9.1f}° up"
        )

    def _plain(self, number, event):
        """An event as plain values."""
        name = self._names[event.label]
        return {"event": number, "class": name, **event._asdict()}

    def _row(self, event):
        """An event as a row of CSV."""
        return (
            f"{event.start:.3f},{event.stop:.3f},{self._names[event.label]},"
            f"{event.azimuth:.2f},{event.elevation:.2f},"
        )


def _frames(table):
    """Rows of frames as the challenge of 2021 has them."""
    azimuth = table.azimuth.round().astype(int)
    azimuth[azimuth == 180] = -180
    elevation = table.elevation.round().astype(int)
    columns = table.frame, table.label, table.source, azimuth, elevation
    return [",".join(map(str, row)) for row in zip(*columns, strict=True)]
