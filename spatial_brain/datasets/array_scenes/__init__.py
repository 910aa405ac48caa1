"""Scenes of speakers around arrays of any geometry, drawn while training.

Nothing of a scene is stored: array, room, responses, speech, noise and faults
come from the seed, the epoch and the place of the item.
"""

from spatial_brain.datasets.array_scenes.arrays import draw_array
from spatial_brain.datasets.array_scenes.groups import SceneGroups
from spatial_brain.datasets.array_scenes.scenes import ArrayScene, SceneDrawer

__all__ = ["ArrayScene", "SceneDrawer", "SceneGroups", "draw_array"]
