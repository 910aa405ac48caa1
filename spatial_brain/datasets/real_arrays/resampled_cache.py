"""Copies of recordings at another rate, made once.

``<folder>/<corpus>/<recording>_ch<k>.flac``, 24 bit, a file a channel, and
``<recording>.json``, which comes last: what has none is not finished.
"""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from spatial_brain.dataio.audio import resample_audio, write_audio
from spatial_brain.dataio.files import (
    check_free_space,
    read_json,
    write_json,
)
from spatial_brain.dataio.parallel import progress, run_jobs
from spatial_brain.datasets.real_arrays.corpus import (
    ChannelFiles,
    read_channels,
)

# Files of 24 bit end just below 1; louder signals are halved before.
_LOUDEST = 0.999


@dataclass(frozen=True)
class CachedRecording:
    """A copy of a recording.

    Arguments
    ---------
    record : Path
        Its JSON file.
    files : ChannelFiles
        One a channel.
    fs : int
        Hz.
    num_samples : int
        Of each channel.
    gain : float
        What samples in the files are multiplied with.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a_ch0.wav"
    >>> write_audio(path, torch.full((4,), 0.5), 8000, subtype="FLOAT")
    >>> files = ChannelFiles(str(path)[:-5], ".wav", 0, 2)
    >>> CachedRecording(path, files, 8000, 4, 2.0).read(0, 2, [0])
    tensor([[1.],
            [1.]])
    """

    record: Path
    files: ChannelFiles
    fs: int
    num_samples: int
    gain: float

    def read(self, start, stop, channels):
        """Read a part.

        Arguments
        ---------
        start, stop : int
            Samples.
        channels : sequence of int
            Which, in which order.

        Returns
        -------
        torch.Tensor
            float32 [stop - start, channels].

        Raises
        ------
        ValueError
            If a file is damaged.
        """
        try:
            return self.gain * read_channels(self.files, start, stop, channels)
        except (OSError, ValueError) as problem:
            raise ValueError(
                f"{problem}; remove {self.record} and fill the cache again"
            ) from problem


def find_cached(folder, corpus, recording, fs):
    """Copy of a recording, if it is complete.

    Arguments
    ---------
    folder : str or Path
        Of the cache.
    corpus : RecordingCorpus
        That of the recording.
    recording : Recording
        The original.
    fs : int
        Rate of the copy, Hz.

    Returns
    -------
    CachedRecording or None
        None if there is none of this recording at this rate.

    Example
    -------
    >>> find_cached.__name__  # see fill_cache
    'find_cached'
    """
    place = Path(folder, corpus.name, recording.id)
    record = place.with_name(f"{place.name}.json")
    if not record.is_file():
        return None
    try:
        content = read_json(record)
    except ValueError:
        return None
    if content.get("source") != _identity(recording) or content["fs"] != fs:
        return None
    files = ChannelFiles(f"{place}_ch", ".flac", 0, content["num_channels"])
    return CachedRecording(
        record, files, fs, content["num_samples"], content["gain"]
    )


def fill_cache(
    corpus,
    folder,
    fs=16000,
    *,
    split=None,
    rank=0,
    num_ranks=1,
    num_workers=1,
):
    """Copy the recordings that have another rate; what is there is kept.

    Arguments
    ---------
    corpus : RecordingCorpus
        Where they are from.
    folder : str or Path
        Of the cache.
    fs : int
        Rate of the copies, Hz.
    split : str, optional
        Those of one split; default: all.
    rank : int
        Copies every ``num_ranks``-th recording from this one on.
    num_ranks : int
        Number of processes that share the work by calling this.
    num_workers : int
        Processes of this call.

    Returns
    -------
    int
        Number of copies made.

    Raises
    ------
    ValueError
        If a recording is damaged; its file is named.

    Example
    -------
    >>> from spatial_brain.datasets.real_arrays.registry import open_corpus
    >>> from spatial_brain.datasets.real_arrays.synthetic.libricss import (
    ...     write_synthetic_libricss,
    ... )
    >>> folder = getfixture("tmp_path")
    >>> write_synthetic_libricss(folder / "LibriCSS", 1, 0.5)
    >>> corpus = open_corpus("LibriCSS", folder)
    >>> fill_cache(corpus, folder / "cache", 8000)
    2
    >>> recording = corpus.recordings()[0]
    >>> copy = find_cached(folder / "cache", corpus, recording, 8000)
    >>> copy.num_samples, len(copy.files)
    (4000, 7)
    """
    if not 0 <= rank < num_ranks:
        raise ValueError(
            f"rank must be below num_ranks, got {rank} and {num_ranks}"
        )
    others = [one for one in corpus.recordings(split) if one.fs != fs]
    mine = others[rank::num_ranks]
    # 24 bits a sample, which FLAC makes less.
    size = 3 * fs
    needed = sum(
        one.duration * size * len(corpus.arrays[one.array])
        for one in mine
        if find_cached(folder, corpus, one, fs) is None
    )
    if needed:
        what = f"{corpus.name} at {fs} Hz, before compression,"
        check_free_space(folder, needed, what)
    jobs = progress(
        run_jobs(partial(_copy, corpus, folder, fs), mine, num_workers),
        total=len(mine),
        description=f"{corpus.name} at {fs} Hz",
    )
    return sum(made for _, made in jobs)


def _copy(corpus, folder, fs, recording):
    """Copy a recording unless it was; True if it was made."""
    if find_cached(folder, corpus, recording, fs) is not None:
        return False
    place = Path(folder, corpus.name, recording.id)
    num_channels = len(corpus.arrays[recording.array])
    files = ChannelFiles(f"{place}_ch", ".flac", 0, num_channels)
    # A file with all channels is decoded once.
    groups = [range(num_channels)]
    if len(recording.files) > 1:
        groups = [[channel] for channel in range(num_channels)]
    waveform = torch.cat(
        [
            resample_audio(
                corpus.read_segment(recording, 0, recording.num_samples, group),
                recording.fs,
                fs,
            )
            for group in groups
        ],
        dim=1,
    )
    peak = waveform.abs().max().item() / _LOUDEST
    gain = 2.0 ** max(0, math.ceil(math.log2(peak))) if peak else 1.0
    for path, signal in zip(files, waveform.T, strict=True):
        write_audio(path, signal / gain, fs, subtype="PCM_24")
    write_json(
        place.with_name(f"{place.name}.json"),
        {
            "source": _identity(recording),
            "fs": fs,
            "num_samples": len(waveform),
            "num_channels": num_channels,
            "gain": gain,
        },
    )
    return True


def _identity(recording):
    """What tells a recording from another of the same name, for JSON."""
    return {
        "fs": recording.fs,
        "num_samples": recording.num_samples,
        "bytes": recording.files[0].stat().st_size,
    }
