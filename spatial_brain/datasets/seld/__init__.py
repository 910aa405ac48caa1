"""Data sets of sound event localization and detection."""
