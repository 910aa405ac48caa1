"""Dry sources and a room become microphone signals and labels."""

import numpy as np
import pytest
import torch

from spatial_brain.geometry import arc_trajectory, linear_array, rotation_matrix
from spatial_brain.simulation.mixing import (
    active_level,
    add_noise,
    convolve,
    mix,
    mix_batch,
)
from spatial_brain.simulation.rir import simulate_rir
from spatial_brain.simulation.rooms import Room
from spatial_brain.simulation.scenes import simulate_scene

FS = 16000
CENTER = torch.tensor([2.4, 1.9, 1.4])
ROOM = Room(
    size=[5.0, 4.0, 3.0],
    sources=CENTER + torch.tensor([[1.5, 0.0, 0.0], [0.0, 1.5, 0.3]]),
    microphones=CENTER + linear_array(3, 0.1),
    t60=0.25,
)


def decibel(power_ratio):
    return float(10 * torch.log10(power_ratio))


def test_convolve_against_numpy():
    dry, rirs = torch.randn(3, 2, 70), torch.randn(3, 2, 4, 31)
    images = convolve(dry, rirs)
    assert images.shape == (3, 2, 4, 100)
    for b, s, m in np.ndindex(3, 2, 4):
        wanted = np.convolve(dry[b, s], rirs[b, s, m])
        assert np.abs(images[b, s, m] - wanted).max() < 1e-4


@pytest.mark.parametrize("num_samples", [1, 40, 70, 100, 130])
def test_convolve_length(num_samples):
    dry, rirs = torch.randn(2, 70), torch.randn(2, 1, 31)
    whole = torch.nn.functional.pad(convolve(dry, rirs), (0, 60))
    part = convolve(dry, rirs, num_samples)
    assert torch.allclose(part, whole[..., :num_samples], atol=1e-5)


def test_convolve_is_differentiable():
    dry = torch.randn(2, 7, dtype=torch.float64, requires_grad=True)
    rirs = torch.randn(2, 2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(convolve, (dry, rirs))


def test_mix_levels():
    images = (
        torch.randn(3, 2, 2 * FS) * torch.tensor([1.0, 5, 0.1])[:, None, None]
    )
    mixture, scaled = mix(images, [0.0, -6.0, 3.0], reference_microphone=1)
    power = scaled[:, 1].square().mean(-1)
    assert decibel(power[0] / power[1]) == pytest.approx(6.0, abs=0.1)
    assert decibel(power[2] / power[0]) == pytest.approx(3.0, abs=0.1)
    assert torch.equal(scaled[0], images[0])
    assert mixture.shape == (2 * FS, 2)
    assert torch.allclose(mixture, scaled.sum(0).T)
    # One gain per source: what differs between microphones stays.
    ratio = scaled / images
    assert (ratio - ratio[:, :1, :1]).abs().max() < 1e-4
    untouched, same = mix(images)
    assert torch.equal(same, images)
    assert torch.equal(untouched, images.sum(0).T)


def test_mix_counts_active_parts_only():
    images = torch.randn(2, 1, 4 * FS)
    images[1, :, FS:] = 0.0
    _, scaled = mix(images, [0.0, 0.0])
    level = active_level(scaled[:, 0])
    assert level[0] == pytest.approx(float(level[1]), abs=0.05)
    assert scaled[0].std() > 1.8 * scaled[1].std()


def test_silent_sources_stay_silent():
    images = torch.stack((torch.randn(1, FS), torch.zeros(1, FS)))
    mixture, scaled = mix(images, [0.0, 10.0])
    assert torch.equal(mixture, images[0].T)
    assert scaled.isfinite().all()


def test_mix_batch_equals_single_mixtures():
    dry, rirs = torch.randn(3, 2, 4000), torch.randn(3, 2, 2, 200)
    sir = torch.tensor([-5.0, 0.0, 5.0])
    mixtures = mix_batch(dry, rirs, sir)
    assert mixtures.shape == (3, 4000, 2)
    for item in range(3):
        images = convolve(dry[item], rirs[item], 4000)
        wanted, scaled = mix(images, [0.0, -float(sir[item])])
        assert torch.allclose(mixtures[item], wanted, atol=1e-3)
        power = scaled[:, 0].square().mean(-1)
        assert decibel(power[0] / power[1]) == pytest.approx(
            float(sir[item]), abs=0.2
        )
    assert torch.allclose(
        mix_batch(dry, rirs, sir[:, None]), mixtures, atol=1e-4
    )
    assert mix_batch(dry, rirs, 3.0, num_samples=4500).shape == (3, 4500, 2)
    with pytest.raises(ValueError, match="equal S"):
        mix_batch(dry, rirs[:, :1])


def test_mix_batch_lets_gradients_through():
    dry = torch.randn(2, 2, 1000, requires_grad=True)
    mix_batch(dry, torch.randn(2, 2, 2, 50), 3.0).square().sum().backward()
    assert dry.grad.isfinite().all()
    assert (dry.grad.abs().sum((1, 2)) > 0).all()


@pytest.mark.gpu
def test_mix_batch_on_a_gpu():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    dry, rirs = torch.randn(2, 2, 1000), torch.randn(2, 2, 2, 50)
    there = mix_batch(dry.cuda(), rirs.cuda(), 3.0).cpu()
    assert torch.allclose(there, mix_batch(dry, rirs, 3.0), atol=1e-3)


def test_noise_ratio():
    clean = torch.randn(2, 2 * FS, 3) * 0.1
    clean[:, FS:] = 0.0
    noise = torch.randn(2, 2 * FS, 3) * torch.tensor([1.0, 2.0, 3.0])
    noisy = add_noise(clean, noise, torch.tensor([10.0, -5.0]))
    added = noisy - clean
    # A pause of half the time does not count.
    signal = clean[:, :FS].square().mean((-1, -2))
    power = added.square().mean((-1, -2))
    assert decibel(signal[0] / power[0]) == pytest.approx(10.0, abs=0.2)
    assert decibel(signal[1] / power[1]) == pytest.approx(-5.0, abs=0.2)
    spread = added[0].std(0) / added[0, :, 0].std()
    assert torch.allclose(spread, torch.tensor([1.0, 2, 3]), rtol=0.02)


def test_static_scene():
    dry = torch.randn(2, FS)
    scene = simulate_scene(
        ROOM,
        dry,
        fs=FS,
        level_db=[0.0, -5.0],
        snr_db=15.0,
        generator=torch.Generator().manual_seed(0),
    )
    assert scene.mixture.shape == scene.noise.shape == (FS, 3)
    assert scene.images.shape == (2, 3, FS)
    assert scene.mixture.dtype == torch.float32
    total = scene.images.sum(0).T + scene.noise
    assert torch.allclose(scene.mixture, total, atol=1e-6)
    clean = scene.images.sum(0).square().mean()
    assert decibel(clean / scene.noise.square().mean()) == pytest.approx(
        15.0, abs=0.3
    )
    rirs = simulate_rir(
        ROOM.size, ROOM.sources, ROOM.microphones, fs=FS, t60=ROOM.t60
    )
    wanted = convolve(dry, rirs, FS)
    first = scene.images[0] - wanted[0]
    assert first.abs().max() < 1e-4 * wanted[0].abs().max()
    labels = scene.labels
    assert torch.allclose(
        labels["azimuth"], torch.tensor([0.0, 90.0]), atol=1e-3
    )
    assert labels["elevation"][1] == pytest.approx(
        float(torch.rad2deg(torch.atan(torch.tensor(0.2)))), abs=1e-3
    )
    assert torch.allclose(
        labels["cone_angle"], torch.tensor([0.0, 90.0]), atol=1e-3
    )
    assert labels["tdoa"].shape == (2, 3)
    assert labels["tdoa"][0, 2] == pytest.approx(0.2 / 343.0, rel=1e-4)
    assert labels["tdoa"][1, 2].abs() < 1e-8
    again = simulate_scene(
        ROOM,
        dry,
        fs=FS,
        level_db=[0.0, -5.0],
        snr_db=15.0,
        generator=torch.Generator().manual_seed(0),
    )
    assert torch.equal(again.mixture, scene.mixture)


def test_scene_without_noise():
    scene = simulate_scene(ROOM, torch.randn(2, 4000), fs=FS)
    assert scene.noise.abs().max() == 0
    assert torch.equal(scene.mixture, scene.images.sum(0).T)


def test_moving_scene():
    paths = torch.stack(
        (
            arc_trajectory(CENTER, 1.0, -30.0, 30.0, 15),
            arc_trajectory(CENTER, 1.4, 90.0, 90.0, 15),
        )
    )
    dry = torch.randn(2, FS // 2)
    scene = simulate_scene(ROOM, dry, fs=FS, sources=paths)
    assert scene.images.shape == (2, 3, FS // 2)
    assert scene.labels["azimuth"].shape == (2, 5)
    assert scene.labels["tdoa"].shape == (2, 5, 3)
    assert scene.labels["time"].shape == (5,)
    assert (scene.labels["azimuth"][0].diff() > 10).all()
    assert (scene.labels["azimuth"][1] - 90).abs().max() < 1e-2
    # The one that stands still is a plain convolution.
    rirs = simulate_rir(
        ROOM.size, paths[1, :1], ROOM.microphones, fs=FS, t60=ROOM.t60
    )
    wanted = convolve(dry[1:], rirs, FS // 2)[0]
    error = (scene.images[1] - wanted).abs().max()
    assert error < 1e-3 * wanted.abs().max()


def test_moving_array_scene():
    steps = torch.linspace(0, 0.4, 5)[:, None, None] * torch.tensor([1.0, 0, 0])
    scene = simulate_scene(
        ROOM, torch.randn(2, 4800), fs=FS, microphones=ROOM.microphones + steps
    )
    assert scene.mixture.shape == (4800, 3)
    assert (scene.labels["distance"][0].diff() < -0.05).all()


def test_wrong_number_of_signals():
    with pytest.raises(ValueError, match="3 dry signals do not fit 2 sources"):
        simulate_scene(ROOM, torch.randn(3, 100))
    with pytest.raises(ValueError, match="must not be empty"):
        convolve(torch.zeros(1, 0), torch.zeros(1, 1, 5))


def test_patterns_of_a_room():
    # Both sources look away from the array, the second one with one lobe.
    room = Room(
        ROOM.size,
        ROOM.sources,
        CENTER[None],
        t60=0.25,
        source_pattern=["omni", "card"],
        source_orientation=ROOM.sources - CENTER,
    )
    dry = torch.randn(2, 4000)
    options = {"fs": FS, "direct_only": True, "high_pass": False}
    scene = simulate_scene(room, dry, **options)
    power = scene.images.square().mean((1, 2))
    assert power[1] < 1e-6 * power[0]
    # A cardioid that looks away from the first source, until the array,
    # which is turned from the beginning, has made half a turn.
    room = Room(
        ROOM.size,
        ROOM.sources,
        CENTER[None],
        t60=0.25,
        mic_pattern="card",
        mic_orientation=[-1.0, 0.0, 0.0],
    )
    turn = rotation_matrix(torch.tensor([90.0, 270.0]))
    arrays = CENTER.expand(2, 1, 3)
    scene = simulate_scene(
        room, dry, microphones=arrays, rotation=turn, **options
    )
    early, late = scene.images[0, 0, :500], scene.images[0, 0, -500:]
    assert late.std() > 5 * early[200:].std()
