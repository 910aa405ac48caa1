"""Splits are found by their names, whatever their form and company."""

import pytest
import torch

from spatial_brain.dataio.audio import write_audio
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.seld.event_bank import EventBank
from spatial_brain.datasets.speech.corpora import find_utterances
from spatial_brain.datasets.speech.librispeech import prepare_librispeech
from spatial_brain.datasets.speech.pool import prepare_speech
from spatial_brain.datasets.splits import split_part

TRIPLES = [
    "train valid test",
    "Train Valid Test",
    "TRAIN DEV EVAL",
    "tr cv tt",
    "tr dt et",
    "train dev test_clean",
    "train-clean-100 dev-clean test-clean",
    "train_set val_set test_set",
    "si_tr_s si_dt_05 si_et_05",
    "SI_TR_S SI_DT_05 SI_ET_05",
    "tr05_real dt05_real et05_real",
    "training validation evaluation",
]
SPEAKERS = ("ann", "bob", "cid")
# What lies beside splits.
COMPANY = [(), ("docs/",), ("readme/a.txt",), ("noise/n1/x.wav",), ("x.wav",)]


def put(path):
    if path.suffix == ".txt":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    else:
        write_audio(path, torch.full((160,), 0.1), 16000)


def corpus(folder, triple, company=(), form="{split}/{speaker}/{speaker}1.wav"):
    for split, speaker in zip(triple.split(), SPEAKERS, strict=True):
        put(folder / form.format(split=split, speaker=speaker))
    for name in company:
        if name.endswith("/"):
            (folder / name).mkdir(parents=True)
        else:
            put(folder / name)
    return folder


def parts_of(folder, save_folder):
    return {
        part: {e["speaker"].split("-")[-1] for e in read_manifest(p).values()}
        for part, p in prepare_speech(folder, save_folder).items()
    }


EXPECTED = {"tr": {"ann"}, "dt": {"bob"}, "et": {"cid"}}


@pytest.mark.parametrize("company", COMPANY)
@pytest.mark.parametrize("triple", TRIPLES)
def test_training_speech_is_of_the_training_split(tmp_path, triple, company):
    folder = corpus(tmp_path / "in", triple, company)
    assert parts_of(folder, tmp_path / "out") == EXPECTED


@pytest.mark.parametrize(
    "form",
    [
        "{split}/wav/{speaker}/{speaker}1.wav",
        "my_corpus/{split}/{speaker}/{speaker}1.wav",
        "my_corpus/16k/{split}/{speaker}/session/{speaker}1.wav",
        "{split}/{speaker}-1.wav",
        "{split}/p225{speaker}/1.wav",
    ],
)
def test_splits_are_found_between_other_folders(tmp_path, form):
    folder = corpus(tmp_path / "in", "Train Dev Test", (), form)
    found = parts_of(folder, tmp_path / "out")
    short = {p: {s.removeprefix("p225") for s in w} for p, w in found.items()}
    assert short == EXPECTED


@pytest.mark.parametrize("company", COMPANY)
@pytest.mark.parametrize("triple", TRIPLES)
def test_librispeech_recipe_takes_the_splits(tmp_path, triple, company):
    folder = corpus(tmp_path / "in", triple, company)
    train, valid, test = triple.split()
    if train.lower().startswith("si_"):
        train, valid, test = map(str.lower, (train, valid, test))
    paths = prepare_librispeech(
        folder, tmp_path / "out", train, valid, test, check_counts=False
    )
    speakers = [
        {entry["speaker"] for entry in read_manifest(path).values()}
        for path in paths.values()
    ]
    assert speakers == [{"ann"}, {"bob"}, {"cid"}]


def test_what_lies_beside_splits_is_reported(tmp_path, caplog):
    find_utterances(corpus(tmp_path, "tr cv tt", ("noise/n1/x.wav",)))
    assert "its splits are cv, tr, tt; 1 files" in caplog.text


@pytest.mark.parametrize("name", ["test", "Train", "dev", "tt"])
def test_speakers_named_like_splits_are_refused(tmp_path, name):
    corpus(tmp_path, "zoe yan xi")
    put(tmp_path / name / "1.wav")
    with pytest.raises(ValueError, match=f"is {name} a split, or one of the"):
        find_utterances(tmp_path)


def test_unknown_and_missing_names_of_splits_are_refused(tmp_path):
    corpus(tmp_path, "train test heldout", (), "{speaker}/{speaker}1.wav")
    table = tmp_path / "table.csv"
    rows = [
        "path,speaker,split",
        "ann/ann1.wav,ann,train",
        "bob/bob1.wav,bob,test",
    ]
    table.write_text("\n".join([*rows, "cid/cid1.wav,cid,heldout"]))
    with pytest.raises(ValueError, match="in split heldout, which may be"):
        prepare_speech(table, tmp_path / "out")
    table.write_text("\n".join([*rows, "cid/cid1.wav,cid,"]))
    with pytest.raises(ValueError, match="in split none, though others"):
        prepare_speech(table, tmp_path / "out")


def test_names_that_are_no_splits():
    names = "docs trains cv-corpus-17.0 tr_TR testament etc dtu devon ann"
    assert {split_part(name) for name in names.split()} == {None}


@pytest.mark.parametrize("triple", TRIPLES)
def test_events_of_a_split(tmp_path, triple):
    corpus(tmp_path, triple, ("docs/a.txt", "extra/dog/x.wav"))
    for split, name in zip(("train", "valid", "test"), SPEAKERS, strict=True):
        bank = EventBank.from_folder(tmp_path, split=split)
        assert bank.class_names == (name,)
    with pytest.raises(ValueError, match="are splits, not classes"):
        EventBank.from_folder(tmp_path)


def test_events_of_several_folders_that_may_be_one_split(tmp_path):
    corpus(tmp_path, "train test eval")
    with pytest.raises(FileNotFoundError, match="nothing for 'valid'"):
        EventBank.from_folder(tmp_path, split="valid")
    assert EventBank.from_folder(tmp_path, split="test").class_names == ("bob",)
    (tmp_path / "test").rename(tmp_path / "test2")
    with pytest.raises(ValueError, match="eval, test2 may all be 'test'"):
        EventBank.from_folder(tmp_path, split="test")


def test_events_of_a_table(tmp_path):
    corpus(tmp_path, "a b c", (), "{speaker}.wav")
    (tmp_path / "manifest.csv").write_text(
        "label,split,path,active_start,active_end\n"
        "dog,Training,ann.wav,0,0.01\ncat,dev,bob.wav,0,0.01\n"
    )
    bank = EventBank.from_folder(tmp_path, split="train")
    assert bank.class_names == ("dog",)
    with pytest.raises(FileNotFoundError, match="nothing for 'test'"):
        EventBank.from_folder(tmp_path, split="test")
