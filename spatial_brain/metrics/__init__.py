"""Scores and errors."""

from spatial_brain.metrics.localization import (
    LocalizationErrors,
    localization_mae,
)
from spatial_brain.metrics.seld.scores import SELDScores
from spatial_brain.metrics.separation.interaural import interaural_errors
from spatial_brain.metrics.tracking import TrackingErrors, tracking_measures

__all__ = [
    "LocalizationErrors",
    "SELDScores",
    "TrackingErrors",
    "interaural_errors",
    "localization_mae",
    "tracking_measures",
]
