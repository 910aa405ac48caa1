"""Errors of separated talkers."""
