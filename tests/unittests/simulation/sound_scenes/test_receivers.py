"""Arrays and heads receive the same room as Ambisonics does."""

from functools import partial

import numpy as np
import pytest
import torch

from spatial_brain.simulation.hrtf.rooms import HeadReceiver, HeadRoom
from spatial_brain.simulation.hrtf.sphere import spherical_head_responses
from spatial_brain.simulation.rir.fractional_delay import high_pass
from spatial_brain.simulation.sound_scenes.plan import draw_scene
from spatial_brain.simulation.sound_scenes.receivers import OpenArray
from spatial_brain.simulation.sound_scenes.render import (
    ArrayRoom,
    render_scene,
)

FS = 16000
SIZE, CENTER = (5.0, 4.0, 3.0), (2.2, 1.9, 1.4)
SOURCES = torch.tensor([[3.6, 2.7, 1.6]])


def room(t60=0.3, kind=ArrayRoom, **options):
    return kind(SIZE, t60, CENTER, FS, **options)


def test_a_microphone_at_the_centre_receives_what_w_does():
    one = {"array": OpenArray(torch.zeros(1, 3), FS)}
    early, begin = room().images(SOURCES, ("foa",), one)
    omni = early["foa"][0, 0]
    difference = early["array"][0, 0] - omni
    assert difference.norm() < 1e-5 * omni.norm()
    tails = room().tail(early, begin, ("foa",), 0, one)
    level = {
        name: tail[0].square().sum().log10() * 10
        for name, tail in tails.items()
    }
    assert abs(level["array"] - level["foa"]) < 1.0


@pytest.mark.parametrize("t60", [0, 0.3])
def test_direct_sound_comes_at_its_time_and_level(t60):
    positions = torch.tensor([[0.3, 0.2, -0.1], [-0.3, -0.2, 0.1]])
    array = {"array": OpenArray(positions, FS)}
    early, _ = room(t60).images(SOURCES, (), array)
    places = torch.tensor(CENTER) + positions
    distance = (SOURCES - places).norm(dim=-1)
    for response, metres in zip(early["array"][0], distance, strict=True):
        delay = float(metres) / 343 * FS
        window = slice(int(delay) - 10, int(delay) + 12)
        # The slope of the phase of the direct sound is its delay.
        spectrum = torch.fft.rfft(response[window])
        phase = np.unwrap(spectrum.angle().numpy())
        slope = np.polyfit(np.arange(2, 8), phase[2:8], 1)[0]
        found = -slope * 22 / (2 * np.pi) + int(delay) - 10
        assert found == pytest.approx(delay, abs=0.1)
    if t60 == 0:
        peaks = early["array"][0].sum(-1)
        assert torch.allclose(peaks, 1 / distance, rtol=0.02)


def test_noise_of_an_array_is_diffuse():
    apart = 0.2
    array = OpenArray(torch.tensor([[apart / 2, 0, 0], [-apart / 2, 0, 0]]), FS)
    one, two = torch.stft(
        array.noise(2**18, 0),
        512,
        window=torch.hann_window(512),
        return_complex=True,
    )
    cross = (one * two.conj()).mean(-1).real
    power = (one.abs().square().mean(-1) * two.abs().square().mean(-1)).sqrt()
    frequency = np.fft.rfftfreq(512, 1 / FS)
    wanted = np.sinc(2 * frequency * apart / 343)
    found = (cross / power).numpy()
    assert np.abs(found - wanted)[2:].mean() < 0.05


def test_ears_receive_what_a_head_in_the_room_does():
    head = partial(spherical_head_responses, fs=FS)
    ears = {"binaural": HeadReceiver(head, FS)}
    early, begin = room().images(SOURCES, (), ears)
    expected = room(kind=HeadRoom, head=head)
    [pair] = expected._images(SOURCES)[1]
    images = torch.zeros(2, begin + 500)
    expected._add_images(images, pair[0].double(), pair[1])
    images = images[:, :begin]
    difference = early["binaural"][0][:, :begin] - images
    assert difference.norm() < 1e-4 * images.norm()
    tail = room().tail(early, begin, (), 0, ears)["binaural"]
    late = slice(begin + 100, None)
    other = expected.binaural(SOURCES, 0)[0][:, late].square().sum()
    ratio = high_pass(tail, FS)[:, late].square().sum() / other
    assert abs(10 * ratio.log10()) < 1.5


def test_scenes_hold_every_format_and_each_is_the_same_alone():
    plan = draw_scene(
        np.random.default_rng(1), 1, duration=2.0, t60_range=(0.2, 0.3)
    )
    generator = torch.Generator().manual_seed(0)
    dry = [torch.randn(16000, generator=generator) for _ in plan.events]
    array = OpenArray(torch.tensor([[0.1, 0, 0], [-0.1, 0, 0], [0, 0, 0]]), FS)
    signals, _ = render_scene(
        plan, dry, fs=FS, formats=("foa", "sum"), receivers={"array": array}
    )
    shapes = {name: signal.shape[1] for name, signal in signals.items()}
    assert shapes == {"foa": 4, "sum": 1, "array": 3}
    foa, _ = render_scene(plan, dry, fs=FS, formats=("foa",))
    assert torch.equal(foa["foa"], signals["foa"])
    only, _ = render_scene(
        plan, dry, fs=FS, formats=(), receivers={"array": array}
    )
    assert torch.equal(only["array"], signals["array"])
    first = plan.events[0]
    start = round(first.onset * FS)
    assert not signals["sum"][:start].any()
    assert signals["sum"][start : start + 200].any()


def test_what_cannot_be_received():
    with pytest.raises(ValueError, match="3.00 m from the centre"):
        OpenArray(torch.tensor([[0.0, 0, 3.0]]), FS)
    plan = draw_scene(np.random.default_rng(0), 1, duration=1.0)
    array = OpenArray(torch.zeros(1, 3), FS)
    dry = [torch.ones(1000)] * len(plan.events)
    for formats, receivers in (((), {}), (("foa",), {"mic": array})):
        with pytest.raises(ValueError, match="receivers have other names"):
            render_scene(plan, dry, formats=formats, receivers=receivers)
