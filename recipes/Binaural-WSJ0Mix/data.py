"""Mixtures of this recipe: prepared once, and opened."""

from pathlib import Path

from spatial_brain.augment.binaural import BinauralAugmentation
from spatial_brain.dataio.manifest import read_manifest, replace_entries
from spatial_brain.datasets.binaural_wsj0mix.dataset import (
    binaural_sets,
    on_disk,
    store_mixtures,
)
from spatial_brain.datasets.binaural_wsj0mix.files import is_generated
from spatial_brain.datasets.binaural_wsj0mix.prepare import (
    VARIANTS,
    load_responses,
    prepare_binaural_wsj0mix,
    prepare_drawn_mixtures,
    set_folder,
)
from spatial_brain.datasets.binaural_wsj0mix.rendering import (
    BinauralMixture,
    mixture_entry,
    read_mixtures,
)
from spatial_brain.datasets.binaural_wsj0mix.sampling import (
    SPLITS,
    head_sources,
)
from spatial_brain.datasets.own_folder.separation import prepare_separation

OPTIONS = (
    "Options: --wsj_root (WSJ0) or --speech_folder (other speech); "
    "--metadata_folder or --download True (published lists); --hrtf; "
    "--noise_folder (DEMAND); --rooms_folder (room responses)"
)


def prepare(hparams):
    """Write manifests and, if wanted, mixtures; resumable."""
    variant = published_variant(hparams)
    if hparams["skip_prep"]:
        return
    if hparams["own_recordings"] is not None:
        prepare_own(hparams)
        return
    if is_drawn(hparams):
        prepare_drawn(hparams, variant)
        return
    try:
        prepare_published(hparams, variant)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}. {OPTIONS}") from error


def prepare_own(hparams):
    """Find the user's mixtures and their sources."""
    if hparams["dynamic_mixing"]:
        raise ValueError(
            "--dynamic_mixing draws from speech and heads; --own_recordings "
            "are mixtures: give --dynamic_mixing False as well"
        )
    paths = prepare_separation(
        hparams["own_recordings"],
        hparams["manifest_folder"],
        fs=hparams["sample_rate"],
        num_sources=hparams["num_spks"],
    )
    for path in paths.values():
        entries = read_manifest(path, data_root=hparams["own_recordings"])
        found = {name: own_entry(name, e) for name, e in entries.items()}
        replace_entries(path, found)


def own_entry(name, entry):
    """Entry of a mixture of which only the signals are known."""
    sources = tuple(entry["sources_wav"])
    count = len(sources)
    mixture = BinauralMixture(
        name,
        sources,
        tuple(f"source {number + 1}" for number in range(count)),
        (1.0,) * count,
        (0.0,) * count,
    )
    duration = entry["num_samples"] / entry["fs"]
    return {**entry, **mixture_entry(mixture, duration)}


def prepare_published(hparams, variant):
    """Make or find the mixtures of the published lists."""
    prepare_binaural_wsj0mix(
        hparams["data_folder"],
        hparams["manifest_folder"],
        variant=variant,
        fs=hparams["sample_rate"],
        mode=hparams["mode"],
        storage=hparams["storage"],
        wsj0_folder=hparams["wsj_root"],
        metadata_folder=hparams["metadata_folder"],
        download=hparams["download"],
        hrtfs=hparams["hrtf"],
        rooms=hparams["rooms_folder"],
        noise_folder=hparams["noise_folder"],
        compat=hparams["compat"],
        check_counts=hparams["check_counts"],
        num_workers=hparams["preparation_workers"],
    )


def published_variant(hparams):
    """Name of the variant among the published lists."""
    variant, count = hparams["variant"], hparams["num_spks"]
    if variant not in VARIANTS:
        raise ValueError(
            f"variant must be one of {', '.join(VARIANTS)}, got {variant!r}"
        )
    return f"clean{count}" if variant == "clean" else variant


def is_drawn(hparams):
    """Whether mixtures are drawn, not those of the published lists."""
    if hparams["wsj_root"] is not None or hparams["own_recordings"] is not None:
        return False
    return hparams["speech_folder"] is not None or bool(hparams["voices"])


def prepare_drawn(hparams, variant):
    """Draw the mixtures of all sets, and write them if wanted."""
    options = {
        "fs": hparams["sample_rate"],
        "mode": hparams["mode"],
        "hrtfs": hparams["hrtf"],
    }
    prepare_drawn_mixtures(
        hparams["speech_folder"],
        hparams["manifest_folder"],
        variant=hparams["variant"],
        noise_folder=hparams["noise_folder"],
        rooms_folder=hparams["rooms_folder"],
        num_speakers=hparams["num_spks"],
        num_mixtures=hparams["num_mixtures"],
        scenes=hparams["scenes"],
        voices=hparams["voices"] or None,
        head_sizes=hparams["head_sizes"],
        head_rooms=hparams["head_rooms"],
        seed=hparams["seed"],
        num_workers=hparams["preparation_workers"],
        **options,
    )
    if hparams["storage"] == "disk":
        store_mixtures(
            set_folder(hparams["data_folder"], variant),
            hparams["manifest_folder"],
            compat=hparams["compat"],
            num_workers=hparams["preparation_workers"],
            **options,
        )


def dataio_prepare(hparams):
    """Data sets; the training mixtures are augmented, and maybe drawn."""
    datasets = binaural_sets(
        hparams["manifest_folder"],
        fs=hparams["sample_rate"],
        mode=hparams["mode"],
        compat=hparams["compat"],
        augment=augmentation(hparams),
        dynamic_mixing=hparams["dynamic_mixing"],
        speech_folder=hparams["base_folder_dm"],
        scenes={**hparams["scenes"], **hparams["train_scenes"]},
        speech_in_memory=hparams["speech_in_memory"],
        seed=hparams["seed"],
        **responses_and_noise(hparams),
    )
    hparams["mixture_notes"] = found = notes(hparams)
    number = len(datasets["test"])
    own = hparams["own_recordings"] is not None
    who = "of the user" if own else "of speakers that are in no training"
    hparams["test_notes"] = f"mixtures {who}"
    hparams["data_notes"] = f"{number} test mixtures of {found}"
    return datasets


def responses_and_noise(hparams):
    """Responses and noise of mixtures that are made at every use."""
    if is_drawn(hparams):
        return {"hrtfs": hparams["hrtf"]}
    folder = hparams["manifest_folder"]
    entries = {split: read_mixtures(folder, split) for split in SPLITS}
    if on_disk(entries) and not hparams["dynamic_mixing"]:
        return {}
    if (
        are_found(hparams)
        and hparams["hrtf"] is None
        and hparams["variant"] != "reverb"
    ):
        raise ValueError(
            f"{hparams['data_folder']}: dynamic mixing needs the heads that "
            "its mixtures were made with; give them as --hrtf, or "
            "--dynamic_mixing False"
        )
    hrtfs = load_responses(
        entries,
        hparams["sample_rate"],
        hrtfs=hparams["hrtf"],
        rooms=hparams["rooms_folder"],
        compat=hparams["compat"],
    )
    noise = None
    if hparams["variant"] == "noise":
        root = set_folder(hparams["data_folder"], "noise")
        noise = hparams["noise_folder"] or root / "noisedata"
    return {"hrtfs": hrtfs, "noise": noise}


def are_found(hparams):
    """Whether the mixtures were on disk already: made with who knows what."""
    if is_drawn(hparams):
        return False
    entries = read_mixtures(hparams["manifest_folder"], "test")
    if not on_disk({"test": entries}):
        return False
    split_folder = Path(next(iter(entries.values()))["mix_wav"]).parents[1]
    return hparams["wsj_root"] is None or not is_generated(split_folder)


def augmentation(hparams):
    """What training mixtures go through."""
    limited = hparams["limit_training_signal_len"]
    dropped = hparams["use_wavedrop"]
    return BinauralAugmentation(
        hparams["speeds"] if hparams["use_speedperturb"] else None,
        max_shift=hparams["max_shift"] if hparams["use_rand_shift"] else 0,
        max_length=hparams["training_signal_len"] if limited else None,
        drop_chunk=hparams["drop_chunk"] if dropped else None,
        drop_freq=hparams["drop_freq"] if dropped else 0,
    )


def head_notes(hparams):
    """Whose ears mixtures are at, in a few words."""
    hrtf, words = hparams["hrtf"], []
    parts = hrtf.items() if isinstance(hrtf, dict) else [("", hrtf)]
    for split, source in parts:
        names = [
            Path(place or "spherical heads").name
            for place in head_sources(source)
        ]
        words.append(f"{split} {', '.join(names)}".strip())
    if hparams["head_rooms"]:
        low, high = hparams["head_rooms"]["t60"]
        words.append(f"free field and rooms of T60 {low:g} to {high:g} s")
    return "; ".join(words)


def notes(hparams):
    """What the mixtures are, in a few words."""
    if hparams["own_recordings"] is not None:
        return (
            f"{hparams['num_spks']} sources in "
            f"{hparams['own_recordings']}, {hparams['sample_rate']} Hz"
        )
    speech = "Binaural-WSJ0Mix"
    if is_drawn(hparams):
        corpus = hparams["speech_folder"]
        speech = "synthetic voices"
        if corpus is not None:
            # A table is called by its folder.
            place = Path(corpus)
            speech = (place.parent if place.is_file() else place).name
    heads = head_notes(hparams)
    if hparams["variant"] == "reverb":
        heads = Path(hparams["rooms_folder"] or "simulated rooms").name
    if are_found(hparams):
        place = Path(hparams["data_folder"]).name
        heads = f"heads or rooms of the mixtures found in {place}"
    return (
        f"{hparams['num_spks']} talkers, {hparams['variant']} ({speech}; "
        f"{heads}; {hparams['sample_rate']} Hz, {hparams['mode']})"
    )
