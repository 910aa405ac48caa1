"""Errors of separated sources."""
