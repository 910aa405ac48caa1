"""Trained models for others: on a hub, or shipped with this package.

``contents`` is what such a folder holds, ``page`` its README, ``hub`` uploads
it, ``shipping`` makes one of this package's own.
"""
