"""Scores of sound event localization and detection."""

from spatial_brain.metrics.seld.scores import SELDScores

__all__ = ["SELDScores"]
