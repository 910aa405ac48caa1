"""Tables of measured responses, and speech for them."""

import numpy as np
import pytest
import torch

from spatial_brain.dataio.audio import write_audio
from spatial_brain.datasets.measured_rirs import (
    dry_segment,
    read_measured_responses,
)
from spatial_brain.datasets.speech.corpora import list_utterances


def table(folder, *lines):
    path = folder / "rirs.csv"
    path.write_text("\n".join(lines))
    return path


def test_places_come_from_angles_and_distance(tmp_path):
    path = table(
        tmp_path,
        "path,az,el,metres,room",
        "a.wav,-90,0,2,one",
        "b.wav,,,1,one",
        "c.wav,0,90,,two",
    )
    first, second = read_measured_responses(
        path, "/rirs", "az", "el", "metres", "room"
    )
    assert str(first.path) == "/rirs/a.wav"
    assert (first.condition, second.condition) == ("one", "two")
    torch.testing.assert_close(
        first.position, torch.tensor([0.0, -2.0, 0.0]), atol=1e-6, rtol=0
    )
    # A wave from an unknown distance is plane.
    assert second.distance is None and second.position[2] > 100
    first, second = read_measured_responses(path, None, "az", "el")
    assert first.path == tmp_path / "a.wav"
    assert first.distance is None and first.condition == ""


def test_broken_tables_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such table"):
        read_measured_responses(tmp_path / "none.csv")
    path = table(tmp_path, "path,azimuth", "a.wav,1")
    with pytest.raises(ValueError, match="no column 'elevation'"):
        read_measured_responses(path)
    path = table(tmp_path, "path,azimuth,elevation", "a.wav,left,0")
    with pytest.raises(ValueError, match=r"rirs.csv, line 2: .*left"):
        read_measured_responses(path)
    path = table(tmp_path, "path,azimuth,elevation", "a.wav,,")
    with pytest.raises(ValueError, match="no line has an azimuth"):
        read_measured_responses(path)


def test_segments_are_pieces_or_padded(tmp_path):
    (tmp_path / "one").mkdir()
    ramp = torch.arange(1000)[:, None] / 2000
    write_audio(tmp_path / "one/a.wav", ramp, 16000, subtype="FLOAT")
    [utterance] = list_utterances(tmp_path, fs=16000)
    rng = np.random.default_rng(0)
    starts = set()
    for _ in range(20):
        piece = dry_segment(rng, utterance, 400)
        torch.testing.assert_close(
            piece.diff(), torch.full((399,), 1 / 2000), atol=1e-6, rtol=0
        )
        starts.add(piece[0].item())
    assert len(starts) > 10
    longer = dry_segment(rng, utterance, 1200)
    assert torch.equal(longer[:1000], ramp[:, 0]) and not longer[1000:].any()


def test_pauses_are_left_out(tmp_path):
    (tmp_path / "one").mkdir()
    speech = torch.zeros(4000, 1)
    speech[1000:1400] = 0.5
    write_audio(tmp_path / "one/a.wav", speech, 16000, subtype="FLOAT")
    write_audio(tmp_path / "one/b.wav", 0 * speech, 16000, subtype="FLOAT")
    spoken, silent = list_utterances(tmp_path, fs=16000)
    rng = np.random.default_rng(0)
    loud = [dry_segment(rng, spoken, 300, 20.0).any() for _ in range(50)]
    any_piece = [dry_segment(rng, spoken, 300).any() for _ in range(50)]
    assert all(loud) and not all(any_piece)
    with pytest.raises(ValueError, match=r"b.wav: is silent"):
        dry_segment(rng, silent, 300, 20.0)
