"""A small AMI meeting corpus of synthetic speech."""

from pathlib import Path

from spatial_brain.datasets.real_arrays.corpus import ChannelFiles
from spatial_brain.datasets.real_arrays.synthetic.recorded_speech import (
    plan_meeting,
    write_speech,
)
from spatial_brain.datasets.synthetic_data import claim
from spatial_brain.geometry import MicrophoneArray


def write_synthetic_ami(
    folder,
    meetings=("ES2002a", "IS1000a", "TS3003a", "EN2001a"),
    duration=12.0,
    seed=0,
):
    """Write a small AMI corpus: same folders, names and formats.

    Arguments
    ---------
    folder : str or Path
        Gets ``ScenarioMeetings`` and ``NonScenarioMeetings``.
    meetings : sequence of str
        Names.
    duration : float
        Of a meeting, seconds.
    seed : int
        The same seed writes the same files.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> write_synthetic_ami(folder, ["IN1001"], 6.0)
    >>> [path] = folder.rglob("*.Array1-08.wav")
    >>> path.relative_to(folder).as_posix()
    'NonScenarioMeetings/IN1001/audio/IN1001.Array1-08.wav'
    """
    folder = Path(folder)
    claim(folder, {"AMI": [list(meetings), duration, seed]})
    array = MicrophoneArray.named("ami")
    for number, meeting in enumerate(meetings):
        scenario = meeting[:2] in ("ES", "IS", "TS")
        part = "ScenarioMeetings" if scenario else "NonScenarioMeetings"
        place = folder / part / meeting / "audio" / f"{meeting}.Array1-0"
        write_speech(
            ChannelFiles(str(place), ".wav", 1, 8),
            array,
            plan_meeting(duration, 4, seed + number),
            duration,
            seed + number,
        )
