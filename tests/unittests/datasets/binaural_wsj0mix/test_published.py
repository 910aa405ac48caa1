"""The published lists: read without unpickling, fetched, replayed."""

import functools
import hashlib
import http.server
import os
import threading
from dataclasses import replace

import binaural_trees as tiny
import numpy as np
import pytest

from spatial_brain.datasets.binaural_wsj0mix.noise import FolderNoise
from spatial_brain.datasets.binaural_wsj0mix.published import (
    PUBLISHED_VARIANTS,
    _checksums,
    _metadata_files,
    _noise_files,
    _read_gains,
    _read_levels,
    _read_published,
    _replay_excerpts,
    _with_demand,
    download_metadata,
)


@pytest.fixture
def lists(tmp_path):
    return tiny.write_metadata(tmp_path / "metadata")


def test_published_mixtures(lists):
    first, second = _read_published(lists, "clean2", "tr", mode="max")
    assert first.name == "subject08_01aa0101_-80_0_01ba0102_-15_62"
    assert first.utterances[0] == "wsj0/si_tr_s/01a/01aa0101.wav"
    assert first.speakers == ("01a", "01b")
    assert first.laterals == (-80.0, -15.0)
    assert first.polars == (0.0, -45 + 19 * 5.625)
    assert first.gains == pytest.approx((0.9, 1.03))
    assert second.gains == pytest.approx((1.16, 1.29))
    third = _read_published(lists, "clean3", "tt")[0]
    assert third.num_sources == 3 and third.head == "subject18"
    room = _read_published(lists, "reverb", "cv", fs=16000)[0]
    assert (room.room, room.t60) == ("0_5s", 0.5)
    assert room.name == "0_5s_01ba0102_-80_01ca0103_-15"
    noisy = _read_published(lists, "noise", "tt")[1]
    assert noisy.speech_gain == 0.47 and noisy.noise_gain == 1.1
    assert noisy.speech_start == tiny.STARTS["tt"][1]


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_nothing_is_unpickled(lists, tmp_path):
    path = lists / "scaling_tr.npz"
    arrays = dict(np.load(path, allow_pickle=True))
    trap = os.fspath(tmp_path / "sprung")
    arrays["utterance_id"] = np.array([Trap(trap)], dtype=object)
    np.savez(path, **arrays)
    assert len(_read_published(lists, "clean2", "tr")) == 2
    assert not os.path.exists(trap)
    np.load(path, allow_pickle=True)["utterance_id"]
    assert os.path.exists(trap)


def test_rows_in_another_order_are_noticed(lists):
    path = lists / "scaling_tr.npz"
    arrays = dict(np.load(path, allow_pickle=True))
    arrays["utterance_id"] = arrays["utterance_id"][::-1]
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="another order"):
        _read_published(lists, "clean2", "tr")
    table = lists / "hrtf_meta_cv.csv"
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([header, *rows[::-1]]) + "\n")
    with pytest.raises(ValueError, match=r"hrtf_meta_cv.csv.*another order"):
        _read_published(lists, "clean2", "cv")
    table.write_text(f"{header}\n{rows[0][:-9]}")
    with pytest.raises(ValueError, match="cut off|not those"):
        _read_published(lists, "clean2", "cv")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"300 bytes.*get it again"):
        _read_gains(path, ["a", "b"], 8000, "min")


def test_unusable_gains_of_three_talkers(lists, caplog):
    (lists / "scaling_tr3.npz").write_bytes(b"")
    mixtures = _read_published(lists, "clean3", "tr")
    assert np.isnan([m.gains for m in mixtures]).all()
    assert "computed anew" in caplog.text
    assert _read_levels(lists, "clean3", "tr") == [[1.5, -1.5, 0.0]] * 2
    (lists / "scaling_tt3.npz").write_bytes(b"")
    with pytest.raises(ValueError, match="scaling_tt3.npz"):
        _read_published(lists, "clean3", "tt")


def test_every_published_file_has_a_checksum():
    names = {name for v in PUBLISHED_VARIANTS for name in _metadata_files(v)}
    assert names == _checksums().keys()
    kinds = [value.split(":") for value in _checksums().values()]
    assert {(kind, len(value)) for kind, value in kinds} == {
        ("sha256", 64),
        ("git", 40),
    }


def test_lists_are_fetched_and_checked(lists, tmp_path, monkeypatch):
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=lists
    )
    handler.log_message = lambda *args: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(
        target=server.serve_forever, args=(0.01,), daemon=True
    )
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    url = f"http://127.0.0.1:{server.server_port}"
    for path in lists.iterdir():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setitem(_checksums(), path.name, f"sha256:{digest}")
    last, content = "scaling_tr3.npz", (lists / "scaling_tr3.npz").read_bytes()
    blob = f"blob {len(content)}\0".encode() + content
    digest = hashlib.sha1(blob).hexdigest()
    monkeypatch.setitem(_checksums(), last, f"git:{digest}")
    try:
        folder = download_metadata(tmp_path / "new", "clean3", server=url)
        assert len(_read_published(folder, "clean3", "tr")) == 2
        monkeypatch.setitem(_checksums(), last, "git:0")
        with pytest.raises(ValueError, match=r"tr3.npz.*removed"):
            download_metadata(tmp_path / "other", "clean3", server=url)
        assert not (tmp_path / "other" / last).exists()
        (lists / "hrtf_meta_tr.csv").write_text("changed")
        with pytest.raises(ValueError, match="checksum"):
            download_metadata(
                tmp_path / "third", "clean2", server=url, attempts=1
            )
    finally:
        server.shutdown()
        server.server_close()


def test_draws_of_noise_are_the_published_ones(lists):
    # Six files of 300 s, and the published speech_start_sample_16k of tr.
    files = _noise_files(lists)
    lengths = {name: 4800000 for part in files.values() for name in part}
    drawn = _replay_excerpts({"tr": [100000] * 6}, files, lengths)["tr"]
    starts = [excerpt["speech_start"] for excerpt in drawn]
    assert starts == [9473, 20620, 16536, 18049, 10464, 11548]
    assert all(excerpt["noise"] in files["tr"] for excerpt in drawn)
    assert all(
        0 <= e["noise_start"] < 4800000 - e["noise_length"] for e in drawn
    )


def test_other_noise_is_noticed(lists, tmp_path, caplog):
    noise = FolderNoise(tiny.write_noise(tmp_path / "noise"))
    mixtures = {s: _read_published(lists, "noise", s) for s in tiny.SPLITS}
    lengths = {
        name: tiny.UTTERANCES[name.split("/")[-1][:-4]][1]
        for part in mixtures.values()
        for mixture in part
        for name in mixture.utterances
    }
    noisy = _with_demand(mixtures, lengths, lists, noise)
    assert not caplog.text
    assert noisy["tt"][0].noise.startswith("demand/")
    mixtures["tr"][1] = replace(mixtures["tr"][1], speech_start=31000)
    others = _with_demand(mixtures, lengths, lists, noise)
    assert "1 mixtures have other noise" in caplog.text
    # What the original does: speech begins where its list says.
    second = others["tr"][1]
    assert second.speech_start == 31000
    assert second.noise_length >= 31000 + 9001
    with pytest.raises(ValueError, match="not the file of DEMAND"):
        _with_demand(mixtures, dict.fromkeys(lengths, 79000), lists, noise)
    (tmp_path / "noise" / "demand" / "TBUS" / "ch01.wav").unlink()
    with pytest.raises(FileNotFoundError, match="TBUS"):
        _with_demand(mixtures, lengths, lists, noise)
