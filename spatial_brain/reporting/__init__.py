"""Plots and the self-contained report."""

from spatial_brain.reporting.localization import localization_report
from spatial_brain.reporting.report import Report, read_train_log

__all__ = ["Report", "localization_report", "read_train_log"]
