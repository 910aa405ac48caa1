"""Annotation files of every dialect."""

import csv
import os

import numpy as np
import pytest

from spatial_brain.dataio.annotations import (
    DIALECTS,
    L3DAS22_CLASSES,
    AnnotationLines,
    named_dialect,
    read_events,
    write_events,
)
from spatial_brain.dataio.events import EventTable

L3DAS22_HEADER = "File,Start,End,Class,X,Y,Z\n"


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "clip.csv"
        if isinstance(content, str):
            content = content.encode()
        path.write_bytes(content)
        return path

    return write


def rows(table, *columns):
    columns = columns or ("frame", "label", "source", "azimuth", "elevation")
    return np.stack([getattr(table, c) for c in columns], axis=1).tolist()


def test_real_annotations(shared_data):
    paths = sorted((shared_data / "annotations" / "starss22").rglob("*.csv"))
    assert len(paths) == 97
    for path in paths:
        table = read_events(path, num_classes=13)
        with open(path, encoding="utf-8", newline="") as stream:
            expected = np.array(list(csv.reader(stream)), dtype=float)
        expected[expected[:, 3] == 180, 3] = -180
        np.testing.assert_array_equal(rows(table), expected)
        assert np.isnan(table.distance).all()


@pytest.mark.parametrize(
    ("dialect", "line", "expected"),
    [
        ("dcase2020", "7,3,1,-20,10", (7, 3, 1, -20, 10, np.nan)),
        ("dcase2021", "7,3,1,180,90", (7, 3, 1, -180, 90, np.nan)),
        ("starss22", "7,3,1,-180,-90", (7, 3, 1, -180, -90, np.nan)),
        ("synthetic", "7,169,1,-20,10", (7, 169, 1, -20, 10, np.nan)),
        ("synthetic", "7,3,1,-20,10,150,/m/05", (7, 3, 1, -20, 10, 1.5)),
        ("starss23", "7,3,1,-20,10,154", (7, 3, 1, -20, 10, 1.54)),
        ("dcase2024", "7,3,1,-20,10,0", (7, 3, 1, -20, 10, 0)),
        ("polar4", "7,3,-20.5,10.25", (7, 3, -1, -20.5, 10.25, np.nan)),
        ("polar5", "7,3,0,-20.5,1e1", (7, 3, 0, -20.5, 10, np.nan)),
        ("polar6", "7,3,1,-20,10,1.54", (7, 3, 1, -20, 10, 1.54)),
        ("cartesian6", "7,3,1,0,-0.5,0", (7, 3, 1, -90, 0, np.nan)),
        ("cartesian7", "7,3,1,0,-1,1,2.5", (7, 3, 1, -90, 45, 2.5)),
        ("cartesian7", "7,3,1,0,0,1e-9,0", (7, 3, 1, 0, 90, 0)),
        ("l3das22_output", "7,3,0,-3,4", (7, 3, -1, -90, 53.1301024, 5)),
    ],
)
def test_a_row_a_frame(file, dialect, line, expected):
    table = read_events(file(line + "\n"), dialect, num_frames=9)
    columns = ("frame", "label", "source", "azimuth", "elevation", "distance")
    np.testing.assert_allclose(rows(table, *columns), [expected])
    assert table.num_frames == 9


def test_dcase2025(file):
    path = file(
        "frame,class,source,azimuth,distance,onscreen\n"
        "0,8,0,-61,303,1\n2,8,1,90,50,0\n"
    )
    for dialect in ("auto", "estimate", "dcase2025"):
        table = read_events(path, dialect)
        assert rows(table) == [[0, 8, 0, -61, 0], [2, 8, 1, 90, 0]]
        assert table.distance.tolist() == [3.03, 0.5]


def test_dcase2019(file):
    path = file(
        "sound_event_recording,start_time,end_time,ele,azi,dist\n"
        "cough,0.3664,0.81,-10,-20,2\n"
        "knock,0.7,0.8,20,180,1\n"
    )
    for dialect in ("auto", "dcase2019"):
        table = read_events(path, dialect)
        # Every frame that is touched; sorted by frame.
        assert table.frame.tolist() == [3, 4, 5, 6, 7, 7, 8]
        assert table.label.tolist() == [8, 8, 8, 8, 8, 0, 8]
        assert table.source.tolist() == [0, 0, 0, 0, 0, 1, 0]
        assert set(zip(table.azimuth, table.elevation, strict=True)) == {
            (-20, -10),
            (-180, 20),
        }
    # 1.1 / 0.1 is more than 11 in floating point.
    path = file(path.read_text().split("\n")[0] + "\nphone,1.1,2.1,0,0,1\n")
    assert read_events(path).frame.tolist() == list(range(11, 21))
    assert read_events(path, num_frames=13).frame.tolist() == [11, 12]


def test_l3das22(file):
    path = file(
        L3DAS22_HEADER + "a.wav,29.75,30.0,Knock,1,-0.01,0\n"
        "a.wav,29.66,29.84,Writing,-1,0.25,0.6\n"
        "a.wav,29.9,31.2,Printer,0,0,-1\n"
    )
    table = read_events(path)
    # Rounded half to even: 297.5 becomes 298.
    assert table.frame.tolist() == [297, 298, 299, 299]
    assert table.label.tolist() == [13, 7, 7, 10]
    assert table.source.tolist() == [1, 0, 0, 2]
    assert table.num_frames == 300
    # The angle is -0.57 degrees.
    assert table.azimuth.tolist() == [166, -1, -1, 0]
    assert table.elevation.tolist() == [30, 0, 0, -90]
    distance = [np.sqrt(1 + 0.25**2 + 0.6**2), *[np.hypot(1, 0.01)] * 2, 1]
    np.testing.assert_allclose(table.distance, distance)
    compat = read_events(path, "l3das22_compat")
    assert compat.azimuth.tolist() == [165, 0, 0, 0]
    exact = read_events(path, "l3das22_exact")
    positions = exact.directions * exact.distance[:, None]
    np.testing.assert_allclose(positions[0], [-1, 0.25, 0.6])
    assert read_events(path, num_frames=298).frame.tolist() == [297]


def test_columns_go_by_their_names(file):
    path = file("Z,Y,X,Class,End,Start,note\n0,1,0,Knock,0.2,0.1,hm\n")
    assert rows(read_events(path)) == [[1, 7, 0, 90, 0]]
    path = file("Start,End,Class,X,Y\n0,1,Knock,1,1\n")
    with pytest.raises(ValueError, match="line 1: no column 'z' in the header"):
        read_events(path, "l3das22")


@pytest.mark.parametrize(
    "content",
    [
        "0,3,0,-20,10\r\n1,4,1,30,-5\r\n",
        "\ufeff0,3,0,-20,10\n1,4,1,30,-5",
        "\n\n 0 , 3,0 ,\t-20,10 \n   \n1,4,1,30,-5\n\n",
        "0.0,3.0,0,-20.0,10\n1,4,1.0,30,-5\n",
        "0,3,0,-20,10\r1,4,1,30,-5\r",
    ],
)
def test_harmless_differences(file, content):
    table = read_events(file(content), num_classes=5)
    assert rows(table) == [[0, 3, 0, -20, 10], [1, 4, 1, 30, -5]]


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ("0;3;0;-20;10.5\n1;4;1;30;-5\n", "semicolons between the columns"),
        ("0;3;0;-20;10,5\n1;4;1;30;-5\n", "decimal commas"),
        ("0\t3\t0\t-20\t10.5\n1\t4\t1\t30\t-5\n", "tabs between the columns"),
        ("0 3  0 -20 10.5\n1 4 1 30 -5\n", "spaces between the columns"),
        ('"0","3","0",-20,"10.5"\n1,4,1,30,-5\n', "quoted numbers"),
        (
            "frame,class,source,azimuth,elevation\n0,3,0,-20,10.5\n1,4,1,30,-5",
            "a line of names",
        ),
        (
            'Azimuth [deg];"Elevation";class index;frame number;track\n'
            "-20;10,5;3;0;0\n30;-5;4;1;1\n",
            "a line of names",
        ),
    ],
)
@pytest.mark.parametrize("dialect", ["auto", "estimate", "dcase2021"])
def test_other_ways_to_write_a_table(file, content, note, dialect):
    table = read_events(file(content), dialect)
    assert rows(table) == [[0, 3, 0, -20, 10.5], [1, 4, 1, 30, -5]]
    lines = AnnotationLines(file(content))
    if lines.begins_with_names:
        named_dialect(lines, DIALECTS["starss23"])
    assert note in lines.notes
    assert not AnnotationLines(file("0,3,0,-20,10.5\n")).notes


@pytest.mark.parametrize(
    ("name", "auto", "estimate"),
    [("distance", 1.5, 150), ("dist_m", 150, 150), ("Distance [cm]", 1.5, 1.5)],
)
def test_units_of_named_distances(file, name, auto, estimate):
    path = file(f"frame,class,azimuth,elevation,{name}\n0,3,-20,10,150\n")
    for guess, metres in (("auto", auto), ("estimate", estimate)):
        table = read_events(path, guess)
        assert rows(table, "azimuth", "distance") == [[-20, metres]]


@pytest.mark.parametrize("content", ["", "\n", " \r\n\t\n", "\ufeff"])
@pytest.mark.parametrize("dialect", ["auto", "estimate", *DIALECTS])
def test_file_without_events(file, content, dialect):
    table = read_events(file(content), dialect)
    assert len(table) == 0
    length = 300 if dialect in ("l3das22", "l3das22_compat") else None
    if dialect != "l3das22_exact":
        assert table.num_frames == length
    assert read_events(file(content), dialect, num_frames=7).num_frames == 7


def test_header_without_events(file):
    for dialect in ("dcase2019", "dcase2025", "l3das22"):
        header = ",".join(DIALECTS[dialect].header)
        assert len(read_events(file(header))) == 0


@pytest.mark.parametrize(
    ("dialect", "content", "line", "message"),
    [
        ("auto", "0,3,0,-20,1\n\n1,3,0,x,1\n", 3, "azimuth is 'x', expected a"),
        ("auto", "0,3,0,-20,1\n1,3,0,,1\n", 2, "azimuth is '', expected a num"),
        ("auto", "0,3,0,nan,1\n", 1, "azimuth is 'nan', expected a number"),
        ("auto", "0,3,0,inf,1\n", 1, "azimuth is 'inf', expected a number"),
        ("auto", "0,3,0,1_0,1\n", 1, "azimuth is '1_0', expected a number"),
        ("auto", "0,3,0,5,1\n\r\n1,3,0,1\r\n", 3, "4 columns in '1,3,0,1', ex"),
        ("auto", "0,3,0,5,1\n1,3,0,1,1,\n", 2, "6 columns in '1,3,0,1,1,'"),
        ("polar4", "0,3,0,5,1\n", 1, "5 columns in '0,3,0,5,1', expected 4"),
        ("auto", "0,3,0\n", 1, "3 columns, expected 4, 5, 6 or 7"),
        ("auto", "\n0|3|0|5|1\n", 2, "1 columns, expected 4, 5, 6 or 7"),
        ("auto", "\n0;3;0;5;x\n", 2, "elevation is 'x', expected a number"),
        (
            "auto",
            "frame,class,azi\n0,1,2\n",
            1,
            "column 'elevation' is missing",
        ),
        ("auto", "frame,class,azi,azi\n", 1, "column 'azimuth' stands twice"),
        (
            "auto",
            "frame,class,azimuth,height\n0,1,2,3\n",
            1,
            "no column is called 'height'; expected frame, class, source, azi",
        ),
        ("auto", "frame,class,azimuth_rad,ele\n", 1, "called 'azimuth_rad'"),
        (
            "dcase2021",
            "frame,class,azimuth,elevation,distance\n0,1,2,3,4\n",
            1,
            "'distance' has no unit, write 'distance \\[cm\\]'",
        ),
        ("auto", "-1,3,0,5,1\n", 1, "frame is '-1', expected a whole number"),
        ("auto", "1.5,3,0,5,1\n", 1, "frame is '1.5', expected a whole number"),
        ("auto", "0,3,0.5,5,1\n", 1, "source is '0.5', expected a whole numb"),
        ("auto", "0,13,0,5,1\n", 1, "label is '13', expected a class index i"),
        ("auto", "0,-1,0,5,1\n", 1, r"label is '-1', expected a .* in 0..12"),
        ("auto", "0,3,0,181,1\n", 1, r"azimuth is '181', .*\[-180, 180\]"),
        ("auto", "0,3,0,-180.5,1\n", 1, r"azimuth is '-180.5', expected deg"),
        ("auto", "0,3,0,1,91\n", 1, r"elevation is '91', .*\[-90, 90\]"),
        (
            "auto",
            "0,3,0,1,9\n0,3,0,1,9\n0,3,0,1,-91\n",
            3,
            "elevation is '-91'",
        ),
        ("auto", "0,3,0,1,1,-5\n", 1, "distance is '-5', expected a distance"),
        # The first line counts, not the first column.
        ("auto", "0,3,0,1,99\n-1,3,0,1,1\n", 1, "elevation is '99'"),
        ("synthetic", "0,3,0,1,1,x,/m/1\n", 1, "distance is 'x'"),
        ("dcase2025", "0,3,0,1,1,1\n", 1, "no column 'frame' in the header"),
        (
            "auto",
            "frame,class,source,azimuth,distance,onscreen\n\n0,3,0,200,1,0\n",
            3,
            "azimuth is '200'",
        ),
        (
            "l3das22",
            L3DAS22_HEADER + "a,0,1,Knock,1,1,1\na,0,1,knock,1,1,1\n",
            3,
            "class is 'knock', expected one of Chink_and_clink",
        ),
        ("l3das22", L3DAS22_HEADER + "a,2,1,Knock,1,1,1\n", 2, "ends at 1 s"),
        (
            "l3das22",
            L3DAS22_HEADER + "a,-1,1,Knock,1,1,1\n",
            2,
            "start is '-1'",
        ),
        ("l3das22", L3DAS22_HEADER + "a,1,1,Knock,1,1\n", 2, "6 columns in"),
        # What no recording holds, and no whole number of 64 bits.
        ("auto", "1e300,3,0,5,1\n", 1, "frame is '1e300', expected a whole"),
        ("auto", f"{2**63},3,0,5,1\n", 1, f"frame is '{2**63}', expected"),
        ("auto", "10000000,3,0,5,1\n", 1, "a whole number below 10000000"),
        ("auto", "0,3,1e300,5,1\n", 1, "source is '1e300', .* 32 bits"),
        ("auto", "0,3,0,5,1,1e300\n", 1, "distance is '1e300', expected a"),
        ("cartesian6", "0,3,0,1e300,1,1\n", 1, "x is '1e300', expected a"),
        ("cartesian6", "0,3,0,1,0,0\n0,3,0,0,-0,0\n", 2, "z is '0', .*place"),
        ("l3das22_output", "0,3,0,0,0\n", 1, "z is '0', .* no place"),
        (
            "l3das22",
            L3DAS22_HEADER + "a,0,1,Knock,1,1,1\na,0,1e12,Knock,1,1,1\n",
            3,
            "end is '1e12', expected seconds in",
        ),
        (
            "dcase2019",
            "sound_event_recording,start_time,end_time,ele,azi,dist\n"
            "cough,0,9e5,1,1,1\ncough,0,9e5,1,1,1\n",
            2,
            "the events last for 18000000 frames in all",
        ),
    ],
)
def test_faults_are_named(file, dialect, content, line, message):
    path = file(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_events(path, dialect, num_classes=13)
    assert str(caught.value).startswith(f"{path}, line {line}: ")


def test_bytes_that_are_no_text(file):
    with pytest.raises(ValueError, match="line 1"):
        read_events(file(b"\xff\xfe0\x00,\x001\x00"))
    with pytest.raises(ValueError, match="line 2: azimuth"):
        read_events(file(b"0,3,0,1,1\n0,3,0,\x00\xff,1\n"))


def test_missing_file_and_dialect(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        read_events(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="dialect 'dcase' is not known"):
        read_events(tmp_path / "none.csv", "dcase")


@pytest.mark.parametrize(
    ("line", "auto", "estimate"),
    [
        ("1,2,30,40", np.nan, np.nan),
        ("1,2,0,30,40", np.nan, np.nan),
        ("1,2,0,30,40,200", 2, 200),
        ("1,2,0,0.6634139,0.3830222,0.6427876,2", 2, 2),
        ("1,2,0,30,40,200,/m/04rlf", 2, 2),
    ],
)
def test_guesses(file, line, auto, estimate):
    for guess, distance in (("auto", auto), ("estimate", estimate)):
        table = read_events(file(line), guess)
        values = rows(table, "frame", "label", "azimuth", "elevation")
        np.testing.assert_allclose(values, [[1, 2, 30, 40]], atol=1e-5)
        np.testing.assert_equal(table.distance, [distance])


def random_table(rng, number=40):
    """Whole degrees and centimetres, as files hold them."""
    return EventTable(
        np.sort(rng.integers(0, 20, number)),
        rng.integers(0, 11, number),
        rng.integers(-180, 180, number),
        rng.integers(-80, 81, number),
        rng.integers(0, 3, number),
        rng.integers(50, 500, number) / 100,
    )


def lost(dialect):
    """Columns that a dialect does not hold."""
    form = DIALECTS[dialect]
    names = {"source": form.events or "source" not in form.columns}
    names["distance"] = "distance" not in form.columns and not form.positions
    names["elevation"] = not {"elevation", "z"} & set(form.columns)
    return [name for name, gone in names.items() if gone]


@pytest.mark.parametrize(
    "dialect",
    [n for n in DIALECTS if n not in ("synthetic_mids", "l3das22_compat")],
)
def test_what_is_written_is_read(tmp_path, dialect):
    rng = np.random.default_rng(0)
    columns = ("frame", "label", "source", "azimuth", "elevation", "distance")
    columns = [name for name in columns if name not in lost(dialect)]
    for number in (0, 1, 40):
        table = random_table(rng, number)
        path = tmp_path / "new" / "clip.csv"
        write_events(path, table, dialect)
        assert [p.name for p in path.parent.iterdir()] == ["clip.csv"]
        again = read_events(path, dialect)
        ours, expected = rows(again, *columns), rows(table, *columns)
        assert len(ours) == number
        if DIALECTS[dialect].events:
            ours, expected = np.round(ours, 2), np.round(expected, 2)
            ours, expected = sorted(ours.tolist()), sorted(expected.tolist())
        np.testing.assert_allclose(ours, expected, atol=1e-3)


def test_frames_that_follow_each_other_are_one_event(tmp_path):
    frame = [3, 4, 5, 5, 6, 8, 9]
    table = EventTable(
        frame, [7] * 7, [90.0] * 7, [0.0] * 7, distance=[2.0] * 7
    )
    path = tmp_path / "clip.csv"
    write_events(path, table, "l3das22")
    assert path.read_text() == (
        L3DAS22_HEADER + "clip,0.3,0.7,Knock,0.000000,2.000000,0.000000\n"
        "clip,0.5,0.6,Knock,0.000000,2.000000,0.000000\n"
        "clip,0.8,1.0,Knock,0.000000,2.000000,0.000000\n"
    )
    assert read_events(path).frame.tolist() == frame
    compat = tmp_path / "compat" / "clip.csv"
    write_events(compat, table, "l3das22_compat")
    assert compat.read_bytes() == path.read_bytes()
    other = EventTable([0, 1, 1], [0, 0, 1], [5, 6, 6], [0] * 3, [0, 0, 1])
    other = EventTable(
        other.frame, other.label, other.azimuth, other.elevation, other.source,
        [1.0] * 3,
    )  # fmt: skip
    write_events(path, other, "dcase2019")
    assert path.read_text().split("\n")[1:] == [
        "knock,0.0,0.1,0,5,1.00",
        "knock,0.1,0.2,0,6,1.00",
        "drawer,0.1,0.2,0,6,1.00",
        "",
    ]


def test_rounding(tmp_path):
    path = tmp_path / "clip.csv"
    table = EventTable(
        [0, 1, 2],
        [0, 1, 2],
        [-0.4, 179.7, 12.345],
        [-0.2, 1.6, -45.678],
        distance=[0.004, 1.236, 12],
    )

    def text(dialect, **options):
        write_events(path, table, dialect, **options)
        return path.read_text().split()

    assert text("polar4") == ["0,0,0,0", "1,1,-180,2", "2,2,12,-46"]
    assert text("starss23")[1:] == ["1,1,-1,-180,2,124", "2,2,-1,12,-46,1200"]
    assert text("polar6")[0] == "0,0,-1,0,0,0.00"
    assert text("polar6", decimals=2)[1] == "1,1,-1,179.70,1.60,1.24"
    assert text("polar4", decimals=1)[0] == "0,0,-0.4,-0.2"
    assert text("cartesian7", decimals=2)[1] == "1,1,-1,-1.00,0.01,0.03,1.24"
    table = EventTable([0], [0], [179.97], [0.0])
    assert text("polar5", decimals=1) == ["0,0,-1,-180.0,0.0"]


def test_what_cannot_be_written(tmp_path):
    path = tmp_path / "clip.csv"
    table = EventTable([0], [20], [0.0], [0.0])
    for dialect in ("starss23", "cartesian7", "l3das22", "l3das22_output"):
        with pytest.raises(ValueError, match="holds distances, the events"):
            write_events(path, table, dialect)
    for dialect in ("auto", "estimate", "dcase"):
        with pytest.raises(ValueError, match="is not known"):
            write_events(path, table, dialect)
    with pytest.raises(ValueError, match="write 'synthetic' instead"):
        write_events(path, table, "synthetic_mids")
    table = EventTable([0], [20], [0.0], [0.0], distance=[1.0])
    with pytest.raises(ValueError, match="14 classes, .* up to class 20"):
        write_events(path, table, "l3das22")
    assert list(tmp_path.iterdir()) == []
    assert len(L3DAS22_CLASSES) == 14


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "clip.csv"
    path.write_text("old")
    table = EventTable([0], [0], [0.0], [0.0])

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_events(path, table, "polar4")
    assert [p.name for p in tmp_path.iterdir()] == ["clip.csv"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("name", ["1e300", str(2**63), "100000"])
def test_classes_beyond_all_lists(file, name):
    with pytest.raises(ValueError, match=f"line 1: label is '{name}'"):
        read_events(file(f"0,{name},0,5,1\n"))


@pytest.mark.parametrize(
    "values",
    [
        {"frame": 1e300},
        {"frame": 2.0**63},
        {"frame": 0.5},
        {"frame": np.nan},
        {"label": 1e300},
        {"label": -1},
        {"source": np.inf},
        {"azimuth": np.nan},
        {"elevation": np.inf},
    ],
    ids=str,
)
def test_tables_of_what_cannot_be(values):
    good = {"frame": 0, "label": 1, "azimuth": 2.0, "elevation": 3.0}
    columns = {name: [value] for name, value in (good | values).items()}
    with pytest.raises(
        ValueError, match="row 0 of an event table: " + next(iter(values))
    ):
        EventTable(**columns)
