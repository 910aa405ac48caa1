"""SALSA-lite by the name under which saved models know it."""

from spatial_brain.processing.seld_features import SalsaLite

__all__ = ["SalsaLite"]
