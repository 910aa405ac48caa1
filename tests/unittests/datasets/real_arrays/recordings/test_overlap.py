import numpy as np
import pytest

from spatial_brain.datasets.real_arrays.recordings.overlap import (
    read_sentences,
    single_speaker_intervals,
)
from spatial_brain.datasets.real_arrays.synthetic.recorded_speech import (
    plan_meeting,
    write_textgrid,
)


def draw_meeting(seed):
    rng = np.random.default_rng(seed)
    starts = np.sort(rng.uniform(0, 60, rng.integers(1, 15)))
    return [(s, s + rng.uniform(0.2, 9.0)) for s in starts.tolist()]


@pytest.mark.parametrize("seed", range(20))
def test_only_one_sentence_is_active(seed):
    sentences = draw_meeting(seed)
    duration = max(end for _, end in sentences) + 1.0
    intervals = single_speaker_intervals(sentences, duration)
    times = np.arange(0.0005, duration, 0.01)
    active = sum(
        ((times >= start) & (times < end)).astype(int)
        for start, end in sentences
    )
    inside = np.zeros(len(times), bool)
    for start, stop in intervals:
        assert 0 <= start < stop <= duration
        inside |= (times > start) & (times < stop)
    assert (active[inside] <= 1).all()
    # Nothing is lost: wherever nobody or one person speaks alone between
    # the sentences around it, some interval has it.
    assert inside[active == 0].all()


@pytest.mark.parametrize("seed", range(20))
def test_what_the_original_selects(seed):
    sentences = draw_meeting(100 + seed)
    duration = sentences[-1][0] - 0.5
    expected = []
    for i in range(len(sentences) - 1):
        latest = max([0.0, *(end for _, end in sentences[:i])])
        following = sentences[i + 1][0]
        if latest < following < duration:
            expected.append((latest, following))
    found = single_speaker_intervals(sentences, duration, skip_last=True)
    assert found == tuple(expected)


def test_last_sentence_and_end_of_the_recording():
    sentences = [(1.0, 3.0), (4.0, 8.0)]
    assert single_speaker_intervals(sentences, 20.0) == ((0, 4), (3, 20.0))
    assert single_speaker_intervals(sentences, 20.0, True) == ((0, 4),)
    # A recording that ends before its transcript.
    assert single_speaker_intervals(sentences, 2.5) == ((0, 2.5),)
    assert single_speaker_intervals(sentences, 2.5, True) == ()
    assert single_speaker_intervals([], 9.0) == ()


def test_textgrids(tmp_path):
    path = tmp_path / "a.TextGrid"
    meeting = plan_meeting(40.0, 4, 3)
    write_textgrid(path, meeting, 40.0)
    found = read_sentences(path)
    assert np.allclose(found, [(a, b) for a, b, _ in meeting], atol=1e-6)
    # The file has the pauses of each tier, too.
    assert path.read_text().count('text = ""') > len(found) / 2


@pytest.mark.parametrize("text", ["", "no grid", 'File type = "ooTextFile"\n'])
def test_damaged_textgrids_are_named(tmp_path, text):
    path = tmp_path / "b.TextGrid"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"b\.TextGrid: cannot be read as a"):
        read_sentences(path)


def test_cut_textgrid(tmp_path):
    path = tmp_path / "c.TextGrid"
    write_textgrid(path, plan_meeting(40.0, 4, 3), 40.0)
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    with pytest.raises(ValueError, match=r"c\.TextGrid: cannot be read as a"):
        read_sentences(path)
