"""The command writes, merges and verifies; what is wrong is one line."""

import pytest

from spatial_brain.cli.main import main

YAML = """\
scenes: 2
events: null
classes: [knock, bell]
duration: 1.0
t60: 0
sample_rate: 16000
formats: [foa]
audio: wav
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "scenes.yaml"
    path.write_text(YAML)
    return path


def test_one_rank_writes_merges_and_is_verified(file, tmp_path, capsys):
    corpus = tmp_path / "corpus"
    assert main(["synth", str(file), "--output", str(corpus)]) == 0
    first, written, merged = capsys.readouterr().out.splitlines()
    for words in ("16000 Hz, wav", "ACN order, SN3D", "starss23", "1 bell"):
        assert words in first
    assert written.endswith("2 scenes written, 0 were there")
    assert "2 scenes, " in merged
    page = (corpus / "report.html").read_text()
    for words in ("Sound scenes: corpus", "knock", "fold1_room2_mix0001"):
        assert words in page
    assert page.count("<audio") == 2
    assert len(list((corpus / "foa").glob("*.wav"))) == 2
    assert main(["synth", "--verify", str(corpus)]) == 0
    assert "undamaged" in capsys.readouterr().out


def test_ranks_are_merged_when_all_are_done(file, tmp_path, capsys):
    corpus = str(tmp_path / "corpus")
    share = ["synth", str(file), "--output", corpus, "--num_ranks", "2"]
    assert main([*share, "--rank", "0"]) == 0
    assert main(["synth", "--merge", corpus]) == 2
    assert "1 of 2 scenes are not complete" in capsys.readouterr().err
    assert main([*share, "--rank", "1"]) == 0
    assert main(["synth", "--merge", corpus]) == 0
    next((tmp_path / "corpus" / "foa").iterdir()).unlink()
    assert main(["synth", "--verify", corpus]) == 2
    error = capsys.readouterr().err
    assert "not there" in error
    assert "error: " + corpus + ": 1 problem" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["synth"], "give either a YAML file and --output"),
        (["synth", "FILE"], "--output must name"),
        (["synth", "FILE", "--merge", "a"], "give either"),
        (["synth", "no.yaml", "--output", "a"], "no.yaml: No such file"),
        (["synth", "--merge", "nowhere"], "no corpus of scenes lies here"),
        (["synth", "FILE", "--output", "a", "--rank", "1"], "--num_ranks"),
        (
            ["synth", "FILE", "--output", "a", "--num_workers", "0"],
            "num_workers must be 1 or more",
        ),
    ],
)
def test_bad_arguments(file, arguments, message, capsys, monkeypatch):
    monkeypatch.chdir(file.parent)
    arguments = [str(file) if one == "FILE" else one for one in arguments]
    assert main(arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error
    assert not (file.parent / "a").exists()


def test_unknown_keys_are_named(file, tmp_path, capsys):
    file.write_text(YAML.replace("formats", "formatts"))
    assert main(["synth", str(file), "--output", str(tmp_path / "a")]) == 2
    assert capsys.readouterr().err == (
        f"spatial-brain synth: error: {file}: unknown key 'formatts'; did you "
        "mean 'formats'?\n"
    )
