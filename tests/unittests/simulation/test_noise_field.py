"""Diffuse noise: the factors, the mixer, and the field they make."""

import pytest
import torch

from spatial_brain.geometry import (
    circular_array,
    linear_array,
    tetrahedral_array,
)
from spatial_brain.simulation.noise_field import (
    diffuse_noise,
    mix_coherent,
    mixing_matrices,
    target_coherence,
)

FS = 16000
FREQUENCIES = torch.linspace(0, FS / 2, 513).double()
COINCIDENT = torch.cat((linear_array(2, 0.1), linear_array(2, 0.1)))
ARRAYS = {
    "pair": linear_array(2, 0.1),
    "line": linear_array(4, 0.04),
    "tetrahedron": tetrahedral_array(),
    "circle": circular_array(8, 0.1),
    "coincident": COINCIDENT,
    "one point": torch.zeros(3, 3),
    "single": torch.zeros(1, 3),
    "vertical": torch.tensor([[0.0, 0, 0], [0, 0, 0.1], [0.1, 0, 0.1]]),
}


def coherence(signals, n_fft=1024):
    """Complex coherence [K, M, M] by Welch's method, half overlap."""
    frames = signals.double().unfold(-1, n_fft, n_fft // 2)
    spectrum = torch.fft.rfft(frames * torch.hann_window(n_fft).double())
    cross = torch.einsum("itk,jtk->kij", spectrum.conj(), spectrum)
    power = torch.einsum("kii->ki", cross).real.sqrt()
    return cross / (power[:, :, None] * power[:, None, :])


@pytest.mark.parametrize("kind", ["spherical", "cylindrical", "corcos"])
@pytest.mark.parametrize("name", ARRAYS)
def test_factors_equal_coherence(name, kind):
    gamma = target_coherence(ARRAYS[name], FREQUENCIES, kind)
    mixing = mixing_matrices(ARRAYS[name], fs=FS, kind=kind)
    wanted = gamma.to(torch.complex128)
    wanted = torch.cat((wanted[:-1], wanted[-1:].real))
    assert (mixing.mH @ mixing - wanted).abs().max() < 1e-10
    assert torch.linalg.eigvalsh(wanted).min() > -1e-10
    assert mixing[-1].imag.abs().max() == 0


def test_target_coherence_closed_forms():
    microphones = torch.tensor([[0.0, 0, 0], [0.2, 0, 0], [0, 0, 0.3]])
    frequency = torch.tensor([500.0])
    x = 2 * torch.pi * 500.0 * 0.2 / 343.0
    spherical = target_coherence(microphones, frequency)[0]
    assert spherical[0, 1] == pytest.approx(
        float(torch.sin(torch.tensor(x)) / x)
    )
    # J0 as the mean over horizontal plane waves; a vertical pair receives each
    # of them at once.
    azimuth = torch.arange(360).double().deg2rad()
    j0 = torch.cos(x * torch.cos(azimuth)).mean()
    cylindrical = target_coherence(microphones, frequency, "cylindrical")[0]
    assert cylindrical[0, 1] == pytest.approx(float(j0), abs=1e-6)
    assert cylindrical[0, 2] == 1
    wind = target_coherence(
        microphones,
        frequency,
        "corcos",
        wind_speed=10.0,
        wind_direction=(2, 0, 0),
    )[0]
    along = 2 * torch.pi * 500.0 / 8.0 * 0.2
    assert wind[0, 1].abs() == pytest.approx(
        float(torch.exp(torch.tensor(-0.125 * along)))
    )
    assert torch.allclose(wind, wind.mH)


@pytest.mark.parametrize("name", ["pair", "line", "tetrahedron", "circle"])
def test_balanced_and_smooth(name):
    mixing = mixing_matrices(ARRAYS[name], fs=FS)
    size = mixing.shape[-1]
    balance = mixing.abs().sum((-2, -1)) / size**1.5
    # Cholesky factors reach 0.62 to 0.69 on four microphones in line.
    assert balance.mean() > 0.99
    assert balance.min() > 0.9
    steps = mixing[1:-1] - mixing[:-2]
    variation = steps.abs().square().sum() / mixing.abs().square().sum()
    assert 10 * torch.log10(variation) < -30


@pytest.mark.parametrize("kind", ["spherical", "cylindrical", "corcos"])
@pytest.mark.parametrize("name", ["pair", "line", "tetrahedron", "coincident"])
def test_measured_coherence(name, kind):
    generator = torch.Generator().manual_seed(3)
    noise = diffuse_noise(
        ARRAYS[name], 20 * FS, fs=FS, kind=kind, generator=generator
    )
    wanted = target_coherence(ARRAYS[name], FREQUENCIES, kind)
    # Bins beside 0 Hz share the hole that the mixer leaves there.
    error = (coherence(noise) - wanted.mT)[2:-1]
    size = len(ARRAYS[name])
    relative = error.abs().square().sum() / (len(error) * size**2)
    assert 10 * torch.log10(relative) < -17
    assert torch.allclose(noise.std(-1), torch.ones(size), atol=0.02)


def test_sign_of_the_wind():
    # The wind reaches the first microphone first: the second lags.
    microphones = torch.tensor([[0.0, 0, 0], [0.01, 0, 0]])
    generator = torch.Generator().manual_seed(0)
    first, second = diffuse_noise(
        microphones, 10 * FS, fs=FS, kind="corcos", generator=generator
    )
    delay = round(0.01 / (0.8 * 5.0) * FS)
    products = [(first[: -k or None] * second[k:]).mean() for k in range(80)]
    assert abs(int(torch.stack(products).argmax()) - delay) <= 1


def test_same_seed_same_noise():
    def make(seed, noise=None):
        return diffuse_noise(
            ARRAYS["pair"],
            4000,
            fs=FS,
            generator=torch.Generator().manual_seed(seed),
            noise=noise,
        )

    assert torch.equal(make(1), make(1))
    assert not torch.equal(make(1), make(2))
    assert torch.equal(make(1, "babble"), make(1, "babble"))
    assert not torch.equal(make(1), make(1, "babble"))


def test_given_noise():
    microphones = ARRAYS["line"]
    generator = torch.Generator().manual_seed(0)
    long = torch.randn(4 * 8000 + 5, generator=generator)
    long[:8000] *= 3
    mixed = diffuse_noise(microphones, 8000, fs=FS, noise=long)
    # Segments of different loudness are brought to equal power first.
    assert mixed.shape == (4, 8000)
    spread = mixed.std(-1)
    assert spread.max() / spread.min() < 1.1
    segments = long[: 4 * 8001].reshape(4, 8001)[:, :8000]
    assert torch.allclose(
        diffuse_noise(microphones, 8000, fs=FS, noise=segments), mixed
    )
    with pytest.raises(ValueError, match="need 32000"):
        diffuse_noise(microphones, 8000, fs=FS, noise=long[:31999])
    with pytest.raises(ValueError, match="silent"):
        diffuse_noise(microphones, 80, fs=FS, noise=torch.zeros(4, 80))
    with pytest.raises(ValueError, match=r"\[4, 80\]"):
        diffuse_noise(microphones, 80, fs=FS, noise=torch.zeros(3, 80))


def test_babble_is_not_white_and_coherent():
    generator = torch.Generator().manual_seed(0)
    babble = diffuse_noise(
        ARRAYS["pair"], 10 * FS, fs=FS, generator=generator, noise="babble"
    )
    spectrum = torch.fft.rfft(babble).abs().square().mean(0)
    hertz = len(spectrum) / (FS / 2)
    low = spectrum[int(300 * hertz) : int(1000 * hertz)].mean()
    high = spectrum[int(5000 * hertz) : int(7000 * hertz)].mean()
    assert low > 20 * high
    wanted = target_coherence(ARRAYS["pair"], FREQUENCIES)[:, 0, 1]
    band = slice(13, 129)
    error = coherence(babble)[band, 0, 1].real - wanted[band]
    assert error.square().mean() < 0.03


def test_blocks_do_not_matter(monkeypatch):
    signals = torch.randn(2, 3, 9001)
    mixing = mixing_matrices(torch.eye(3) * 0.05, fs=FS, n_fft=256)
    whole = mix_coherent(signals, mixing, hop_length=64)
    monkeypatch.setattr("spatial_brain.simulation.noise_field.BLOCK", 7)
    parts = mix_coherent(signals, mixing, hop_length=64)
    assert torch.allclose(whole, parts, atol=1e-5)
    # Batch items are independent of each other.
    single = mix_coherent(signals[1], mixing, hop_length=64)
    assert torch.allclose(single, whole[1], atol=1e-5)


def test_one_microphone_hears_its_noise():
    noise = torch.randn(1, 5000)
    noise -= noise.mean()
    field = diffuse_noise(torch.zeros(1, 3), 5000, fs=FS, noise=noise)
    # A phase is free, and the lowest bins around 0 Hz are gone.
    loss = field.square().mean() / noise.square().mean()
    assert loss == pytest.approx(1.0, abs=0.02)


def test_cached_matrices_are_safe_to_change():
    mixing_matrices(ARRAYS["pair"], fs=FS).zero_()
    assert mixing_matrices(ARRAYS["pair"], fs=FS).abs().max() > 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"microphones": torch.zeros(2, 2)}, r"\[M, 3\]"),
        ({"kind": "cubic"}, "kind"),
        ({"num_samples": 0}, "num_samples"),
        ({"noise": "pink"}, "babble"),
        ({"fs": 0}, "fs"),
        ({"wind_speed": 0.0}, "wind_speed"),
    ],
)
def test_wrong_arguments(arguments, message):
    usual = {"microphones": ARRAYS["pair"], "num_samples": 100, "fs": FS}
    with pytest.raises(ValueError, match=message):
        diffuse_noise(**{**usual, **arguments})
