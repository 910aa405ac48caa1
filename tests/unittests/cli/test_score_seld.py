"""Folders of estimates: rules of the evaluators, the command, real files."""

import json
import math
from collections import defaultdict

import numpy as np
import pytest

from spatial_brain.cli.main import main
from spatial_brain.dataio.annotations import read_events
from spatial_brain.metrics.seld.files import (
    CHALLENGES,
    UnreadableFiles,
    score_folders,
)
from spatial_brain.metrics.seld.scores import SELDScores

NAMES = ("ER", "F", "LE", "LR", "SELD")


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def polar(frames, label=0, azimuth=0, elevation=0, end=""):
    return [f"{f},{label},0,{azimuth},{elevation}{end}" for f in frames]


@pytest.fixture
def folders(tmp_path):
    """Two rooms of 12 and 13 s; the second estimate is 10 degrees off."""
    truth, guess = tmp_path / "reference", tmp_path / "estimate"
    for part, azimuth in ((truth / "dev-test-a", 30), (guess, 40)):
        write(part / "fold4_room1_mix001.csv", polar(range(120), 3, 30))
        write(part / "fold4_room12_mix001.csv", polar(range(130), 3, azimuth))
    return truth, guess


def test_room_and_class_scores(folders):
    found = score_folders(*folders, "starss22", by_room=True)
    assert found["per_class"]["F"][3] == pytest.approx(1)
    assert found["per_class"]["references"][3] == 25
    assert list(found["by"]) == ["1", "12"]
    error = [found["by"][room]["per_class"]["LE"][3] for room in ("1", "12")]
    assert error == pytest.approx([0, 10], abs=1e-5)
    assert found["metric"] == "dcase2022" and found["average"] == "macro"
    micro = score_folders(*folders, "STARSS22", average="micro", threshold=5)
    assert micro["F"] == pytest.approx(12 / 25)
    assert not micro["missing"] and not micro["ignored_events"]


def test_columns_of_estimates(tmp_path):
    write(tmp_path / "r" / "room1.csv", ["0,2,0,90,0,250"])
    kinds = {
        "0,2,90,0": ["STARSS23", "DCASE2021", "STARSS22"],
        "0,2,7,90,0": ["STARSS23", "DCASE2021"],
        "0,2,7,90,0,2.5": ["STARSS23", "DCASE2024"],
        "0,2,7,0.0,0.9,0.0": ["DCASE2020", "DCASE2021", "STARSS22"],
        "0,2,7,0.0,0.9,0.0,2.5": ["STARSS23", "DCASE2024", "DCASE2021"],
    }
    for line, datasets in kinds.items():
        for dataset in datasets:
            write(tmp_path / "e" / "room1.csv", [line])
            found = score_folders(
                tmp_path / "r", tmp_path / "e", dataset, num_frames=10
            )
            case = f"{dataset}: {line}"
            assert found["per_class"]["F"][2] == pytest.approx(1), case
            error = found["per_class"]["LE"][2]
            assert error == pytest.approx(0, abs=1e-3), case
            if dataset == "DCASE2024":
                assert found["RDE"] == pytest.approx(0, abs=1e-9)


def test_angles_are_not_taken_for_vectors(tmp_path):
    write(tmp_path / "r" / "a.csv", ["0,2,0,90,0"])
    write(tmp_path / "e" / "a.csv", ["0,2,0,0,1,0", "1,2,0,90,0,2"])
    with pytest.raises(ValueError, match=r"a.csv, line 2: x,y,z are 90,0,2"):
        score_folders(tmp_path / "r", tmp_path / "e", "DCASE2021")


def vectors(frames, azimuths, end=""):
    """Lines with six columns, the last of which are x, y, z."""
    angles = np.radians(azimuths)
    return [
        f"{frame},0,0,{math.cos(a):.6f},{math.sin(a):.6f},-0.000001{end}"
        for frame, a in zip(frames, angles, strict=True)
    ]


@pytest.fixture
def two_clips(tmp_path):
    """References of two clips at all azimuths; a folder for estimates."""
    frames, azimuths = range(30), np.arange(-170, 130, 10)
    for name in "ab":
        lines = [
            f"{f},0,0,{a},0,150" for f, a in zip(frames, azimuths, strict=True)
        ]
        write(tmp_path / "r" / f"{name}.csv", lines)
    return tmp_path / "r", tmp_path / "e", frames, azimuths


RULES = {"num_frames": 30, "average": "micro", "intervals": False}


def test_vectors_are_not_taken_for_angles(two_clips):
    truth, guess, frames, azimuths = two_clips
    lines = vectors(frames, azimuths)
    write(guess / "a.csv", lines)
    write(guess / "b.csv", [line.replace("-0.000001", "0") for line in lines])
    with pytest.raises(UnreadableFiles, match=r"a.csv, line 1: .*=.cartesian"):
        score_folders(truth, guess, "STARSS23", **RULES)
    # Without a distance that cannot be, all files together show it.
    write(guess / "a.csv", [line.replace("-0.000001", "0") for line in lines])
    with pytest.raises(ValueError, match=r"a.csv and .*--columns cartesian"):
        score_folders(truth, guess, "STARSS23", **RULES)
    stated = RULES | {"columns": "cartesian"}
    found = score_folders(truth, guess, "STARSS23", **stated)
    assert (found["F"], found["LE"]) == pytest.approx((1, 0), abs=1e-4)
    # What is stated is not doubted.
    found = score_folders(
        truth, guess, "STARSS23", **(RULES | {"columns": "polar"})
    )
    assert found["F"] < 0.3
    # Radians are no degrees.
    write(
        guess / "a.csv",
        [
            f"{f},0,0,{a:.3f},0.1"
            for f, a in zip(frames, np.radians(azimuths), strict=True)
        ],
    )
    (guess / "b.csv").unlink()
    with pytest.raises(ValueError, match="x,y,z or radians"):
        score_folders(truth, guess, "STARSS23", **RULES)


def test_five_columns_may_hold_vectors(two_clips):
    truth, guess, frames, azimuths = two_clips
    for name in "ab":
        lines = vectors(frames, azimuths)
        write(guess / f"{name}.csv", [x.replace(",0,0,", ",0,") for x in lines])
    with pytest.raises(UnreadableFiles, match="source is .*--columns cart"):
        score_folders(truth, guess, "STARSS23", **RULES)
    stated = RULES | {"columns": "cartesian"}
    found = score_folders(truth, guess, "STARSS23", **stated)
    assert (found["F"], found["LE"]) == pytest.approx((1, 0), abs=1e-4)
    # Directions are no positions: there is no distance.
    with pytest.raises(ValueError, match="no distance for some events"):
        score_folders(truth, guess, "DCASE2024", **stated)


def test_directions_near_the_front_are_angles(tmp_path):
    # Of both sides: nothing says that they could be something else.
    for part, end in (("r", ",100"), ("e", ",1.1")):
        write(tmp_path / part / "a.csv", polar(range(30), 0, 0.5, -0.7, end))
    found = score_folders(tmp_path / "r", tmp_path / "e", "STARSS23", **RULES)
    assert found["F"] == pytest.approx(1)


def test_angles_are_not_taken_for_short_vectors(two_clips):
    truth, guess, frames, azimuths = two_clips
    for name in "ab":
        write(
            guess / f"{name}.csv",
            [
                f"{f},0,0,{a},0,1.5"
                for f, a in zip(frames, azimuths, strict=True)
            ],
        )
    with pytest.raises(UnreadableFiles, match="give columns='polar'"):
        score_folders(truth, guess, "DCASE2021", **RULES)
    write(guess / "a.csv", polar(frames, 0, 3, 0, ",2.0"))
    write(guess / "b.csv", polar(frames, 0, 3, 0, ",2.0"))
    with pytest.raises(UnreadableFiles, match="x,y,z are 3,0,2"):
        score_folders(truth, guess, "DCASE2021", **RULES)
    found = score_folders(
        truth, guess, "DCASE2021", **(RULES | {"columns": "polar"})
    )
    assert 0 < found["LE"] < 180
    write(guess / "b.csv", ["0,0,30,0"])
    with pytest.raises(UnreadableFiles, match="4 columns, expected 5, 6, 7 of"):
        score_folders(
            truth, guess, "DCASE2021", **(RULES | {"columns": "cartesian"})
        )


@pytest.mark.parametrize(
    "dataset", ["DCASE2020", "DCASE2021", "STARSS23", "DCASE2024", "DCASE2025"]
)
def test_angles_that_overshoot_are_directions(two_clips, dataset):
    truth, guess, frames, azimuths = two_clips
    scores = []
    for odd, plain in (
        ((-180.23, 0.0), (179.77, 0.0)),
        ((10.0, 90.3), (-170.0, 89.7)),
        ((350.0, 0.0), (-10.0, 0.0)),
    ):
        for azimuth, elevation in (odd, plain):
            lines = polar(frames, 0, azimuth, elevation, ",1.5")
            if dataset in ("DCASE2020", "DCASE2021"):
                lines = [line.rsplit(",", 1)[0] for line in lines]
            for name in "ab":
                write(guess / f"{name}.csv", lines)
            found = score_folders(truth, guess, dataset, **RULES)
            scores.append([found[name] for name in NAMES])
            beyond = [n for n in found["notes"] if "scored as" in n]
            assert len(beyond) == ((azimuth, elevation) == odd)
        if dataset == "DCASE2025" and odd[1]:
            continue  # elevations do not count there
        assert scores[-1] == pytest.approx(scores[-2], abs=1e-6)


def test_overshooting_angles_are_named(two_clips, capsys):
    truth, guess, frames, _ = two_clips
    write(guess / "a.csv", polar(frames))
    write(guess / "b.csv", polar(frames, 0, -180.23, 90.3))
    _, captured = run(capsys, (truth, guess), "--dataset", "STARSS23")
    assert (
        "angles beyond +-180 or +-90 degrees in 1 of 2 estimates, scored as "
        "the evaluators do: b.csv (azimuth -180.23, elevation 90.3)"
    ) in captured.out.splitlines()
    write(guess / "b.csv", polar(frames, 0, -400))
    code, captured = run(capsys, (truth, guess), "--dataset", "STARSS23")
    assert code == 2 and "azimuth is '-400'" in captured.err


def test_other_ways_to_write_estimates_are_named(two_clips):
    truth, guess, frames, azimuths = two_clips
    rows = list(zip(frames, azimuths, strict=True))
    write(guess / "a.csv", [f"{f};0;0;{a};0,0" for f, a in rows])
    write(
        guess / "b.csv",
        ["azimuth,elevation,class,frame", *(f'"{a}",0,0,{f}' for f, a in rows)],
    )
    found = score_folders(truth, guess, "STARSS23", **RULES)
    assert (found["F"], found["LE"]) == pytest.approx((1, 0), abs=1e-4)
    assert found["notes"] == [
        "1 of 2 estimates has semicolons between the columns: a.csv",
        "1 of 2 estimates has decimal commas: a.csv",
        "1 of 2 estimates has quoted numbers: b.csv",
        "1 of 2 estimates has a line of names: b.csv",
    ]
    for name in "ab":
        write(guess / f"{name}.csv", [])
    found = score_folders(truth, guess, "STARSS23", **RULES)
    assert found["notes"] == ["no estimate holds any event"]


def test_which_frames_count(tmp_path):
    # The last reference frame is 20: the evaluators of 2022 to 2024 take the
    # clip for 20 frames long, those of 2021 for 60 s.
    write(tmp_path / "r" / "a.csv", polar([5, 20], end=",100"))
    estimate = [f"{frame},0,0,1,0,0,1" for frame in (5, 25, 300)]
    write(tmp_path / "e" / "a.csv", estimate)
    counted = {}
    for dataset in ("STARSS23", "DCASE2024", "DCASE2021"):
        for mode in ("official", "corrected"):
            folders = tmp_path / "r", tmp_path / "e"
            rules = {"mode": mode, "average": "micro"}
            found = score_folders(*folders, dataset, **rules)
            references = found["per_class"]["references"][0]
            counted[dataset, mode] = references, round(found["F"], 4)
    assert counted == {
        ("STARSS23", "official"): (1, 1.0),
        # Second 2 holds a reference at frame 20 and an estimate at 25.
        ("STARSS23", "corrected"): (2, round(1 / (1 + 0.5 * (1 + 2)), 4)),
        ("DCASE2024", "official"): (1, 1.0),
        ("DCASE2024", "corrected"): (2, round(1 / (1 + 0.5 * (1 + 2)), 4)),
        ("DCASE2021", "official"): (2, round(1 / (1 + 0.5 * (1 + 1)), 4)),
        ("DCASE2021", "corrected"): (2, round(1 / (1 + 0.5 * (1 + 2)), 4)),
    }


def test_missing_estimates(folders):
    truth, guess = folders
    (guess / "fold4_room12_mix001.csv").unlink()
    rules = {"average": "micro", "intervals": False}
    found = score_folders(*folders, "STARSS23", **rules)
    assert (found["num_clips"], found["ER"]) == (1, 0)
    assert found["missing"] == ["fold4_room12_mix001"]
    found = score_folders(*folders, "STARSS23", mode="corrected", **rules)
    assert found["num_clips"] == 2
    assert found["ER"] == found["LR"] + 1 / 25 == pytest.approx(13 / 25)


def test_empty_files_hold_no_events(folders):
    truth, guess = folders
    (guess / "fold4_room12_mix001.csv").write_text("\n")
    found = score_folders(*folders, "STARSS23", average="micro")
    assert found["LR"] == pytest.approx(12 / 25)
    write(truth / "dev-test-a" / "fold4_room12_mix001.csv", [])
    for mode, error_rate in (("official", 0), ("corrected", 13 / 12)):
        write(guess / "fold4_room12_mix001.csv", polar(range(130)))
        found = score_folders(*folders, "STARSS23", mode=mode)
        assert found["ER"] == pytest.approx(error_rate), mode


def test_names_that_do_not_match(folders, tmp_path):
    truth, guess = folders
    write(guess / "other.csv", polar([1]))
    with pytest.raises(ValueError, match=r"1 of 3 files .* no .*'other.csv'"):
        score_folders(truth, guess, "STARSS23")
    write(tmp_path / "odd" / "other.csv", polar([1]))
    with pytest.raises(ValueError, match="no file in .*odd has a reference"):
        score_folders(truth, tmp_path / "odd", "STARSS23")
    with pytest.raises(ValueError, match="no room<number> in the name 'other"):
        score_folders(
            tmp_path / "odd", tmp_path / "odd", "STARSS23", by_room=True
        )
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "nowhere"):
        with pytest.raises(FileNotFoundError, match=folder):
            score_folders(truth, tmp_path / folder, "STARSS23")
    write(truth / "again" / "fold4_room1_mix001.csv", polar([1]))
    with pytest.raises(ValueError, match="are both called"):
        score_folders(truth, guess, "STARSS23")


def test_unknown_classes_are_counted(folders):
    truth, guess = folders
    write(guess / "fold4_room12_mix001.csv", polar(range(3), 13))
    found = score_folders(*folders, "STARSS23")
    assert found["ignored_events"] == 3


def test_settings_of_data_sets(folders):
    with pytest.raises(ValueError, match="dataset must be one of DCASE2019"):
        score_folders(*folders, "DCASE2018")
    with pytest.raises(ValueError, match="num_classes"):
        score_folders(*folders, "SYNTH")
    found = score_folders(*folders, "SYNTH", num_classes=170)
    assert len(found["per_class"]["F"]) == 170
    with pytest.raises(ValueError, match="gives no length for"):
        score_folders(*folders, "STARSS23", num_frames={})
    assert set(CHALLENGES) >= {"DCASE2021", "STARSS23", "DCASE2024", "L3DAS22"}


def test_labels_of_l3das22(tmp_path):
    write(
        tmp_path / "r" / "label_split5_ov1_7.csv",
        ["File,Start,End,Class,X,Y,Z", "a.wav,1.0,2.0,Knock,0.5,0.5,0.3"],
    )
    rows = [f"{frame},7,0.75,0.5,0.3" for frame in range(10, 20)]
    write(tmp_path / "e" / "split5_ov1_7_A.csv", rows)
    found = score_folders(tmp_path / "r", tmp_path / "e", "L3DAS22")
    assert found["F"] == pytest.approx(1)
    assert found["DE"] == pytest.approx(0.25)
    found = score_folders(
        tmp_path / "r", tmp_path / "e", "L3DAS22", metric="dcase2022"
    )
    angle = math.degrees(
        math.acos((0.375 + 0.25 + 0.09) / math.sqrt(0.59 * 0.9025))
    )
    assert found["per_class"]["LE"][7] == pytest.approx(angle)


def run(capsys, folders, *options):
    truth, guess = folders
    arguments = ["--reference", str(truth), "--estimate", str(guess), *options]
    code = main(["score-seld", *arguments])
    return code, capsys.readouterr()


def test_json_is_one_object(folders, capsys):
    code, captured = run(
        capsys, folders, "--dataset", "STARSS23", "--json", "--per-room"
    )
    found = json.loads(captured.out, parse_constant=pytest.fail)
    assert code == 0 and set(NAMES) <= set(found)
    assert found["class_names"][3] == "Telephone"
    assert found["by"]["12"]["num_clips"] == 1
    assert found["intervals"]["F"] == pytest.approx([1 / 13, 1 / 13])
    (folders[1] / "fold4_room12_mix001.csv").unlink()
    _, captured = run(capsys, folders, "--dataset", "STARSS23", "--json")
    # One clip has no interval, which is null and not NaN.
    assert json.loads(captured.out, parse_constant=pytest.fail)["intervals"][
        "F"
    ] == [None, None]


def test_json_of_2024_has_distances(folders, capsys):
    for part in folders:
        for path in part.rglob("*.csv"):
            metres = "300" if part == folders[0] else "3.6"
            path.write_text(path.read_text().replace("\n", f",{metres}\n"))
    code, captured = run(
        capsys, folders, "--dataset", "DCASE2024", "--json", "--no-intervals"
    )
    found = json.loads(captured.out)
    assert code == 0 and "intervals" not in found
    assert found["DE"] == pytest.approx(0.6)
    assert found["RDE"] == pytest.approx(0.2)
    assert found["per_class"]["LE"][0] is None


def test_table(folders, capsys):
    options = ["--dataset", "STARSS22", "--per-class", "--per-room"]
    code, captured = run(capsys, folders, *options, "--mode", "present")
    lines = captured.out.splitlines()
    assert code == 0
    assert (
        lines[0] == "STARSS22: 2 clips, metric dcase2022 (macro), mode present"
    )
    assert any(
        line.split()[:5] == ["F-score", "(F)", "100.0", "%", "[100.0,"]
        for line in lines
    )
    assert any(
        line.split()[:3] == ["3", "Telephone", "100.0"] for line in lines
    )
    assert lines[-1].split()[0] == "12" and "10.0°" in lines[-1]
    (folders[1] / "fold4_room1_mix001.csv").unlink()
    _, captured = run(
        capsys, folders, "--dataset", "STARSS22", "--no-intervals"
    )
    assert "1 reference without estimate is not scored" in captured.out
    assert "[" not in captured.out


def test_malformed_files_are_all_named(folders, capsys):
    truth, guess = folders
    write(guess / "fold4_room1_mix001.csv", ["0,1,0,30,0", "1,1,0,abc,0"])
    write(guess / "fold4_room12_mix001.csv", ["0,1,0,30,0", "", "3,1,0,30"])
    code, captured = run(capsys, folders, "--dataset", "STARSS23", "--json")
    lines = captured.err.splitlines()
    assert code == 2 and not captured.out and len(lines) == 3
    assert "fold4_room12_mix001.csv, line 3: " in lines[0]
    assert "'3,1,0,30'" in lines[0] and "expected 5" in lines[0]
    assert "fold4_room1_mix001.csv, line 2: azimuth is 'abc'" in lines[1]
    assert "expected" in lines[1]
    assert "2 files cannot be read" in lines[2]
    with pytest.raises(UnreadableFiles) as caught:
        score_folders(truth, guess, "STARSS23")
    assert len(caught.value.messages) == 2


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--dataset", "DCASE2018"], ["DCASE2018", "STARSS23"]),
        (["--dataset", "STARSS23", "--mode", "fair"], ["'fair'", "corrected"]),
        (["--dataset", "SYNTH"], ["--num-classes"]),
        (["--dataset", "STARSS23", "--threshold", "-1"], ["threshold", "-1"]),
        (["--dataset", "DCASE2024"], ["no distance", "dcase2022"]),
    ],
)
def test_bad_options_end_with_2_and_one_line(folders, capsys, options, parts):
    code, captured = run(capsys, folders, *options)
    assert code == 2 and len(captured.err.splitlines()) == 1
    for part in parts:
        assert part in captured.err


@pytest.fixture(scope="module")
def starss22(shared_data):
    """Annotations of the development set of STARSS22, 97 files."""
    folder = shared_data / "annotations" / "starss22"
    if not folder.is_dir():
        pytest.skip("no STARSS22 annotations beside the checkout")
    return folder


def test_real_annotations_score_perfectly(starss22, capsys):
    folders = starss22, starss22
    code, captured = run(capsys, folders, "--dataset", "STARSS22", "--json")
    found = json.loads(captured.out)
    assert code == 0 and found["num_clips"] == 97
    assert [found[name] for name in NAMES] == pytest.approx(
        [0, 1, 0, 1, 0], abs=1e-5
    )


def single_instances(folder):
    """Rows of every file (frame, class, azimuth), one a frame and class."""
    clips = []
    for path in sorted(folder.rglob("*.csv")):
        table = read_events(path)
        _, first = np.unique(table.frame * 13 + table.label, return_index=True)
        table = table.select(np.sort(first))
        clips.append(np.stack((table.frame, table.label, table.azimuth), 1))
    return clips


@pytest.mark.parametrize(
    ("elevation", "shift", "f"),
    [(0, 10, 1), (60, 10, 1), (0, 30, 0), (60, 30, 1)],
)
def test_real_annotations_turned(starss22, elevation, shift, f):
    # At 60 degrees up, 30 degrees of azimuth are only 14.9 of angle.
    scores = SELDScores(13)
    for rows in single_instances(starss22):
        rows = np.column_stack((rows, np.full(len(rows), float(elevation))))
        scores.append(rows, rows + [0, 0, shift, 0])
    found = scores.compute()
    half = math.sin(math.radians(shift) / 2) * math.cos(math.radians(elevation))
    angle = 2 * math.degrees(math.asin(half))
    assert found["LE"] == pytest.approx(angle, abs=1e-6)
    assert (found["F"], found["LR"]) == pytest.approx((f, 1))
    assert found["ER"] == pytest.approx(1 - f)
    assert found["SELD"] == pytest.approx((2 * (1 - f) + angle / 180) / 4)


def test_real_annotations_with_classes_swapped(starss22):
    # Female and male speech trade names. Of seconds with both only the first
    # keeps its events, so that nothing matches by chance.
    scores, seconds = SELDScores(13), defaultdict(int)
    for rows in single_instances(starss22):
        second, label = rows[:, 0] // 10, rows[:, 1]
        both = np.intersect1d(second[label == 0], second[label == 1])
        rows = rows[~(np.isin(second, both) & (label == 1))]
        for c in range(13):
            seconds[c] += len(np.unique(rows[rows[:, 1] == c, 0] // 10))
        swapped = rows.copy()
        swapped[:, 1] = np.where(rows[:, 1] < 2, 1 - rows[:, 1], rows[:, 1])
        rows, swapped = (
            np.column_stack((r, np.zeros(len(r)))) for r in (rows, swapped)
        )
        scores.append(rows, swapped)
    found = scores.compute()
    wrong = (seconds[0] + seconds[1]) / sum(seconds.values())
    assert wrong > 0.1
    assert found["ER"] == pytest.approx(wrong)
    assert found["F"] == found["LR"] == pytest.approx(11 / 13)
    assert found["LE"] == pytest.approx(2 * 180 / 13, abs=1e-5)
    assert found["per_class"]["LE"][:2] == [180, 180]
