"""Sound files that are written block by block, all of them or none."""

import errno
import os
import shutil
from pathlib import Path

import soundfile

from spatial_brain.dataio.audio import stream_blocks

SUBTYPES = ("FLOAT", "PCM_16")
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

    def __init__(self, paths, fs, num_channels, num_samples, subtype):
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
        self.peak = 0.0
        self.gain = 1.0
        self._open = {}

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        # Converting needs half a file beside the float ones.
        size = 4 * self.num_channels * self.num_samples
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
        large = 4 * self.num_channels * self.num_samples > LARGEST_WAV
        form = "RF64" if large else "WAV"
        try:
            return soundfile.SoundFile(
                path, "w", self.fs, self.num_channels, subtype, format=form
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
    """Append [time, channel]; a full disk raises OSError."""
    try:
        file.write(samples.contiguous().numpy())
    except soundfile.LibsndfileError as error:
        raise OSError(
            errno.EIO, f"writing failed ({error.error_string})", file.name
        ) from error
