"""Whatever is missing or damaged in a corpus is found and named."""

import pytest

from spatial_brain.dataio.files import file_digest, read_json, write_json
from spatial_brain.datasets.scene_corpus.check import (
    merge_corpus,
    verify_corpus,
)
from spatial_brain.datasets.scene_corpus.generate import (
    generate_corpus,
)
from spatial_brain.datasets.scene_corpus.options import scene_options

OPTIONS = {
    "scenes": 3,
    "events": None,
    "classes": ["knock"],
    "duration": 1.0,
    "t60": 0,
    "sample_rate": 16000,
}


@pytest.fixture
def corpus(tmp_path):
    generate_corpus(scene_options(OPTIONS), tmp_path)
    return tmp_path


def test_contents(corpus):
    contents = merge_corpus(corpus)
    assert contents == read_json(corpus / "corpus.json")
    assert len(contents["files"]) == 9
    assert verify_corpus(corpus) == []


def test_statistics_are_those_of_the_labels(tmp_path):
    values = {
        **OPTIONS,
        "classes": ["knock", "fire"],
        "scenes": 4,
        "duration": 3.0,
        "overlap": 2,
        "moving": 1.0,
    }
    generate_corpus(scene_options(values), tmp_path)
    found = merge_corpus(tmp_path)["statistics"]
    rows = [
        line.split(",")
        for path in (tmp_path / "metadata").iterdir()
        for line in path.read_text().split()
    ]
    records = [read_json(path) for path in (tmp_path / "scenes").iterdir()]
    events = [event for record in records for event in record["events"]]
    assert found["hours"] == pytest.approx(4 * 3 / 3600, abs=1e-6)
    assert sum(found["events"].values()) == len(events)
    assert found["moving_events"] == sum(len(e["times"]) > 1 for e in events)
    for label, name in enumerate(("knock", "fire")):
        assert found["events"][name] == sum(e["class"] == name for e in events)
        frames = sum(int(row[1]) == label for row in rows)
        assert found["labelled_hours"][name] == pytest.approx(
            frames / 36000, abs=1e-6
        )
    at_once = sum(n * share for n, share in enumerate(found["overlap"]))
    assert at_once == pytest.approx(len(rows) / 120, abs=1e-4)
    left = sum(0 <= int(row[3]) < 180 for row in rows) / len(rows)
    assert sum(found["azimuth"]["share"][9:]) == pytest.approx(left, abs=1e-4)
    near = sum(int(row[5]) < 200 for row in rows) / len(rows)
    assert sum(found["distance"]["share"][:4]) == pytest.approx(near, abs=1e-4)
    up = sum(int(row[4]) >= 0 for row in rows) / len(rows)
    assert sum(found["elevation"]["share"][6:]) == pytest.approx(up, abs=1e-4)


def test_missing_scenes_are_not_merged(corpus):
    next((corpus / "foa").iterdir()).unlink()
    with pytest.raises(ValueError, match="1 of 3 scenes are not complete"):
        merge_corpus(corpus)


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "file", "message"),
    [
        (flip, "foa/fold1_room2_mix0001.flac", "not what was written"),
        (flip, "metadata/fold1_room2_mix0001.csv", "not what was written"),
        (lambda p: p.unlink(), "mic/fold1_room2_mix0001.flac", "not there"),
        (lambda p: p.unlink(), "scenes/fold1_room2_mix0001.json", "not there"),
        (
            lambda p: p.write_text("{"),
            "scenes/fold1_room2_mix0001.json",
            "damaged",
        ),
        (lambda p: p.touch(), "foa/mine.flac", "no file of this corpus"),
    ],
)
def test_damage_is_found(corpus, damage, file, message):
    damage(corpus / file)
    [problem] = verify_corpus(corpus)
    assert str(corpus / file) in problem
    assert message in problem


def test_what_was_written_wrong_is_found(corpus):
    """A record that fits its files does not make wrong labels right."""
    name = "fold1_room1_mix0001"
    labels = corpus / "metadata" / f"{name}.csv"
    for row, message in (("3,1,0,0,0,100", "label"), ("10,0,0,0,0,100", "10")):
        labels.write_text(f"{row}\n")
        record = read_json(corpus / "scenes" / f"{name}.json")
        record["files"][f"metadata/{name}.csv"] = {
            "bytes": labels.stat().st_size,
            "sha256": file_digest(labels),
        }
        write_json(corpus / "scenes" / f"{name}.json", record)
        [problem] = verify_corpus(corpus)
        assert message in problem
