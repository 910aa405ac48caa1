"""A small LibriSpeech of synthetic speech, for runs that need no data."""

from pathlib import Path

import numpy as np
import torch

from spatial_brain.dataio.audio import write_audio
from spatial_brain.dataio.files import write_text
from spatial_brain.dataio.parallel import progress
from spatial_brain.datasets.synthetic_data import claim
from spatial_brain.simulation.synthesis.speech import (
    SyntheticTalker,
    synthetic_speech,
)


def write_synthetic_librispeech(
    folder,
    num_speakers,
    utterances_per_speaker,
    seed=0,
    *,
    duration=(3.0, 6.0),
    fs=16000,
):
    """Write a small LibriSpeech of synthetic speech: same folders and names.

    Interrupted, it goes on where it stopped; with other arguments it is made
    again. Real data are never touched.

    Arguments
    ---------
    folder : str or Path
        Gets the folder ``LibriSpeech``.
    num_speakers : int or dict
        Speakers of ``dev-clean``, or name of split to its number of speakers;
        no speaker is in two splits.
    utterances_per_speaker : int
        Files per speaker.
    seed : int
        The same seed writes the same files.
    duration : tuple of float
        Shortest and longest utterance, seconds.
    fs : int
        Sampling rate, Hz.

    Returns
    -------
    Path
        The folder ``LibriSpeech``.

    Raises
    ------
    ValueError
        If real data lie there, or numbers are not positive.

    Example
    -------
    >>> root = write_synthetic_librispeech(getfixture("tmp_path"), 1, 1)
    >>> sorted(path.name for path in root.rglob("*.*"))
    ['1-1-0000.flac', '1-1.trans.txt', 'SPEAKERS.TXT', 'SYNTHETIC.json']
    """
    if isinstance(num_speakers, int):
        num_speakers = {"dev-clean": num_speakers}
    if utterances_per_speaker < 1 or min(num_speakers.values()) < 1:
        raise ValueError(
            "num_speakers and utterances_per_speaker must be at least 1, got "
            f"{num_speakers} and {utterances_per_speaker}"
        )
    root = Path(folder, "LibriSpeech")
    options = {
        "num_speakers": dict(num_speakers),
        "utterances_per_speaker": utterances_per_speaker,
        "seed": seed,
        "duration": list(duration),
        "fs": fs,
    }
    # Real archives are unpacked into the same folder.
    claim(root, options, lambda made: made["num_speakers"])
    names = [name for name, count in num_speakers.items() for _ in range(count)]
    lines = [";ID |SEX| SUBSET | MINUTES | NAME"]
    for speaker, split in enumerate(
        progress(names, description="writing synthetic speech", unit="speaker"),
        1,
    ):
        talker = SyntheticTalker(seed * 1_000_003 + speaker)
        chapter = root / split / str(speaker) / "1"
        transcripts = []
        for number in range(utterances_per_speaker):
            name = f"{speaker}-1-{number:04d}"
            transcripts.append(f"{name} SYNTHETIC SPEECH\n")
            path = chapter / f"{name}.flac"
            if not path.is_file():
                rng = np.random.default_rng([seed, speaker, number])
                length = int(rng.uniform(*duration) * fs)
                generator = torch.Generator().manual_seed(
                    int(rng.integers(2**62))
                )
                speech = synthetic_speech(length, fs, talker, generator)
                write_audio(path, speech, fs, clip=True)
        trans = chapter / f"{speaker}-1.trans.txt"
        write_text(trans, "".join(transcripts))
        sex = "M" if talker.voice == "male" else "F"
        lines.append(
            f"{speaker} | {sex} | {split} | 0 | Synthetic {talker.voice}"
        )
    write_text(root / "SPEAKERS.TXT", "\n".join(lines) + "\n")
    return root
