"""Room impulse responses: one function, several back ends."""

from spatial_brain.simulation.rir.api import (
    BACKENDS,
    RirDetails,
    RirInfo,
    simulate_rir,
    simulate_rir_batch,
)

__all__ = [
    "BACKENDS",
    "RirDetails",
    "RirInfo",
    "simulate_rir",
    "simulate_rir_batch",
]
