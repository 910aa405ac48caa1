"""Label tracks with directions."""

import numpy as np
import pytest

from spatial_brain.dataio.events import EventTable
from spatial_brain.datasets.own_folder.audacity import (
    label_table,
    read_labels,
    write_labels,
)


def test_labels_as_audacity_exports_them(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(
        b"0.500000\t1.250000\tdog bark 30 -10\r\n"
        b"\\\t200.0\t900.0\r\n"
        b"2\t2.01\tbell; -90.5, +5, 1.5\r\n"
    )
    dog, bell = read_labels(path)
    assert dog[:5] == (0.5, 1.25, "dog bark", 30.0, -10.0)
    assert np.isnan(dog.distance)
    assert bell == (2.0, 2.01, "bell", -90.5, 5.0, 1.5)
    table = label_table([bell, dog], ["dog bark", "bell"], num_frames=9)
    # Frames by their middle, in order of time; what is behind the end is not.
    assert table.frame.tolist() == [5, 6, 7, 8]
    assert label_table([bell], ["bell"]).frame.tolist() == [20]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0\t1\tbell", "line 2: label is 'bell', expected class azimuth"),
        ("0\t1\tbell 30", "label is 'bell 30'"),
        ("0\t1\t30 10", "label is '30 10'"),
        ("0\t1\tbell 1 2 3 4", "label is 'bell 1 2 3 4'"),
        ("0\t1\tbell 190 0", "azimuth is 190, expected a number from -180"),
        ("0\t1\tbell 0 91", "elevation is 91"),
        ("1\t1\tbell 0 0", "lasts from 1 to 1 s.*mark a region"),
        ("0 1 bell 0 0", "expected start, end and label between tabs"),
    ],
)
def test_labels_that_are_wrong(tmp_path, line, message):
    path = tmp_path / "a.txt"
    path.write_text(f"0\t1\tbell 0 0\n{line}\n")
    with pytest.raises(ValueError, match=message):
        read_labels(path)


def test_moving_event_is_written_in_pieces_and_read_back(tmp_path):
    frames = np.arange(30)
    table = EventTable(frames, frames * 0, frames * 2.0 - 30, frames * 0)
    path = tmp_path / "new" / "a.txt"
    write_labels(path, table, ["car"])
    labels = read_labels(path)
    assert len(labels) == 6 and labels[0].start == 0 and labels[-1].end == 3.0
    again = label_table(labels, ["car"])
    assert again.frame.tolist() == frames.tolist()
    assert np.abs(again.azimuth - table.azimuth).max() <= 6
