"""Interfaces to recordings, most of them pretrained.

They are imported when they are first used: what needs no network starts
without the libraries of networks.
"""

from importlib import import_module

_MODULES = {
    "AnyArrayLocalizer": "any_array",
    "Beamformer": "beamforming.beamformer",
    "BinauralSeparator": "separation.separator",
    "RoomAcousticsEstimator": "room_acoustics",
    "SELDetector": "seld_detector",
    "SoundLocalizer": "localizer",
}

__all__ = [
    "AnyArrayLocalizer",
    "Beamformer",
    "BinauralSeparator",
    "RoomAcousticsEstimator",
    "SELDetector",
    "SoundLocalizer",
]


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_MODULES[name]}")
    return getattr(module, name)
