"""Pretrained interfaces."""

from spatial_brain.inference.localizer import SoundLocalizer
from spatial_brain.inference.seld_detector import SELDetector

__all__ = ["SELDetector", "SoundLocalizer"]
