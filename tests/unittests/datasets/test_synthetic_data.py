"""The mark of synthetic data: what it spares, what it empties."""

import pytest

from spatial_brain.dataio.files import read_json, write_json
from spatial_brain.datasets.synthetic_data import claim, synthetic_options


def folders(made):
    return made["folders"]


def test_other_options_empty_what_was_written(tmp_path):
    claim(tmp_path, {"folders": ("a",), "seed": 1}, folders)
    for name in ("a", "mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.wav").touch()
    claim(tmp_path, {"folders": ("a",), "seed": 1}, folders)
    assert (tmp_path / "a/x.wav").is_file()
    claim(tmp_path, {"folders": ("a",), "seed": 2}, folders)
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "mine/x.wav").is_file()
    assert synthetic_options(tmp_path) == {"folders": ["a"], "seed": 2}


def test_real_data_are_spared(tmp_path):
    (tmp_path / "real").mkdir()
    with pytest.raises(ValueError, match=r"not synthetic \(real\)"):
        claim(tmp_path, {"folders": ["a"]}, folders)
    with pytest.raises(ValueError, match=r"not synthetic \(real\)"):
        claim(tmp_path, {"folders": ["real"]}, folders, shared=True)
    claim(tmp_path, {"folders": ["a"]}, folders, shared=True)
    assert (tmp_path / "real").is_dir()


def test_the_marker_of_version_0_1_is_read(tmp_path):
    write_json(tmp_path / "LOOKALIKE.json", {"seed": 1})
    (tmp_path / "x.wav").touch()
    assert synthetic_options(tmp_path) == {"seed": 1}
    claim(tmp_path, {"seed": 1})
    assert (tmp_path / "x.wav").is_file()
    assert [path.name for path in sorted(tmp_path.glob("*.json"))] == [
        "SYNTHETIC.json"
    ]
    assert read_json(tmp_path / "SYNTHETIC.json") == {"seed": 1}


def test_an_unfinished_mark_is_no_data(tmp_path):
    (tmp_path / ".SYNTHETIC.json.123.tmp").write_text("{")
    claim(tmp_path, {"seed": 1})
    assert synthetic_options(tmp_path) == {"seed": 1}


def test_the_mark_outlives_what_it_marks(tmp_path, monkeypatch):
    claim(tmp_path, {"seed": 1})
    for name in ("a", "b"):
        (tmp_path / name).mkdir()

    def killed(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            claim(tmp_path, {"seed": 2})
    claim(tmp_path, {"seed": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["SYNTHETIC.json"]
