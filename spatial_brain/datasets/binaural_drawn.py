"""Manifests of drawn two-ear mixtures, of whatever speech and heads there are.

Speech: WSJ0 without its metadata, LibriSpeech, any other corpus (see
``spatial_brain.datasets.simu_sources``), or synthetic voices. Heads: the
built-in spherical ones, CIPIC, any SOFA files.
"""

import os
from pathlib import Path

from spatial_brain.dataio.json_files import write_json
from spatial_brain.dataio.manifest import (
    is_prepared,
    read_manifest,
    write_manifest,
    write_options,
)
from spatial_brain.datasets.binaural_drawing import (
    draw_mixtures,
    mixture_seconds,
    set_gains,
)
from spatial_brain.datasets.binaural_listeners import (
    SPLITS,
    listener_names,
    split_listeners,
)
from spatial_brain.datasets.binaural_mixtures import METADATA_FS
from spatial_brain.datasets.binaural_reader import mixture_entry
from spatial_brain.datasets.binaural_scenes import SceneDrawer
from spatial_brain.datasets.simu_sources import prepare_speech

# Part of the speech that each set hears.
_PARTS = {"train": "tr", "valid": "dt", "test": "et"}
# Mixtures of Binaural-WSJ0Mix.
NUM_MIXTURES = {"train": 20000, "valid": 5000, "test": 3000}


def prepare_drawn_mixtures(
    data_folder,
    manifest_folder,
    *,
    hrtfs=None,
    fs=8000,
    mode="min",
    num_speakers=2,
    num_mixtures=None,
    scenes=None,
    min_duration=1.0,
    seed=0,
    speech=None,
    num_workers=1,
):
    """Write ``train.json``, ``valid.json`` and ``test.json``.

    Also ``speech_tr.json`` (``dt``, ``et``), the utterances of each set, and
    ``drawing.json``, its heads and directions: what dynamic mixing draws from.
    Nothing is
    done when all are there and were made with the same arguments; a set that
    is finished is not drawn again.

    Arguments
    ---------
    data_folder : str, Path or None
        Corpus of speech at 16 kHz; None: synthetic voices.
    manifest_folder : str or Path
        Where all goes.
    hrtfs : str, Path or None
        Heads, as for ``load_hrtfs``.
    fs : int
        Rate of the mixtures, Hz; their levels are set at this rate.
    mode : str
        "min" or "max", see ``MixtureRenderer``.
    num_speakers : int
        Talkers in a mixture.
    num_mixtures : dict, optional
        Of "train", "valid" and "test"; default 20000, 5000, 3000. None or 0
        for "train": no fixed list, for dynamic mixing.
    scenes : dict, optional
        More arguments of ``SceneDrawer``: ``min_gap``, ``laterals``,
        ``polars``.
    min_duration : float
        Shorter utterances are left out, seconds.
    seed : int
        Not negative.
    speech : dict, optional
        More arguments of ``prepare_speech``: ``num_talkers``,
        ``utterances_per_talker``, ``on_corrupt``, ``seed``.
    num_workers : int
        Processes that set levels.

    Returns
    -------
    dict
        "train", "valid", "test" (those asked for) to the path of the
        manifest.

    Raises
    ------
    FileNotFoundError
        If speech or heads are missing.
    ValueError
        If a set has too few speakers, or files are damaged.

    Example
    -------
    >>> few = {"train-clean-100": 2, "dev-clean": 2, "test-clean": 2}
    >>> paths = prepare_drawn_mixtures(
    ...     None,
    ...     getfixture("tmp_path"),
    ...     num_mixtures={"train": 3, "valid": 2, "test": 2},
    ...     speech={"num_talkers": few, "utterances_per_talker": 1},
    ... )
    >>> {split: len(read_manifest(path)) for split, path in paths.items()}
    {'train': 3, 'valid': 2, 'test': 2}
    """
    folder = Path(manifest_folder)
    num_mixtures = num_mixtures or NUM_MIXTURES
    speech = speech or {}
    wanted = [split for split in SPLITS if num_mixtures.get(split)]
    paths = {split: folder / f"{split}.json" for split in wanted}
    listeners = split_listeners(listener_names(hrtfs), seed)
    scenes = {
        "num_speakers": num_speakers,
        "min_samples": round(min_duration * METADATA_FS),
        **(scenes or {}),
    }
    manifests = prepare_speech(data_folder, folder, **speech)
    plan = {"listeners": listeners, "rooms": None, "scenes": scenes}
    write_json(folder / "drawing.json", plan)
    options = {
        "data_folder": data_folder and os.path.abspath(data_folder),
        "fs": fs,
        "mode": mode,
        "seed": seed,
        "speech": speech,
        **plan,
    }
    for split in wanted:
        these = options | {"num_mixtures": num_mixtures[split]}
        if is_prepared(paths[split], these):
            continue
        utterances = read_manifest(manifests[_PARTS[split]])
        try:
            drawer = SceneDrawer(utterances, listeners[split], **scenes)
        except ValueError as error:
            raise ValueError(f"{manifests[_PARTS[split]]}: {error}") from error
        mixtures, levels = draw_mixtures(
            drawer,
            utterances,
            num_mixtures[split],
            (seed, SPLITS.index(split)),
        )
        mixtures = set_gains(mixtures, levels, fs, mode, num_workers)
        lengths = {e["wav"]: e["num_samples"] for e in utterances.values()}
        entries = {
            mixture.name: mixture_entry(
                mixture, mixture_seconds(mixture, lengths, mode)
            )
            for mixture in mixtures
        }
        write_manifest(paths[split], entries)
        write_options(paths[split], these)
    return paths
