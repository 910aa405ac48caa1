"""Synthetic speech: is it like speech, and are the voices different?"""

import numpy as np
import pytest
import torch

from spatial_brain.simulation.mixing import active_level
from spatial_brain.simulation.synthesis.speech import (
    SyntheticTalker,
    _plan_utterance,
    synthetic_babble,
    synthetic_speech,
)

FS = 16000
# Long-term average speech spectrum in octaves from 250 Hz to 4 kHz, dB, from
# the third octaves of Byrne et al., JASA 96, 1994.
LTASS = {250: 64.7, 500: 66.5, 1000: 60.0, 2000: 55.0, 4000: 51.2}


@pytest.fixture(scope="module")
def speech():
    """Twenty seconds of several talkers, {talker: waveform}."""
    voices = [("male", 1), ("male", 2), ("female", 3), ("female", 4)]
    voices += [("child", 5), ("child", 6)]
    talkers = [SyntheticTalker(seed, voice) for voice, seed in voices]
    return [
        (talker, say(20 * FS, talker, seed=index))
        for index, talker in enumerate(talkers)
    ]


def say(num_samples, talker, seed=0, fs=FS):
    generator = torch.Generator().manual_seed(seed)
    return synthetic_speech(num_samples, fs, talker, generator)


def frames_of(waveform, length=0.04):
    frames = waveform.unfold(-1, int(length * FS), int(length * FS) // 2)
    power = frames.square().mean(-1)
    return frames[power > 0.05 * power.max()].double()


def pitch_of(waveform):
    """Median pitch of voiced frames by autocorrelation, Hz."""
    frames = frames_of(waveform)
    spectrum = torch.fft.rfft(frames - frames.mean(-1, True), n=2048)
    correlation = torch.fft.irfft(spectrum.abs().square())
    correlation = correlation[:, :320] / correlation[:, :1]
    # A window as long as the frame has a triangle for its own correlation.
    correlation = correlation / (1 - torch.arange(320) / frames.shape[-1])
    value, lag = correlation[:, 32:].max(-1)
    return float((FS / (lag[value > 0.6] + 32)).median())


def octave_levels(waveform):
    spectrum = torch.fft.rfft(waveform.double()).abs().square()
    hertz = torch.fft.rfftfreq(len(waveform), 1 / FS)
    return np.array(
        [
            float(
                10
                * torch.log10(
                    spectrum[
                        (hertz > center / 2**0.5) & (hertz < center * 2**0.5)
                    ].sum()
                )
            )
            for center in LTASS
        ]
    )


def test_same_seeds_same_speech():
    talker = SyntheticTalker(7)
    assert torch.equal(say(FS, talker), say(FS, SyntheticTalker(7)))
    assert torch.equal(say(FS, talker), say(FS, 7))
    assert not torch.equal(say(FS, talker), say(FS, talker, seed=1))
    assert not torch.equal(say(FS, talker), say(FS, 8))
    first, again = (torch.Generator().manual_seed(5) for _ in range(2))
    assert torch.equal(
        synthetic_speech(FS, generator=first),
        synthetic_speech(FS, generator=again),
    )
    # The state moves on: the next one is another talker.
    assert not torch.equal(
        synthetic_speech(FS, generator=first),
        say(FS, None, seed=5),
    )


def test_pitch_is_the_talkers(speech):
    for talker, waveform in speech:
        assert pitch_of(waveform) == pytest.approx(talker.f0, rel=0.2)


def test_pitch_moves_and_falls():
    talker = SyntheticTalker(1, "male")
    rng = np.random.default_rng(0)
    tracks = _plan_utterance(talker, 60.0, rng)
    voiced = tracks.voicing > 0.3
    semitones = 12 * np.log2(tracks.f0 / talker.f0)
    assert 1.0 < semitones[voiced].std() < 6.0
    # Phrases begin where the voice comes back after a long pause.
    silent = np.convolve(tracks.voicing < 0.02, np.ones(40), "same") > 39.5
    begins = np.flatnonzero(np.diff(silent.astype(int)) == -1) + 40
    ends = np.flatnonzero(np.diff(silent.astype(int)) == 1) - 40
    at_begin = np.mean([semitones[i : i + 60].mean() for i in begins[:-1]])
    at_end = np.mean([semitones[i - 60 : i].mean() for i in ends[1:]])
    assert at_begin > at_end + 1.0


def test_voices_differ():
    talkers = [SyntheticTalker(seed) for seed in range(200)]
    pitch = np.array([talker.f0 for talker in talkers])
    scale = np.array([talker.formant_scale for talker in talkers])
    assert pitch.max() / pitch.min() > 3.0
    assert scale.max() / scale.min() > 1.4
    voices = {talker.voice for talker in talkers}
    assert voices == {"male", "female", "child"}
    points = np.stack((np.log2(pitch) * 12, np.log2(scale) * 12), axis=1)
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    nearest = distance + 99 * np.eye(200)
    # Hardly two of two hundred within a tenth of a semitone of each other.
    assert np.median(nearest.min(1)) > 0.15


def envelope_of(waveform):
    """Spectral envelope over log frequency, 24 steps an octave, flattened."""
    spectrum = torch.fft.rfft(waveform.double()).abs().square()
    hertz = torch.fft.rfftfreq(len(waveform), 1 / FS)
    edges = 1000 * 2 ** (torch.arange(62) / 24)
    band = torch.bucketize(hertz, edges)
    power = torch.zeros(63).double().index_add(0, band, spectrum)[1:-1]
    level = torch.nn.functional.avg_pool1d(power.log()[None], 5, 1)[0].numpy()
    steps = np.arange(len(level))
    return level - np.polyval(np.polyfit(steps, level, 2), steps)


def test_formants_follow_the_vocal_tract():
    # The same voice with a shorter vocal tract: all formants move up.
    talker, shorter = SyntheticTalker(2, "male"), SyntheticTalker(2, "male")
    shorter.formant_scale = talker.formant_scale * 2 ** (6 / 24)
    long = envelope_of(say(20 * FS, talker))
    short = envelope_of(say(20 * FS, shorter))
    likeness = [
        np.corrcoef(
            long[12 - k // 2 : 44 - k // 2],
            short[12 + (k + 1) // 2 : 44 + (k + 1) // 2],
        )[0, 1]
        for k in range(-12, 13)
    ]
    assert abs(int(np.argmax(likeness)) - 12 - 6) <= 1


def test_long_term_spectrum(speech):
    levels = np.mean([octave_levels(waveform) for _, waveform in speech], 0)
    wanted = np.array(list(LTASS.values()))
    difference = (levels - levels[1]) - (wanted - wanted[1])
    assert np.abs(difference).max() < 6.0
    assert levels[4] < levels[1] - 10.0


def test_modulation_is_syllabic(speech):
    ratios = []
    for _, waveform in speech:
        envelope = waveform.square().unfold(0, 160, 160).mean(-1).sqrt()
        spectrum = torch.fft.rfft(envelope - envelope.mean()).abs().square()
        hertz = torch.fft.rfftfreq(len(envelope), 0.01)
        bands = [(0.5, 1), (1, 2), (2, 4), (4, 8), (8, 16), (16, 32)]
        power = [
            float(spectrum[(hertz >= low) & (hertz < high)].sum())
            for low, high in bands
        ]
        ratios.append(np.array(power) / sum(power))
    # Octave bands: the peak of the modulation spectrum lies in 2 to 8 Hz.
    assert np.mean(ratios, axis=0).argmax() in (2, 3)
    assert np.mean(ratios, axis=0)[2:4].sum() > 0.45


def test_there_are_pauses(speech):
    for _, waveform in speech:
        power = waveform.square().unfold(0, 800, 800).mean(-1)
        silent = (power < 1e-4 * power.max()).float()
        assert 0.03 < silent.mean() < 0.35
        # At least a quarter of a second of silence somewhere.
        assert silent.unfold(0, 4, 1).min(-1).values.max() == 1


def test_level(speech):
    for _, waveform in speech:
        assert active_level(waveform, FS) == pytest.approx(-26.0, abs=0.1)
        assert waveform.abs().max() < 1.0
        assert abs(waveform.mean()) < 1e-3


@pytest.mark.parametrize("fs", [8000, 22050, 24000, 48000])
def test_other_rates(fs):
    talker = SyntheticTalker(2, "child")
    waveform = say(2 * fs + 1, talker, fs=fs)
    assert waveform.shape == (2 * fs + 1,)
    assert waveform.isfinite().all()
    assert active_level(waveform, fs) == pytest.approx(-26.0, abs=0.1)


@pytest.mark.parametrize("num_samples", [1, 17, 400])
def test_short(num_samples):
    waveform = say(num_samples, 0)
    assert waveform.shape == (num_samples,)
    assert waveform.isfinite().all()


def test_long_speech_is_made_in_pieces(monkeypatch):
    monkeypatch.setattr("spatial_brain.simulation.synthesis.speech.PIECE", 1.0)
    waveform = say(int(3.5 * FS), 0)
    assert waveform.shape == (int(3.5 * FS),)
    halves = waveform.split(FS)
    assert not torch.allclose(halves[0], halves[1])


def test_babble_channels_are_uncorrelated():
    generator = torch.Generator().manual_seed(0)
    babble = synthetic_babble(
        5 * FS, FS, num_channels=3, generator=generator
    ).double()
    assert babble.shape == (3, 5 * FS)
    correlation = torch.corrcoef(babble) - torch.eye(3)
    assert correlation.abs().max() < 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: synthetic_speech(0), "num_samples"),
        (lambda: synthetic_speech(100, 4000), "8000"),
        (lambda: SyntheticTalker(-1), "seed"),
        (lambda: SyntheticTalker(1, "robot"), "robot"),
        (lambda: synthetic_babble(100, num_talkers=0), "num_talkers"),
        (lambda: active_level(torch.zeros(2, 0)), "without samples"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_active_level_ignores_pauses():
    tone = torch.sin(torch.arange(4 * FS) * 0.3)
    sparse = torch.cat((tone, torch.zeros(12 * FS)))
    assert active_level(tone) == pytest.approx(-3.01, abs=0.05)
    assert active_level(sparse) == pytest.approx(-3.01, abs=0.05)
    noise = torch.randn(4 * FS)
    assert active_level(noise) == pytest.approx(0.0, abs=0.1)
    assert active_level(torch.zeros(FS)) == pytest.approx(-200.0)
    # Faint noise in the pauses is no speech.
    faint = sparse + 1e-3 * torch.randn(len(sparse))
    assert active_level(faint) == pytest.approx(-3.01, abs=0.05)
