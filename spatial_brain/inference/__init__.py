"""Pretrained interfaces."""

from spatial_brain.inference.localizer import SoundLocalizer

__all__ = ["SoundLocalizer"]
