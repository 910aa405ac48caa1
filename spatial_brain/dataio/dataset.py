"""Data sets whose random choices depend on seed, epoch and item alone."""

import numpy as np
import torch
from speechbrain.dataio.dataset import DynamicItemDataset


class SeededDataset(DynamicItemDataset):
    """A dynamic-item data set which offers its pipelines a generator.

    Pipelines may take the key ``rng``: a NumPy generator seeded by
    ``(seed, epoch, position of the item)``. What is drawn from it is
    therefore the same for any number of workers or ranks and after a resume;
    it changes with the epoch, which the training loop sets.

    Arguments
    ---------
    data : dict
        Manifest: id to a dictionary of static items.
    seed : int
        Seed of all random choices.
    **kwargs
        Those of ``DynamicItemDataset``.

    Example
    -------
    >>> data = SeededDataset({"a": {}, "b": {}}, seed=1)
    >>> data.add_dynamic_item(lambda rng: rng.random(), "rng", "gain")
    >>> data.set_output_keys(["gain"])
    >>> first = data[0]["gain"]
    >>> data[0]["gain"] == first, data[1]["gain"] == first
    (True, False)
    >>> data.set_epoch(2)
    >>> data[0]["gain"] == first
    False
    """

    def __init__(self, data, seed, **kwargs):
        output_keys = kwargs.pop("output_keys", [])
        super().__init__(data, **kwargs)
        self.pipeline.add_static_keys(["rng"])
        self.set_output_keys(output_keys)
        self.seed = int(seed)
        # Shared memory: workers which outlive an epoch see the change too.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch):
        """Choose the epoch which the random choices belong to.

        Arguments
        ---------
        epoch : int
            At least 0; data sets for validation and test stay at 0.
        """
        self._epoch[0] = int(epoch)

    def __getitem__(self, index):
        data_id = self.data_ids[index]
        rng = np.random.default_rng([self.seed, int(self._epoch), int(index)])
        return self.pipeline.compute_outputs(
            {"id": data_id, "rng": rng, **self.data[data_id]}
        )
