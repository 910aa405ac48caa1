"""Physics: rooms, impulse responses, noise fields, scenes."""

from spatial_brain.simulation.noise_field import diffuse_noise
from spatial_brain.simulation.rir import simulate_rir, simulate_rir_batch
from spatial_brain.simulation.rooms import Room, sample_room
from spatial_brain.simulation.synthesis.speech import (
    SyntheticTalker,
    synthetic_speech,
)

__all__ = [
    "Room",
    "SyntheticTalker",
    "diffuse_noise",
    "sample_room",
    "simulate_rir",
    "simulate_rir_batch",
    "synthetic_speech",
]
