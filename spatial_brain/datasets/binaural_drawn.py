"""Manifests of drawn two-ear mixtures, of whatever speech and heads there are.

Speech: WSJ0 without its metadata, LibriSpeech, any other corpus (see
``spatial_brain.datasets.simu_sources``), or synthetic voices. Heads: the
built-in spherical ones, CIPIC, any SOFA files. Noise: DEMAND, any recordings,
or synthetic noise. Rooms: the BRIR Sim Set, SOFA files, or simulated ones.
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
from spatial_brain.datasets.binaural_ambience import (
    SNR_RANGE,
    DiffuseNoise,
    NoiseDrawer,
    split_noise,
)
from spatial_brain.datasets.binaural_drawing import (
    draw_mixtures,
    mixture_seconds,
    set_gains,
)
from spatial_brain.datasets.binaural_dynamic import PLAN
from spatial_brain.datasets.binaural_listeners import (
    SPLITS,
    listener_names,
    split_listeners,
)
from spatial_brain.datasets.binaural_lookalike import (
    write_noise_lookalike,
    write_wsj0_lookalike,
)
from spatial_brain.datasets.binaural_mixtures import METADATA_FS
from spatial_brain.datasets.binaural_reader import mixture_entry
from spatial_brain.datasets.binaural_rooms import load_rooms
from spatial_brain.datasets.binaural_rooms_lookalike import (
    write_rooms_lookalike,
)
from spatial_brain.datasets.binaural_scenes import SceneDrawer
from spatial_brain.datasets.simu_sources import prepare_speech
from spatial_brain.simulation.hrtf import load_hrtfs

VARIANTS = ("clean", "noise", "reverb")
# Part of the speech that each set hears.
_PARTS = {"train": "tr", "valid": "dt", "test": "et"}
# Mixtures of Binaural-WSJ0Mix.
NUM_MIXTURES = {"train": 20000, "valid": 5000, "test": 3000}


def prepare_drawn_mixtures(
    data_folder,
    manifest_folder,
    *,
    variant="clean",
    hrtfs=None,
    noise_folder=None,
    rooms_folder=None,
    fs=8000,
    mode="min",
    num_speakers=2,
    num_mixtures=None,
    scenes=None,
    snr_range=SNR_RANGE,
    min_duration=1.0,
    voices=None,
    on_corrupt="raise",
    seed=0,
    num_workers=1,
):
    """Write ``train.json``, ``valid.json`` and ``test.json``.

    Also ``speech_tr.json`` (``dt``, ``et``), the utterances of each set, and
    ``drawing.json``, its heads, rooms, directions and noise: what dynamic
    mixing draws from. Nothing is done when all are there and were made with
    the same arguments; a set that is finished is not drawn again.

    Arguments
    ---------
    data_folder : str, Path or None
        Corpus of speech at 16 kHz; None: synthetic voices, in a look-alike of
        WSJ0 in ``manifest_folder``.
    manifest_folder : str or Path
        Where all goes.
    variant : str
        "clean", "noise" or "reverb".
    hrtfs : str, Path or None
        Heads, as for ``load_hrtfs``.
    noise_folder : str, Path or None
        DEMAND or other recordings for "noise"; None: synthetic noise.
    rooms_folder : str, Path or None
        Room responses for "reverb", as for ``load_rooms``; None: simulated.
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
    snr_range : tuple of float
        Level of the first talker over the noise, dB.
    min_duration : float
        Shorter utterances are left out, seconds.
    voices : dict, optional
        Arguments of ``write_wsj0_lookalike``: ``num_talkers``,
        ``utterances_per_talker``, ``duration``, ``seed``.
    on_corrupt : str
        "raise", or "report" to go on without unusable files of speech.
    seed : int
        Not negative.
    num_workers : int
        Processes.

    Returns
    -------
    dict
        "train", "valid", "test" (those asked for) to the path of the
        manifest.

    Raises
    ------
    FileNotFoundError
        If speech, heads, noise or rooms are missing.
    ValueError
        If a set has too few speakers, files are damaged, or an argument is
        unknown.

    Example
    -------
    >>> paths = prepare_drawn_mixtures(
    ...     None,
    ...     getfixture("tmp_path"),
    ...     num_mixtures={"train": 3, "valid": 2, "test": 2},
    ...     voices={
    ...         "num_talkers": {"train": 2, "valid": 2, "test": 2},
    ...         "utterances_per_talker": 1,
    ...     },
    ... )
    >>> {split: len(read_manifest(path)) for split, path in paths.items()}
    {'train': 3, 'valid': 2, 'test': 2}
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {VARIANTS}, got {variant!r}")
    folder = Path(manifest_folder)
    scenes = {
        "num_speakers": num_speakers,
        "min_samples": round(min_duration * METADATA_FS),
        **(scenes or {}),
    }
    plan = {"variant": variant, "rooms": None, "noise": None, "scenes": scenes}
    if variant == "reverb":
        rooms_folder = rooms_folder or write_rooms_lookalike(
            folder / "rooms", seed=seed, num_workers=num_workers
        )
        plan |= _rooms(rooms_folder, fs, scenes, seed)
    else:
        plan["listeners"] = split_listeners(listener_names(hrtfs), seed)
    if variant == "noise":
        noise_folder = noise_folder or write_noise_lookalike(
            folder / "noise", seed=seed
        )
        plan["noise"] = _noise(noise_folder, snr_range, seed)
    if data_folder is None:
        data_folder = write_wsj0_lookalike(folder / "speech", **(voices or {}))
    manifests = prepare_speech(
        data_folder,
        folder,
        fs=METADATA_FS,
        # Recorded only: other voices in the same folder are other speech.
        num_talkers=voices,
        on_corrupt=on_corrupt,
        seed=seed,
    )
    write_json(folder / PLAN, plan)
    options = {
        "data_folder": os.path.abspath(data_folder),
        "voices": voices,
        "on_corrupt": on_corrupt,
        "hrtfs": hrtfs,
        "fs": fs,
        "mode": mode,
        "seed": seed,
        **plan,
    }
    numbers = num_mixtures or NUM_MIXTURES
    return _write_sets(folder, numbers, manifests, options, num_workers)


def _write_sets(folder, numbers, speech, options, num_workers):
    """Write the manifests that are not there."""
    paths = {}
    for split in SPLITS:
        path = folder / f"{split}.json"
        if not numbers.get(split):
            # Whatever is there is of another preparation.
            path.unlink(missing_ok=True)
            continue
        paths[split] = path
        these = options | {"num_mixtures": numbers[split]}
        if is_prepared(path, these):
            continue
        entries = _draw_set(split, speech[_PARTS[split]], these, num_workers)
        write_manifest(path, entries)
        write_options(path, these)
    return paths


def _noise(noise_folder, snr_range, seed):
    """What the plan says about noise."""
    return {
        "folder": os.path.abspath(noise_folder),
        "files": split_noise(noise_folder, seed),
        "snr_range": list(snr_range),
    }


def _rooms(rooms_folder, fs, scenes, seed):
    """What the plan says about rooms."""
    rooms = load_rooms(rooms_folder, fs)
    common = set.intersection(
        *(set(room.laterals) for room in rooms.rooms.values())
    )
    if not common:
        raise ValueError(
            f"{rooms_folder}: its rooms have no azimuth in common; give a "
            "folder of rooms that have"
        )
    return {
        "listeners": split_listeners(list(rooms.rooms), seed),
        "rooms": rooms.t60s,
        "rooms_folder": os.path.abspath(rooms_folder),
        "scenes": {"laterals": sorted(common), "polars": [0.0], **scenes},
    }


def _draw_set(split, manifest, options, num_workers):
    """Entries of one set."""
    speech = read_manifest(manifest)
    try:
        drawer = SceneDrawer(
            speech, options["listeners"][split], **options["scenes"]
        )
    except ValueError as error:
        raise ValueError(f"{manifest}: {error}") from error
    noise, noise_drawer = None, None
    if options["noise"] is not None:
        facts = options["noise"]
        heads = load_hrtfs(
            options["hrtfs"],
            options["fs"],
            subjects=options["listeners"][split],
        )
        noise = DiffuseNoise(facts["folder"], heads)
        noise_drawer = NoiseDrawer(facts["files"][split], facts["snr_range"])
    mixtures, levels, snrs = draw_mixtures(
        drawer,
        speech,
        options["num_mixtures"],
        (options["seed"], SPLITS.index(split)),
        rooms=options["rooms"],
        noise=noise_drawer,
    )
    mixtures = set_gains(
        mixtures,
        levels,
        options["fs"],
        options["mode"],
        num_workers,
        snrs=snrs,
        noise=noise,
    )
    lengths = {e["wav"]: e["num_samples"] for e in speech.values()}
    return {
        mixture.name: mixture_entry(
            mixture, mixture_seconds(mixture, lengths, options["mode"])
        )
        for mixture in mixtures
    }
