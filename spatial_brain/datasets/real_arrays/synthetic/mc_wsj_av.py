"""A small MC-WSJ-AV of synthetic speech."""

from pathlib import Path

from spatial_brain.datasets.real_arrays.corpus import ChannelFiles
from spatial_brain.datasets.real_arrays.synthetic.recorded_speech import (
    write_speech,
)
from spatial_brain.datasets.synthetic_data import claim
from spatial_brain.geometry import MicrophoneArray


def write_synthetic_mc_wsj_av(
    folder, num_speakers=2, utterances=2, duration=5.0, seed=0
):
    """Write a small MC-WSJ-AV: same folders, names and formats.

    Arguments
    ---------
    folder : str or Path
        Gets ``MC_WSJ_AV_Dev`` and ``MC_WSJ_AV_Eval``.
    num_speakers : int
        Of each of the two.
    utterances : int
        Of each speaker.
    duration : float
        Of an utterance, seconds.
    seed : int
        The same seed writes the same files.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> write_synthetic_mc_wsj_av(folder, 1, 1, 0.5)
    >>> len(list(folder.rglob("AMI_WSJ6-Array1-*_T6c0201.wav")))
    8
    """
    folder = Path(folder)
    claim(folder, {"MC_WSJ_AV": [num_speakers, utterances, duration, seed]})
    array = MicrophoneArray.named("mc_wsj_av")
    numbers = range(2 * num_speakers)
    for number in numbers:
        part = "Dev" if number < num_speakers else "Eval"
        speaker = 6 + number
        place = folder / f"MC_WSJ_AV_{part}" / "audio" / "stat" / f"T{speaker}"
        for utterance in range(1, utterances + 1):
            for which in (1, 2):
                start = f"AMI_WSJ{speaker}-Array{which}-"
                files = ChannelFiles(
                    str(place / f"array{which}" / "5k" / start),
                    f"_T{speaker}c02{utterance:02d}.wav",
                    1,
                    8,
                )
                azimuth = (37 * number + 90 * utterance + 180 * which) % 360
                write_speech(
                    files,
                    array,
                    [(0.1 * duration, 0.9 * duration, azimuth)],
                    duration,
                    seed + 10 * number + utterance,
                )
