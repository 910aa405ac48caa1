"""Separated talkers: stereo files, and the level and cues of each."""

import errno
import math
import os
import shutil
from pathlib import Path

import soundfile
import torch

from spatial_brain.dataio.audio import read_audio, stream_blocks
from spatial_brain.inference.recordings import SILENCE_DBFS
from spatial_brain.processing.spatial import gcc_phat

SUBTYPES = ("FLOAT", "PCM_16")
BLOCK = 1 << 16
# A plain wav header counts bytes with 32 bits.
LARGEST_WAV = 2**32 - 4096
# Heads are less than this wide, seconds of sound travel.
MAX_ITD = 1e-3
# Seconds of ITD that a listener would call the middle, about 7 degrees.
MIDDLE_ITD = 60e-6
N_FFT = 1024


class TalkerFiles:
    """Writes one stereo file a talker, all of them or none.

    Samples go to files of temporary names, as float; ``commit`` gives them
    their names. Leaving the context without it removes them.

    Arguments
    ---------
    folder : str or Path
        Made if it is missing.
    stem : str
        Files are named ``<stem>_s1.wav`` and so on.
    num_talkers : int
        Number of files.
    fs : int
        Sampling rate, hertz.
    num_samples : int
        Length to expect.
    subtype : str
        ``"FLOAT"``: samples as they are. ``"PCM_16"``: 16 bits; if any sample
        of any talker would clip, all are scaled by one common gain, which
        leaves the differences between ears and between talkers as they are.

    Raises
    ------
    ValueError
        If the subtype is not known.
    OSError
        If the folder cannot be written to or has too little space.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> talkers = torch.tensor([2.0, 0.5]).expand(100, 2, 2)
    >>> with TalkerFiles(folder, "mix", 2, 8000, 100, "PCM_16") as files:
    ...     files.write(talkers)
    ...     paths = files.commit()
    >>> [path.name for path in paths], files.gain
    (['mix_s1.wav', 'mix_s2.wav'], 0.5)
    >>> read_audio(paths[1])[0].max()
    tensor(0.2500)
    """

    def __init__(self, folder, stem, num_talkers, fs, num_samples, subtype):
        if subtype not in SUBTYPES:
            raise ValueError(
                f"subtype {subtype!r} is not known; use "
                + " or ".join(SUBTYPES)
            )
        self.folder = Path(folder)
        self.paths = [
            self.folder / f"{stem}_s{number + 1}.wav"
            for number in range(num_talkers)
        ]
        self.fs, self.num_samples, self.subtype = fs, num_samples, subtype
        self.peak = 0.0
        self.gain = 1.0
        self._open = {}

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        # Converting needs half a file beside the float ones.
        needed = 8 * self.num_samples * (len(self.paths) + 1)
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise OSError(
                errno.ENOSPC,
                f"{needed / 1e6:.0f} MB are needed but {free / 1e6:.0f} MB are "
                "free; name another folder with --output",
                str(self.folder),
            )
        try:
            for path in self.paths:
                self._open[path] = self._create(self._temporary(path), "FLOAT")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for file in self._open.values():
            file.close()
        for path in self.paths:
            for kind in SUBTYPES:
                self._temporary(path, kind).unlink(missing_ok=True)

    def write(self, block):
        """Append samples.

        Arguments
        ---------
        block : torch.Tensor
            [time, 2, source].
        """
        if len(block):
            self.peak = max(self.peak, block.abs().max().item())
        for talker, file in zip(
            block.unbind(-1), self._open.values(), strict=True
        ):
            _write(file, talker)

    def commit(self):
        """Give the files their names.

        Returns
        -------
        list of Path
            One a talker.
        """
        for file in self._open.values():
            file.close()
        if self.subtype == "PCM_16":
            self.gain = 1 / max(1.0, self.peak)
            for path in self.paths:
                self._convert(path)
        for path in self.paths:
            os.replace(self._temporary(path, self.subtype), path)
        return self.paths

    def _temporary(self, path, subtype="FLOAT"):
        return path.with_name(f".{path.name}.{os.getpid()}.{subtype}.tmp")

    def _create(self, path, subtype):
        """Open a sound file for writing."""
        large = 8 * self.num_samples > LARGEST_WAV
        form = "RF64" if large else "WAV"
        try:
            return soundfile.SoundFile(
                path, "w", self.fs, 2, subtype, format=form
            )
        except soundfile.LibsndfileError as error:
            raise OSError(
                errno.EACCES,
                f"cannot be written ({error.error_string}); name another "
                "folder with --output",
                str(self.folder),
            ) from error

    def _convert(self, path):
        """Scale a float file to one of 16 bits, block by block."""
        source = self._temporary(path)
        with self._create(self._temporary(path, "PCM_16"), "PCM_16") as file:
            for _, block in stream_blocks(source, BLOCK):
                _write(file, self.gain * block)
        source.unlink()


def _write(file, samples):
    """Append [time, 2]; a full disk raises OSError."""
    try:
        file.write(samples.contiguous().numpy())
    except soundfile.LibsndfileError as error:
        raise OSError(
            errno.EIO, f"writing failed ({error.error_string})", file.name
        ) from error


class Separation:
    """The talkers of a recording.

    Arguments
    ---------
    path : str or Path
        The recording.
    sample_rate : int
        Of the talkers, hertz.
    num_samples : int
        Their length.
    talkers : list of dict
        ``level`` (dBFS), ``ild`` (dB, left over right), ``itd``
        (microseconds by which sound is later at the left ear) and ``side``
        of each.
    sources : torch.Tensor, optional
        [time, 2, source]; None if they are in files only.
    written : TalkerFiles, optional
        What was written.

    Example
    -------
    >>> found = Separation("mix.wav", 8000, 4, [{}, {}], torch.zeros(4, 2, 2))
    >>> [path.name for path in found.save(getfixture("tmp_path"))]
    ['mix_s1.wav', 'mix_s2.wav']
    >>> found.duration, found.gain
    (0.0005, 1.0)
    """

    def __init__(
        self,
        path,
        sample_rate,
        num_samples,
        talkers,
        sources=None,
        written=None,
    ):
        self.path = str(path)
        self.sample_rate = sample_rate
        self.num_samples = num_samples
        self.talkers = talkers
        self._sources = sources
        self._note(written)

    @property
    def duration(self):
        """Length in seconds."""
        return self.num_samples / self.sample_rate

    @property
    def sources(self):
        """The talkers, float32 [time, 2, source], at the recording's level.

        Read from the files, whole, if they are only there.
        """
        if self._sources is not None:
            return self._sources
        return torch.cat(list(self._blocks(self.num_samples)))

    def save(self, folder, subtype="FLOAT"):
        """Write one stereo file a talker: ``<stem>_s1.wav`` and so on.

        The files appear complete or not at all; the recording is never
        touched. Afterwards ``files`` names them, and ``gain`` is the common
        factor applied to all: other than 1 only where 16 bits would clip.

        Arguments
        ---------
        folder : str or Path
            Made if it is missing.
        subtype : str
            ``"FLOAT"`` or ``"PCM_16"``.

        Returns
        -------
        list of Path
            One a talker.

        Raises
        ------
        ValueError
            If the subtype is not known.
        OSError
            If the folder cannot be written to or has too little space.
        """
        with TalkerFiles(
            folder,
            Path(self.path).stem,
            len(self.talkers),
            self.sample_rate,
            self.num_samples,
            subtype,
        ) as files:
            for block in self._blocks(BLOCK):
                files.write(block)
            files.commit()
        self._note(files)
        return self.files

    def to_dict(self):
        """Everything but the samples as plain values for JSON.

        Returns
        -------
        dict
            ``path, duration, sample_rate, subtype, gain, talkers``; a talker
            has ``file, level, ild, itd, side``.
        """
        files = self.files or [None] * len(self.talkers)
        return {
            "path": self.path,
            "duration": self.duration,
            "sample_rate": self.sample_rate,
            "subtype": self.subtype,
            "gain": self.gain,
            "talkers": [
                {"file": None if file is None else str(file), **talker}
                for file, talker in zip(files, self.talkers, strict=True)
            ],
        }

    def _note(self, written):
        """Keep where the talkers are and how they were scaled."""
        self.files = written.paths if written else None
        self.subtype = written.subtype if written else None
        self.gain = written.gain if written else 1.0

    def _blocks(self, length):
        """The talkers block by block."""
        if self._sources is not None:
            yield from self._sources.split(length)
            return
        for start in range(0, self.num_samples, length):
            size = min(length, self.num_samples - start)
            read = [read_audio(path, start, size)[0] for path in self.files]
            yield torch.stack(read, -1) / self.gain


class CueMeter:
    """Measures each talker of a separation, with bounded memory.

    Arguments
    ---------
    fs : int
        Sampling rate, hertz.

    Example
    -------
    >>> noise = 0.1 * torch.randn(16004, 1)
    >>> left_first = torch.stack((noise[4:], 0.5 * noise[:-4]), dim=1)
    >>> meter = CueMeter(16000)
    >>> meter.add(left_first)
    >>> [talker] = meter.summary()
    >>> round(talker["level"]), round(talker["ild"]), round(talker["itd"])
    (-22, 6, -250)
    >>> talker["side"]
    'left'
    """

    def __init__(self, fs):
        self.fs = fs
        self._chunk = max(fs, 2 * N_FFT)
        self._kept = None
        self._power = 0.0
        self._count = 0
        self._correlation = 0.0
        self._delays = None

    def add(self, block):
        """Add the next samples.

        Arguments
        ---------
        block : torch.Tensor
            [time, 2, source].
        """
        if self._kept is not None:
            block = torch.cat((self._kept, block))
        whole = len(block) // self._chunk * self._chunk
        for start in range(0, whole, self._chunk):
            self._measure(block[start : start + self._chunk])
        self._kept = block[whole:].clone()

    def summary(self):
        """What was measured so far, ending the measurement.

        Returns
        -------
        list of dict
            One a talker: ``level``, mean over both ears, dBFS (a full sine
            has -3); ``ild``, level of the left over the right ear, dB;
            ``itd``, time by which sound is later at the left than at the
            right ear, microseconds, from the phase transform of all samples,
            weighted by energy; ``side``, where that is: left, right or
            middle. The latter three are None for silent talkers.
        """
        if len(self._kept):
            missing = N_FFT - len(self._kept)
            padding = (0, 0, 0, 0, 0, max(0, missing))
            samples = len(self._kept)
            self._measure(torch.nn.functional.pad(self._kept, padding), samples)
            self._kept = self._kept[:0]
        power = self._power / self._count
        peaks = self._correlation.argmax(-1)
        return [
            self._talker(ears, self._delays[peak].item())
            for ears, peak in zip(power.T.tolist(), peaks, strict=True)
        ]

    def _measure(self, block, num_samples=None):
        """Add one chunk, of which the samples behind are padding."""
        power = block.double().square().sum(0)
        self._power = self._power + power
        self._count += len(block) if num_samples is None else num_samples
        correlation, self._delays = gcc_phat(
            block.permute(2, 0, 1),
            fs=self.fs,
            max_delay=MAX_ITD,
            interpolation=16,
            n_fft=N_FFT,
        )
        weight = power.sum(0)[:, None]
        self._correlation = self._correlation + weight * correlation[:, 0]

    def _talker(self, ears, itd):
        """Summary of one talker from the power in both ears."""
        left, right = (10 * math.log10(power + 1e-20) for power in ears)
        level = 10 * math.log10(sum(ears) / 2 + 1e-20)
        if level < SILENCE_DBFS:
            return {"level": level, "ild": None, "itd": None, "side": None}
        side = "middle"
        if abs(itd) > MIDDLE_ITD:
            side = "right" if itd > 0 else "left"
        ild = left - right
        return {"level": level, "ild": ild, "itd": 1e6 * itd, "side": side}
