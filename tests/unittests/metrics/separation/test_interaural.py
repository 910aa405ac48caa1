"""Interaural errors: known delays and levels, the original's numbers."""

import numpy as np
import pytest
import torch
from pyroomacoustics.experimental import tdoa

from spatial_brain.metrics import interaural_errors
from spatial_brain.metrics.separation.interaural import (
    _active_samples,
    _compat_ild,
    _compat_itd,
    _source_cues,
    ild_bands,
    interaural_time_difference,
)

FS = 8000


def lcg(seed, number):
    """The generator of the published check values."""
    values = []
    for _ in range(number):
        seed = (1103515245 * seed + 12345) % 2**31
        values.append(seed / 2**30 - 1)
    return np.array(values)


def late(signal, samples):
    """The signal, whole samples later."""
    return np.concatenate((np.zeros(samples), signal[: len(signal) - samples]))


def syllables(seconds, seed, fs=FS):
    """Noise with a speech-like spectrum in bursts, silent at both ends."""
    rng = np.random.default_rng(seed)
    time = int(seconds * fs)
    spectrum = np.fft.rfft(rng.standard_normal(time))
    frequency = np.fft.rfftfreq(time, 1 / fs)
    spectrum /= 1 + (frequency / 500) ** 1.5
    spectrum[frequency < 80] = 0
    bursts = np.clip(np.sin(np.arange(time) * 2 * np.pi * 3 / fs), 0, None)
    signal = np.fft.irfft(spectrum, time) * bursts**2
    signal[: fs // 10] = signal[-fs // 10 :] = 0
    return signal


def shifted(signal, microseconds, fs=FS):
    """The signal later by any fraction of a sample (silence wraps)."""
    frequency = np.fft.rfftfreq(len(signal), 1 / fs)
    turn = np.exp(-2j * np.pi * frequency * microseconds * 1e-6)
    return np.fft.irfft(np.fft.rfft(signal) * turn, len(signal))


def source(signal, itd, ild, fs=FS):
    """Two ears [time, 2]; the left one later and louder by these."""
    left = shifted(signal, itd, fs) * 10 ** (ild / 20)
    return np.stack((left, signal), axis=1)


def compat_case():
    x, y = lcg(1, 4000), lcg(2, 4000)
    assert x[0] == pytest.approx(0.02774016, abs=1e-8)
    assert x[1] == pytest.approx(-0.64851739, abs=1e-8)
    targets = [(x, 0.5 * late(x, 4)), (0.7 * late(y, 3), y)]
    estimates = [(0.9 * late(y, 2), y), (x, 0.6 * late(x, 5))]
    return tuple(
        np.stack([np.stack(ears, axis=1) for ears in pairs], axis=2)
        for pairs in (estimates, targets)
    )


def test_compat_check_values():
    estimate, target = compat_case()
    itd = [_compat_itd(target[..., c], FS) for c in (0, 1)]
    assert itd == [-500.0, 375.0]
    assert [_compat_itd(estimate[..., c], FS) for c in (0, 1)] == [
        250.0,
        -625.0,
    ]
    ild = [
        _compat_ild(signal[..., c])
        for signal in (target, estimate)
        for c in (0, 1)
    ]
    assert ild == pytest.approx([6.0256, -3.1003, -0.9160, 4.4425], abs=5e-5)
    errors = interaural_errors(estimate, target, FS, compat=True)
    assert errors["delta_ITD"] == 125.0
    assert errors["delta_ILD"] == pytest.approx(1.883697, abs=1e-6)


def test_compat_order_is_chosen_for_each_cue_alone():
    # Levels fit in the given order, delays in the reversed one.
    x, y = syllables(0.5, 1), syllables(0.5, 2)
    target = np.stack((source(x, 250, 6), source(y, -250, -6)), axis=2)
    estimate = np.stack((source(x, -250, 6), source(y, 250, -6)), axis=2)
    errors = interaural_errors(estimate, target, FS, compat=True)
    assert errors["delta_ITD"] == 0
    assert errors["delta_ILD"] < 0.1
    right = interaural_errors(estimate, target, FS)
    assert right["itd_error"] == pytest.approx([500, 500], abs=1)


@pytest.mark.parametrize("time", [401, 800])
def test_compat_itd_is_that_of_the_library(time):
    rng = np.random.default_rng(time)
    for _ in range(3):
        pair = rng.standard_normal((time, 2))
        # Unrelated ears: the largest lag is anywhere, at its full range.
        expected = tdoa(pair[:, 0], pair[:, 1], fs=FS) * 1e6
        assert _compat_itd(pair, FS) == pytest.approx(expected, abs=1e-6)
    assert _compat_itd(np.zeros((time, 2)), FS) == -(time + 1) / FS * 1e6


@pytest.mark.parametrize("fs", [8000, 16000, 44100, 96000])
def test_delays_are_found_to_a_fraction_of_a_microsecond(fs):
    signal = syllables(1.0, 3, fs)
    for itd in (-731.0, -250.0, -3.3, 0.0, 20.0, 101.7, 655.0, 950.0):
        found = interaural_time_difference(source(signal, itd, -9, fs), fs)
        assert found == pytest.approx(itd, abs=0.1)


def test_delays_in_noise_and_their_bound():
    signal = syllables(2.0, 4)
    rng = np.random.default_rng(0)
    pair = source(signal, 431.0, 4.0)
    noise = rng.standard_normal(pair.shape) * pair.std() * 10 ** (-10 / 20)
    assert interaural_time_difference(pair + noise, FS) == pytest.approx(
        431, abs=6
    )
    # The mirror image at 2 ms is stronger, but no head is so wide.
    echo = pair.copy()
    echo[:, 0] += 3 * shifted(signal, 3000)
    assert abs(interaural_time_difference(echo, FS)) <= 1000
    unrelated = rng.standard_normal((4000, 2))
    assert abs(interaural_time_difference(unrelated, FS)) <= 1000


def test_leakage_moves_the_delay_in_proportion():
    first, second = syllables(2.0, 5), syllables(2.0, 6)
    reference = source(first, 300, 5)
    leak = source(second, -600, -5)
    shift = []
    for level in (-40, -30, -20):
        estimate = reference + 10 ** (level / 20) * leak
        shift.append(_source_cues(estimate, reference, FS)["itd_error"])
    assert 0 < shift[0] < shift[1] < shift[2] < 30


@pytest.mark.parametrize(
    ("direct", "echo", "delay", "gain"),
    [(300, -300, 0.05, 0.9), (0, 500, 0.04, 0.8), (150, -100, 0.03, 0.9)],
)
def test_late_strong_echoes_pull_the_correlation_but_not_phat(
    direct, echo, delay, gain
):
    signal = syllables(3.0, seed=3)
    pair = source(signal, direct, 0.0)
    alone = pair.copy()
    start = round(delay * FS)
    pair[start:] += gain * source(signal, echo, 0.0)[:-start]
    pulled, robust = (
        abs(interaural_time_difference(pair, FS, method=method) - direct)
        for method in ("correlation", "phat")
    )
    assert pulled > 30
    assert robust < 10
    # Both find a delay alone, and PHAT is what errors of cues can take.
    for method in ("correlation", "phat"):
        found = interaural_time_difference(alone, FS, method=method)
        assert found == pytest.approx(direct, abs=1.0)
    errors = interaural_errors(
        np.stack((pair, pair[::-1]), -1),
        np.stack((alone, alone[::-1]), -1),
        FS,
        permutation=[0, 1],
        itd="phat",
    )
    assert errors["itd_error"][0] < 10


def test_a_rest_of_another_source_makes_phat_jump():
    """What the correlation is for: the other source has the treble alone."""
    signal, other = syllables(3.0, seed=3), syllables(3.0, seed=4)
    spectrum = np.fft.rfft(other)
    spectrum[np.fft.rfftfreq(len(other), 1 / FS) < 1600] = 0
    rest = source(10 * np.fft.irfft(spectrum, len(other)), -400, 0.0)
    low = np.fft.rfft(signal)
    low[np.fft.rfftfreq(len(signal), 1 / FS) > 1400] *= 1e-3
    pair = source(np.fft.irfft(low, len(signal)), 300, 0.0) + 0.1 * rest
    errors = [
        abs(interaural_time_difference(pair, FS, method=method) - 300)
        for method in ("correlation", "phat")
    ]
    assert errors[0] < 20
    assert errors[1] > 500


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match="'gcc' of the ITD; use correlation"):
        interaural_time_difference(np.ones((800, 2)), FS, method="gcc")


def test_level_differences_are_found_in_each_band():
    signal = syllables(1.0, 7)
    reference = source(signal, 0, 0)
    cues = _source_cues(source(signal, 0, 7.5), reference, FS)
    assert cues["ild_estimate"] == pytest.approx(
        np.full(len(ild_bands(FS)) - 1, 7.5), abs=1e-6
    )
    assert cues["ild_error"] == pytest.approx(7.5, abs=1e-6)
    # A loss of the left ear's highs changes the upper bands alone.
    frequency = np.fft.rfftfreq(len(signal), 1 / FS)
    muffled = np.fft.rfft(signal) * np.where(frequency > 1000, 0.1, 1.0)
    estimate = np.stack((np.fft.irfft(muffled, len(signal)), signal), 1)
    difference = _source_cues(estimate, reference, FS)["ild_estimate"]
    edges = ild_bands(FS)
    assert difference[edges[1:] < 950] == pytest.approx(0, abs=0.2)
    assert difference[edges[:-1] > 1050] == pytest.approx(-20, abs=0.2)


def test_pauses_do_not_count():
    # In the pause the estimate hums, from the right.
    signal = syllables(1.0, 8)
    reference = np.concatenate((source(signal, 200, 3), np.zeros((FS, 2))))
    estimate = reference.copy()
    hum = np.sin(np.arange(FS) * 2 * np.pi * 200 / FS)
    estimate[FS + 800 :, 0] += 0.5 * reference.std() * hum[796:-4]
    estimate[FS + 800 :, 1] += reference.std() * hum[800:]
    cues = _source_cues(estimate, reference, FS)
    assert cues["itd_error"] < 0.01
    assert cues["ild_error"] < 1e-6
    assert _compat_ild(estimate) < _compat_ild(reference) - 0.3
    active = _active_samples(reference, FS)
    assert not active[FS:].any() and active[:FS].mean() > 0.4


def test_silence_is_nan_for_its_talker_alone():
    reference = np.stack(
        [source(syllables(0.5, k), 0, 0) for k in range(3)], axis=2
    )
    estimate = reference.copy()
    estimate[:, 1, 2] = 0
    errors = interaural_errors(estimate, reference, FS)
    for cue in ("itd_error", "ild_error"):
        assert np.isnan(errors[cue]).tolist() == [False, False, True]
    reference[..., 0] = 0
    errors = interaural_errors(estimate, reference, FS)
    assert np.isnan(errors["itd_error"]).tolist() == [True, False, True]
    # A high tone has a level, but no audible delay.
    tone = np.hanning(4000) * np.sin(np.arange(4000) * 0.75 * np.pi)
    tone = np.stack((tone, tone), axis=1)
    cues = _source_cues(tone, tone, FS)
    assert np.isnan(cues["itd_error"]) and cues["ild_error"] == 0


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
def test_all_orders_of_three_talkers(order):
    reference = np.stack(
        [source(syllables(0.5, k), 300 * k - 300, 3 * k) for k in range(3)], 2
    )
    errors = interaural_errors(reference[..., order], reference, FS)
    assert errors["itd_error"] == pytest.approx([0, 0, 0], abs=1e-6)
    assert errors["permutation"].tolist() == np.argsort(order).tolist()
    assert errors["itd_reference"] == pytest.approx([-300, 0, 300], abs=0.5)
    given = interaural_errors(
        reference[..., order], reference, FS, permutation=[0, 1, 2]
    )
    assert (given["itd_error"].max() > 100) == (order != [0, 1, 2])


def test_padding_of_a_batch_does_not_count():
    reference = torch.from_numpy(
        np.stack([source(syllables(0.5, k), 100, 3) for k in range(2)], 2)
    )
    estimate = reference.flip(2) + 0.1 * torch.randn_like(reference)
    alone = interaural_errors(estimate, reference, FS)
    garbage = torch.randn(1000, 2, 2)
    padded = [torch.cat((s, garbage)) for s in (estimate, reference)]
    full = [torch.cat((s, s[:1000])) for s in (estimate, reference)]
    batch = [torch.stack(pair) for pair in zip(padded, full, strict=True)]
    errors = interaural_errors(*batch, FS, lengths=torch.tensor([0.8, 1.0]))
    assert errors["itd_error"].shape == (2, 2)
    for name, value in alone.items():
        assert np.array_equal(errors[name][0], value, equal_nan=True)


@pytest.mark.parametrize(
    "estimate, lengths, message",
    [
        (torch.zeros(1, 100, 2, 3), None, "must be the same"),
        (torch.zeros(1, 100, 3, 2), None, "must be the same"),
        (torch.full((1, 100, 2, 2), torch.nan), None, "not finite"),
        (torch.zeros(1, 100, 2, 2), [1.5], "shares in"),
    ],
)
def test_bad_input_is_named(estimate, lengths, message):
    with pytest.raises(ValueError, match=message):
        interaural_errors(
            estimate, torch.zeros(1, 100, 2, 2), FS, lengths=lengths
        )
    three_ears = torch.randn(100, 3, 2)
    with pytest.raises(ValueError, match="must be binaural"):
        interaural_errors(three_ears, three_ears, FS)
