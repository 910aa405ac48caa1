"""Scores and errors."""

from spatial_brain.metrics.localization import (
    LocalizationErrors,
    localization_mae,
)

__all__ = ["LocalizationErrors", "localization_mae"]
