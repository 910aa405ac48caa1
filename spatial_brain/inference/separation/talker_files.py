"""Separated talkers: stereo files, and the level and cues of each."""

import math
from pathlib import Path

import torch

from spatial_brain.dataio.audio import read_audio
from spatial_brain.inference.recordings import SILENCE_DBFS
from spatial_brain.inference.sound_files import BLOCK, SoundFiles
from spatial_brain.processing.spatial import gcc_phat

# Heads are less than this wide, seconds of sound travel.
MAX_ITD = 1e-3
# Seconds of ITD that a listener would call the middle, about 7 degrees.
MIDDLE_ITD = 60e-6
N_FFT = 1024


def talker_names(stem, num_talkers):
    """Names of the files of the talkers of a recording.

    Arguments
    ---------
    stem : str
        Name of the recording without suffix.
    num_talkers : int
        Number of files.

    Returns
    -------
    tuple of str

    Example
    -------
    >>> talker_names("mix", 2)
    ('mix_s1.wav', 'mix_s2.wav')
    """
    return tuple(f"{stem}_s{number + 1}.wav" for number in range(num_talkers))


class TalkerFiles(SoundFiles):
    """Writes one stereo file a talker, all of them or none.

    The common gain of 16 bits leaves the differences between ears and between
    talkers as they are.

    Arguments
    ---------
    folder : str or Path
        Made if it is missing.
    stem : str
        Files are named ``<stem>_s1.wav`` and so on.
    num_talkers : int
        Number of files.
    fs, num_samples, subtype, rate
        Those of :class:`spatial_brain.inference.sound_files.SoundFiles`.

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

    def __init__(
        self, folder, stem, num_talkers, fs, num_samples, subtype, rate=None
    ):
        names = talker_names(stem, num_talkers)
        paths = [Path(folder) / name for name in names]
        super().__init__(paths, fs, 2, num_samples, subtype, rate)

    def write(self, block):
        """Append samples.

        Arguments
        ---------
        block : torch.Tensor
            [time, 2, source].
        """
        super().write(block.unbind(-1))


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
    model_sample_rate : int, optional
        Of the model, hertz, if it is another: above half of it the talkers
        hold nothing.

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
        model_sample_rate=None,
    ):
        self.path = str(path)
        self.model_sample_rate = model_sample_rate or sample_rate
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
            ``path, duration, sample_rate, model_sample_rate, subtype, gain,
            talkers``; a talker has ``file, level, ild, itd, side``.
        """
        files = self.files or [None] * len(self.talkers)
        return {
            "path": self.path,
            "duration": self.duration,
            "sample_rate": self.sample_rate,
            "model_sample_rate": self.model_sample_rate,
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
