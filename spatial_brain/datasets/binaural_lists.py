"""The published lists of Binaural-WSJ0Mix joined with a copy of WSJ0."""

from dataclasses import replace

import numpy as np

from spatial_brain.datasets.binaural_demand import with_demand
from spatial_brain.datasets.binaural_drawing import set_gains
from spatial_brain.datasets.binaural_metadata import (
    read_levels,
    read_published,
)
from spatial_brain.datasets.binaural_metadata_files import COUNTS, SPLITS
from spatial_brain.datasets.binaural_mixtures import METADATA_FS
from spatial_brain.datasets.binaural_reader import mixture_entry
from spatial_brain.datasets.wsj0_speech import find_wsj0, readable_wsj0


class PublishedLists:
    """The published lists of a variant, to be joined with a corpus.

    Arguments
    ---------
    folder : str or Path
        Folder of the published files.
    variant : str
        One of ``VARIANTS``.
    fs : int
        8000 or 16000 Hz.
    version : str
        "min" or "max".
    check_counts : bool
        Demand the published number of mixtures.

    Example
    -------
    >>> PublishedLists("metadata", "clean2", 8000, "min").entries(["test"], "")
    Traceback (most recent call last):
    FileNotFoundError: metadata/mix_2_spk_filenames_tt.csv: no such list ...
    """

    def __init__(self, folder, variant, fs, version, check_counts=True):
        self.folder, self.variant = folder, variant
        self.fs, self.version = fs, version
        self.check_counts = check_counts

    def entries(
        self,
        splits,
        wsj0_folder,
        cache_folder="speech",
        noise=None,
        num_workers=1,
    ):
        """Entries of manifests; nothing is rendered.

        Arguments
        ---------
        splits : sequence of str
            Which of "train", "valid", "test".
        wsj0_folder : str or Path
            The corpus, see ``find_wsj0``.
        cache_folder : str or Path
            Where compressed files go when they are decompressed.
        noise : FolderNoise, optional
            DEMAND, for the variant with noise.
        num_workers : int
            Processes.

        Returns
        -------
        dict
            Split to a dict of ``mixture_entry``; paths are absolute.

        Raises
        ------
        FileNotFoundError
            If lists, utterances or noise files are missing.
        ValueError
            If some are damaged or not as published.
        """
        # Draws of noise depend on all that was drawn before.
        names = list(SPLITS) if noise is not None else list(splits)
        mixtures = {SPLITS[name]: self._read(SPLITS[name]) for name in names}
        if wsj0_folder is None:
            raise FileNotFoundError(
                "mixtures made on the fly need speech: give the folder of WSJ0 "
                "(LDC93S6A, by licence of the LDC) as wsj0_folder, or draw "
                "mixtures from another corpus"
            )
        found = find_wsj0(
            wsj0_folder,
            (
                utterance
                for part in mixtures.values()
                for mixture in part
                for utterance in mixture.utterances
            ),
        )
        speech = readable_wsj0(found, cache_folder, num_workers)
        lengths = {name: u.num_samples for name, u in speech.items()}
        if noise is not None:
            mixtures = with_demand(mixtures, lengths, self.folder, noise)
        return {
            name: self._entries(SPLITS[name], mixtures, speech, num_workers)
            for name in splits
        }

    def _read(self, split):
        """Published mixtures of a split, checked for their number."""
        mixtures = read_published(
            self.folder, self.variant, split, fs=self.fs, mode=self.version
        )
        if self.check_counts and len(mixtures) != COUNTS[split]:
            raise ValueError(
                f"{self.folder}: lists {len(mixtures)} mixtures for {split}, "
                f"{COUNTS[split]} were published; get the lists again, or pass "
                "check_counts=False to use a part"
            )
        return mixtures

    def _entries(self, split, mixtures, speech, num_workers):
        """Entries of a split, with the places of utterances."""
        durations = [self._duration(m, speech) for m in mixtures[split]]
        located = [
            replace(m, utterances=[speech[name].path for name in m.utterances])
            for m in mixtures[split]
        ]
        if np.isnan(located[0].gains).any():
            levels = read_levels(self.folder, self.variant, split)
            located = set_gains(
                located, levels, self.fs, self.version, num_workers
            )
        return {
            mixture.name: mixture_entry(mixture, duration)
            for mixture, duration in zip(located, durations, strict=True)
        }

    def _duration(self, mixture, speech):
        """Seconds that a mixture lasts."""
        lengths = [speech[name].num_samples for name in mixture.utterances]
        samples = min(lengths) if self.version == "min" else max(lengths)
        if self.version == "max" and mixture.noise:
            samples = mixture.noise_length
        return samples / METADATA_FS
