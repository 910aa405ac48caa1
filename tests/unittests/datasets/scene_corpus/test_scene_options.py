"""Options of a corpus: what is wrong is named with its file and its key."""

import pytest

from spatial_brain.datasets.scene_corpus.options import (
    read_scene_options,
    scene_options,
)

SMALL = {"scenes": 3, "events": None, "classes": ["knock"]}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("scenes", 0, "scenes is 0, expected a whole number from 1"),
        ("scenes", "9", "scenes is '9', expected a whole number"),
        ("scenes", True, "scenes is True"),
        ("overlap", 9, "overlap is 9, expected a list, each a whole number"),
        ("overlap", [], "overlap is"),
        ("t60", [0.8, 0.2], r"t60 is \[0.8, 0.2\], expected a number or"),
        ("t60", "long", "t60 is 'long'"),
        ("snr", [1, 2, 3], "snr is"),
        ("formats", ["foa", "5.1"], "formats is .*, each one of foa, mic"),
        ("formats", ["foa", "foa"], ".*a list of different names"),
        ("dialect", "starss24", "dialect is 'starss24', expected one of"),
        ("audio", "mp3", "audio is 'mp3', expected one of flac, wav"),
        ("room_size", [[9, 9, 3], [4, 4, 3]], "room_size is .*smallest first"),
        ("room_size", 5, "room_size is 5, expected"),
        ("moving", 1.5, "moving is 1.5, expected a number from 0 to 1"),
        ("duration", float("nan"), "duration is nan"),
        ("rooms", 0, "rooms is 0, expected a whole number .*, or null"),
        ("speeds", [0], "speeds is"),
        ("overlaps", 2, "unknown key 'overlaps'; did you mean 'overlap'?"),
        ("colour", 2, "unknown key 'colour'; the keys are: scenes, events"),
    ],
)
def test_wrong_values_are_named(key, value, message):
    with pytest.raises(ValueError, match=f"^a.yaml: {message}"):
        scene_options({**SMALL, key: value}, "a.yaml")


@pytest.mark.parametrize("key", ["scenes", "events"])
def test_missing_keys_are_named(key):
    values = {name: value for name, value in SMALL.items() if name != key}
    with pytest.raises(ValueError, match=f"the key '{key}' is missing"):
        scene_options(values)


def test_embedded_sounds_need_classes():
    with pytest.raises(ValueError, match="classes must list"):
        scene_options({"scenes": 1, "events": None})


def test_relative_events_count_from_the_file(tmp_path):
    path = tmp_path / "scenes.yaml"
    path.write_text("scenes: 1\nevents: sounds\nt60: 0\noverlap: 3\n")
    options = read_scene_options(path)
    assert options.events == str(tmp_path / "sounds")
    assert (options.t60, options.overlap) == ((0.0, 0.0), (3,))


@pytest.mark.parametrize("text", ["- 1\n", "a: [\n", "a: 1\na: 2\n", ""])
def test_no_yaml_is_named(tmp_path, text):
    path = tmp_path / "scenes.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="scenes.yaml"):
        read_scene_options(path)


def test_names_do_not_change_when_scenes_are_added():
    few, many = (
        scene_options({**SMALL, "scenes": number, "rooms": 2})
        for number in (3, 30)
    )
    names = [many.name(index) for index in range(30)]
    assert len(set(names)) == 30
    assert [few.name(index) for index in range(3)] == names[:3]
    assert few.room_seed(0) == few.room_seed(2) != few.room_seed(1)
