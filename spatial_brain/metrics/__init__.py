"""Scores and errors."""

from spatial_brain.metrics.interaural import interaural_errors
from spatial_brain.metrics.localization import (
    LocalizationErrors,
    localization_mae,
)
from spatial_brain.metrics.seld import SELDScores

__all__ = [
    "LocalizationErrors",
    "SELDScores",
    "interaural_errors",
    "localization_mae",
]
