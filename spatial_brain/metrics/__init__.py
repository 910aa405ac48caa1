"""Scores and errors.

All classes collect a test set: ``update`` (or ``append``) adds a batch, a clip
or a recording, ``compute`` gives the scores, ``reset`` (or ``clear``) forgets.
"""

from spatial_brain.metrics.localization import (
    LocalizationErrors,
    localization_mae,
)
from spatial_brain.metrics.room_acoustics import AcousticErrors
from spatial_brain.metrics.seld.scores import SELDScores
from spatial_brain.metrics.separation.errors import SeparationErrors
from spatial_brain.metrics.separation.interaural import interaural_errors
from spatial_brain.metrics.statistics import ErrorCollector, Metric
from spatial_brain.metrics.tracking import TrackingErrors, tracking_measures

__all__ = [
    "AcousticErrors",
    "ErrorCollector",
    "LocalizationErrors",
    "Metric",
    "SELDScores",
    "SeparationErrors",
    "TrackingErrors",
    "interaural_errors",
    "localization_mae",
    "tracking_measures",
]
