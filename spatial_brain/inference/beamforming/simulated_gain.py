"""What a beamformer gains, tried on simulated recordings of its array."""

import torch

from spatial_brain.geometry import azel_to_unit, wrap_azimuth
from spatial_brain.metrics.separation.signals import si_snr
from spatial_brain.processing.beamforming.array_response import (
    AmbisonicResponse,
)
from spatial_brain.simulation.ambisonics import foa_rir
from spatial_brain.simulation.mixing import active_level, convolve, mix
from spatial_brain.simulation.noise_field import diffuse_noise
from spatial_brain.simulation.rir import simulate_rir
from spatial_brain.simulation.synthesis.speech import synthetic_speech

T60S = (0.0, 0.3, 0.6)
NOISE_DB = -20.0
SECONDS = 4.0
_FS = 16000
_SIZE = (7.0, 6.0, 3.0)
_CENTRE = (3.4, 2.9, 1.5)
_DISTANCE = 1.3
# The interferer without nulls: so far from the direction looked at, degrees,
# the first that the array does not take for it.
_OFFSETS = (90.0, -90.0, 180.0, 60.0)
_ALIKE = 0.9
_SEED = 20


def other_direction(beamformer, azimuth, elevation):
    """Where the interferer of the simulated recordings stands.

    Arguments
    ---------
    beamformer : spatial_brain.inference.beamforming.beamformer.Beamformer
        Its array.
    azimuth, elevation : float
        Degrees, of the direction looked at.

    Returns
    -------
    tuple of float
        Azimuth and elevation: 90 degrees to the left, or where the array
        could not tell that from the direction, to the right, behind, or 60
        degrees to the left.

    Example
    -------
    >>> from spatial_brain.inference.beamforming.beamformer import Beamformer
    >>> pair = Beamformer.from_array("pair:0.1", "delay-and-sum")
    >>> other_direction(pair, 30.0, 0.0), other_direction(pair, 45.0, 0.0)
    ((-60.0, 0.0), (-45.0, 0.0))
    """
    frequencies = torch.arange(500.0, 2001.0, 250.0)
    azimuths = torch.tensor([azimuth, *(azimuth + o for o in _OFFSETS)])
    elevations = torch.tensor([elevation, *(0.0 for _ in _OFFSETS)])
    look, *others = beamformer.response.steering(
        azel_to_unit(azimuths, elevations), frequencies
    )
    for offset, other in zip(_OFFSETS, others, strict=True):
        alike = (look.conj() * other).sum(-1).abs()
        alike = alike / (look.norm(dim=-1) * other.norm(dim=-1))
        if alike.mean() < _ALIKE:
            return float(wrap_azimuth(azimuth + offset)), 0.0
    return float(wrap_azimuth(azimuth + _OFFSETS[-1])), 0.0


def simulated_gain(beamformer, azimuth, elevation=0.0, nulls=(), t60s=T60S):
    """Gain for a source in the direction over others, in simulated rooms.

    A room of 7 x 6 x 3 m, sources of equal level 1.3 m away, synthetic
    speech of 4 s at 16 kHz, diffuse noise 20 dB below. The gain is over one
    microphone in the centre of the array.

    Arguments
    ---------
    beamformer : spatial_brain.inference.beamforming.beamformer.Beamformer
        To be tried.
    azimuth, elevation : float
        Direction looked at, degrees.
    nulls : sequence of tuple of float
        Azimuth and elevation of the others; default: one at
        :func:`other_direction`.
    t60s : sequence of float
        Reverberation times, seconds; 0 is the direct sound alone.

    Returns
    -------
    list of dict
        ``t60`` (seconds), ``others`` (their angles), ``snr`` and ``si_sdr``
        (what the centre has, dB), ``snr_gain`` and ``si_sdr_gain`` (dB).
        SNR compares the source, with its reverberation, to the others and
        the noise; SI-SDR compares the output to the direct sound.

    Example
    -------
    >>> from spatial_brain.inference.beamforming.beamformer import Beamformer
    >>> eight = Beamformer.from_array("circular:8x0.1", "delay-and-sum")
    >>> [found] = simulated_gain(eight, 0.0, t60s=[0.0])
    >>> found["snr_gain"] > 3
    True
    """
    others = list(nulls) or [other_direction(beamformer, azimuth, elevation)]
    angles = torch.tensor([(azimuth, elevation), *others]).double()
    sources = torch.tensor(_CENTRE) + _DISTANCE * azel_to_unit(*angles.T)
    generator = torch.Generator().manual_seed(_SEED)
    dry = torch.stack(
        [
            synthetic_speech(round(SECONDS * _FS), _FS, _SEED + i, generator)
            for i in range(len(sources))
        ]
    )
    noise = _noise(beamformer, dry.shape[-1], generator)
    found = []
    for t60 in t60s:
        gain = _gain_in_room(beamformer, angles, sources, dry, noise, t60)
        found.append({"t60": t60, "others": others, **gain})
    return found


def _gain_in_room(beamformer, angles, sources, dry, noise, t60):
    """Ratios at the centre and gains for one reverberation time."""
    rirs = _rirs(beamformer, sources, t60)
    images = convolve(dry, rirs, dry.shape[-1])
    _, images = mix(images, [0.0] * len(images), fs=_FS)
    level = active_level(images[0, 0], _FS) + NOISE_DB
    noise = noise * 10 ** (level / 20)
    target, rest = images[0], images[1:].sum(0) + noise
    parts = torch.stack((target, rest))
    centre, channels = parts[:, 0], parts[:, -len(beamformer) :].mT
    heard = beamformer.beamform_batch(
        channels.sum(0)[None],
        _FS,
        *angles[0].tolist(),
        angles[1:].tolist() if beamformer.method == "lcmv" else (),
        parts=channels[None],
    )[0]
    direct = _rirs(beamformer, sources[:1], 0.0)[:, :1]
    direct = convolve(dry[:1], direct, dry.shape[-1])[0, 0]
    found = {"snr": _ratio(centre), "si_sdr": _si_sdr(centre, direct)}
    return found | {
        "snr_gain": _ratio(heard) - found["snr"],
        "si_sdr_gain": _si_sdr(heard, direct) - found["si_sdr"],
    }


def _rirs(beamformer, sources, t60):
    """Responses [source, centre and channels, time]; of FOA W is both."""
    options = {"fs": _FS, "t60": t60 or 0.3, "direct_only": t60 == 0}
    if isinstance(beamformer.response, AmbisonicResponse):
        return foa_rir(_SIZE, sources, _CENTRE, **options)
    centre = torch.tensor(_CENTRE, dtype=torch.float64)
    microphones = torch.cat(
        (centre[None], centre + beamformer.response.positions)
    )
    return simulate_rir(_SIZE, sources, microphones, **options)


def _noise(beamformer, num_samples, generator):
    """Diffuse noise of power 1, [centre and channels, time]."""
    if isinstance(beamformer.response, AmbisonicResponse):
        powers = beamformer.response.diffuse_coherence([0.0])[0].real.diag()
        noise = torch.randn(4, num_samples, generator=generator)
        return noise * powers.sqrt().float()[:, None]
    positions = beamformer.response.positions
    return diffuse_noise(
        torch.cat((torch.zeros_like(positions[:1]), positions)),
        num_samples,
        fs=_FS,
        generator=generator,
    )


def _ratio(parts):
    """Power of the first over the second signal, dB."""
    power = parts.double().square().sum(-1)
    return float(10 * (power[0] / power[1]).log10())


def _si_sdr(parts, direct):
    """Scale-invariant ratio of the sum of parts to the direct sound, dB."""
    return float(si_snr(parts.sum(0), direct))
