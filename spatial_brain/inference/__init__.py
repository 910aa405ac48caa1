"""Pretrained interfaces."""

from spatial_brain.inference.localizer import SoundLocalizer
from spatial_brain.inference.room_acoustics import RoomAcousticsEstimator
from spatial_brain.inference.seld_detector import SELDetector
from spatial_brain.inference.separator import BinauralSeparator

__all__ = [
    "BinauralSeparator",
    "RoomAcousticsEstimator",
    "SELDetector",
    "SoundLocalizer",
]
