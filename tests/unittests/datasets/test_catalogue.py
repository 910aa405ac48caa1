"""Data sets are recognised by their folders."""

from spatial_brain.datasets.catalogue import find_known_data


def test_each_kind_is_found_where_it_lies(tmp_path):
    for name in (
        "LibriSpeech/train-clean-100",
        "wsj0/si_tr_s",
        "L3DAS22_Task2_train",
        "corpora/RIR/ACE",
        "corpora/MicSig/LOCATA",
        "other/dev-clean/deep/dev-clean",
    ):
        (tmp_path / name).mkdir(parents=True)
    found = {
        (one.name, one.folder.relative_to(tmp_path).as_posix()): one
        for one in find_known_data(tmp_path)
    }
    assert set(found) == {
        ("LibriSpeech", "LibriSpeech"),
        ("LibriSpeech", "other"),
        ("WSJ0", "wsj0"),
        ("L3DAS22 Task 2", "."),
        ("ACE", "corpora/RIR/ACE"),
        ("LOCATA", "corpora/MicSig/LOCATA"),
    }
    assert found["WSJ0", "wsj0"].licence == "LDC user agreement"
    assert found["ACE", "corpora/RIR/ACE"].recipes == ("ACE", "RealArrays")
