"""Scenes, responses and noise: what they must obey whatever the draw."""

import math

import numpy as np
import pytest
import torch

from spatial_brain.datasets.wsj0_simu.scenes import (
    SceneDistribution,
    draw_certain_room_scene,
    draw_room_scene,
)
from spatial_brain.datasets.wsj0_simu.simulate import (
    SceneBatch,
    _scene_responses,
    _seeded_generator,
    _white_diffuse_pairs,
    anf_noise,
    render_pairs,
)
from spatial_brain.simulation import simulate_rir

FS = 16000
OURS, ORIGINAL = SceneDistribution(), SceneDistribution(compat=True)
SHORT = {"T": 0.5}


def scenes(distribution, count, stage="pretrain"):
    return [draw_room_scene(distribution, stage, i) for i in range(count)]


def test_rooms_and_arrays_stay_in_their_ranges():
    for scene in scenes(OURS, 100):
        assert (scene.room_size >= [3, 3, 2.5]).all()
        assert (scene.room_size <= [15, 10, 6]).all()
        assert 0.2 <= scene.t60_requested <= 1.3
        assert abs(scene.t60 - scene.t60_requested) < 0.005
        diagonal = np.linalg.norm(scene.room_size)
        assert scene.t60 / 5 >= 3 * diagonal / 343
        x, y, z = scene.room_size
        areas = np.array([y * z, y * z, x * z, x * z, x * y, x * y])
        sabine = 0.161 * x * y * z / (scene.absorption @ areas)
        assert scene.t60 == pytest.approx(sabine, rel=1e-4)
        spacing = np.linalg.norm(np.diff(scene.microphones, axis=0))
        assert 0.03 <= spacing <= 0.2
        assert spacing == pytest.approx(0.1 * scene.array_scale)
        axis = np.diff(scene.microphones, axis=0)[0]
        assert axis @ scene.array_orientation == pytest.approx(0, abs=1e-12)


def test_sources_are_in_front_and_off_the_walls():
    for scene in scenes(OURS, 200):
        offset = scene.source - scene.array_position
        assert offset @ scene.array_orientation > 0
        assert np.linalg.norm(offset) >= 0.3
        assert (scene.source >= 0.3).all()
        assert (scene.source <= scene.room_size - 0.3).all()


def test_the_original_has_sources_behind_the_array():
    behind = [
        (scene.source - scene.array_position) @ scene.array_orientation < 0
        for scene in scenes(ORIGINAL, 400)
    ]
    # About 12 % were measured in the original.
    assert 0.06 < np.mean(behind) < 0.2


def test_certain_rooms_share_walls_and_epochs_share_rooms():
    first, second = (
        draw_certain_room_scene(OURS, "train", 5, rir) for rir in range(2)
    )
    np.testing.assert_array_equal(first.room_size, second.room_size)
    np.testing.assert_array_equal(first.reflection, second.reflection)
    assert not np.allclose(first.source, second.source)
    later = draw_certain_room_scene(OURS, "train", 5, 0, epoch=2)
    np.testing.assert_array_equal(first.room_size, later.room_size)
    assert not np.allclose(first.source, later.source)


def test_epochs_draw_other_rooms():
    sizes = {
        tuple(draw_room_scene(OURS, "pretrain", 0, epoch).room_size)
        for epoch in range(4)
    }
    assert len(sizes) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compat": ["quadrants"]}, "unknown compat quadrants"),
        ({"T60_range": (0.5, 0.2)}, "low above high"),
        ({"room_sz_range": (3, 15)}, "room_sz_range must be"),
        ({"noise_type": "white"}, "noise_type must be one of"),
        ({"source_state": "moving"}, "only one static source"),
        ({"ism_db": 60}, "ism_db"),
    ],
)
def test_unusable_distributions_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SceneDistribution(**options)


def test_impossible_rooms_are_named():
    large = SceneDistribution(T60_range=(0.2, 0.21))
    with pytest.raises(ValueError, match="raise T60_range"):
        draw_room_scene(large, "pretrain", 0)


def test_options_make_the_same_distribution():
    made = SceneDistribution(compat=["float16"], snr_range=[20, 20])
    assert SceneDistribution(**made.options()) == made
    assert made.compat == ("float16",)


@pytest.fixture(scope="module")
def responses():
    drawn = scenes(OURS, 8)
    batch = SceneBatch.of(drawn)
    return drawn, batch, _scene_responses(OURS, batch, torch.arange(8))


def test_responses_have_the_requested_t60(responses):
    drawn, _, found = responses
    assert bool(found.accepted.all())
    wanted = torch.tensor([scene.t60_requested for scene in drawn])
    assert float((found.t60 - wanted).abs().max()) < 0.05


def test_images_are_those_of_the_package(responses):
    drawn, _, found = responses
    for scene, rir, direct in zip(
        drawn[:3], found.full, found.direct, strict=False
    ):
        images = int(scene.t60 / 5 * FS)
        room = scene.room_size, scene.source[None], scene.microphones
        expected = simulate_rir(
            *room, absorption=scene.absorption.tolist(), duration=0.5
        )[0]
        # The high-pass looks 20 ms ahead, where the tail is another one.
        part = slice(0, images - 400)
        error = (rir[:, part] - expected[:, part]).square().sum()
        assert float(error / expected[:, part].square().sum()) < 1e-3
        alone = simulate_rir(
            *room, absorption=0.5, direct_only=True, duration=0.1
        )[0]
        near = direct[:, : alone.shape[-1]]
        error = (near - alone).square().sum() / alone.square().sum()
        assert float(error) < 1e-2


def test_a_scene_is_the_same_alone_and_in_a_batch(responses):
    drawn, _, together = responses
    alone = _scene_responses(OURS, SceneBatch.of(drawn[3:4]), torch.tensor([3]))
    length = alone.full.shape[-1]
    torch.testing.assert_close(
        together.full[3, :, :length], alone.full[0], atol=1e-5, rtol=1e-4
    )
    assert not bool(together.full[3, :, length:].any())


def test_late_reverberation_goes_on_at_the_level_of_the_images():
    steps = []
    for index in range(20):
        scene = draw_room_scene(OURS, "pretest", index)
        rir = _scene_responses(
            OURS, SceneBatch.of([scene]), torch.tensor([index])
        ).full[0]
        switch, window = int(scene.t60 / 5 * FS), 640
        before = rir[:, switch - window : switch].square().mean()
        after = rir[:, switch : switch + window].square().mean()
        decay = 60 * window / FS / scene.t60
        steps.append(10 * math.log10(float(before / after)) - decay)
    assert abs(np.mean(steps)) < 0.8


def first_reflection(distribution):
    scene = draw_room_scene(distribution, "pretrain", 0)
    rir = _scene_responses(
        distribution, SceneBatch.of([scene]), torch.tensor([0])
    ).full[0, 0]
    image = scene.source * [1, 1, -1]
    distance = np.linalg.norm(image - scene.microphones[0])
    return float(rir[round(distance / 343 * FS)]), distance, scene


def test_sign_of_reflections():
    value, distance, scene = first_reflection(OURS)
    expected = float(scene.reflection[4]) / distance
    assert value == pytest.approx(expected, rel=0.3)
    flipped = SceneDistribution(compat=["alternating"])
    value, *_ = first_reflection(flipped)
    assert value == pytest.approx(-expected, rel=0.3)


def coherence(pairs, nfft=256):
    """Coherence of signals [B, 2, time], [nfft / 2 + 1]."""
    frames = pairs.unfold(-1, nfft, nfft // 2) * torch.hann_window(nfft)
    spectra = torch.fft.rfft(frames)
    cross = (spectra[:, 0] * spectra[:, 1].conj()).mean((0, 1))
    power = spectra.abs().square().mean((0, 2))
    return (cross / (power[0] * power[1]).sqrt()).real


@pytest.mark.parametrize("method", ["exact", "anf", "late"])
def test_noise_is_diffuse(method):
    spacing = 0.12
    places = torch.tensor([[[0.0, 0, 0], [spacing, 0, 0]]])
    if method == "anf":
        rng = np.random.RandomState(0)
        noise = anf_noise(rng.standard_normal((16 * FS, 2)), spacing)
        noise = torch.from_numpy(noise.T[None]).float()
    elif method == "exact":
        noise = _white_diffuse_pairs(
            places,
            16 * FS,
            [_seeded_generator(0, torch.device("cpu"))],
            fs=FS,
            sound_speed=343.0,
            device=torch.device("cpu"),
        )
    else:
        noise = late_parts(spacing)
    frequency = torch.arange(129) * FS / 256
    expected = torch.sinc(2 * frequency * spacing / 343)
    found = coherence(noise)
    tolerance = 0.2 if method == "late" else 0.08
    assert float((found - expected)[2:].abs().max()) < tolerance
    assert float((found - expected)[2:].abs().mean()) < tolerance / 3


def late_parts(spacing):
    """Late reverberation of many rooms, levelled, [B, 2, time]."""
    pos = ((-spacing / 2, 0, 0), (spacing / 2, 0, 0))
    still = SceneDistribution(
        mic_array_pos=pos, array_scale_range=(1, 1), T60_range=(0.9, 1.1)
    )
    batch = SceneBatch.of(scenes(still, 24))
    rirs = _scene_responses(still, batch, torch.arange(24)).full
    late = rirs[:, :, 4000 : 4000 + 4096]
    slope = 10 ** (3 * torch.arange(4096) / FS / batch.t60[:, None, None])
    late = late * slope
    return (late / late.std(-1, keepdim=True)).float()


def test_independent_tail_is_independent():
    apart = SceneDistribution(
        compat=["independent_tail"],
        array_scale_range=(0.3, 0.3),
        T60_range=(0.9, 1.1),
    )
    batch = SceneBatch.of(scenes(apart, 4))
    rirs = _scene_responses(apart, batch, torch.arange(4)).full
    late = rirs[:, :, 4500:8500]
    found = (late[:, 0] * late[:, 1]).sum(-1)
    found = found / late.square().sum(-1).prod(-1).sqrt()
    assert float(found.abs().max()) < 0.15


def render(distribution, scene, speech, seed):
    """One scene with 20 dB of direct sound to noise."""
    return render_pairs(
        distribution,
        SceneBatch.of([scene]),
        speech[None],
        torch.tensor([20.0]),
        torch.tensor([[seed, seed + 1]]),
    )


def test_snr_and_peak_are_those_of_the_labels():
    speech = torch.randn(8000) * torch.linspace(0, 1, 8000)
    scene = draw_room_scene(OURS, "pretrain", 3)
    silent = SceneDistribution(**SHORT, noise_type="none")
    clean = render(silent, scene, speech, seed=5)
    for kind in ("diffuse_white", "spatial_white"):
        noisy = SceneDistribution(**SHORT, noise_type=kind)
        pair = render(noisy, scene, speech, seed=5)
        # Bring both to the level of the direct sound.
        level = pair.direct.std() / clean.direct.std()
        noise = pair.waveform - clean.waveform * level
        ratio = pair.direct.square().mean() / noise.square().mean()
        assert 10 * math.log10(float(ratio)) == pytest.approx(20, abs=0.05)
        assert float(pair.labels["SNR"]) == 20.0
        peak = max(part.abs().max() for part in (pair.waveform, pair.direct))
        assert float(peak) == pytest.approx(0.9, rel=1e-4)


def test_the_waveform_is_the_convolution():
    speech = torch.zeros(8000)
    speech[100] = 1.0
    scene = draw_room_scene(OURS, "pretrain", 1)
    silent = SceneDistribution(**SHORT, noise_type="none")
    [waveform] = render(silent, scene, speech, seed=7).waveform
    batch = SceneBatch.of([scene])
    rir = _scene_responses(silent, batch, torch.tensor([7])).full[0]
    expected = torch.nn.functional.pad(rir, (100, 8000))[:, :8000].T
    # The direct sound alone may be the louder one.
    expected *= waveform.abs().max() / expected.abs().max()
    torch.testing.assert_close(waveform, expected, atol=1e-5, rtol=1e-3)


def test_wrong_speech_is_refused():
    batch = SceneBatch.of(scenes(SceneDistribution(**SHORT), 1))
    rest = torch.tensor([20.0]), torch.tensor([[0, 1]])
    short = SceneDistribution(**SHORT)
    with pytest.raises(ValueError, match="8000"):
        render_pairs(short, batch, torch.ones(1, 7999), *rest)
    with pytest.raises(ValueError, match="silent"):
        render_pairs(short, batch, torch.zeros(1, 8000), *rest)
