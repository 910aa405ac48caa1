"""Sound scenes: what is drawn, the physics of the recordings, the labels."""

import math

import numpy as np
import pytest
import torch

from spatial_brain.geometry import (
    SPEED_OF_SOUND,
    angular_distance,
    azel_to_unit,
    tetrahedral_array,
)
from spatial_brain.simulation.acoustics import t60 as measure_t60
from spatial_brain.simulation.ambisonics import (
    foa_gains,
    render_array_rir,
    rigid_sphere_response,
)
from spatial_brain.simulation.mixing import active_level
from spatial_brain.simulation.rir.fractional_delay import high_pass
from spatial_brain.simulation.rir.tail import sphere_directions
from spatial_brain.simulation.sound_scenes.plan import (
    PlannedEvent,
    ScenePlan,
    draw_scene,
)
from spatial_brain.simulation.sound_scenes.render import (
    ArrayRoom,
    _array_noise,
    _event_rows,
    render_scene,
)

FS = 24000
BOTH = ("foa", "mic")
STILL = np.zeros(1)


def rng(seed=0):
    return np.random.default_rng(seed)


def noise_burst(seconds, seed=0):
    state = torch.Generator().manual_seed(seed)
    return torch.randn(round(seconds * FS), generator=state)


def plan_of(*events, duration=3.0, t60=0.15, snr_db=80.0, size=(8, 7, 4)):
    return ScenePlan(
        duration, size, t60, (4.1, 3.3, 1.9), events, snr_db, -3.0, 7
    )


def event_at(azimuth, elevation, distance, onset=0.5, seconds=1.0, **options):
    place = azel_to_unit(azimuth, elevation).double() * distance
    points = place.numpy()[None] + np.array([4.1, 3.3, 1.9])
    return PlannedEvent(0, 0, onset, seconds, 0.0, points, STILL, **options)


def intensity(foa, frames):
    """Direction of the mean intensity of each frame of 100 ms."""
    parts = foa[: len(foa) // 2400 * 2400].reshape(-1, 2400, 4)[frames]
    return (parts[..., :1] * parts[..., [3, 1, 2]]).mean(1)


class TestResponses:
    SIZE, T60, CENTER = (5.0, 6.0, 3.0), 0.4, (2.6, 2.3, 1.4)
    SOURCES = torch.tensor([[4.5, 3.5, 2.0], [1.0, 4.2, 0.8]]).double()

    def room(self, **options):
        return ArrayRoom(self.SIZE, self.T60, self.CENTER, FS, **options)

    @pytest.mark.parametrize("name", BOTH)
    def test_images_equal_the_room_simulator(self, name):
        early, begin = self.room().images(self.SOURCES, (name,))
        wanted = render_array_rir(
            self.SIZE,
            self.SOURCES,
            self.CENTER,
            format=name,
            fs=FS,
            t60=self.T60,
            high_pass=False,
            duration=begin / FS,
        )
        # What is not there yet at the end reaches back 3 ms.
        length = begin - 80
        fade = torch.linspace(0.0, math.pi / 2, 100).cos()
        spectra = []
        for part in (early[name], wanted):
            part = part[..., :length].clone()
            part[..., -100:] *= fade
            # The last 6 % hold the slope of the windowed sinc, which passes
            # the sphere before sampling here and after it there.
            below = int(0.94 * (length // 2))
            spectra.append(torch.fft.rfft(part)[..., :below])
        error, wanted = (spectra[0] - spectra[1]).abs(), spectra[1].abs()
        assert error.square().sum() < 1e-5 * wanted.square().sum()

    @pytest.mark.parametrize("name", BOTH)
    def test_reverberation_time_and_continuity(self, name):
        room = self.room()
        times, joins, means = [], [], []
        for seed, source in enumerate(self.SOURCES):
            early, begin = room.images(source[None], (name,))
            response = room.tail(early, begin, (name,), seed)[name]
            response[:, : early[name].shape[-1]] += early[name][0]
            around = response[0, begin - 480 : begin + 480].view(2, -1)
            means.append(around.mean(1))
            response = high_pass(response, FS)
            times += measure_t60(response, FS).tolist()
            near = response[:, begin - 480 : begin].square().mean()
            far = response[:, begin : begin + 480].square().mean()
            joins.append(10 * math.log10(near / far))
        assert abs(np.mean(times) / self.T60 - 1) < 0.15
        # 20 ms of decay are 3 dB.
        assert 1.0 < np.mean(joins) < 5.0
        # Images are positive: their mean goes on without a step.
        before, after = torch.stack(means).mean(0)
        assert 0.5 < after / before < 1.5

    def test_foa_does_not_depend_on_mic(self):
        event = event_at(30.0, 10.0, 1.5)
        plan, dry = plan_of(event, snr_db=10.0), [noise_burst(1.0)]
        alone, _ = render_scene(plan, dry, formats=("foa",))
        both, _ = render_scene(plan, dry)
        capsules, _ = render_scene(plan, dry, formats=("mic",))
        assert torch.equal(alone["foa"], both["foa"])
        assert torch.equal(capsules["mic"], both["mic"])


def test_diffuse_field_by_plane_waves():
    """Cross-spectra of both formats equal the mean over many directions."""
    noise = _array_noise(2**19, FS, BOTH, 3)
    signals = torch.cat((noise["foa"], noise["mic"]))
    frames = signals.unfold(-1, 256, 128) * torch.hann_window(256)
    spectrum = torch.fft.rfft(frames).to(torch.complex128)
    bins = [3, 12, 40, 90]
    found = torch.einsum("itf,jtf->fij", spectrum, spectrum.conj())[bins]
    found = found / found[:, 0, 0].real.mean()
    directions = sphere_directions(2000)
    frequencies = torch.tensor(bins) * FS / 256
    steering = torch.cat(
        (
            foa_gains(directions)[..., None].expand(-1, -1, 4).cdouble(),
            rigid_sphere_response(
                directions[:, None], tetrahedral_array().double(), frequencies
            ),
        ),
        dim=1,
    )
    wanted = torch.einsum("dif,djf->fij", steering, steering.conj()) / 2000
    assert (found - wanted).abs().max() < 0.08


def test_long_noise_is_steady():
    noise = _array_noise(2**18 + 5000, 16000, ("foa",), 1)["foa"][0]
    power = noise[: 2**18].reshape(128, -1).square().mean(-1)
    assert 0.85 < power.min() and power.max() < 1.15
    # Blocks are not repeated.
    step = 2**17 - 2**12
    assert (noise[step : 2 * step] * noise[:step]).mean().abs() < 0.02


class TestDirections:
    @pytest.mark.parametrize(
        "azimuth,elevation", [(0, 0), (90, 0), (-135, 20), (20, -35), (170, 30)]
    )
    def test_static(self, azimuth, elevation):
        plan = plan_of(event_at(azimuth, elevation, 1.2))
        signals, rows = render_scene(plan, [noise_burst(1.0)], formats=("foa",))
        assert np.allclose(rows["azimuth"], azimuth, atol=1e-4)
        assert np.allclose(rows["elevation"], elevation, atol=1e-4)
        assert np.allclose(rows["distance"], 1.2)
        found = intensity(signals["foa"], rows["frame"]).mean(0)
        error = angular_distance(found, azel_to_unit(azimuth, elevation))
        assert error < 6.0

    @pytest.mark.parametrize(
        ("t60", "usual", "most"), [(0.0, 1.0, 3.0), (0.15, 5.0, 15.0)]
    )
    def test_moving(self, t60, usual, most):
        times = np.linspace(0.0, 4.0, 81)
        azimuth = 170.0 - 40.0 * times
        points = azel_to_unit(
            torch.from_numpy(azimuth), torch.from_numpy(5.0 * times)
        ).numpy() * 1.3 + np.array([4.1, 3.3, 1.9])
        event = PlannedEvent(2, 0, 0.5, 4.0, 0.0, points, times)
        plan = plan_of(event, duration=5.0, t60=t60)
        signals, rows = render_scene(plan, [noise_burst(4.0)], formats=("foa",))
        # The label is where the source was when it sent the sound.
        sent = 0.1 * rows["frame"] + 0.05 - 0.5 - 1.3 / SPEED_OF_SOUND
        wanted = (170.0 - 40.0 * np.clip(sent, 0, 4) + 180) % 360 - 180
        assert np.allclose(rows["azimuth"], wanted, atol=0.05)
        found = intensity(signals["foa"], rows["frame"])
        label = azel_to_unit(
            torch.from_numpy(rows["azimuth"]),
            torch.from_numpy(rows["elevation"]),
        ).float()
        error = angular_distance(found, label)
        assert error.median() < usual and error.max() < most

    def test_capsules_hear_their_side_louder(self):
        axes = torch.nn.functional.normalize(tetrahedral_array(), dim=-1)
        for number, (azimuth, elevation) in enumerate(
            [(45, 35), (-45, -35), (135, -35), (-135, 35)]
        ):
            plan = plan_of(event_at(azimuth, elevation, 1.2))
            signals, _ = render_scene(
                plan, [noise_burst(1.0)], formats=("mic",)
            )
            power = signals["mic"].square().mean(0)
            assert int(power.argmax()) == number
            assert torch.allclose(
                axes[number], azel_to_unit(azimuth, elevation), atol=1e-6
            )

    def test_formats_are_aligned_in_time(self):
        click = torch.zeros(240)
        click[0] = 1.0
        distance = 2.0
        plan = plan_of(event_at(60.0, 0.0, distance, onset=0.0, seconds=0.1))
        signals, _ = render_scene(plan, [click])
        arrival = distance / SPEED_OF_SOUND * FS
        pressure = signals["foa"][: int(arrival) + 100, 0]
        assert abs(int(pressure.abs().argmax()) - arrival) <= 1
        # Below 1 kHz the mean of the capsules is the pressure at the centre.
        window = slice(int(arrival) - 40, int(arrival) + 90)
        spectra = torch.fft.rfft(
            torch.stack(
                (signals["foa"][window, 0], signals["mic"][window].mean(1))
            ),
            n=2400,
        )
        phase = (spectra[1] / spectra[0]).angle()[20:80]
        delay = phase / (2 * math.pi * torch.arange(20, 80) * 10.0) * FS
        assert delay.abs().max() < 1.0


class TestLabels:
    def test_frames_by_brute_force(self):
        """Frames that direct sound fills by half, counted at each 0.1 ms."""
        state = rng(8)
        for _ in range(30):
            onset = state.uniform(0.0, 2.0)
            seconds = state.uniform(0.11, 1.0)
            first, last = state.uniform(0.5, 7.5, 3), state.uniform(0.5, 7.5, 3)
            points = np.stack((first, last)) * [1, 0.8, 0.4]
            event = PlannedEvent(
                1, 0, onset, 1.0, 0.0, points, np.array([0.0, 1.0])
            )
            plan = plan_of(event)
            frames = _event_rows(plan, [seconds])["frame"]
            sent = np.arange(0.0, seconds, 1e-4)
            place = points[0] + np.clip(sent, 0, 1)[:, None] * np.diff(
                points, axis=0
            )
            arrival = (
                onset
                + sent
                + np.linalg.norm(place - plan.center, axis=1) / SPEED_OF_SOUND
            )
            filled = np.array(
                [
                    np.clip(arrival[-1], k / 10, (k + 1) / 10)
                    - np.clip(arrival[0], k / 10, (k + 1) / 10)
                    for k in range(30)
                ]
            )
            sure = np.abs(filled - 0.05) > 1e-3
            marked = np.isin(np.arange(30), frames)
            assert (marked == (filled > 0.05))[sure].all()

    def test_a_very_short_event_has_a_frame(self):
        plan = plan_of(event_at(0.0, 0.0, 2.0, seconds=0.1))
        rows = _event_rows(plan, [0.004])
        assert rows["frame"].tolist() == [5]

    def test_events_at_the_very_end(self):
        plan = plan_of(event_at(0.0, 0.0, 2.0, onset=2.9, seconds=0.1))
        assert _event_rows(plan, [0.1])["frame"].tolist() == [29]

    def test_rows_of_drawn_scenes(self):
        for seed in range(5):
            plan = draw_scene(
                rng(seed), 3, duration=20.0, interferers=(3,), max_overlap=2
            )
            rows = _event_rows(plan, [e.duration for e in plan.events])
            counts = np.bincount(rows["frame"], minlength=200)
            assert len(counts) == 200 and counts.max() == 2
            assert rows["label"].max() <= 2
            assert rows["azimuth"].min() >= -180 and rows["azimuth"].max() < 180
            assert np.abs(rows["elevation"]).max() <= 90
            assert (np.diff(rows["frame"]) >= 0).all()
            number = sum(not event.interferer for event in plan.events)
            assert set(rows["source"]) == set(range(number))

    def test_no_events(self):
        plan = plan_of(event_at(0.0, 0.0, 2.0, interferer=True))
        assert all(
            len(column) == 0 for column in _event_rows(plan, [1.0]).values()
        )


class TestLevels:
    def test_signal_to_noise_ratio(self):
        plan = plan_of(event_at(50.0, 0.0, 1.0, 0.0, 1.5), snr_db=20.0)
        clean = plan_of(event_at(50.0, 0.0, 1.0, 0.0, 1.5), snr_db=150.0)
        dry = [noise_burst(1.5)]
        noisy, _ = render_scene(plan, dry)
        pure, _ = render_scene(clean, dry)
        for name, channels in (("foa", slice(0, 1)), ("mic", slice(None))):
            noise = (noisy[name] - pure[name])[:, channels]
            power = 10 ** (active_level(pure[name][:, channels].T, FS) / 10)
            snr = 10 * math.log10(power.mean() / noise.square().mean())
            assert abs(snr - 20.0) < 0.1
        quiet = noisy["foa"][2 * FS :].square().mean(0)
        assert torch.allclose(
            quiet[1:] / quiet[0], torch.tensor(1 / 3), rtol=0.4
        )

    def test_level_falls_with_distance(self):
        levels = []
        for distance in (0.8, 1.6):
            plan = plan_of(event_at(0.0, 0.0, distance))
            signals, rows = render_scene(plan, [noise_burst(1.0)])
            part = signals["foa"][7 * 2400 : 14 * 2400, 0]
            levels.append(10 * math.log10(part.square().mean()))
        assert 4.0 < levels[0] - levels[1] < 6.2

    def test_never_clips(self):
        loud = [
            event_at(angle, 0.0, 0.7, 0.0, 1.0) for angle in (0, 90, 180, -90)
        ]
        spike = noise_burst(1.0) * 1e-3
        spike[5000] = 1.0
        signals, _ = render_scene(plan_of(*loud), [spike] * 4)
        for signal in signals.values():
            assert signal.isfinite().all()
            assert abs(float(signal.abs().max()) - 0.95) < 1e-4

    def test_gain_and_dry_level(self):
        """The level of the dry sound does not matter, the gain does."""
        base = event_at(0.0, 0.0, 1.5)
        loud = PlannedEvent(0, 0, 0.5, 1.0, 6.0, base.points, base.times)
        dry = noise_burst(1.0)
        one, _ = render_scene(plan_of(base), [dry], formats=("foa",))
        two, _ = render_scene(plan_of(base), [dry * 0.01], formats=("foa",))
        six, _ = render_scene(plan_of(loud), [dry], formats=("foa",))
        assert torch.allclose(one["foa"], two["foa"], atol=1e-5)
        ratio = six["foa"].square().mean() / one["foa"].square().mean()
        assert abs(10 * math.log10(ratio) - 6.0) < 0.05


def test_a_clip_without_events_is_ambience():
    signals, rows = render_scene(plan_of(duration=1.0, snr_db=10.0), [])
    assert len(rows["frame"]) == 0
    level = 10 * math.log10(signals["foa"][:, 0].square().mean())
    assert abs(level + 50.0) < 0.1


def test_rendering_errors():
    plan = plan_of(event_at(0.0, 0.0, 2.0))
    with pytest.raises(ValueError, match="1 events, got 0"):
        render_scene(plan, [])
    with pytest.raises(ValueError, match="silent"):
        render_scene(plan, [torch.zeros(100)])
    with pytest.raises(ValueError, match="shape"):
        render_scene(plan, [torch.ones(100, 2)])
    with pytest.raises(ValueError, match="formats"):
        render_scene(plan, [torch.ones(100)], formats=("hoa",))
