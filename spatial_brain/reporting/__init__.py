"""Plots and the self-contained report."""
