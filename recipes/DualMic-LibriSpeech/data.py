"""Speech, rooms and mixtures of this recipe, written once and read."""

import logging
from pathlib import Path

import torch
from own_recordings import open_recordings, prepare_recordings

from spatial_brain.dataio.dataset import SeededDataset
from spatial_brain.dataio.manifest import read_manifest
from spatial_brain.datasets.dual_mic.mixtures import (
    MixtureDrawer,
    MixtureParts,
    write_mixture_manifest,
)
from spatial_brain.datasets.dual_mic.rir_bank import (
    SimulatedRooms,
    StoredRooms,
    assert_disjoint,
    check_pair,
    prepare_rir_bank,
)
from spatial_brain.datasets.speech.librispeech import prepare_librispeech
from spatial_brain.datasets.speech.synthetic import write_synthetic_librispeech
from spatial_brain.datasets.summary import describe
from spatial_brain.metrics.localization import chance_directions

logger = logging.getLogger(__name__)


def check_parts(hparams):
    """Refuse rooms without speech, and speech without rooms."""
    numbers = {k: n for k, n in hparams["num_rooms"].items() if n is not None}
    hparams["num_rooms"], rooms = numbers, set(numbers) - {"calibration"}
    speech = {"train"} | {
        split
        for split in ("valid", "test")
        if hparams[f"{split}_splits"] is not None
        or hparams[f"{split}_speakers"] is not None
    }
    if missing := sorted(rooms - speech):
        [split, *_] = missing
        raise ValueError(
            f"--num_rooms has rooms for {split}, but there is no speech for "
            f"it: give --{split}_splits, or --{split}_speakers (a number or a "
            "share of the training speakers)"
            + (", or null in --num_rooms" if split == "valid" else "")
        )
    if missing := sorted(speech - rooms):
        raise ValueError(
            f"there is speech for {missing[0]}, but no rooms: give "
            f"{missing[0]} in --num_rooms, --room_seeds and --num_mixtures"
        )


def prepare(hparams):
    """Write manifests of speech, rooms and test mixtures; all resumable."""
    if hparams["own_recordings"] is not None:
        prepare_recordings(hparams)
        return
    check_parts(hparams)
    check_pair(
        hparams["mic_spacing"],
        hparams["microphone_positions"],
        hparams["rooms"]["array"],
        hparams["reader"].keywords["microphones"],
    )
    if hparams["synthetic_data"] is not None:
        write_synthetic_librispeech(
            hparams["data_folder"], **hparams["synthetic_data"]
        )
    folder = Path(hparams["manifest_folder"])
    speech = prepare_librispeech(
        hparams["data_folder"],
        folder,
        hparams["train_splits"],
        hparams["valid_splits"],
        hparams["test_splits"],
        valid_speakers=hparams["valid_speakers"],
        test_speakers=hparams["test_speakers"],
        download=hparams["download"],
        check_counts=hparams["check_counts"],
        skip_prep=hparams["skip_prep"],
    )
    for split, number in hparams["num_rooms"].items():
        if split != "train" or hparams["store_train_rirs"]:
            prepare_rir_bank(
                folder,
                number,
                hparams["room_seeds"][split],
                name=f"{split}_rirs",
                num_workers=hparams["preparation_workers"],
                **hparams["rooms"],
            )
    rooms = open_rooms(hparams)
    for split in rooms:
        if split != "train":
            if not hparams["allow_shared_rooms"]:
                assert_disjoint(rooms["train"], rooms[split])
            if split == "calibration":
                assert_disjoint(rooms["test"], rooms[split])
            write_mixture_manifest(
                folder / f"{split}_mixtures.json",
                speech[speech_of(split, speech)],
                folder / f"{split}_rirs.json",
                seed=hparams["room_seeds"][split],
                num_mixtures=hparams["num_mixtures"][split],
                **hparams["mixtures"],
            )
    report(hparams, rooms)


def speech_of(split, known):
    """Split whose speech a set takes; of the calibration never the test's."""
    if split != "calibration":
        return split
    return "valid" if "valid" in known else "train"


def report(hparams, rooms):
    """Log the rooms and mixtures of each set; the speech was logged."""
    sets, folder = {}, Path(hparams["manifest_folder"])
    if speech_of("calibration", rooms) == "train" and "calibration" in rooms:
        logger.warning(
            "without validation speakers confidences are calibrated with the "
            "speech of the training, in rooms of their own; hold speakers out "
            "(--valid_speakers) to calibrate with others"
        )
    for split, these in rooms.items():
        speech = folder / f"{speech_of(split, rooms)}.json"
        number = hparams["num_mixtures"][split] or len(read_manifest(speech))
        hours = number * hparams["mixtures"]["length"] / 3600
        hours /= hparams["sample_rate"]
        sets[split] = {"rooms": len(these.ids), "mixtures": number}
        sets[split]["hours"] = hours
    logger.info("%s", describe(f"{folder}, simulated rooms", sets))


def open_rooms(hparams):
    """Rooms of each split: stored, or those of the training simulated."""
    folder = Path(hparams["manifest_folder"])
    rooms = {}
    for split, number in hparams["num_rooms"].items():
        if split != "train" or hparams["store_train_rirs"]:
            rooms[split] = StoredRooms(folder / f"{split}_rirs.json")
        else:
            seed = hparams["room_seeds"][split]
            rooms[split] = SimulatedRooms(number, seed, **hparams["rooms"])
    return rooms


def dataio_prepare(hparams):
    """Data sets of what mixtures are made of.

    Training draws mixtures anew in each epoch; the other sets are fixed.
    """
    if hparams["own_recordings"] is not None:
        return open_recordings(hparams)
    folder, root = Path(hparams["manifest_folder"]), hparams["data_folder"]
    datasets, every = {}, open_rooms(hparams)
    for split, rooms in every.items():
        read = hparams["reader"](rooms)
        source = speech_of(split, every)
        speech = read_manifest(folder / f"{source}.json", data_root=root)
        if hparams["speech_in_memory"]:
            read.keep_in_memory(entry["wav"] for entry in speech.values())
        if split == "train":
            dataset = training_set(hparams, speech, rooms)
            # The best estimate without any signal.
            angles = [read.angles(rooms.describe(room)) for room in rooms.ids]
            chance = chance_directions(torch.stack(angles))
            hparams["chance"] = torch.as_tensor(chance).float()
        else:
            path = folder / f"{split}_mixtures.json"
            mixtures = read_manifest(path, data_root=root)
            data = {key: {"mixture": value} for key, value in mixtures.items()}
            dataset = SeededDataset(data, hparams["seed"])
        parts = list(MixtureParts._fields)
        dataset.add_dynamic_item(read, "mixture", parts)
        dataset.set_output_keys(["id", *parts])
        datasets[split] = dataset
    hparams["calibration_set"] = datasets.pop("calibration", None)
    hparams["test_set"] = datasets["test"]
    # Without a split of its own, training is watched on the test set.
    datasets.setdefault("valid", datasets["test"])
    return datasets


def training_set(hparams, speech, rooms):
    """Data set whose mixtures are drawn, every utterance equally often."""
    ids = list(speech)
    number = hparams["num_mixtures"]["train"] or len(ids)
    drawer = MixtureDrawer(speech, rooms.ids, **hparams["mixtures"])
    data = {f"mix{i:06d}": {"first": ids[i % len(ids)]} for i in range(number)}
    dataset = SeededDataset(data, hparams["seed"])
    dataset.add_dynamic_item(drawer.draw, ["rng", "first"], "mixture")
    return dataset
