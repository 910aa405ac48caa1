"""A small AISHELL-4 of synthetic speech."""

from pathlib import Path

from spatial_brain.datasets.real_arrays.recordings.aishell4 import AISHELL4
from spatial_brain.datasets.real_arrays.synthetic.recorded_speech import (
    plan_meeting,
    write_speech,
    write_textgrid,
)
from spatial_brain.datasets.synthetic_data import claim
from spatial_brain.geometry import MicrophoneArray


def write_synthetic_aishell4(
    folder,
    rooms=("L_R001", "M_R002", "S_R003", "M_R003"),
    duration=24.0,
    seed=0,
):
    """Write a small AISHELL-4: same folders, names and formats.

    Arguments
    ---------
    folder : str or Path
        Gets the folders of the rooms: ``train_L``, ``test`` and so on.
    rooms : sequence of str
        A meeting is written for each.
    duration : float
        Of a meeting, seconds.
    seed : int
        The same seed writes the same files.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> write_synthetic_aishell4(folder, ["S_R001"], 6.0)
    >>> sorted(path.name for path in folder.rglob("2020*"))
    ['20200701_S_R001S01C01.TextGrid', '20200701_S_R001S01C01.flac']
    """
    folder = Path(folder)
    claim(folder, {"AISHELL4": [list(rooms), duration, seed]})
    array = MicrophoneArray.named("aishell4")
    for number, room in enumerate(rooms):
        [part] = [
            part
            for part, splits in AISHELL4.PARTS.items()
            if any(room in names for names in splits.values())
        ]
        # Meetings for the test have no date.
        date = "" if part == "test" else "20200701_"
        meeting = f"{date}{room}S01C01"
        sentences = plan_meeting(duration, 5, seed + number)
        place = folder / part
        write_textgrid(
            place / "TextGrid" / f"{meeting}.TextGrid", sentences, duration
        )
        write_speech(
            [place / "wav" / f"{meeting}.flac"],
            array,
            sentences,
            duration,
            seed + number,
        )
