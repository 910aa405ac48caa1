"""WSJ0 in the forms that people have it in: all doors find the same files."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spatial_brain.datasets.speech.corpora import list_utterances
from spatial_brain.datasets.speech.layouts import find_layout
from spatial_brain.datasets.speech.pool import prepare_speech
from spatial_brain.datasets.speech.wsj0 import find_wsj0

# Utterance to its disc, subset and speaker.
UTTERANCES = {
    "01to030v": ("11-1.1", "si_tr_s", "01t"),
    "02bc0201": ("11-2.1", "si_tr_s", "02b"),
    "050a0501": ("11-6.1", "si_dt_05", "050"),
    "440c0203": ("11-14.1", "si_et_05", "440"),
}
PARTS = {"si_tr_s": "tr", "si_dt_05": "dt", "si_et_05": "et"}
# Where an utterance lies, and whether in upper case.
LAYOUTS = {
    "discs": ("{disc}/wsj0/{subset}/{speaker}/{name}.wv1", False),
    "discs in upper case": ("{disc}/wsj0/{subset}/{speaker}/{name}.wv1", True),
    "merged": ("csr1/wsj0/{subset}/{speaker}/{name}.wv1", False),
    "subsets alone": ("{subset}/{speaker}/{name}.sph", False),
    "copied": ("{part}/{subset}/{speaker}/{name}.wav", False),
    "converted to wav": ("wsj0/{subset}/{speaker}/{name}.wav", True),
    "converted to flac": ("wsj0/{subset}/{speaker}/{name}.flac", False),
}


def write(path):
    """Write quiet noise; NIST sphere files if the suffix asks for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 160)
    sphere = path.suffix.lower() in (".wv1", ".wv2", ".sph")
    soundfile.write(
        path,
        noise,
        16000,
        subtype="PCM_16",
        format="NIST" if sphere else None,
    )


def write_corpus(folder, layout):
    """Write a layout; utterance to its file."""
    pattern, upper = LAYOUTS[layout]
    paths = {}
    for name, (disc, subset, speaker) in UTTERANCES.items():
        path = pattern.format(
            disc=disc,
            subset=subset,
            speaker=speaker,
            part=PARTS[subset],
            name=name,
        )
        paths[name] = folder / (path.upper() if upper else path)
        write(paths[name])
        # Neither the second microphone nor what a Mac leaves is wanted.
        write(paths[name].with_suffix(".WV2" if upper else ".wv2"))
        hidden = paths[name].with_name(f"._{paths[name].name}")
        hidden.write_bytes(b"mac")
    return {name: str(path) for name, path in paths.items()}


def by_names(folder):
    """Files that published lists find."""
    wanted = {
        f"wsj0/{subset}/{speaker}/{name}.wav": name
        for name, (_, subset, speaker) in UTTERANCES.items()
    }
    found = find_wsj0(folder, wanted)
    return {wanted[name]: path for name, path in found.items()}


def pool(folder, save_folder):
    """Files of the parts of the pool, and the parts' utterances."""
    manifests = {
        part: json.loads(path.read_text())
        for part, path in prepare_speech(folder, save_folder).items()
    }
    entries = {k: e for part in manifests.values() for k, e in part.items()}
    return entries, {part: list(found) for part, found in manifests.items()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_doors_find_the_same(tmp_path, layout):
    folder = tmp_path / "corpus"
    expected = write_corpus(folder, layout)
    assert find_layout(folder) == "wsj0"
    listed = list_utterances(folder)
    assert {u.id: u.path for u in listed} == expected
    assert {u.id: (u.split, u.speaker) for u in listed} == {
        name: place[1:] for name, place in UTTERANCES.items()
    }
    assert by_names(folder) == expected
    entries, parts = pool(folder, tmp_path / "save")
    assert {name: entry["wav"] for name, entry in entries.items()} == expected
    assert {name: entry["speaker"] for name, entry in entries.items()} == {
        name: f"{subset}-{speaker}"
        for name, (_, subset, speaker) in UTTERANCES.items()
    }
    assert parts == {
        "tr": ["01to030v", "02bc0201"],
        "dt": ["050a0501"],
        "et": ["440c0203"],
    }


def test_the_best_form_of_an_utterance_is_taken(tmp_path):
    folder = tmp_path / "corpus"
    expected = write_corpus(folder, "converted to flac")
    write_corpus(folder, "discs")
    # A converted copy of one utterance, in the tree of the discs.
    place = folder / "11-1.1/wsj0/si_tr_s/01t"
    write(place / "01to030v.wav")
    expected["01to030v"] = str(place / "01to030v.wav")
    assert {u.id: u.path for u in list_utterances(folder)} == expected
    assert by_names(folder) == expected
    entries, _ = pool(folder, tmp_path / "save")
    assert {name: entry["wav"] for name, entry in entries.items()} == expected


@pytest.mark.parametrize("upper", [False, True])
def test_one_subset_alone(tmp_path, upper):
    layout = "discs in upper case" if upper else "discs"
    expected = write_corpus(tmp_path, layout)
    folder = Path(expected["440c0203"]).parents[1]
    [utterance] = list_utterances(folder)
    assert utterance.path == expected["440c0203"]
    assert (utterance.split, utterance.speaker) == ("si_et_05", "440")
    name = "wsj0/si_et_05/440/440c0203.wav"
    assert find_wsj0(folder, [name]) == {name: expected["440c0203"]}


def test_names_are_found_in_a_flat_folder(tmp_path):
    for name in UTTERANCES:
        write(tmp_path / f"{name}.wav")
    assert by_names(tmp_path) == {
        name: str(tmp_path / f"{name}.wav") for name in UTTERANCES
    }
