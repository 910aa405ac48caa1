"""Scenes that are drawn while a network is trained on them.

They are scenes of a corpus without an end, of which nothing is written: epoch
e of N scenes takes those with the numbers e N to e N + N - 1. So a scene
depends on seed, epoch and place alone; rooms that scenes share, and measured
ones, are the same in every epoch.
"""

import logging
from dataclasses import replace

import torch

from spatial_brain.dataio.dataset import SeededDataset
from spatial_brain.datasets.scene_corpus.generate import describe, make_scene
from spatial_brain.datasets.scene_corpus.measured_rooms import with_rooms
from spatial_brain.datasets.scene_corpus.sounds import open_bank
from spatial_brain.datasets.seld.chunks import TARGETS, render_targets

logger = logging.getLogger(__name__)


class DrawnScenes(SeededDataset):
    """Items of a training, each a scene that is made when it is asked for.

    They hold what those of ``datasets.seld.chunks.make_chunks`` hold; a scene
    is one chunk, and changes with the epoch.

    Arguments
    ---------
    options : SceneOptions
        Their ``scenes`` are those of an epoch.
    method : str
        Of the targets, key of ``TARGETS``.
    format : str
        ``"foa"`` or ``"mic"``, in place of the formats of the options.
    duration : float
        Seconds a scene, in place of that of the options.
    bank : EventBank, optional
        Sounds; default: those of the options.

    Attributes
    ----------
    class_names : tuple of str
        Classes in the order of their labels.

    Raises
    ------
    FileNotFoundError, ValueError
        If recordings are missing or unusable.

    Example
    -------
    >>> from spatial_brain.datasets.scene_corpus.options import scene_options
    >>> values = {"scenes": 4, "events": None, "classes": ["knock"], "t60": 0}
    >>> scenes = DrawnScenes(scene_options(values), "accdoa", duration=1.0)
    >>> item = scenes[3]
    >>> len(scenes), item["waveform"].shape, item["accdoa"].shape
    (4, torch.Size([24000, 4]), torch.Size([10, 3]))
    >>> scenes.set_epoch(2)
    >>> bool((scenes[3]["waveform"] == item["waveform"]).all())
    False
    """

    def __init__(self, options, method, *, format="foa", duration, bank=None):
        options = replace(options, formats=(format,), duration=duration)
        self.options = with_rooms(options)
        self.bank = open_bank(options) if bank is None else bank
        self.class_names = self.bank.class_names
        self.method, self.format = method, format
        self.num_frames = round(duration * 10)
        scenes = {
            f"scene{number:07d}": {"number": number}
            for number in range(options.scenes)
        }
        super().__init__(scenes, options.seed)
        names = (*TARGETS[method], "overlap")
        self.add_dynamic_item(
            self.make_item,
            ["id", "number"],
            ("clip", "start_frame", "last", "num_valid", "mask", "waveform")
            + names,
        )
        self.set_output_keys(
            ["id", "clip", "start_frame", "last", "num_valid", "waveform"]
            + [*names, "mask"]
        )
        logger.info(
            "drawn anew in every epoch: %s", describe(self.options, self.bank)
        )

    def make_item(self, name, number):
        """A scene of the present epoch with its targets.

        Arguments
        ---------
        name : str
            Id of the item.
        number : int
            Its place in the epoch.

        Yields
        ------
        object
            Id, start, whether it is the last chunk, frames, mask, recording
            [time, channel], targets and overlap.
        """
        number += int(self._epoch) * self.options.scenes
        scene = make_scene(number, self.options, self.bank)
        yield name
        yield 0
        yield True
        yield self.num_frames
        yield torch.ones(self.num_frames)
        yield scene.signals[self.format]
        yield from render_targets(
            scene.table, self.method, len(self.class_names), self.num_frames
        )
