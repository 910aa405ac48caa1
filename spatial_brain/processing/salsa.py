"""SALSA by the name under which models saved by version 0.1 know it."""

from spatial_brain.processing.seld_features import Salsa, SalsaLite

__all__ = ["Salsa", "SalsaLite"]
