"""Sound files that are written block by block, all of them or none."""

import errno
import os
import shutil
from pathlib import Path

import soundfile

from spatial_brain.dataio.audio import stream_blocks

SUBTYPES = ("FLOAT", "PCM_16")
# Ends the name of a float file of another rate.
_RESAMPLED = "RATE"
BLOCK = 1 << 16
# A plain wav header counts bytes with 32 bits.
LARGEST_WAV = 2**32 - 4096


class SoundFiles:
    """Writes wav files of one length side by side, all of them or none.

    Samples go to files of temporary names, as float; ``commit`` gives them
    their names. Leaving the context without it removes them.

    Arguments
    ---------
    paths : sequence of str or Path
        Files in one folder, which is made if it is missing.
    fs : int
        Sampling rate, hertz.
    num_channels : int
        Of each file.
    num_samples : int
        Length to expect.
    subtype : str
        ``"FLOAT"``: samples as they are. ``"PCM_16"``: 16 bits; if any sample
        of any file would clip, all are scaled by one common gain.
    rate : tuple of int, optional
        Sampling rate (hertz) and length of the files; default: those above.

    Raises
    ------
    ValueError
        If the subtype is not known or a file is no wav.
    OSError
        If the folder cannot be written to or has too little space.

    Example
    -------
    >>> import torch
    >>> paths = [getfixture("tmp_path") / name for name in ("a.wav", "b.wav")]
    >>> with SoundFiles(paths, 8000, 1, 100, "PCM_16") as files:
    ...     files.write([torch.full((100, 1), 2.0), torch.ones(100, 1)])
    ...     paths = files.commit()
    >>> [path.name for path in paths], files.gain
    (['a.wav', 'b.wav'], 0.5)
    """

    def __init__(
        self, paths, fs, num_channels, num_samples, subtype, rate=None
    ):
        if subtype not in SUBTYPES:
            raise ValueError(
                f"subtype {subtype!r} is not known; use "
                + " or ".join(SUBTYPES)
            )
        self.paths = [Path(path) for path in paths]
        for path in self.paths:
            if path.suffix.lower() != ".wav":
                raise ValueError(
                    f"{path}: wav files are written; name it "
                    f"{path.with_suffix('.wav').name}"
                )
        self.folder = self.paths[0].parent
        self.fs, self.num_channels = fs, num_channels
        self.num_samples, self.subtype = num_samples, subtype
        self.rate, self.length = rate or (fs, num_samples)
        self.peak = 0.0
        self.gain = 1.0
        self._open = {}

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        # Converting needs half a file beside the float ones.
        size = 4 * self.num_channels * max(self.num_samples, self.length)
        needed = size * (len(self.paths) + 1)
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
                temporary = self._temporary(path)
                self._open[path] = self._create(temporary, "FLOAT", self.fs)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for file in self._open.values():
            file.close()
        for path in self.paths:
            for kind in (*SUBTYPES, _RESAMPLED):
                self._temporary(path, kind).unlink(missing_ok=True)

    def write(self, blocks):
        """Append samples.

        Arguments
        ---------
        blocks : sequence of torch.Tensor
            [time, channel], one a file.
        """
        for block, file in zip(blocks, self._open.values(), strict=True):
            if len(block):
                self.peak = max(self.peak, block.abs().max().item())
            _write(file, block)

    def commit(self):
        """Give the files their names.

        Returns
        -------
        list of Path
            As they were given.
        """
        for file in self._open.values():
            file.close()
        if self.rate != self.fs:
            self.peak = max(map(self._resample, self.paths))
        if self.subtype == "PCM_16":
            self.gain = 1 / max(1.0, self.peak)
            for path in self.paths:
                self._convert(path)
        for path in self.paths:
            os.replace(self._temporary(path, self.subtype), path)
        return self.paths

    def _temporary(self, path, subtype="FLOAT"):
        return path.with_name(f".{path.name}.{os.getpid()}.{subtype}.tmp")

    def _create(self, path, subtype, fs):
        """Open a sound file for writing."""
        longest = max(self.num_samples, self.length)
        large = 4 * self.num_channels * longest > LARGEST_WAV
        form = "RF64" if large else "WAV"
        try:
            return soundfile.SoundFile(
                path, "w", fs, self.num_channels, subtype, format=form
            )
        except soundfile.LibsndfileError as error:
            raise OSError(
                errno.EACCES,
                f"cannot be written ({error.error_string}); name another "
                "folder with --output",
                str(self.folder),
            ) from error

    def _resample(self, path):
        """Give a float file the rate and length of the files; its peak."""
        source, peak = self._temporary(path), 0.0
        temporary = self._temporary(path, _RESAMPLED)
        blocks = stream_blocks(source, BLOCK, fs=self.rate, resample=True)
        with self._create(temporary, "FLOAT", self.rate) as file:
            for start, block in blocks:
                # Rounding up twice may give a sample more.
                block = block[: self.length - start]
                if len(block):
                    peak = max(peak, block.abs().max().item())
                    _write(file, block)
        os.replace(temporary, source)
        return peak

    def _convert(self, path):
        """Scale a float file to one of 16 bits, block by block."""
        source = self._temporary(path)
        temporary = self._temporary(path, "PCM_16")
        with self._create(temporary, "PCM_16", self.rate) as file:
            for _, block in stream_blocks(source, BLOCK):
                _write(file, self.gain * block)
        source.unlink()


def _write(file, samples):
    """Append [time, channel]; a full disk raises OSError."""
    try:
        file.write(samples.contiguous().numpy())
    except soundfile.LibsndfileError as error:
        raise OSError(
            errno.EIO, f"writing failed ({error.error_string})", file.name
        ) from error
