"""The binaural separator, with models made by hand whose truth is known."""

import gc
import math
import os

import pytest
import soundfile
import torch

from spatial_brain.dataio.audio import audio_info, read_audio, write_audio
from spatial_brain.inference import BinauralSeparator, sound_files
from spatial_brain.inference.pretrained import save_pretrained
from spatial_brain.inference.recordings import RecordingWarning

RATE = 1000
# Left and right ear; some are in opposite phases.
GAINS = torch.tensor([[2, 1], [1, 2], [2, -1], [1.0, -3], [1, 0.1]]) * 0.02


class TakingTurns(torch.nn.Module):
    """Separates talkers who own every n-th sample, in any order of them."""

    def __init__(self, num_sources, shuffle=True):
        super().__init__()
        self.num_sources, self.shuffle = num_sources, shuffle
        self.generator = torch.Generator().manual_seed(3)
        self.lengths, self.live = [], {}
        self.watch = ()

    def forward(self, waveform):
        self.lengths.append(waveform.shape[1])
        if len(self.lengths) in self.watch:
            self.live[len(self.lengths)] = sum(
                thing.numel()
                for thing in gc.get_objects()
                if type(thing) is torch.Tensor
            )
        owner = torch.arange(waveform.shape[1]) % self.num_sources
        order = torch.arange(self.num_sources)
        if self.shuffle:
            order = torch.randperm(self.num_sources, generator=self.generator)
        mine = owner[:, None] == order
        return waveform[..., None] * mine[:, None].to(waveform)


class Halves(torch.nn.Module):
    """Two half talkers, also as a stream that is one block late."""

    num_sources = 2

    def forward(self, waveform):
        return torch.stack((waveform / 2, waveform / 2), -1)

    def stream(self):
        if self.tail > 1000:
            raise ValueError("it needs the whole recording")
        return self

    def __init__(self, tail=0):
        super().__init__()
        self.tail, self.waiting = tail, torch.zeros(0, 2)

    def push(self, block):
        late, self.waiting = self.waiting, block
        return self(late)

    def flush(self):
        rest = self(self.waiting)
        return torch.cat((rest, rest[: self.tail]))[: len(rest) + self.tail]


def make(model, **hparams):
    values = {"sample_rate": RATE, "num_sources": model.num_sources}
    return BinauralSeparator(
        {"model": model}, {**values, **hparams}, run_opts={"device": "cpu"}
    )


def talkers(num_sources, seconds, spans=None):
    """Noise by talkers [time, 2, source], each in his spans of seconds."""
    count = round(seconds * RATE)
    noise = torch.randn(count, 1, num_sources)
    owner = torch.arange(count) % num_sources
    mine = (owner[:, None] == torch.arange(num_sources))[:, None]
    time = torch.arange(count)[:, None] / RATE
    for k, some in enumerate(spans or []):
        active = sum(((a <= time) & (time < b)).float() for a, b in some)
        noise[..., k] *= active
    return noise * mine * GAINS[:num_sources].T


@pytest.fixture
def record(tmp_path):
    def write(waveform, rate=RATE, name="room.wav"):
        write_audio(tmp_path / name, waveform, rate, subtype="FLOAT")
        return tmp_path / name

    return write


def first_order(found, truth):
    """The order in which all of a recording's talkers were found, if any."""
    return [
        next(
            (
                k
                for k in range(truth.shape[-1])
                if torch.allclose(found[..., k], truth[..., i], atol=1e-6)
            ),
            None,
        )
        for i in range(truth.shape[-1])
    ]


def test_a_batch_keeps_levels_and_ignores_padding():
    separator = make(TakingTurns(2, shuffle=False))
    truth = torch.stack([talkers(2, 1), 1e-2 * talkers(2, 1)])
    mixture = truth.sum(-1)
    assert torch.equal(separator.separate_batch(mixture), truth)
    mixture[0, 600:] = math.pi
    found = separator(mixture, torch.tensor([0.6, 1.0]))
    assert found.dtype == torch.float32 and not found.requires_grad
    assert torch.equal(found[0, :600], truth[0, :600])
    assert not found[0, 600:].any() and torch.equal(found[1], truth[1])
    assert separator.mods.model.lengths[1:] == [600, 1000]


def test_models_that_do_not_fit_are_refused():
    waveform = 0.1 * torch.randn(1, 500, 2)
    with pytest.raises(ValueError, match=r"\[1, 500, 2, 2\], expected.*, 3\]"):
        make(Halves(), num_sources=3)(waveform)
    broken = TakingTurns(2)
    broken.forward = lambda waveform: (
        waveform[..., None] * torch.full((2,), math.inf)
    )
    with pytest.raises(ValueError, match="output holds NaN"):
        make(broken)(waveform)


# Windows start at multiples of the number of talkers; the last is moved back.
@pytest.mark.parametrize(
    ("num_sources", "window", "hop"),
    [(2, 1.0, 0.75), (3, 0.9, 0.75), (5, 1.0, 0.25), (1, 1.0, 0.9)],
)
def test_order_is_the_same_all_along(record, num_sources, window, hop):
    truth = talkers(num_sources, 9.63 if num_sources == 3 else 9.6)
    # All in one place: only the overlaps show who is who.
    truth = truth / GAINS[:num_sources].T * torch.tensor([[0.02], [0.01]])
    model = TakingTurns(num_sources)
    separator = make(model, window_length=window, hop_length=hop)
    found = separator.separate_file(record(truth.sum(-1)))
    assert found.sources.shape == truth.shape
    assert None not in first_order(found.sources, truth)
    assert set(model.lengths) == {round(window * RATE)}
    assert len(model.lengths) >= 10


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_order_survives_silence_and_turns(record):
    # Everybody, then nobody for several windows, then one after the other.
    spans = [
        [(0, 2), (8, 9), (17, 18)],
        [(0, 2), (11, 12), (20, 21)],
        [(0, 2), (14, 15), (23, 24)],
    ]
    truth = talkers(3, 24, spans)
    separator = make(TakingTurns(3), window_length=1.2, hop_length=0.9)
    found = separator.separate_file(record(truth.sum(-1)))
    assert None not in first_order(found.sources, truth)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_new_talker_takes_a_free_place(record):
    spans = [[(0, 2), (12, 13)], [(6, 7), (18, 19)], [(9, 10), (15, 16)]]
    truth = talkers(3, 20, spans)
    separator = make(TakingTurns(3), window_length=1.2, hop_length=0.9)
    found = separator.separate_file(record(truth.sum(-1)))
    assert None not in first_order(found.sources, truth)


def test_a_short_file_is_one_window(record):
    truth = talkers(2, 0.4)
    model = TakingTurns(2, shuffle=False)
    found = make(model).separate_file(record(truth.sum(-1)))
    assert torch.equal(found.sources, truth)
    assert found.duration == 0.4 and found.sample_rate == RATE
    assert found.path.endswith("room.wav") and found.files is None


def test_bad_windows_are_refused(record):
    path = record(talkers(2, 1).sum(-1))
    for window, hop in ((0.1, 0.05), (1.0, 1.0), (1.0, 0), (math.nan, 1.0)):
        with pytest.raises(ValueError, match="window must be at least 0.13 s"):
            make(TakingTurns(2)).separate_file(
                path, window_length=window, hop_length=hop
            )


def test_files_hold_what_memory_would_and_memory_does_not(record, tmp_path):
    truth = talkers(2, 32)
    path = record(truth.sum(-1))
    hparams = {"window_length": 1.0, "hop_length": 0.75}
    kept = make(TakingTurns(2), **hparams).separate_file(path)
    model = TakingTurns(2)
    model.watch = (4, 40)
    before = path.read_bytes()
    found = make(model, **hparams).separate_file(path, tmp_path)
    assert path.read_bytes() == before
    assert [file.name for file in found.files] == ["room_s1.wav", "room_s2.wav"]
    assert audio_info(found.files[0]).subtype == "FLOAT"
    assert torch.equal(found.sources, kept.sources)
    assert found.talkers == kept.talkers and found.gain == 1
    assert len(list(tmp_path.iterdir())) == 3
    # Of the 27 s between not 3 s are held more: what cues wait for, at most.
    assert abs(model.live[40] - model.live[4]) < 3 * RATE * 4
    saved = kept.save(tmp_path / "again")
    assert torch.equal(read_audio(saved[1])[0], kept.sources[..., 1])
    again = found.save(tmp_path, "PCM_16")
    assert again == found.files and found.subtype == "PCM_16"
    assert torch.allclose(found.sources, kept.sources, atol=2**-14)


def test_pcm_shares_one_gain_which_keeps_the_cues(record, tmp_path):
    truth = 25 * talkers(2, 4)
    peak = truth.abs().max().item()
    assert peak > 1
    separator = make(TakingTurns(2, shuffle=False))
    found = separator.separate_file(
        record(truth.sum(-1)), tmp_path, subtype="PCM_16"
    )
    assert found.gain == pytest.approx(1 / peak)
    for index, file in enumerate(found.files):
        written, _ = read_audio(file)
        assert torch.allclose(written, truth[..., index] / peak, atol=2**-14)
        assert audio_info(file).subtype == "PCM_16"
    assert torch.allclose(found.sources, truth, atol=2**-13 * peak)
    ilds = [talker["ild"] for talker in found.to_dict()["talkers"]]
    assert ilds == pytest.approx([6.02, -6.02], abs=0.01)


def test_a_failure_leaves_nothing_behind(record, tmp_path):
    path = record(talkers(2, 6).sum(-1))
    folder = tmp_path / "out"
    write_audio(folder / "room_s1.wav", torch.zeros(9, 2), RATE)
    model = TakingTurns(2)
    separate = model.forward

    def fail_later(waveform):
        if len(model.lengths) == 3:
            raise RuntimeError("out of memory")
        return separate(waveform)

    model.forward = fail_later
    separator = make(model, window_length=1.0)
    with pytest.raises(RuntimeError, match="out of memory"):
        separator.separate_file(path, folder)
    assert os.listdir(folder) == ["room_s1.wav"]
    assert len(read_audio(folder / "room_s1.wav")[0]) == 9
    with pytest.raises(ValueError, match="'MP3' is not known; use FLOAT or"):
        separator.separate_file(path, folder, subtype="MP3")


def test_the_output_needs_space_and_a_folder(record, tmp_path, monkeypatch):
    path = record(talkers(2, 1).sum(-1))
    separator = make(TakingTurns(2))
    with pytest.raises(OSError, match=r"room\.wav"):
        separator.separate_file(path, path)
    usage = type("Usage", (), {"free": 5})()
    monkeypatch.setattr(sound_files.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match="are free; name another folder"):
        separator.separate_file(path, tmp_path)


def test_recordings_too_large_for_a_plain_wav(record, tmp_path, monkeypatch):
    monkeypatch.setattr(sound_files, "LARGEST_WAV", 1000)
    truth = talkers(2, 1)
    found = make(TakingTurns(2, shuffle=False)).separate_file(
        record(truth.sum(-1)), tmp_path
    )
    assert soundfile.info(found.files[0]).format == "RF64"
    assert torch.equal(found.sources, truth)


def test_channels_are_chosen_in_order_and_rates_converted(record):
    truth = talkers(1, 1)
    pair = truth.sum(-1)
    four = torch.cat((torch.zeros(1000, 1), pair.flip(1), pair), 1)[:, :4]
    path = record(four)
    separator = make(TakingTurns(1))
    found = separator.separate_file(path, channels=[2, 1])
    assert torch.equal(found.sources, truth)
    path = record(pair, 2 * RATE, "fast.wav")
    found = separator.separate_file(path, resample=True, model_rate=True)
    expected, _ = read_audio(path, fs=RATE, resample=True)
    assert torch.equal(found.sources[..., 0], expected)
    assert found.sample_rate == RATE


@pytest.mark.parametrize("fs", [4410, 2700, 1600])
@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_16"])
def test_talkers_have_the_rate_and_length_of_the_recording(
    record, tmp_path, fs, subtype
):
    time = torch.arange(3 * fs + 7) / fs
    low = 0.9 * torch.sin(2 * torch.pi * 150 * time)
    high = 0.3 * torch.sin(2 * torch.pi * 700 * time)
    ears = torch.tensor([1.0, 0.5])
    path = record((low + high)[:, None] * ears, fs, "fast.wav")
    separator = make(TakingTurns(1))
    whole = separator.separate_file(path, resample=True)
    found = separator.separate_file(
        path, tmp_path / "out", resample=True, subtype=subtype
    )
    info = audio_info(found.files[0])
    assert (info.fs, info.num_samples) == (fs, 3 * fs + 7)
    assert info.subtype == subtype
    assert (found.sample_rate, found.model_sample_rate) == (fs, RATE)
    step = 2**-14 if subtype == "PCM_16" else 1e-6
    assert torch.allclose(found.sources, whole.sources, atol=step)
    # What the model knows is there, in time; what it does not is not.
    inner = slice(fs // 2, -fs // 2)
    heard = whole.sources[inner, 0, 0]
    assert torch.allclose(heard, low[inner], atol=0.02)
    assert not list((tmp_path / "out").glob(".*"))


def test_streams_give_the_same_as_the_whole(record, tmp_path):
    pair = talkers(2, 3.2).sum(-1)
    path = record(pair)
    whole = make(Halves()).separate_file(path).sources
    for tail in (0, 200):
        found = make(Halves(tail)).separate_file(
            path, tmp_path / "out", streaming=True
        )
        assert torch.equal(found.sources, whole)
    with pytest.raises(ValueError, match=r"room\.wav.*gave 3050 samples for"):
        make(Halves(-150)).separate_file(path, streaming=True)
    with pytest.raises(ValueError, match=r"room\.wav.*needs the whole"):
        make(Halves(1001)).separate_file(path, streaming=True)
    with pytest.raises(ValueError, match=r"TakingTurns has no str.*--str"):
        make(TakingTurns(2)).separate_file(path, streaming=True)


def test_a_bad_recording_costs_no_separation(tmp_path):
    waveform = torch.full((1000, 2), 0.1)
    waveform[700, 1] = math.nan
    path = tmp_path / "bad.wav"
    soundfile.write(path, waveform.numpy(), RATE, subtype="FLOAT")
    separator = make(TakingTurns(2))
    with pytest.raises(ValueError, match=r"bad\.wav.*channel 1 \(at 0.700 s"):
        separator.separate_file(path, tmp_path / "out")
    assert not separator.mods.model.lengths
    assert not (tmp_path / "out").exists()


def test_silence_stays_silent(record):
    with pytest.warns(RecordingWarning, match="is silent"):
        found = make(TakingTurns(2)).separate_file(record(torch.zeros(900, 2)))
    assert not found.sources.any()
    assert [talker["side"] for talker in found.talkers] == [None, None]


def test_a_pretrained_folder_is_all_that_is_needed(record, tmp_path):
    model = torch.nn.Sequential(
        torch.nn.Linear(2, 4), torch.nn.Unflatten(2, (2, 2))
    )
    text = """
net: !new:torch.nn.Sequential
  - !new:torch.nn.Linear [2, 4]
  - !new:torch.nn.Unflatten [2, [2, 2]]
modules: {model: !ref <net>}
"""
    extra = {"sample_rate": RATE, "num_sources": 2}
    folder = save_pretrained(
        tmp_path / "run", text, [], {"model": model}, extra
    )
    options = {"device": "cpu"}
    separator = BinauralSeparator.from_hparams(
        folder, run_opts=options, allowed=["torch.nn."]
    )
    pair = torch.randn(1000, 2) * 0.1
    found = separator.separate_file(record(pair))
    assert torch.allclose(found.sources, model(pair[None])[0], atol=1e-6)
