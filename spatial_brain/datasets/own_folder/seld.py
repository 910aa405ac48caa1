"""Own recordings with annotated sound events, as in the DCASE challenges.

On disk::

    <data_folder>/audio/...       .wav or .flac, four channels
    <data_folder>/metadata/...    .csv of the same name, a line a frame of
                                  100 ms and event: frame, class, source,
                                  azimuth, elevation[, distance in cm]
    <data_folder>/splits.csv      file,split; or folders train, valid, test
"""

from collections import Counter
from functools import partial
from itertools import chain

from spatial_brain.datasets.own_folder.files import (
    OwnManifests,
    audio_files,
    check_folder,
    check_headers,
    listed_splits,
    logger,
)
from spatial_brain.datasets.seld.checks import check_clips
from spatial_brain.datasets.seld.chunks import clip_events
from spatial_brain.datasets.seld.files import Clip

NUM_CHANNELS = 4
# By header and number of columns.
DIALECT = "auto"


def prepare_seld(
    data_folder,
    save_folder,
    *,
    fs,
    class_names,
    num_classes,
    valid_fraction=None,
    test_fraction=None,
    seed=0,
):
    """Write the manifests ``train.json``, ``valid.json`` and ``test.json``.

    For entries see ``spatial_brain.datasets.seld.checks``. Nothing is done
    when the manifests are there and neither files nor arguments have changed.

    Arguments
    ---------
    data_folder : str or Path
        Holds ``audio`` and ``metadata``, with the same names and sub-folders.
    save_folder : str or Path
        Where the manifests go.
    fs : int
        Sampling rate of all recordings, Hz.
    class_names : sequence of str
        In the order of their numbers in the annotations, from 0.
    num_classes : int
        How many they are.
    valid_fraction, test_fraction : float, optional
        Shares of all recordings, drawn where neither ``splits.csv`` nor
        sub-folders ``train``, ``valid`` and ``test`` say it.
    seed : int
        Of the draw.

    Returns
    -------
    dict
        Split to the path of its manifest.

    Raises
    ------
    FileNotFoundError
        If a folder or an annotation is not there.
    ValueError
        If recordings do not fit, annotations are malformed or hold unknown
        classes, there are no splits, or the number of classes is another.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> options = {"fs": 24000, "class_names": ["bell"], "num_classes": 1}
    >>> prepare_seld(folder, folder, **options)
    Traceback (most recent call last):
    FileNotFoundError: .../audio: no such folder; ...
    """
    if len(class_names) != num_classes:
        raise ValueError(
            f"class_names has {len(class_names)} names, num_classes is "
            f"{num_classes}; set it to the number of names"
        )
    folder = check_folder(data_folder)
    wavs = audio_files(_part(folder, "audio"))
    metadata = _part(folder, "metadata")
    csvs = {name: metadata / f"{name}.csv" for name in wavs}
    missing = [path for path in csvs.values() if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{missing[0]}: no such file ({len(missing)} of {len(wavs)} "
            "recordings have no annotation); write a .csv of the same name, "
            "empty where nothing sounds, or remove the recordings"
        )
    splits = listed_splits(folder, list(wavs))
    options = {
        "fs": fs,
        "class_names": list(class_names),
        "valid_fraction": valid_fraction,
        "test_fraction": test_fraction,
        "seed": seed,
    }
    files = [*wavs.values(), *csvs.values()]
    manifests = OwnManifests(folder, save_folder, files, splits, options)
    if not manifests.ready:
        check_headers(list(wavs.values()), fs=fs, num_channels=NUM_CHANNELS)
        clips = [Clip(name, wav, csvs[name]) for name, wav in wavs.items()]
        manifests.write_splits(
            check_clips(clips, fs, DIALECT, num_classes),
            splits,
            "use folders audio/train, audio/valid and audio/test, or write "
            "splits.csv (file,split)",
            partial(_details, folder, class_names),
        )
    return manifests.paths


def _part(folder, name):
    """Sub-folder, checked to be there."""
    if not (folder / name).is_dir():
        raise FileNotFoundError(
            f"{folder / name}: no such folder; data_folder holds audio and "
            "metadata"
        )
    return folder / name


def _details(folder, class_names, entries):
    """What the training recordings are, in words."""
    tables = clip_events(entries, num_classes=len(class_names))
    count = Counter(chain(*(t.label.tolist() for t in tables.values())))
    for label, name in enumerate(class_names):
        if not count[label]:
            logger.warning(
                "%s: class %d (%s) never sounds in the training recordings",
                folder,
                label,
                name,
            )
    shares = [
        f"{name} {count[label] / 10:.0f} s"
        for label, name in enumerate(class_names)
    ]
    return f"{NUM_CHANNELS} channels, training events: " + ", ".join(shares)
