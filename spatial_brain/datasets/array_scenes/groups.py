"""Groups of drawn scenes with equally many microphones, as batches."""

import torch

from spatial_brain.dataio.dataset import SeededDataset

# What is stacked of the scenes of a group.
_STACKED = ("waveform", "positions", "azimuth", "elevation", "active")


class SceneGroups(SeededDataset):
    """Items of a training, each a batch of scenes, made when asked for.

    Arrays of a batch have to have equally many microphones. A group depends
    on seed, epoch and place alone.

    Arguments
    ---------
    drawer : SceneDrawer
        Draws scenes.
    num_groups : int
        Groups in an epoch.
    group_size : int
        Scenes in a group.
    seed : int
        Of all choices.

    Raises
    ------
    ValueError
        If a number is not positive.

    Example
    -------
    >>> from spatial_brain.datasets.array_scenes.scenes import ArrayScene
    >>> class Drawer:
    ...     def draw_microphones(self, rng):
    ...         return 2
    ...     def draw(self, rng, number):
    ...         return ArrayScene(*[torch.rand(number)] * 5, {"t60": 1.0})
    >>> group = SceneGroups(Drawer(), num_groups=2, group_size=3, seed=1)[1]
    >>> group["waveform"].shape, group["conditions"][2], group["names"][2]
    (torch.Size([3, 2]), {'t60': 1.0}, 'scene000005')
    """

    def __init__(self, drawer, *, num_groups, group_size, seed):
        if num_groups < 1 or group_size < 1:
            raise ValueError(
                "num_groups and group_size must be at least 1, got "
                f"{num_groups} and {group_size}"
            )
        groups = {
            f"group{number:06d}": {"number": number}
            for number in range(num_groups)
        }
        super().__init__(groups, seed)
        self.drawer, self.group_size = drawer, group_size
        self.add_dynamic_item(
            self.make_group,
            ["rng", "number"],
            [*_STACKED, "names", "conditions"],
        )
        self.set_output_keys(["id", *_STACKED, "names", "conditions"])

    def make_group(self, rng, number):
        """Scenes of one item.

        Arguments
        ---------
        rng : numpy.random.Generator
            Of the item.
        number : int
            Its place in the epoch.

        Yields
        ------
        object
            What is stacked, each [scene, ...]; names; and conditions, a list.
        """
        microphones = self.drawer.draw_microphones(rng)
        scenes = [
            self.drawer.draw(own, microphones)
            for own in rng.spawn(self.group_size)
        ]
        for name in _STACKED:
            yield torch.stack([getattr(scene, name) for scene in scenes])
        first = number * self.group_size
        yield [f"scene{first + place:06d}" for place in range(len(scenes))]
        yield [scene.conditions for scene in scenes]
