"""Speech, rooms and mixtures of this recipe, written once and read."""

from pathlib import Path

import torch

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
    prepare_rir_bank,
)
from spatial_brain.datasets.speech.librispeech import prepare_librispeech
from spatial_brain.datasets.speech.synthetic import write_synthetic_librispeech
from spatial_brain.metrics.localization import chance_directions


def prepare(hparams):
    """Write manifests of speech, rooms and test mixtures; all resumable."""
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
            write_mixture_manifest(
                folder / f"{split}_mixtures.json",
                speech[split],
                folder / f"{split}_rirs.json",
                seed=hparams["room_seeds"][split],
                num_mixtures=hparams["num_mixtures"][split],
                **hparams["mixtures"],
            )


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
    folder, root = Path(hparams["manifest_folder"]), hparams["data_folder"]
    datasets = {}
    for split, rooms in open_rooms(hparams).items():
        read = hparams["reader"](rooms)
        speech = read_manifest(folder / f"{split}.json", data_root=root)
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
