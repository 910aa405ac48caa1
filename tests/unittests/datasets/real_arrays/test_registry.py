import re
import shutil

import pytest

from spatial_brain.dataio.files import read_json
from spatial_brain.datasets.real_arrays.registry import (
    CORPORA,
    corpus_class,
    find_corpus,
    look_for,
    open_corpus,
    write_synthetic_corpora,
)

SMALL = {
    "MeshRIR": {"points": 3, "num_sources": 1},
    "LibriCSS": {"utterances": 1, "duration": 0.5},
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpora")
    write_synthetic_corpora(folder, SMALL)
    return folder


@pytest.fixture
def tree(written, tmp_path):
    return shutil.copytree(written, tmp_path / "data")


def test_names_are_unique_in_any_spelling_of_a_folder():
    folders = [name for one in CORPORA for name in corpus_class(one).folders]
    assert len(CORPORA) == 14 and len({*folders}) == len(folders)
    with pytest.raises(ValueError, match="did you mean MeshRIR"):
        corpus_class("Mesh_RIR")


def test_trees_of_the_original_and_side_by_side(tree):
    assert find_corpus(tree, "MeshRIR") == tree / "RIR/Mesh"
    assert find_corpus(tree, "LibriCSS") == tree / "MicSig/LibriCSS"
    (tree / "RIR/Mesh").rename(tree / "MeshRIR")
    assert find_corpus(tree, "MeshRIR") == tree / "MeshRIR"
    assert find_corpus(tree, "MIR") is None


def test_finished_synthetic_corpora_are_kept(tree):
    path = tree / "RIR/Mesh/S32-M441_npy/pos_mic.npy"
    mine = path.read_bytes()
    path.unlink()
    write_synthetic_corpora(tree, SMALL)
    assert not path.exists()
    # A writer that was killed leaves no entry.
    finished = read_json(tree / "synthetic.json")
    assert finished == SMALL
    write_synthetic_corpora(tree, {"MeshRIR": {"points": 5, "num_sources": 1}})
    assert path.stat().st_size > len(mine)


def test_real_data_are_never_touched(tmp_path):
    (tmp_path / "RIR/Mesh").mkdir(parents=True)
    (tmp_path / "RIR/Mesh/real.npy").touch()
    with pytest.raises(ValueError, match=r"not synthetic \(real.npy\)"):
        write_synthetic_corpora(tmp_path, SMALL)
    with pytest.raises(ValueError, match="TABLE has no synthetic data"):
        write_synthetic_corpora(tmp_path, {"TABLE": None})


@pytest.mark.parametrize(
    ("moved", "line"),
    [
        (
            "RIR/MeshRIR_1.0",
            r"not in RIR/Mesh, but there is RIR/MeshRIR_1.0; r",
        ),
        ("RIR/MeshRIR/Mesh", r"in .*/RIR/MeshRIR/Mesh: 1 rooms"),
        ("a/RIR/Mesh", r"nothing; not in RIR/Mesh, but in .*a/RIR/Mesh; give"),
        ("b", r"nothing; not in RIR/Mesh$"),
    ],
)
def test_renamed_and_misplaced_corpora(tree, moved, line):
    place = tree / moved
    temporary = (tree / "RIR/Mesh").rename(tree / "moving")
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary.rename(place)
    found = look_for("MeshRIR", tree)
    assert not found.complete
    assert re.search(line, found.line()), found.line()


def test_other_corpora_are_not_taken_for_a_missing_one(tree):
    (tree / "RIR" / "MIR").mkdir()
    # Three letters of which two are the same.
    assert look_for("AMI", tree).problems == ["not in MicSig/AMI"]


def test_half_complete_and_damaged_corpora(tree):
    complete = look_for("LibriCSS", tree)
    assert complete.complete and complete.found["recordings"] == 2
    cut, *_ = sorted(tree.glob("MicSig/**/overlap_ratio_0.0_*/**/*.wav"))
    cut.write_bytes(cut.read_bytes()[:20])
    assert cut.name in look_for("LibriCSS", tree).line()
    path = tree / "RIR/Mesh/S32-M441_npy/ir_4.npy"
    path.unlink()
    found = look_for("MeshRIR", tree)
    assert "ir_4.npy" in found.line() and not found.complete
    # What cannot even be opened is a line, too.
    (path.parent / "pos_mic.npy").unlink()
    assert "pos_mic.npy" in look_for("MeshRIR", tree).line()


def test_options_of_readers(tree):
    with pytest.raises(ValueError, match="LibriCSS has no option tasks; known"):
        open_corpus("LibriCSS", tree, tasks=[1])
    line = look_for("LibriCSS", tree, compat=["all"]).line()
    assert "unknown compat all; known: none" in line
