"""Sum the times that pytest prints by file. Run by ``make durations``.

Reads the output of ``pytest --durations 0``, passes it on without the list of
durations, and prints the files that take longest, with those of their
fixtures. Where two processes run, half of the total is the time to wait for.
"""

import re
import sys
from collections import Counter

LINE = re.compile(r"([\d.]+)s (?:setup|call|teardown) +([^:\s]+)")
FILES = 40


def main(lines):
    """Print what is not a duration, and then the sums.

    Arguments
    ---------
    lines : iterable of str
        What pytest printed.

    Example
    -------
    >>> main(["2 passed", "1.50s call     a.py::b", "0.50s setup    a.py::b"])
    2 passed
       2.0 s  a.py
       2.0 s  in all
    """
    seconds = Counter()
    for line in lines:
        found = LINE.match(line)
        if found:
            seconds[found[2]] += float(found[1])
        else:
            print(line.rstrip())
    for file, total in seconds.most_common(FILES):
        print(f"{total:6.1f} s  {file}")
    print(f"{seconds.total():6.1f} s  in all")


if __name__ == "__main__":
    main(sys.stdin)
