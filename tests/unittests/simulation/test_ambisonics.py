"""First-order Ambisonics and the tetrahedral array, against closed forms."""

import itertools
import math

import pytest
import torch

from spatial_brain.geometry import (
    angular_distance,
    azel_to_unit,
    rotation_matrix,
    tetrahedral_array,
)
from spatial_brain.simulation.ambisonics import (
    encode_foa,
    foa_gains,
    foa_rir,
    intensity_direction,
    legendre,
    needed_order,
    radial_response,
    render_array_rir,
    rigid_sphere_response,
)
from spatial_brain.simulation.rir import simulate_rir

FS = 24000
ROOM = torch.tensor([4.0, 3.5, 2.7], dtype=torch.float64)
CENTER = torch.tensor([1.7, 1.6, 1.2], dtype=torch.float64)
SOURCE = torch.tensor([3.1, 2.2, 1.9], dtype=torch.float64)
ABSORPTION = 0.9
TURN = rotation_matrix(40.0, 20.0, -10.0).double()
DIRECT = {"fs": FS, "t60": 0.2, "direct_only": True, "high_pass": False}


def images(order=5):
    """Direction, distance and amplitude of images by brute force."""
    found = []
    cells = range(-order, order + 1)
    for cell in itertools.product(cells, cells, cells):
        count = sum(map(abs, cell))
        if count > order:
            continue
        cell = torch.tensor(cell, dtype=torch.float64)
        folded = torch.where(cell % 2 == 0, SOURCE, ROOM - SOURCE)
        offset = cell * ROOM + folded - CENTER
        distance = offset.norm()
        amplitude = math.sqrt(1 - ABSORPTION) ** count / distance
        found.append((offset / distance, distance, amplitude))
    return [torch.stack(values) for values in zip(*found, strict=True)]


def spectrum_of(rir, frequencies):
    """Fourier transform of [..., N] at any frequencies, complex128."""
    time = torch.arange(rir.shape[-1], dtype=torch.float64) / FS
    angle = 2 * torch.pi * frequencies[:, None] * time
    kernel = torch.polar(torch.ones_like(angle), -angle)
    return rir.to(torch.complex128) @ kernel.T


def reflective_spectrum(gain, frequencies):
    """Sum over images of gain [image, channel, F or 1] times their waves."""
    _, distance, amplitude = images()
    angle = -2 * torch.pi * frequencies * distance[:, None] / 343.0
    waves = torch.polar(amplitude[:, None].expand_as(angle), angle)
    return (gain * waves[:, None]).sum(0)


def test_channel_order_and_normalisation():
    assert torch.equal(
        foa_gains(torch.eye(3) * 5),
        torch.tensor([[1.0, 0, 0, 1], [1, 1, 0, 0], [1, 0, 1, 0]]),
    )
    azimuth, elevation = torch.tensor(30.0), torch.tensor(-20.0)
    a, e = torch.deg2rad(azimuth), torch.deg2rad(elevation)
    wanted = [1, a.sin() * e.cos(), e.sin(), a.cos() * e.cos()]
    encoded = encode_foa(torch.ones(1), azimuth, elevation)[0]
    assert torch.allclose(encoded, torch.tensor(wanted))


def test_plane_waves_decode_to_their_direction():
    azimuth = torch.arange(-180.0, 180.0, 37.0)
    elevation = torch.linspace(-85.0, 85.0, len(azimuth))
    foa = encode_foa(
        torch.randn(len(azimuth), 500), azimuth[:, None], elevation[:, None]
    )
    assert foa.shape == (len(azimuth), 500, 4)
    wanted = azel_to_unit(azimuth, elevation)
    assert angular_distance(intensity_direction(foa), wanted).max() < 1e-3


def test_encoding_of_a_source_that_moves():
    azimuth = torch.linspace(-90.0, 90.0, 1000)
    foa = encode_foa(torch.randn(1000).abs() + 0.1, azimuth, 0.0)
    early, late = intensity_direction(torch.stack((foa[:9], foa[-9:])))
    assert angular_distance(early, [0.0, -1.0, 0.0]) < 2.0
    assert angular_distance(late, [0.0, 1.0, 0.0]) < 2.0


def test_foa_rir_of_the_direct_path():
    rir = foa_rir(ROOM, SOURCE[None], CENTER, **DIRECT)
    assert rir.shape[:2] == (1, 4)
    gains = foa_gains(SOURCE - CENTER).float()
    assert torch.allclose(rir[0], gains[:, None] * rir[0, :1], atol=1e-5)
    turned = foa_rir(ROOM, SOURCE[None], CENTER, rotation=TURN, **DIRECT)
    gains = foa_gains(TURN.T @ (SOURCE - CENTER)).float()
    assert torch.allclose(turned[0], gains[:, None] * rir[0, :1], atol=1e-5)
    decoded = intensity_direction(turned[0].T)
    assert angular_distance(decoded.double(), TURN.T @ (SOURCE - CENTER)) < 0.1


@pytest.mark.parametrize("turn", [None, TURN])
def test_foa_rir_has_exact_gains_for_every_image(turn):
    rir = foa_rir(
        ROOM,
        SOURCE[None],
        CENTER,
        fs=FS,
        absorption=ABSORPTION,
        duration=0.1,
        high_pass=False,
        rotation=turn,
    )
    frequencies = torch.linspace(100.0, 6000.0, 60).double()
    direction = images()[0]
    gain = foa_gains(direction if turn is None else direction @ turn)
    wanted = reflective_spectrum(gain[..., None], frequencies)
    error = (spectrum_of(rir[0], frequencies) - wanted).abs()
    assert error.max() < 0.01 * wanted.abs().max()


def test_legendre_polynomials():
    x = torch.linspace(-1, 1, 11).double()
    assert torch.allclose(legendre(3, x), (5 * x**3 - 3 * x) / 2)
    assert torch.allclose(legendre(0, x), torch.ones_like(x))
    assert legendre(20, x).abs().max() <= 1 + 1e-12


def test_sphere_at_low_and_high_frequencies():
    direction = azel_to_unit(10.0, 5.0).double()
    capsule = azel_to_unit(70.0, -30.0).double()
    radius = 0.042
    cosine = float(direction @ capsule)
    low = torch.tensor([0.0, 20.0]).double()
    response = rigid_sphere_response(direction, capsule, low)
    assert response[0] == 1
    # Rayleigh: the sphere adds half to the path of the open array.
    advance = 1.5 * radius * cosine / 343.0
    assert float(response[1].angle()) == pytest.approx(
        2 * math.pi * 20.0 * advance, rel=1e-3
    )
    high = torch.tensor([60e3]).double()
    front = rigid_sphere_response(direction, direction, high).abs()
    assert float(front) == pytest.approx(2.0, abs=0.05)
    # The opposite point has the bright spot, near 1, not the darkest one.
    dark = rigid_sphere_response([1.0, 0, 0], [-0.8, 0.6, 0], high).abs()
    bright = rigid_sphere_response([1.0, 0, 0], [-1.0, 0, 0], high).abs()
    assert dark < 0.5 * bright


def test_sphere_obeys_the_boundary_condition():
    # The series of incident plus scattered wave has no radial velocity at
    # the surface: j_n' - (j_n' / h_n') h_n' = 0, so the pressure must equal
    # i^n (j_n - j_n' h_n / h_n'), computed here without the Wronskian.
    from scipy import special

    frequencies = torch.tensor([300.0, 3000.0, 11000.0]).double()
    ka = (2 * torch.pi * frequencies * 0.042 / 343.0).numpy()
    response = radial_response(frequencies, 12)
    for n in range(13):
        j, y = special.spherical_jn(n, ka), special.spherical_yn(n, ka)
        dj = special.spherical_jn(n, ka, True)
        dy = special.spherical_yn(n, ka, True)
        wanted = 1j**n * (j - dj * (j - 1j * y) / (dj - 1j * dy))
        error = abs(response[n].numpy() - wanted)
        assert (error < 1e-9 + 1e-6 * abs(wanted)).all()


def test_radial_response_has_no_overflow():
    frequencies = torch.logspace(-6, 4.5, 200).double()
    response = radial_response(frequencies, 60)
    assert torch.isfinite(torch.view_as_real(response)).all()
    assert (response[0, 0] - 1).abs() < 1e-6
    assert response[1:, 0].abs().max() < 1e-6
    assert needed_order(24000, 0.042) > needed_order(8000, 0.042)


def test_rigid_sphere_rir_matches_the_closed_form():
    rir = render_array_rir(
        ROOM, SOURCE[None], CENTER, format="mic", rotation=TURN, **DIRECT
    )
    plain = simulate_rir(ROOM, SOURCE[None], CENTER[None], **DIRECT)
    frequencies = torch.linspace(50.0, 10000.0, 80).double()
    measured = spectrum_of(rir[0], frequencies)
    measured = measured / spectrum_of(plain[0], frequencies)
    capsules = tetrahedral_array().double() @ TURN.T
    wanted = rigid_sphere_response(SOURCE - CENTER, capsules, frequencies)
    assert (measured - wanted).abs().max() < 0.01


def test_rigid_sphere_rir_of_a_room():
    rir = render_array_rir(
        ROOM,
        SOURCE[None],
        CENTER,
        format="mic",
        fs=FS,
        absorption=ABSORPTION,
        duration=0.1,
        high_pass=False,
    )
    assert rir.shape == (1, 4, 2400)
    frequencies = torch.linspace(100.0, 6000.0, 60).double()
    capsules = tetrahedral_array().double()
    gain = rigid_sphere_response(
        images()[0][:, None], capsules, frequencies, order=20
    )
    wanted = reflective_spectrum(gain, frequencies)
    error = (spectrum_of(rir[0], frequencies) - wanted).abs()
    assert error.max() < 0.02 * wanted.abs().max()


def test_open_array_is_four_omnis():
    rir = render_array_rir(
        ROOM, SOURCE[None], CENTER, format="mic_open", rotation=TURN, **DIRECT
    )
    capsules = CENTER + tetrahedral_array().double() @ TURN.T
    wanted = simulate_rir(ROOM, SOURCE[None], capsules, **DIRECT)
    assert torch.equal(rir, wanted)
    nearest = (SOURCE - capsules).norm(dim=-1).argmin()
    assert rir[0].abs().argmax(-1).argmin() == nearest


def test_several_sources():
    sources = torch.stack((SOURCE, SOURCE - 0.5))
    for form in ("foa", "mic", "mic_open"):
        both = render_array_rir(ROOM, sources, CENTER, format=form, **DIRECT)
        one = render_array_rir(ROOM, sources[1:], CENTER, format=form, **DIRECT)
        assert both.shape[:2] == (2, 4)
        # The default length follows the farthest source.
        length = one.shape[-1]
        assert torch.allclose(both[1, :, :length], one[0], atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "b"}, "format"),
        ({"rotation": torch.eye(2)}, "rotation"),
        ({"center": [1.0, 1.0]}, "center"),
        ({"format": "mic", "sources": CENTER[None] + 0.01}, "outside"),
    ],
)
def test_wrong_arguments(arguments, message):
    usual = {"room_size": ROOM, "sources": SOURCE[None], "center": CENTER}
    with pytest.raises(ValueError, match=message):
        render_array_rir(**{**usual, **arguments}, **DIRECT)
