"""Sound scenes as a user may have them: names of their own, Audacity labels."""

import csv
import io
from functools import partial
from pathlib import Path

from spatial_brain.dataio.files import write_text
from spatial_brain.datasets.own_folder.audacity import write_labels
from spatial_brain.datasets.own_folder.recordings import TABLE
from spatial_brain.datasets.seld.synthetic import write_synthetic_seld

# Has spaces and a letter beyond ASCII, as names of users do.
_NAME = "take {} (früh)"


def write_synthetic_scenes(
    data_folder,
    *,
    rooms,
    duration,
    class_names,
    array_format="foa",
    fs=24000,
    scene=None,
    seed=0,
    num_workers=1,
):
    """Write recordings of simulated rooms, their labels and a table.

    Interrupted, it goes on where it stopped.

    Arguments
    ---------
    data_folder : str or Path
        Gets a folder a room with pairs of ``.flac`` and ``.txt``, and
        ``recordings.csv`` with path and room; real data are never touched.
    rooms : dict
        Name of a room to its number of recordings.
    duration : float
        Seconds a recording.
    class_names : sequence of str
        Kinds of ``spatial_brain.simulation.synthesis.events``.
    array_format : str
        ``"foa"`` or ``"mic"``.
    fs : int
        Hz.
    scene : dict, optional
        Options of ``spatial_brain.simulation.sound_scenes.plan.draw_scene``.
    seed : int
        The same seed writes the same files.
    num_workers : int
        Processes.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "hall").mkdir()
    >>> write_synthetic_scenes(
    ...     folder, rooms={"hall": 1}, duration=2.0, class_names=["bell"]
    ... )
    Traceback (most recent call last):
    ValueError: ...: holds data that are not synthetic (hall); ...
    """

    def place(room, index):
        name = _NAME.format(index + 1)
        options = {"room_seed": list(rooms).index(room)}
        return room, name, f"{room}/{name}.txt", options

    write_synthetic_seld(
        data_folder,
        rooms,
        place,
        made_with={"rooms": rooms, "duration": duration},
        kinds=class_names,
        fs=fs,
        dialect="polar5",
        duration=duration,
        formats=(array_format,),
        audio="flac",
        others=(TABLE,),
        seed=seed,
        num_workers=num_workers,
        scene=scene,
        write_annotation=partial(write_labels, class_names=class_names),
    )
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("path", "room"))
    table.writerows(
        (f"{room}/{_NAME.format(index + 1)}.flac", room)
        for room, number in rooms.items()
        for index in range(number)
    )
    write_text(Path(data_folder, TABLE), text.getvalue())
