"""A small LibriCSS of synthetic speech."""

from pathlib import Path

from spatial_brain.datasets.real_arrays.synthetic.recorded_speech import (
    write_speech,
)
from spatial_brain.datasets.synthetic_data import claim
from spatial_brain.geometry import MicrophoneArray

_CONDITIONS = (
    "overlap_ratio_0.0_sil0.1_0.5_session0_actual0.0",
    "overlap_ratio_0.0_sil2.9_3.0_session0_actual0.0",
    "overlap_ratio_10.0_sil0.1_1.0_session0_actual10.1",
)


def write_synthetic_libricss(folder, utterances=2, duration=5.0, seed=0):
    """Write a small LibriCSS: same folders, names and formats.

    Arguments
    ---------
    folder : str or Path
        Gets ``exp/data/7ch/utterances``, two conditions without overlap and
        one with it.
    utterances : int
        Of each condition.
    duration : float
        Of an utterance, seconds.
    seed : int
        The same seed writes the same files.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> write_synthetic_libricss(folder, 1, 0.5)
    >>> len(list(folder.rglob("*.wav")))
    3
    """
    folder = Path(folder)
    claim(folder, {"LibriCSS": [utterances, duration, seed]})
    array = MicrophoneArray.named("libricss")
    for number, condition in enumerate(_CONDITIONS):
        place = folder / "exp" / "data" / "7ch" / "utterances" / condition
        for utterance in range(utterances):
            azimuth = (60 * number + 100 * utterance) % 360
            sentences = [(0.1 * duration, 0.9 * duration, azimuth)]
            if not condition.startswith("overlap_ratio_0.0_"):
                sentences.append((0.2 * duration, duration, azimuth + 90))
            write_speech(
                [place / f"utterance_{utterance}.wav"],
                array,
                sentences,
                duration,
                seed + 10 * number + utterance,
            )
