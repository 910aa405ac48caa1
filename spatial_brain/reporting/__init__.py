"""Plots and the self-contained report."""

from spatial_brain.reporting.localization_report import localization_report
from spatial_brain.reporting.report import Report
from spatial_brain.reporting.train_log import read_train_log

__all__ = ["Report", "localization_report", "read_train_log"]
