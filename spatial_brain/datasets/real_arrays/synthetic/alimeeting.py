"""A small AliMeeting of synthetic speech."""

from pathlib import Path

from spatial_brain.datasets.real_arrays.synthetic.recorded_speech import (
    plan_meeting,
    write_speech,
    write_textgrid,
)
from spatial_brain.datasets.synthetic_data import claim
from spatial_brain.geometry import MicrophoneArray


def write_synthetic_alimeeting(
    folder,
    rooms=("Train/R0003", "Eval/R8008", "Test/R8008", "Test/R8002"),
    duration=24.0,
    seed=0,
):
    """Write a small AliMeeting: same folders, names and formats.

    Arguments
    ---------
    folder : str or Path
        Gets ``Train_Ali``, ``Eval_Ali`` and ``Test_Ali``.
    rooms : sequence of str
        Part and room; a meeting is written for each.
    duration : float
        Of a meeting, seconds.
    seed : int
        The same seed writes the same files.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> write_synthetic_alimeeting(folder, ["Eval/R8001"], 6.0)
    >>> sorted(path.name for path in folder.rglob("R*.*"))
    ['R8001_M0001.TextGrid', 'R8001_M0001_MS001.wav']
    """
    folder = Path(folder)
    claim(folder, {"AliMeeting": [list(rooms), duration, seed]})
    array = MicrophoneArray.named("alimeeting")
    for number, name in enumerate(rooms, 1):
        part, room = name.split("/")
        place = folder / f"{part}_Ali" / f"{part}_Ali_far"
        meeting = f"{room}_M{number:04d}"
        sentences = plan_meeting(duration, 4, seed + number)
        write_textgrid(
            place / "textgrid_dir" / f"{meeting}.TextGrid", sentences, duration
        )
        write_speech(
            [place / "audio_dir" / f"{meeting}_MS{number:03d}.wav"],
            array,
            sentences,
            duration,
            seed + number,
        )
