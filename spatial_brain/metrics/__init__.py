"""Scores and errors."""

from spatial_brain.metrics.localization import (
    LocalizationErrors,
    localization_mae,
)
from spatial_brain.metrics.seld.scores import SELDScores
from spatial_brain.metrics.separation.interaural import interaural_errors

__all__ = [
    "LocalizationErrors",
    "SELDScores",
    "interaural_errors",
    "localization_mae",
]
