"""Corpora as they are published: splits and speakers of tiny trees."""

import pytest

from spatial_brain.datasets.speech.corpora import find_utterances
from spatial_brain.datasets.speech.layouts import find_layout, read_layout

MIC1 = "{}/p225/p225_001_mic1.flac {}/p225/p225_001_mic2.flac "
CLIPS = "cv-corpus-17.0-2024-03-15/tr/clips"
# Layout: files; utterances with speakers and splits.
TREES = {
    "librispeech as wav": (
        "librispeech",
        "LibriSpeech/dev-clean/84/121/84-121-0000.wav "
        "LibriSpeech/test-clean/61/7/61-7-0000.wav",
        {"84-121-0000 84 dev-clean", "61-7-0000 61 test-clean"},
    ),
    "librispeech with copies": (
        "librispeech",
        "dev-clean/84/121/84-121-0000.wav dev-clean/84/121/84-121-0000.flac",
        {"84-121-0000 84 dev-clean"},
    ),
    "libritts": (
        "libritts",
        "LibriTTS/train-clean-100/19/198/19_198_000000_000000.wav "
        "LibriTTS/dev-clean/84/121123/84_121123_000007_000000.wav",
        {
            "19_198_000000_000000 19 train-clean-100",
            "84_121123_000007_000000 84 dev-clean",
        },
    ),
    "libri-light": (
        "libri_light",
        "small/100/sea_fairies_0812_librivox_64kb_mp3/01_baum_64kb.flac "
        "small/101/other_book_64kb_mp3/01_baum_64kb.flac",
        {
            "100-sea_fairies_0812_librivox_64kb_mp3-01_baum_64kb 100 None",
            "101-other_book_64kb_mp3-01_baum_64kb 101 None",
        },
    ),
    "libri-light, limited": (
        "libri_light",
        "9h/clean/103/1240/103-1240-0001.flac "
        "1h/0/other/1081/12/1081-12-0001.flac",
        {
            "103-1240-103-1240-0001 103 None",
            "1081-12-1081-12-0001 1081 None",
        },
    ),
    "mls": (
        "mls",
        "mls_german/train/audio/4536/5316/4536_5316_000007.flac "
        "mls_german/test/audio/252/3/252_3_000001.opus "
        "mls_german/dev/audio/4/3/4_3_000001.flac",
        {
            "4536_5316_000007 4536 train",
            "252_3_000001 252 test",
            "4_3_000001 4 dev",
        },
    ),
    "vctk": (
        "vctk",
        "VCTK-Corpus/wav48/p225/p225_001.wav VCTK-Corpus/wav48/s5/s5_001.wav",
        {"p225_001 p225 None", "s5_001 s5 None"},
    ),
    "vctk 0.92": (
        "vctk",
        MIC1.format(*["wav48_silence_trimmed"] * 2)
        + "wav48_silence_trimmed/p226/p226_001_mic1.flac",
        {"p225_001 p225 None", "p226_001 p226 None"},
    ),
    "vctk, divided": (
        "vctk",
        MIC1.format("train", "train") + "test/p226/p226_001_mic1.flac",
        {"p225_001 p225 train", "p226_001 p226 test"},
    ),
    "voxceleb": (
        "voxceleb",
        "wav/id10001/1zcIwhmdeo4/00001.wav wav/id10002/0_laIeN-Q44/00001.wav",
        {
            "id10001-1zcIwhmdeo4-00001 id10001 None",
            "id10002-0_laIeN-Q44-00001 id10002 None",
        },
    ),
    "voxceleb, both": (
        "voxceleb",
        "vox1_dev_wav/wav/id10001/1zcIwhmdeo4/00001.wav "
        "vox1_test_wav/wav/id10270/5r0dWxy17C8/00001.wav",
        {
            "id10001-1zcIwhmdeo4-00001 id10001 dev",
            "id10270-5r0dWxy17C8-00001 id10270 test",
        },
    ),
    "aishell": (
        "aishell",
        "data_aishell/wav/train/S0002/BAC009S0002W0122.wav "
        "data_aishell/wav/dev/S0724/BAC009S0724W0121.wav",
        {
            "BAC009S0002W0122 S0002 train",
            "BAC009S0724W0121 S0724 dev",
        },
    ),
    "aishell3": (
        "aishell",
        "train/wav/SSB0005/SSB00050001.wav test/wav/SSB0009/SSB00090001.wav",
        {"SSB00050001 SSB0005 train", "SSB00090001 SSB0009 test"},
    ),
    "aishell2": (
        "aishell2",
        "iOS/data/wav/C0001/IC0001W0001.wav iOS/data/wav/C0002/IC0002W0001.wav",
        {"IC0001W0001 C0001 None", "IC0002W0001 C0002 None"},
    ),
    "timit": (
        "timit",
        "TIMIT/TRAIN/DR1/FCJF0/SA1.WAV TIMIT/TEST/DR2/MABC0/SA1.WAV "
        "TIMIT/TRAIN/DR1/FCJF0/SA1.WAV.wav",
        {"FCJF0-SA1 FCJF0 TRAIN", "MABC0-SA1 MABC0 TEST"},
    ),
    "timit in lower case": (
        "timit",
        "timit/train/dr1/fcjf0/sa1.wav timit/test/dr2/mabc0/sa1.wav",
        {"fcjf0-sa1 fcjf0 train", "mabc0-sa1 mabc0 test"},
    ),
    "cmu arctic": (
        "cmu_arctic",
        "cmu_us_bdl_arctic/wav/arctic_a0001.wav "
        "cmu_us_slt_arctic/wav/arctic_a0001.wav "
        "cmu_us_slt_arctic/orig/arctic_a0001.wav",
        {
            "bdl-wav-arctic_a0001 bdl None",
            "slt-wav-arctic_a0001 slt None",
        },
    ),
    "common voice": (
        "common_voice",
        f"{CLIPS}/common_voice_tr_1.mp3 {CLIPS}/common_voice_tr_2.mp3 "
        f"{CLIPS}/common_voice_tr_3.mp3",
        {
            "common_voice_tr_1 abc train",
            "common_voice_tr_2 def test",
        },
    ),
    "wsj0 in upper case": (
        "wsj0",
        "11-1.1/WSJ0/SI_TR_S/01T/01TO030V.WV1 "
        "11-1.1/WSJ0/SI_TR_S/01T/01TO030V.WV2 "
        "11-2.1/WSJ0/SI_DT_05/050/050A0501.WV1",
        {"01to030v 01t si_tr_s", "050a0501 050 si_dt_05"},
    ),
    "wsj0 copied": (
        "speakers",
        "tr/01T/01TO030V.WV1 tr/01T/01TO030V.WV2 et/440/440C0203.wav",
        {"01T-01TO030V 01T tr", "440-440C0203 440 et"},
    ),
}


def make(folder, names):
    for name in names.split():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    tables = (folder / CLIPS).parent
    if tables.is_dir():
        header = "client_id\tpath\tsentence\n"
        (tables / "train.tsv").write_text(
            f'{header}abc\tcommon_voice_tr_1.mp3\tHe said "go\n'
        )
        (tables / "test.tsv").write_text(
            f"{header}def\tcommon_voice_tr_2.mp3\tHi\n"
        )


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("beside", ["", "docs/sample.wav"])
def test_published_corpora(tmp_path, name, beside):
    layout, files, expected = TREES[name]
    make(tmp_path, f"{files} {beside if layout != 'speakers' else ''}")
    assert find_layout(tmp_path) == layout
    found = find_utterances(tmp_path)
    assert {f"{u.id} {u.speaker} {u.split}" for u in found} == expected


@pytest.mark.parametrize("name", ["vctk 0.92", "voxceleb", "libri-light"])
def test_a_folder_in_a_corpus(tmp_path, name):
    _, files, expected = TREES[name]
    make(tmp_path, files)
    [inside] = tmp_path.iterdir()
    found = find_utterances(inside)
    assert {f"{u.id} {u.speaker} {u.split}" for u in found} == expected


def test_what_was_skipped(tmp_path, caplog):
    make(tmp_path, TREES["vctk 0.92"][1] + " docs/a.wav")
    assert read_layout(tmp_path).skipped == {
        "other microphones or copies of an utterance": 1,
        "not named as in this layout": 1,
    }
    assert "layout vctk; 1 files are not named as in it" in caplog.text
    assert "docs/a.wav" in caplog.text


def test_guesses_are_reported(tmp_path, caplog):
    make(tmp_path / "a", "ann/1.wav bob/1.wav")
    find_utterances(tmp_path / "a")
    assert "the folders are taken for speakers: ann, bob. If" in caplog.text
    assert "columns path,speaker,split" in caplog.text
    make(tmp_path / "b", "LJ001-0001.wav LJ002-0001.wav")
    find_utterances(tmp_path / "b")
    assert "beginnings of names are taken for speakers: LJ001," in caplog.text


def test_files_in_and_beside_folders_are_refused(tmp_path):
    make(tmp_path, "ann/1.wav bob/1.wav intro-1.wav")
    with pytest.raises(ValueError, match="1 audio files lie in it and 2"):
        find_utterances(tmp_path)
    (tmp_path / "intro-1.wav").unlink()
    make(tmp_path, "note.aiff/readme.txt")
    with pytest.raises(ValueError, match="neither a folder nor a .csv table"):
        find_utterances(tmp_path / "ann/1.wav")
