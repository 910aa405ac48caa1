"""Room impulse responses: one function, several back ends."""

from spatial_brain.simulation.rir.api import (
    BACKENDS,
    simulate_rir,
    simulate_rir_batch,
)
from spatial_brain.simulation.rir.info import RirDetails, RirInfo

__all__ = [
    "BACKENDS",
    "RirDetails",
    "RirInfo",
    "simulate_rir",
    "simulate_rir_batch",
]
