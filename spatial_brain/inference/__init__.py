"""Pretrained interfaces."""
