"""Scores of sound event localization and detection."""

from spatial_brain.metrics.seld.rules import mode_of_protocol
from spatial_brain.metrics.seld.scores import SELDScores

__all__ = ["SELDScores", "mode_of_protocol"]
