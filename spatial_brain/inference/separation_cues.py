"""Level and interaural differences of talkers, measured as they come."""

import math

import torch

from spatial_brain.processing.spatial import gcc_phat

SILENCE_DBFS = -80.0
# Heads are less than this wide, seconds of sound travel.
MAX_ITD = 1e-3
N_FFT = 1024
# Seconds of ITD that a listener would call the middle, about 7 degrees.
MIDDLE_ITD = 60e-6


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
    >>> meter.see(left_first)
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

    def see(self, block):
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
            ``itd``, time by which the left ear hears later than the right,
            microseconds, from the phase transform of all that was heard,
            by energy; ``side``, where that is: left, right or middle. The
            latter three are None for silent talkers.
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
