"""A small RealMAN of synthetic speech, released and as before."""

from pathlib import Path

from spatial_brain.dataio.audio import write_audio
from spatial_brain.dataio.files import write_table
from spatial_brain.datasets.real_arrays.corpus import ChannelFiles
from spatial_brain.datasets.real_arrays.recordings.realman import SCENES
from spatial_brain.datasets.real_arrays.synthetic.recorded_speech import (
    DISTANCE,
    record_speech,
    write_speech,
)
from spatial_brain.datasets.synthetic_data import claim
from spatial_brain.geometry import MicrophoneArray

_FS = 48000


def write_synthetic_realman(
    folder, scenes=("LivingRoom1", "Market"), utterances=1, duration=5.0, seed=0
):
    """Write a small RealMAN: same folders, names and formats.

    Speech of a loudspeaker that stands still, its direct path and the table
    of directions. Real tables name the columns of elevation and distance in
    a way that is not published; here they are ``elevation(°)`` and
    ``distance(m)``.

    Arguments
    ---------
    folder : str or Path
        Gets ``train``.
    scenes : sequence of str
        Names.
    utterances : int
        Of each scene.
    duration : float
        Of an utterance, seconds.
    seed : int
        The same seed writes the same files.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> write_synthetic_realman(folder, ["Gym"], 1, 0.5)
    >>> [path] = folder.rglob("*_CH31.flac")
    >>> path.relative_to(folder).as_posix()
    'train/ma_speech/Gym/static/0010/TRAIN_S_GYM_0010_0001_CH31.flac'
    """
    folder = Path(folder)
    claim(folder, {"RealMAN": [list(scenes), utterances, duration, seed]})
    array = MicrophoneArray.named("realman")
    rows = []
    for number, scene in enumerate(scenes):
        for utterance in range(1, utterances + 1):
            name = f"TRAIN_S_{scene[:4].upper()}_0010_{utterance:04d}"
            place = Path(scene, "static", "0010", name)
            azimuth = (75 * number + 110 * utterance) % 360
            speech = folder / "train" / "ma_speech" / place
            direct = folder / "train" / "dp_speech" / f"{place}.flac"
            files = ChannelFiles(f"{speech}_CH", ".flac", 0, len(array))
            scene_of = (
                [(0.1 * duration, 0.9 * duration, azimuth)],
                duration,
                seed + 10 * number + utterance,
            )
            write_speech(files, array, *scene_of, fs=_FS)
            if not direct.is_file():
                # All microphones: levels are those of the recording.
                path = record_speech(array, *scene_of, _FS, direct_only=True)
                write_audio(direct, path[:, 0], _FS, subtype="PCM_24")
            rows.append(
                {
                    "filename": f"train/ma_speech/{place.as_posix()}.flac",
                    "angle(°)": f"{float(azimuth)}",
                    "elevation(°)": "0.0",
                    "distance(m)": f"{DISTANCE}",
                }
            )
    write_table(folder / "train" / "train_static_source_location.csv", rows)


def write_synthetic_realman_prerelease(
    folder, scenes=("LivingRoom1", "Market"), utterances=1, duration=5.0, seed=0
):
    """Write a small RealMAN as it was before its release.

    Arguments
    ---------
    folder : str or Path
        Gets the folders of the scenes.
    scenes, utterances, duration, seed
        As for :func:`write_synthetic_realman`.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> write_synthetic_realman_prerelease(folder, ["Gym"], 1, 0.5)
    >>> [path] = folder.rglob("*.wav")
    >>> path.relative_to(folder).as_posix()
    'scene_0427_健身房/static/0010/high/record/0001.wav'
    """
    folder = Path(folder)
    claim(folder, {"RealMANOri": [list(scenes), utterances, duration, seed]})
    array = MicrophoneArray.named("realman_prerelease")
    for number, scene in enumerate(scenes):
        for utterance in range(1, utterances + 1):
            place = folder / SCENES[scene] / "static" / "0010"
            azimuth = (75 * number + 110 * utterance) % 360
            write_speech(
                [place / "high" / "record" / f"{utterance:04d}.wav"],
                array,
                [(0.1 * duration, 0.9 * duration, azimuth)],
                duration,
                seed + 10 * number + utterance,
                fs=_FS,
            )
