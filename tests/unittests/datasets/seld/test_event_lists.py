"""Sound events of published sets and lists."""

import pytest
import torch

from spatial_brain.dataio.audio import write_audio
from spatial_brain.datasets.seld.event_lists import find_layout, open_events


def sounds(folder, *names):
    for name in names:
        write_audio(folder / name, torch.rand(800) - 0.5, 8000)


def names_of(bank):
    return {
        name: [recording.path.name for recording in recordings]
        for name, recordings in bank.sounds.items()
    }


def test_esc50(tmp_path):
    (tmp_path / "meta").mkdir()
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for fold in range(1, 6):
        name = f"{fold}-100-A-0.wav"
        lines.append(f"{name},{fold},0,dog,True,100,A")
        sounds(tmp_path / "audio", name)
    (tmp_path / "meta" / "esc50.csv").write_text("\n".join(lines))
    assert find_layout(tmp_path) == "ESC-50"
    assert len(names_of(open_events(tmp_path))["dog"]) == 5
    train = names_of(open_events(tmp_path, split="train"))
    assert [name[0] for name in train["dog"]] == ["1", "2", "3"]
    test = names_of(open_events(tmp_path, split="test"))
    assert test == {"dog": ["5-100-A-0.wav"]}


def fsd50k(folder):
    truth = folder / "FSD50K.ground_truth"
    truth.mkdir()
    (truth / "dev.csv").write_text(
        "fname,labels,mids,split\n"
        '1,"Bark,Dog,Animal","/m/1,/m/2,/m/3",train\n'
        '2,"Bark,Dog,Animal,Speech","/m/1,/m/2,/m/3,/m/4",train\n'
        "3,Speech,/m/4,val\n"
    )
    (truth / "eval.csv").write_text("fname,labels,mids\n4,Speech,/m/4\n")
    sounds(folder / "FSD50K.dev_audio", "1.wav", "2.wav", "3.wav")
    sounds(folder / "FSD50K.eval_audio", "4.wav")


def test_fsd50k(tmp_path):
    fsd50k(tmp_path)
    wanted = ["Speech", "Bark"]
    bank = open_events(tmp_path, class_names=wanted)
    # 2 holds both: which of them sounds when is not known.
    assert names_of(bank) == {"Speech": ["3.wav", "4.wav"], "Bark": ["1.wav"]}
    test = open_events(tmp_path, split="test", class_names=["Speech"])
    assert names_of(test) == {"Speech": ["4.wav"]}
    valid = open_events(tmp_path, split="valid", class_names=["Speech"])
    assert names_of(valid) == {"Speech": ["3.wav"]}
    with pytest.raises(ValueError, match="dev.csv, line 2: has the labels"):
        open_events(tmp_path)
    with pytest.raises(ValueError, match="'Bark' has no recordings"):
        open_events(tmp_path, split="test", class_names=wanted)


def test_audioset(tmp_path, caplog):
    path = tmp_path / "balanced_train_segments.csv"
    path.write_text(
        "# Segments csv created Sun Mar  5 10:54:31 2017\n"
        "# num_ytids=3, num_segs=3\n"
        "# YTID, start_seconds, end_seconds, positive_labels\n"
        '--PJ_x, 30.000, 40.000, "/m/09x0r,/t/dd1"\n'
        'abc, 0.000, 10.000, "/m/04rlf"\n'
        'gone, 0.000, 10.000, "/m/04rlf"\n'
    )
    sounds(tmp_path / "audio", "Y--PJ_x.wav", "abc.flac")
    bank = open_events(path, class_names=["/m/09x0r", "/m/04rlf"])
    assert names_of(bank) == {
        "/m/09x0r": ["Y--PJ_x.wav"],
        "/m/04rlf": ["abc.flac"],
    }
    assert bank.recording(0, 0).start is None
    assert "1 of 3 recordings are not below" in caplog.text


def test_strong_labels(tmp_path):
    path = tmp_path / "strong.tsv"
    path.write_text(
        "filename\tonset\toffset\tevent_label\n"
        "a.wav\t0.01\t0.05\tbark\n"
        "a.wav\t0.06\t0.09\tmeow\n"
    )
    sounds(tmp_path, "a.wav")
    bank = open_events(path, interferers=["meow"])
    assert (bank.class_names, bank.interferers) == (("bark",), (1,))
    found = bank.recording("meow", 0)
    assert (found.start, found.stop) == (0.06, 0.09)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.wav,x\n", "has no column path, filename, .*found file"),
        ("path,sound\na.wav,x\n", "has no column label"),
        ("path,label,onset\na.wav,x,2\n", "line 2: expected seconds"),
        ("path,label\na.wav\n", "line 2: has 1 columns"),
        ("path,label\nb.wav,x\n", "1 of 1 recordings are not below .*b.wav"),
        ("", "has no column path"),
    ],
)
def test_wrong_tables(tmp_path, text, message):
    sounds(tmp_path, "a.wav")
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        open_events(tmp_path / "list.csv")


def test_missing_tables(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such table"):
        open_events(tmp_path / "list.csv")
    (tmp_path / "FSD50K.ground_truth").mkdir()
    with pytest.raises(FileNotFoundError, match="neither dev.csv nor"):
        open_events(tmp_path)
