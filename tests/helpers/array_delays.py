"""Delays of measured responses against the geometry of their corpus."""

from spatial_brain.simulation.acoustics import SPEED_OF_SOUND

# Seconds: no reflection is this early.
_EARLY = 0.001


def worst_delay_error(response, waveform, fs):
    """Largest error of the direct path, in samples, over microphones."""
    apart = response.microphones - response.source
    expected = apart.double().norm(dim=-1) / SPEED_OF_SOUND * fs
    direct = waveform[:, : int(expected.max() + _EARLY * fs) + 1]
    return (direct.abs().argmax(-1) - expected).abs().max().item()
