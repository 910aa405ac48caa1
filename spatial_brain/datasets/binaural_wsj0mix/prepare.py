"""Preparation of Binaural-WSJ0Mix: published lists, or mixtures drawn.

``prepare_binaural_wsj0mix`` makes the set from the user's WSJ0 by the
published lists (https://github.com/huangzj421/Binaural-WSJ0Mix): two or three
sources in the free field, two with noise (DEMAND) or in rooms (BRIRs), at 8 or
16 kHz, cut to the shortest source or padded to the longest. Mixtures are
generated to disk or described to be made on the fly; a tree that the original
generator made is used as it is.

``prepare_drawn_mixtures`` draws mixtures of that kind from any speech: WSJ0
without its metadata, LibriSpeech, any other corpus (see
``spatial_brain.datasets.speech.pool``), or synthetic voices. Heads: the
built-in spherical ones, CIPIC, any SOFA files. Noise: DEMAND, any recordings,
or synthetic noise. Rooms: the BRIR Sim Set, SOFA files, or simulated ones.
"""

import logging
import os
from pathlib import Path

import torch

from spatial_brain.dataio.files import write_json
from spatial_brain.dataio.manifest import (
    is_prepared,
    read_manifest,
    read_notes,
    write_manifest,
    write_options,
)
from spatial_brain.datasets.binaural_wsj0mix.brirs import load_rooms
from spatial_brain.datasets.binaural_wsj0mix.dynamic_mixing import PLAN
from spatial_brain.datasets.binaural_wsj0mix.files import (
    generate_mixtures,
    has_mixtures,
    is_generated,
    read_tree,
)
from spatial_brain.datasets.binaural_wsj0mix.head_rooms import (
    simulate_head_rooms,
)
from spatial_brain.datasets.binaural_wsj0mix.noise import (
    METADATA_FS,
    SNR_RANGE,
    DiffuseNoise,
    FolderNoise,
    NoiseDrawer,
    split_noise,
)
from spatial_brain.datasets.binaural_wsj0mix.published import (
    COUNTS,
    SPLIT_FOLDERS,
    VARIANT_FOLDERS,
    PublishedLists,
    check_variant,
    download_metadata,
)
from spatial_brain.datasets.binaural_wsj0mix.rendering import (
    MODES,
    MixtureRenderer,
    compat_behaviours,
    mixture_entry,
)
from spatial_brain.datasets.binaural_wsj0mix.sampling import (
    SPLITS,
    SceneDrawer,
    draw_mixtures,
    head_sources,
    mixture_seconds,
    set_gains,
    split_heads,
    split_listeners,
)
from spatial_brain.datasets.binaural_wsj0mix.synthetic import (
    write_synthetic_noise,
    write_synthetic_rooms,
    write_synthetic_wsj0,
)
from spatial_brain.datasets.speech.pool import prepare_speech
from spatial_brain.datasets.summary import (
    describe,
    facts,
    repeat,
    write_prepared,
)
from spatial_brain.simulation.hrtf import load_hrtfs

VARIANTS = ("clean", "noise", "reverb")
_RATES = (8000, 16000)
_STORAGES = ("disk", "on_the_fly")
# Part of the speech that each set is drawn from.
_PARTS = {"train": "tr", "valid": "dt", "test": "et"}
# Mixtures of Binaural-WSJ0Mix.
_NUM_MIXTURES = {"train": 20000, "valid": 5000, "test": 3000}

logger = logging.getLogger(__name__)


def prepare_binaural_wsj0mix(
    data_folder,
    manifest_folder,
    *,
    variant="clean2",
    fs=8000,
    mode="min",
    storage="disk",
    wsj0_folder=None,
    metadata_folder=None,
    download=False,
    hrtfs=None,
    rooms=None,
    noise_folder=None,
    compat=False,
    splits=SPLITS,
    check_counts=True,
    num_workers=1,
    skip_prep=False,
):
    """Write ``train.json``, ``valid.json`` and ``test.json``.

    Entries are those of ``rendering.mixture_entry``. Nothing is done
    when the manifests are there and were made with the same arguments. With
    ``storage="disk"`` the audio files are generated first, those of a run
    that was interrupted are kept; another rate or mode later generates
    what it needs beside them.

    Arguments
    ---------
    data_folder : str, Path or None
        Where the sets lie or go, one folder each: ``2speakers``,
        ``3speakers``, ``noise``, ``reverb``, in it
        ``wav8k/min/{tr,cv,tt}/{mix,s1,s2}``. The folder of the set itself
        will do as well; None is ``manifest_folder``.
    manifest_folder : str or Path
        Where the manifests go.
    variant : str
        "clean2", "clean3", "noise" or "reverb".
    fs : int
        8000 or 16000 Hz.
    mode : str
        "min": mixtures end with the shortest source; "max": with the longest.
    storage : str
        "disk", or "on_the_fly": no audio files, the mixtures are made when
        they are read (see ``load_responses``).
    wsj0_folder : str or Path, optional
        WSJ0 in any form, see ``find_wsj0``. None: a tree that is there
        already is used.
    metadata_folder : str or Path, optional
        The published lists; default ``<data_folder>/metadata``.
    download : bool
        Fetch the published lists that are missing.
    hrtfs : str or Path, optional
        CIPIC, as for ``load_hrtfs``. None: spherical heads of the same
        names; results do not compare with published ones then.
    rooms : str, Path or RoomResponses, optional
        For "reverb": room responses as for ``load_rooms``, of the rooms in
        the lists (``0_1s`` to ``0_9s``).
    noise_folder : str or Path, optional
        For "noise": DEMAND at 16 kHz; default ``noisedata`` in the folder of
        the set.
    compat : bool or sequence of str
        True generates the files of the original to the last bit; see
        ``rendering.COMPAT``.
    splits : sequence of str
        Which of "train", "valid", "test".
    check_counts : bool
        Demand the published number of mixtures (20000, 5000, 3000).
    num_workers : int
        Processes.
    skip_prep : bool
        Trust the manifests that are there.

    Returns
    -------
    dict
        Split to the path of its manifest.

    Raises
    ------
    FileNotFoundError
        If something needed is not there; says how to get it.
    ValueError
        If an argument is out of range, or files are damaged, incomplete, or
        not what they should be.
    OSError
        If the disk has no room for the set.

    Example
    -------
    >>> prepare_binaural_wsj0mix("data", "save", skip_prep=True)["test"].name
    'test.json'
    """
    _check_arguments(variant, fs, mode, storage, splits)
    paths = {name: Path(manifest_folder, f"{name}.json") for name in splits}
    if skip_prep:
        return paths
    data_folder = manifest_folder if data_folder is None else data_folder
    root = set_folder(data_folder, variant)
    places = (wsj0_folder, metadata_folder, hrtfs, rooms, noise_folder)
    options = {
        "variant": variant,
        "fs": fs,
        "mode": mode,
        "storage": storage,
        "compat": sorted(compat_behaviours(compat)),
        "check_counts": check_counts,
        "places": [_identity(place) for place in (root, *places)],
    }
    tree = _Tree(root, variant, fs, mode, splits)
    on_disk = storage == "disk"
    if all(is_prepared(path, options) for path in paths.values()) and (
        not on_disk or tree.is_there()
    ):
        repeat(paths)
        return paths
    found = on_disk and tree.is_to_be_used(wsj0_folder)
    if found:
        entries = tree.read(check_counts)
    else:
        noise = None
        if variant == "noise":
            noise = FolderNoise(noise_folder or root / "noisedata")
        metadata_folder = metadata_folder or Path(data_folder, "metadata")
        if download:
            download_metadata(metadata_folder, variant)
        entries = PublishedLists(
            metadata_folder, variant, fs, mode, check_counts
        ).entries(splits, wsj0_folder, noise, num_workers)
        responses = load_responses(
            entries, fs, hrtfs=hrtfs, rooms=rooms, compat=compat
        )
        if on_disk:
            renderer = MixtureRenderer("/", responses, fs, mode, compat, noise)
            entries = tree.generate(entries, renderer, num_workers)
    source = f"{root}, mixtures found there"
    if not found:
        source = f"{root}, mixtures of the published lists ({storage})"
    sets = {name: facts(entries[name].values(), "mixtures") for name in paths}
    manifests = {path: entries[name] for name, path in paths.items()}
    write_prepared(manifests, options, describe(source, sets))
    return paths


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
    head_sizes=(1.0,),
    head_rooms=None,
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
        Corpus of speech at 16 kHz; None: synthetic voices, as a small
        WSJ0 in ``manifest_folder``.
    manifest_folder : str or Path
        Where all goes.
    variant : str
        "clean", "noise" or "reverb".
    hrtfs : str, Path, None, list or dict
        Heads, as for ``split_heads``.
    noise_folder : str, Path or None
        DEMAND or other recordings for "noise"; None: synthetic noise.
    rooms_folder : str, Path or None
        Room responses for "reverb", as for ``load_rooms``; None: simulated.
    fs : int
        Rate of the mixtures, Hz; their levels are set at this rate.
    mode : str
        "min" or "max", see ``MixtureRenderer``.
    num_speakers : int
        Sources in a mixture, each another speaker.
    num_mixtures : dict, optional
        Of "train", "valid" and "test"; default 20000, 5000, 3000. None or 0
        for "train": no fixed list, for dynamic mixing.
    scenes : dict, optional
        More arguments of ``SceneDrawer``: ``min_gap``, ``laterals``,
        ``polars``.
    snr_range : tuple of float
        Level of the first source over the noise, dB.
    min_duration : float
        Shorter utterances are left out, seconds.
    voices : dict, optional
        Arguments of ``write_synthetic_wsj0``: ``num_talkers``,
        ``utterances_per_talker``, ``duration``, ``seed``.
    head_sizes : sequence of float
        Sizes of measured heads in training, see ``load_hrtfs``.
    head_rooms : dict, optional
        For "clean": rooms with these heads in them, as likely as the heads in
        the free field. ``number`` of each set, and bounds ``t60`` and
        ``distance``, see ``simulate_head_rooms``.
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
    if head_rooms and variant != "clean":
        raise ValueError(
            f"simulated rooms of heads go with the variant clean, not "
            f"{variant}: give --rooms null"
        )
    folder = Path(manifest_folder)
    scenes = {
        "num_speakers": num_speakers,
        "min_samples": round(min_duration * METADATA_FS),
        **(scenes or {}),
    }
    plan = {"variant": variant, "rooms": None, "noise": None, "scenes": scenes}
    if variant == "reverb":
        rooms_folder = rooms_folder or write_synthetic_rooms(
            folder / "rooms", seed=seed, num_workers=num_workers
        )
        plan |= _plan_rooms(rooms_folder, fs, scenes, seed)
    else:
        plan["listeners"] = split_heads(hrtfs, seed, head_sizes)
        plan["head_sizes"] = list(head_sizes)
    if head_rooms:
        plan |= _plan_head_rooms(
            folder, plan, fs, hrtfs, head_rooms, seed, num_workers
        )
    if variant == "noise":
        noise_folder = noise_folder or write_synthetic_noise(
            folder / "noise", seed=seed
        )
        plan["noise"] = _plan_noise(noise_folder, snr_range, seed)
    if data_folder is None:
        data_folder = write_synthetic_wsj0(folder / "speech", **(voices or {}))
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
    numbers = num_mixtures or _NUM_MIXTURES
    return _write_sets(folder, numbers, manifests, options, num_workers)


def load_responses(entries, fs, *, hrtfs=None, rooms=None, compat=False):
    """Responses of the heads or rooms of prepared mixtures.

    Arguments
    ---------
    entries : dict
        Split to entries of its manifest.
    fs : int
        Sampling rate, Hz.
    hrtfs, rooms, compat
        As given to ``prepare_binaural_wsj0mix``.

    Returns
    -------
    HrtfSet or RoomResponses
        For ``MixtureRenderer`` and ``binaural_sets``.

    Raises
    ------
    FileNotFoundError
        If they are not there.
    ValueError
        If heads or rooms of the mixtures are missing.

    Example
    -------
    >>> entries = {"test": {"x": {"mixture": {"head": "subject21"}}}}
    >>> load_responses(entries, 8000).subjects
    ['subject21']
    """
    mixtures = [
        entry["mixture"] for part in entries.values() for entry in part.values()
    ]
    compat = "scipy_resampling" in compat_behaviours(compat)
    names = sorted({mixture.get("room", "") for mixture in mixtures} - {""})
    if names and hasattr(rooms, "responses"):
        return rooms
    if names:
        if rooms is None:
            raise FileNotFoundError(
                "mixtures in rooms need room responses: give the folder "
                "CATT_RIRs (the BRIR Sim Set of the IoSR, Surrey, "
                "https://iosr.uk/software) as --rooms_folder"
            )
        return load_rooms(rooms, fs, rooms=names, compat=compat)
    if hrtfs is None:
        logger.warning(
            "no HRTFs given: spherical heads take the place of CIPIC's; "
            "results do not compare with published ones"
        )
    return load_hrtfs(
        hrtfs,
        fs,
        subjects=sorted({mixture["head"] for mixture in mixtures}),
        compat=compat,
        # All bits of the original's computation, where they are asked for.
        dtype=torch.float64 if compat else torch.float32,
    )


def set_folder(data_folder, variant):
    """Folder of a set: the one given, or the one of its name below it.

    Arguments
    ---------
    data_folder : str or Path
        With or without the folder of the set at its end.
    variant : str
        One of ``PUBLISHED_VARIANTS``.

    Returns
    -------
    Path
        It need not exist.

    Raises
    ------
    ValueError
        If it is the folder of another variant.

    Example
    -------
    >>> set_folder("data", "clean3") == set_folder("data/3speakers", "clean3")
    True
    """
    data_folder = Path(os.path.abspath(data_folder))
    own = VARIANT_FOLDERS[variant]
    if data_folder.name == own:
        return data_folder
    has_waves = any(
        (data_folder / f"wav{rate // 1000}k").is_dir() for rate in _RATES
    )
    if has_waves and data_folder.name in VARIANT_FOLDERS.values():
        raise ValueError(
            f"{data_folder}: is the folder of another variant, not of "
            f"{variant!r}; give the folder above it"
        )
    return data_folder if has_waves else data_folder / own


def _check_arguments(variant, fs, mode, storage, splits):
    """Raise ValueError for values out of range."""
    check_variant(variant)
    for name, value, known in (
        ("fs", fs, _RATES),
        ("mode", mode, MODES),
        ("storage", storage, _STORAGES),
        *(("splits", split, tuple(SPLIT_FOLDERS)) for split in splits),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {known}, got {value!r}")


def _identity(place):
    """What an argument is recorded as: a full path, or a checksum."""
    if isinstance(place, str | Path):
        return os.path.abspath(place)
    return getattr(place, "fingerprint", place and str(place))


class _Tree:
    """Audio files of a set at one rate, in one mode."""

    def __init__(self, root, variant, fs, mode, splits):
        self.variant, self.fs = variant, fs
        self.folders = {
            name: root / f"wav{fs // 1000}k" / mode / SPLIT_FOLDERS[name]
            for name in splits
        }

    def is_there(self):
        """Whether every split has mixtures, be it all or not."""
        return all(has_mixtures(folder) for folder in self.folders.values())

    def is_to_be_used(self, wsj0_folder):
        """Whether what is there is to be used as it is."""
        there = [f for f in self.folders.values() if has_mixtures(f)]
        foreign = [folder for folder in there if not is_generated(folder)]
        if wsj0_folder is None and not there:
            raise FileNotFoundError(
                f"{next(iter(self.folders.values()))}: no mixtures, and no "
                "WSJ0 to make them. Give the folder of WSJ0 (LDC93S6A, by "
                "licence of the LDC) as --wsj_root, or a tree of the original "
                "generator as --data_folder; or draw mixtures from another "
                "corpus, --speech_folder"
            )
        if foreign and wsj0_folder is not None:
            logger.info("%s: files are there and will be used", foreign[0])
        return wsj0_folder is None or bool(foreign)

    def read(self, check_counts):
        """Entries of a tree that is there already, checked."""
        return {
            name: read_tree(
                folder,
                3 if self.variant == "clean3" else 2,
                self.fs,
                noise=self.variant == "noise",
                count=COUNTS[SPLIT_FOLDERS[name]] if check_counts else None,
            )
            for name, folder in self.folders.items()
        }

    def generate(self, entries, renderer, num_workers):
        """Entries with their files, which are written where missing."""
        return {
            name: generate_mixtures(
                folder, entries[name], renderer, num_workers=num_workers
            )
            for name, folder in self.folders.items()
        }


def _write_sets(folder, numbers, speech, options, num_workers):
    """Write the manifests that are not there."""
    made_with = {}
    for split in SPLITS:
        path = folder / f"{split}.json"
        if numbers.get(split):
            made_with[split] = options | {"num_mixtures": numbers[split]}
        else:
            # Whatever is there is of another preparation.
            path.unlink(missing_ok=True)
    paths = {split: folder / f"{split}.json" for split in made_with}
    new = {
        split: these
        for split, these in made_with.items()
        if not is_prepared(paths[split], these)
    }
    for split, these in new.items():
        entries = _draw_set(split, speech[_PARTS[split]], these, num_workers)
        write_manifest(paths[split], entries)
        write_options(paths[split], these)
    # The line is written last.
    if new or None in map(read_notes, paths.values()):
        sets = {
            split: facts(read_manifest(path).values(), "mixtures")
            for split, path in paths.items()
        }
        line = describe(f"{folder}, drawn of {options['data_folder']}", sets)
        for split, these in made_with.items():
            write_options(paths[split], these, notes=line)
        logger.info("%s", line)
    else:
        repeat(paths)
    return paths


def _plan_noise(noise_folder, snr_range, seed):
    """What the plan says about noise."""
    return {
        "folder": os.path.abspath(noise_folder),
        "files": split_noise(noise_folder, seed),
        "snr_range": list(snr_range),
    }


def _plan_rooms(rooms_folder, fs, scenes, seed):
    """What the plan says about rooms."""
    rirs = load_rooms(rooms_folder, fs)
    common = set.intersection(
        *(set(room.laterals) for room in rirs.rooms.values())
    )
    if not common:
        raise ValueError(
            f"{rooms_folder}: its rooms have no azimuth in common; give a "
            "folder of rooms that have"
        )
    return {
        "listeners": split_listeners(list(rirs.rooms), seed),
        "rooms": rirs.t60s,
        "rooms_folder": os.path.abspath(rooms_folder),
        "scenes": {"laterals": sorted(common), "polars": [0.0], **scenes},
    }


def _plan_head_rooms(folder, plan, fs, hrtfs, rooms, seed, num_workers):
    """Simulate rooms; what the plan says about them."""
    listeners = plan["listeners"]
    heads = load_hrtfs(
        head_sources(hrtfs),
        fs,
        subjects=sorted({name for part in listeners.values() for name in part}),
        sizes=plan["head_sizes"],
    )
    place = folder / "head_rooms"
    found = simulate_head_rooms(
        place, heads, listeners, seed=seed, num_workers=num_workers, **rooms
    )
    t60s = {name: t60 for part in found.values() for name, t60 in part.items()}
    return {
        "listeners": {
            split: [*names, *found.get(split, {})]
            for split, names in listeners.items()
        },
        "rooms": t60s,
        "head_rooms": os.path.abspath(place),
        "scenes": {**plan["scenes"], "frontal": list(t60s)},
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
        hrtfs = load_hrtfs(
            head_sources(options["hrtfs"]),
            options["fs"],
            subjects=options["listeners"][split],
            sizes=options["head_sizes"],
        )
        noise = DiffuseNoise(facts["folder"], hrtfs)
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
