"""Moving sources and arrays."""

import numpy as np
import pytest
import torch

from spatial_brain.geometry import (
    arc_trajectory,
    linear_array,
    rotation_matrix,
)
from spatial_brain.simulation.motion import (
    _doppler_direct,
    filter_moving,
    positions_at,
    simulate_moving,
    trajectory_labels,
    trajectory_rirs,
)
from spatial_brain.simulation.rir import simulate_rir

FS = 16000
ROOM = [5.0, 4.0, 3.0]
CENTER = torch.tensor([2.4, 1.9, 1.4])
PAIR = linear_array(2, 0.1) + CENTER


def brute_force(dry, rirs, weights):
    """sum_k (w_k x) * h_k, one direct convolution at a time."""
    return np.stack(
        [
            sum(
                np.convolve(weights[k] * dry, rirs[k, m])
                for k in range(len(rirs))
            )
            for m in range(rirs.shape[1])
        ]
    )


@pytest.mark.parametrize("crossfade", ["raised_cosine", "linear", "none"])
@pytest.mark.parametrize("num_points", [1, 2, 7, 300])
def test_static_is_plain_convolution(num_points, crossfade):
    dry, rir = torch.randn(2000), torch.randn(2, 333)
    moved = filter_moving(
        dry, rir.expand(num_points, 2, 333), crossfade=crossfade
    )
    plain = brute_force(dry.numpy(), rir[None].numpy(), np.ones((1, 2000)))
    assert moved.shape == (2, 2332)
    assert np.abs(moved.numpy() - plain).max() < 1e-3


@pytest.mark.parametrize("crossfade", ["raised_cosine", "linear", "none"])
@pytest.mark.parametrize("timestamps", [None, [0.01, 0.02, 0.09, 0.11, 0.2]])
def test_against_brute_force(crossfade, timestamps, monkeypatch):
    # Small blocks and batches, so that all the cutting is exercised.
    monkeypatch.setattr("spatial_brain.simulation.motion.MIN_BLOCK", 50)
    monkeypatch.setattr("spatial_brain.simulation.motion.MAX_NUMBERS", 999)
    length, fs = 1500, 10000
    dry, rirs = torch.randn(length), torch.randn(5, 2, 40)
    knots = np.linspace(0, length - 1, 5)
    if timestamps is not None:
        knots = np.array(timestamps) * fs
    time = np.arange(length)
    if crossfade == "none":
        nearest = np.searchsorted((knots[1:] + knots[:-1]) / 2, time, "right")
        weights = np.eye(5)[nearest].T
    else:
        index = np.arange(5.0)
        position = np.interp(time, knots, index)
        low = np.minimum(position.astype(int), 3)
        share = position - low
        if crossfade == "raised_cosine":
            share = 0.5 - 0.5 * np.cos(np.pi * share)
        weights = np.zeros((5, length))
        weights[low, time] += 1 - share
        weights[low + 1, time] += share
    assert np.allclose(weights.sum(0), 1)
    moved = filter_moving(dry, rirs, timestamps, fs=fs, crossfade=crossfade)
    wanted = brute_force(dry.numpy(), rirs.numpy(), weights)
    assert np.abs(moved.numpy() - wanted).max() < 1e-3


def test_weights_sum_to_one():
    # Responses that are all one impulse pass the weights' sum.
    rirs = torch.zeros(40, 1, 3)
    rirs[:, :, 0] = 1.0
    for crossfade in ("raised_cosine", "linear", "none"):
        ones = filter_moving(torch.ones(3001), rirs, crossfade=crossfade)
        assert (ones[0, :3001] - 1).abs().max() < 1e-5


def test_filter_moving_is_differentiable():
    dry = torch.randn(60, dtype=torch.float64, requires_grad=True)
    rirs = torch.randn(3, 1, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(filter_moving, (dry, rirs))


def splatter(waveform, tone, width=200.0):
    """Energy further than ``width`` Hz from a tone, dB of all."""
    spectrum = torch.fft.rfft(
        waveform.double() * torch.hann_window(len(waveform)).double()
    ).abs()
    hertz = torch.fft.rfftfreq(len(waveform), 1 / FS)
    outside = spectrum[(hertz - tone).abs() > width].square().sum()
    return float(10 * torch.log10(outside / spectrum.square().sum()))


def test_no_clicks():
    path = arc_trajectory(CENTER, 1.2, 0.0, 90.0, 12)
    rirs = simulate_rir(ROOM, path, PAIR, fs=FS, t60=0.3)
    tone = torch.sin(2 * torch.pi * 1000 / FS * torch.arange(FS))
    noise = {
        crossfade: splatter(
            filter_moving(tone, rirs, crossfade=crossfade)[0, 2000:15000], 1000
        )
        for crossfade in ("none", "linear", "raised_cosine")
    }
    assert noise["linear"] < noise["none"] - 15
    assert noise["raised_cosine"] < noise["none"] - 25


def test_doppler_shift_of_a_tone():
    # Towards the microphone at 20 m/s: f c / (c - v).
    speed, tone = 20.0, 1000.0
    dry = torch.sin(2 * torch.pi * tone / FS * torch.arange(FS))
    path = torch.tensor([[-22.0, 0.0, 0.0], [-2.0, 0.0, 0.0]])
    times = torch.tensor([0.0, 1.0])
    ears = torch.zeros(1, 1, 3)
    direct = _doppler_direct(dry, path, ears, FS, timestamps=times)[0]
    piece = direct[2000:15000] * torch.hann_window(13000)
    peak = torch.fft.rfft(piece, n=2**18).abs().argmax() * FS / 2**18
    assert float(peak) == pytest.approx(tone * 343 / (343 - speed), abs=1.0)
    # The microphone moves towards the source: f (c + v) / c.
    direct = _doppler_direct(
        dry, torch.zeros(1, 3), path[:, None], FS, timestamps=times
    )[0]
    piece = direct[2000:15000] * torch.hann_window(13000)
    peak = torch.fft.rfft(piece, n=2**18).abs().argmax() * FS / 2**18
    assert float(peak) == pytest.approx(tone * (343 + speed) / 343, abs=1.0)


def test_doppler_of_nothing_moving_is_the_direct_path():
    dry = torch.randn(4000)
    source = torch.tensor([[1.0, 1.0, 1.0]])
    rir = simulate_rir(
        ROOM, source, PAIR, fs=FS, t60=0.3, direct_only=True, high_pass=False
    )
    plain = filter_moving(dry, rir)
    direct = _doppler_direct(dry, source, PAIR[None], plain.shape[-1])
    # Both read between samples with windows of their own: white noise up to
    # the Nyquist frequency shows it.
    error = (direct - plain).square().sum() / plain.square().sum()
    assert error < 10**-1.8
    smooth = torch.nn.functional.avg_pool1d(direct - plain, 4, 1)
    error = smooth.square().sum() / plain.square().sum()
    assert error < 10**-4


def test_doppler_option_changes_the_direct_sound_only_in_time():
    path = arc_trajectory(CENTER, 1.2, 0.0, 40.0, 40)
    dry = torch.randn(FS // 2)
    dry = torch.nn.functional.avg_pool1d(dry[None], 8, 1)[0]
    common = {"fs": FS, "t60": 0.2}
    plain, labels = simulate_moving(ROOM, dry, path, PAIR, **common)
    exact, same = simulate_moving(ROOM, dry, path, PAIR, doppler=True, **common)
    assert plain.shape == exact.shape
    difference = (plain - exact).square().sum() / plain.square().sum()
    # A metre a second over points 2 cm apart: nearly the same.
    assert 0 < difference < 0.02
    assert torch.equal(labels["azimuth"], same["azimuth"])
    with pytest.raises(ValueError, match="omni mic_pattern"):
        simulate_moving(
            ROOM,
            dry,
            path,
            PAIR,
            doppler=True,
            mic_pattern="card",
            mic_orientation=[1.0, 0, 0],
            **common,
        )


def test_moving_array_is_a_moving_source_seen_otherwise():
    # In free field only the relative position counts.
    steps = torch.linspace(0, 0.6, 9)[:, None] * torch.tensor([1.0, 0.5, 0])
    source = torch.tensor([1.0, 3.0, 1.5])
    options = {"fs": FS, "t60": 0.3, "direct_only": True, "duration": 0.03}
    moved = trajectory_rirs(
        ROOM, source[None], PAIR + steps[:, None], **options
    )
    relative = trajectory_rirs(ROOM, source - steps, PAIR[None], **options)
    both = trajectory_rirs(
        ROOM, source - 0.5 * steps, PAIR + 0.5 * steps[:, None], **options
    )
    assert moved.shape == relative.shape == (9, 2, 480)
    scale = relative.abs().max()
    assert (moved - relative).abs().max() < 1e-3 * scale
    assert (both - relative).abs().max() < 1e-3 * scale


def test_microphones_turn_with_the_array():
    source = CENTER + torch.tensor([1.0, 0.0, 0.0])
    yaw = torch.tensor([0.0, 90.0, 180.0])
    rirs = trajectory_rirs(
        ROOM,
        source[None],
        CENTER.expand(3, 1, 3),
        rotation=rotation_matrix(yaw),
        mic_pattern="card",
        mic_orientation=[1.0, 0.0, 0.0],
        t60=0.3,
        direct_only=True,
        high_pass=False,
    )
    peaks = rirs[:, 0].abs().amax(-1)
    assert torch.allclose(
        peaks / peaks[0], torch.tensor([1.0, 0.5, 0.0]), atol=1e-3
    )


def test_labels_of_an_arc():
    num_samples = 2 * FS
    path = arc_trajectory(CENTER, 1.5, -60.0, 60.0, 400)
    labels = trajectory_labels(path, PAIR[None], num_samples, fs=FS)
    assert labels["time"].shape == (20,)
    assert labels["time"][0] == pytest.approx(0.05)
    wanted = -60 + 120 * labels["time"] / (num_samples - 1) * FS
    assert (labels["azimuth"] - wanted).abs().max() < 0.01
    assert (labels["cone_angle"] - wanted.abs()).abs().max() < 0.01
    assert (labels["distance"] - 1.5).abs().max() < 1e-3
    assert labels["elevation"].abs().max() < 1e-3
    # Far field: tdoa of the second microphone, on the side of the source.
    far = 0.1 * torch.cos(torch.deg2rad(wanted)) / 343.0
    assert labels["tdoa"][:, 0].abs().max() == 0
    assert (labels["tdoa"][:, 1] - far).abs().max() < 2e-7


def test_labels_are_in_the_frame_of_the_array():
    source = CENTER + torch.tensor([0.0, 2.0, 0.0])
    yaw = torch.tensor([0.0, 30.0, 60.0, 90.0])
    turn = rotation_matrix(yaw)
    pairs = (turn @ linear_array(2, 0.1).T).mT + CENTER
    labels = trajectory_labels(
        source[None],
        pairs,
        FS,
        rotation=turn,
        frame_length=0.05,
        timestamps=torch.tensor([0.0, 0.3, 0.6, 0.9]),
    )
    wanted = 90.0 - (100.0 * labels["time"]).clamp(max=90.0)
    # Blends between points 30 degrees apart are off by a fraction of that.
    assert (labels["azimuth"] - wanted).abs().max() < 0.5
    assert (labels["cone_angle"] - wanted).abs().max() < 0.5
    at_points = labels["time"] > 0.9
    assert labels["azimuth"][at_points].abs().max() < 1e-3


def test_frames_and_hops():
    path, ears = torch.ones(1, 3), torch.zeros(1, 1, 3)
    labels = trajectory_labels(
        path, ears, 10000, fs=10000, frame_length=0.2, hop_length=0.1
    )
    assert labels["time"].shape == (9,)
    assert labels["time"][-1] == pytest.approx(0.9)
    # A single microphone has the cone around the front of the array.
    assert labels["cone_angle"][0] == pytest.approx(54.7356, abs=1e-3)
    with pytest.raises(ValueError, match="no frame"):
        trajectory_labels(path, ears, 1999, fs=10000, frame_length=0.2)


def test_positions_hold_still_outside():
    points = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 4, 0]])
    times = torch.tensor([1.0, 2.0, 4.0])
    when = torch.tensor([[0.0, 1.5], [3.0, 9.0]])
    wanted = torch.tensor([[[0.0, 0, 0], [0.5, 0, 0]], [[1, 2, 0], [1, 4, 0]]])
    assert torch.allclose(positions_at(points, times, when), wanted.double())


def test_simulate_moving_static_equals_convolution():
    source = torch.tensor([3.5, 2.5, 1.2])
    dry = torch.randn(4000)
    image, labels = simulate_moving(ROOM, dry, source, PAIR, fs=FS, t60=0.25)
    rir = simulate_rir(ROOM, source[None], PAIR, fs=FS, t60=0.25)[0]
    wanted = brute_force(dry.numpy(), rir[None].numpy(), np.ones((1, 4000)))
    assert np.abs(image.numpy() - wanted).max() < 1e-3 * np.abs(wanted).max()
    assert labels["distance"] == pytest.approx(
        float((source - CENTER).norm()), abs=1e-5
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: filter_moving(torch.ones(2, 3), torch.ones(1, 1, 1)), "dry"),
        (
            lambda: filter_moving(torch.ones(9), torch.ones(2, 1, 1), [0.0]),
            r"timestamps \[2\]",
        ),
        (
            lambda: filter_moving(
                torch.ones(9), torch.ones(2, 1, 1), [1.0, 1.0]
            ),
            "rise",
        ),
        (
            lambda: filter_moving(
                torch.ones(9), torch.ones(2, 1, 1), crossfade="sudden"
            ),
            "sudden",
        ),
        (
            lambda: trajectory_rirs(
                ROOM, torch.ones(3, 3), torch.ones(2, 1, 3), t60=0.3
            ),
            "2 points",
        ),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_diffuse_tails_do_not_flutter():
    path = arc_trajectory(CENTER, 1.2, 0.0, 20.0, 4)
    generator = torch.Generator().manual_seed(1)
    rirs = trajectory_rirs(
        ROOM,
        path,
        PAIR[None],
        fs=FS,
        t60=0.3,
        diffuse_from=15.0,
        generator=generator,
    )
    tails = rirs[:, 0, 2500:3500]
    assert torch.corrcoef(tails).min() > 0.9
    again = trajectory_rirs(
        ROOM,
        path,
        PAIR[None],
        fs=FS,
        t60=0.3,
        diffuse_from=15.0,
        generator=torch.Generator().manual_seed(1),
    )
    assert torch.equal(again, rirs)
