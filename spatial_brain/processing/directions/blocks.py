"""Maps over directions of the blocks of a recording, in bounded memory."""

import math

import torch
from torch import nn

from spatial_brain.geometry import SPEED_OF_SOUND
from spatial_brain.processing.directions.grid import DirectionGrid
from spatial_brain.processing.directions.peaks import (
    DirectionPeaks,
    find_peaks,
)
from spatial_brain.processing.spatial import bin_frequencies

# Numbers that a chunk of blocks may need at once, of any kind.
_CHUNK = 2**25


class BlockMaps(nn.Module):
    """Base of the estimators of directions over time of an array.

    A recording is cut into blocks, each some frames of a short-time Fourier
    transform; a subclass makes a map over the directions of a grid from the
    spectra of each. Behind the end there is silence, which does not vote.

    Arguments
    ---------
    microphones : torch.Tensor
        Positions, metres, [microphone, 3].
    fs : float
        Sampling rate, hertz.
    grid : DirectionGrid, optional
        Candidates; default: what the array can tell apart.
    block : float
        Length of a block, seconds.
    hop : float
        From block to block, seconds.
    window : float
        Length of a frame, seconds; becomes the nearest power of two in
        samples. Frames follow each other by a quarter.
    band : tuple of float
        Lowest and highest frequency used, hertz; cut at half the sampling
        rate.
    c : float
        Speed of sound, m/s.

    Raises
    ------
    ValueError
        If there are less than two microphones, a length is not positive, or
        no bin lies in the band.
    """

    # Frames of a unit, see ``units``, and from one to the next.
    unit_frames = unit_step = 1

    def __init__(
        self,
        microphones,
        fs,
        grid=None,
        *,
        block=0.5,
        hop=0.1,
        window=0.064,
        band=(300.0, 4000.0),
        c=SPEED_OF_SOUND,
    ):
        super().__init__()
        microphones = torch.as_tensor(microphones, dtype=torch.float32)
        for name, value in (
            ("fs", fs), ("block", block), ("hop", hop), ("window", window)
        ):  # fmt: skip
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
        if len(microphones) < 2:
            raise ValueError(
                "directions need two microphones at least, got "
                f"{len(microphones)}"
            )
        self.fs, self.c = fs, c
        self.n_fft = 2 ** max(4, round(math.log2(window * fs)))
        self.hop_length = self.n_fft // 4
        self.block_frames = max(1, round(block * fs / self.hop_length))
        self.step_frames = max(1, round(hop * fs / self.hop_length))
        self.grid = grid or DirectionGrid.for_array(microphones)
        frequency = bin_frequencies(self.n_fft, fs)
        low, high = band
        used = (frequency >= low) & (frequency <= high) & (frequency > 0)
        if not used.any():
            raise ValueError(
                f"no frequency bin of {fs / self.n_fft:g} Hz lies in the band "
                f"from {low:g} to {high:g} Hz at a sampling rate of {fs:g} Hz"
            )
        self.bins = slice(int(used.nonzero()[0]), int(used.nonzero()[-1]) + 1)
        self.register_buffer("microphones", microphones, persistent=False)
        self.register_buffer("frequency", frequency[used], persistent=False)
        self.register_buffer(
            "taper", torch.hann_window(self.n_fft), persistent=False
        )

    @property
    def block_length(self):
        """Of a block, samples."""
        return (self.block_frames - 1) * self.hop_length + self.n_fft

    def forward(self, waveform):
        """Maps of all blocks.

        Arguments
        ---------
        waveform : torch.Tensor
            [batch, time, microphone].

        Returns
        -------
        torch.Tensor
            [batch, block, direction], at most 1. Long recordings need much
            memory for it; ``peaks`` does not.
        """
        return torch.cat(
            [self.maps(part) for _, part in self._stream(waveform)], dim=1
        )

    def stream(self, read, num_samples, batch=1):
        """Evidence of a recording that is read piece by piece.

        Memory does not grow with the recording, and nothing depends on where
        the pieces end.

        Arguments
        ---------
        read : callable
            Takes the first sample of a piece and the one after its last;
            gives [batch, time, microphone]. Pieces overlap by a block.
        num_samples : int
            Length of the recording.
        batch : int
            What ``read`` gives at once.

        Yields
        ------
        tuple of torch.Tensor
            Centres of some blocks, seconds, [block]; and what
            :meth:`evidence` gives of them.

        Raises
        ------
        ValueError
            If there are no samples, or not those of this array.

        Example
        -------
        >>> from spatial_brain.geometry import circular_array
        >>> from spatial_brain.processing.directions.srp_phat import SRPPhat
        >>> sound = torch.randn(1, 16000, 4)
        >>> srp = SRPPhat(circular_array(4, 0.05), 16000)
        >>> read = lambda start, stop: sound[:, start:stop]
        >>> [maps.shape for _, maps in srp.stream(read, 16000)]
        [torch.Size([1, 6, 360])]
        """
        if not num_samples:
            raise ValueError("the recording holds no samples")
        step = self.step_frames * self.hop_length
        length = self.block_length
        total = 1 + max(0, math.ceil((num_samples - length) / step))
        size = max(1, _CHUNK // (batch * self._numbers_a_block()))
        for blocks in torch.arange(total).split(size):
            start = int(blocks[0]) * step
            stop = int(blocks[-1]) * step + length
            piece = read(start, min(stop, num_samples))
            self.check_waveform(piece)
            piece = nn.functional.pad(
                piece, (0, 0, 0, stop - start - piece.shape[1])
            )
            yield self._times(blocks), self.evidence(self.spectra(piece))

    def peaks(self, waveform, num_peaks=1, min_separation=15.0):
        """Directions of the blocks, in memory that does not grow with time.

        Arguments
        ---------
        waveform : torch.Tensor
            [batch, time, microphone].
        num_peaks : int
            Peaks wanted of a block.
        min_separation : float
            Smallest angle between two of them, degrees.

        Returns
        -------
        DirectionPeaks
        """
        times, found = [], []
        for centres, evidence in self._stream(waveform):
            times.append(centres)
            found.append(self.pick(evidence, num_peaks, min_separation))
        vectors, confidence = (
            torch.cat(part, dim=1) for part in zip(*found, strict=True)
        )
        angles = self.grid.angles(vectors)
        return DirectionPeaks(torch.cat(times), *angles, confidence)

    def _stream(self, waveform):
        """See ``stream``: of a waveform in memory."""
        self.check_waveform(waveform)
        return self.stream(
            lambda start, stop: waveform[:, start:stop],
            waveform.shape[1],
            len(waveform),
        )

    def _times(self, blocks):
        """Centres of blocks by their numbers, seconds."""
        start = blocks.double() * (self.step_frames * self.hop_length)
        return (start + self.block_length / 2) / self.fs

    def check_waveform(self, waveform):
        """Refuse what is no recording of this array.

        Arguments
        ---------
        waveform : torch.Tensor
            To be [batch, time, microphone].

        Raises
        ------
        ValueError
            If it is not.
        """
        number = len(self.microphones)
        if waveform.ndim != 3 or waveform.shape[2] != number:
            raise ValueError(
                f"expected a waveform [batch, time, {number} microphones], "
                f"got shape {list(waveform.shape)}"
            )

    def spectra(self, waveform):
        """Spectra of the frames, in the band.

        Arguments
        ---------
        waveform : torch.Tensor
            [batch, time, microphone], a frame long at least.

        Returns
        -------
        torch.Tensor
            Complex, [batch, bin, microphone, frame].
        """
        frames = waveform.float().transpose(1, 2)
        frames = frames.unfold(-1, self.n_fft, self.hop_length) * self.taper
        spectra = torch.fft.rfft(frames)[..., self.bins]
        return spectra.permute(0, 3, 1, 2)

    def _covariances(self, spectra):
        """Mean outer products of the frames of each block.

        [batch, bin, mic, frame] -> [batch, bin, block, mic, mic].
        """
        step, total = self.step_frames, spectra.shape[-1]
        number = (total - self.block_frames) // step + 1
        # Blocks overlap: the products of a step are made once.
        whole, rest = divmod(self.block_frames, step)
        covariances = 0.0
        if whole:
            steps = _products(spectra, step, step)
            for first in range(whole):
                covariances += steps[:, :, first : first + number]
        if rest:
            ends = _products(spectra[..., whole * step :], rest, step)
            covariances += ends[:, :, :number]
        return covariances / self.block_frames

    def _numbers_a_block(self):
        """Upper end of the numbers held at once for a block of a chunk."""
        number, bins = len(self.microphones), len(self.frequency)
        return max(
            2 * number * self.n_fft * self.step_frames,
            2 * bins * number * max(number, self.block_frames),
            4 * len(self.grid),
        )

    def evidence(self, spectra):
        """What a block's spectra say about directions.

        Arguments
        ---------
        spectra : torch.Tensor
            Complex, [batch, bin, microphone, frame].

        Returns
        -------
        torch.Tensor
            [batch, block, ...]; here maps, [batch, block, direction].
        """
        raise NotImplementedError

    def units(self, spectra):
        """What a stream keeps of the frames, made once for several blocks.

        Arguments
        ---------
        spectra : torch.Tensor
            Complex, [batch, bin, microphone, frame].

        Returns
        -------
        torch.Tensor
            [batch, unit, ...]; here a unit is a frame.
        """
        return spectra.movedim(-1, 1)

    def combine(self, units):
        """Evidence of a block from its units.

        Arguments
        ---------
        units : torch.Tensor
            From :meth:`units`.

        Returns
        -------
        torch.Tensor
            As :meth:`evidence` gives it.
        """
        return self.evidence(units.movedim(1, -1))

    def maps(self, evidence):
        """Maps of blocks from their evidence.

        Arguments
        ---------
        evidence : torch.Tensor
            From :meth:`evidence`.

        Returns
        -------
        torch.Tensor
            [batch, block, direction], at most 1.
        """
        return evidence

    def pick(self, evidence, num_peaks=1, min_separation=15.0):
        """Directions of blocks from their evidence.

        Arguments
        ---------
        evidence : torch.Tensor
            From :meth:`evidence`.
        num_peaks : int
            Directions wanted of a block.
        min_separation : float
            Smallest angle between two of them, degrees.

        Returns
        -------
        tuple of torch.Tensor
            Unit vectors, [batch, block, num_peaks, 3], and confidence, [batch,
            block, num_peaks], as ``find_peaks`` gives them.
        """
        return find_peaks(
            evidence, self.grid, num_peaks, min_separation, self._curve
        )

    @staticmethod
    def _curve(values):
        """What of the values is a paraboloid around a peak."""
        return values


def _products(spectra, frames, step):
    """Sums of outer products over some frames of each step."""
    parts = spectra.unfold(-1, frames, step).transpose(2, 3)
    return parts @ parts.mH
