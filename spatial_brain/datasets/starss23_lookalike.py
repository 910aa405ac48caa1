"""A small STARSS23 of synthetic events, for runs that need no data."""

from spatial_brain.datasets.seld_lookalike import (
    clip_numbers,
    scene_clip,
    write_lookalike,
)

# Classes in the order of their labels, and the embedded kind of sound that
# stands for each.
KINDS = {
    "Female speech, woman speaking": "speech_female",
    "Male speech, man speaking": "speech_male",
    "Clapping": "clapping",
    "Telephone": "telephone",
    "Laughter": "laughter",
    "Domestic sounds": "domestic",
    "Walk, footsteps": "footsteps",
    "Door, open or close": "door",
    "Music": "music",
    "Musical instrument": "instrument",
    "Water tap, faucet": "water",
    "Bell": "bell",
    "Knock": "knock",
}
SAMPLE_RATE = 24000
# Fold and rooms of each split, with the site that recorded there.
ROOMS = {
    "train": (3, ((4, "tau"), (21, "sony"), (6, "tau"), (12, "tau"))),
    "valid": (3, ((9, "tau"), (22, "sony"))),
    "test": (4, ((2, "tau"), (23, "sony"))),
}


def write_starss23_lookalike(
    data_folder,
    *,
    clips=None,
    duration=60.0,
    formats=("foa",),
    seed=0,
    num_workers=1,
    bank=None,
    scene=None,
):
    """Write a small STARSS23 of synthetic events in simulated rooms.

    Folders, names, formats and annotations (with distances) are those of the
    real one. Interrupted, it goes on where it stopped; with other arguments
    it is made again. Real data are never touched.

    Arguments
    ---------
    data_folder : str or Path
        Gets the folders.
    clips : dict
        Number of clips of ``"train"`` (rooms 4, 6, 12 and 21), ``"valid"``
        (rooms 9 and 22), ``"test"`` (rooms 2 and 23) and ``"eval"`` (the
        evaluation, without annotations); default 20, 4, 6 and 0.
    duration : float
        Seconds a clip.
    formats : sequence of str
        ``"foa"``, ``"mic"`` or both.
    seed : int
        The same seed writes the same files.
    num_workers : int
        Processes.
    bank : EventBank, optional
        Sounds; default: the embedded kind for each of the 13 classes.
    scene : dict, optional
        Options of all scenes, see
        ``spatial_brain.datasets.scene_writer.write_scenes``.

    Returns
    -------
    Path
        The data folder.

    Raises
    ------
    ValueError
        If real data lie there, or splits are unknown.

    Example
    -------
    >>> write_starss23_lookalike("data", clips={"fold3": 3})
    Traceback (most recent call last):
    ValueError: clips must give numbers of train, valid, test, eval, ...
    """
    numbers = clip_numbers(
        clips, {"train": 20, "valid": 4, "test": 6, "eval": 0}
    )
    listed = []
    for split, number in numbers.items():
        for index in range(number):
            part, folder, name, room = _place(split, index)
            listed.append(
                scene_clip(
                    data_folder,
                    name,
                    {form: f"{form}_{part}/{folder}" for form in formats},
                    None
                    if part == "eval"
                    else f"metadata_{part}/{folder}/{name}.csv",
                    duration=duration,
                    dialect="starss23",
                    scene={"room_seed": room},
                )
            )
    return write_lookalike(
        data_folder,
        listed,
        options={"name": "STARSS23", "clips": numbers, "duration": duration},
        kinds=KINDS,
        bank=bank,
        fs=SAMPLE_RATE,
        formats=formats,
        seed=seed,
        num_workers=num_workers,
        scene={"max_overlap": 3, **(scene or {})},
    )


def _place(split, index):
    """Part, sub-folder, name and room of a clip."""
    if split == "eval":
        # As in the real one, names do not tell the rooms.
        return "eval", "", f"mix{index + 1:03d}", 71 + index % 3
    fold, rooms = ROOMS[split]
    room, site = rooms[index % len(rooms)]
    kind = "test" if split == "test" else "train"
    name = f"fold{fold}_room{room}_mix{index // len(rooms) + 1:03d}"
    return "dev", f"dev-{kind}-{site}", name, room
