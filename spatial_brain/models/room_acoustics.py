"""Parameters of a room from speech, each with its uncertainty.

Convolutions over the mel bands and frames of every channel by itself find how
sound decays after it stops; attention weighs the moments at which that shows.
Blind estimation of T60 by convolutions on spectral frames follows H. Gamper and
I. Tashev, "Blind reverberation time estimation using a convolutional neural
network", IWAENC 2018; here each quantity gets three quantiles.
"""

import torch
from torch import nn
from torch.nn import functional as F

from spatial_brain.loadable import loadable
from spatial_brain.processing.stft import STFT, mel_filter_bank

# Quantity: whether its logarithm is predicted, and about where and how far
# apart its values lie on that scale.
SCALES = {
    "T60": (True, -0.7, 0.7),
    "DRR": (False, 1.0, 8.0),
    "C50": (False, 13.0, 9.0),
    "DIST": (True, 0.2, 0.8),
}
# Lowest level of a band under that of the whole signal, as a power.
_FLOOR = 1e-7


def check_quantities(quantities):
    """Refuse quantities without a scale.

    Arguments
    ---------
    quantities : sequence of str
        Keys of ``SCALES``.

    Raises
    ------
    ValueError
        If there is none, or one that is not known.

    Example
    -------
    >>> check_quantities(["T60", "RT"])
    Traceback (most recent call last):
    ValueError: quantities RT: known are T60, DRR, C50, DIST
    """
    unknown = [name for name in quantities if name not in SCALES]
    if unknown or not quantities:
        raise ValueError(
            f"quantities {', '.join(unknown) or 'none'}: known are "
            f"{', '.join(SCALES)}"
        )


def to_scale(values, quantities):
    """Values on the scale on which they are predicted.

    Arguments
    ---------
    values : torch.Tensor
        [..., quantity], in seconds, decibels, metres.
    quantities : sequence of str
        Their names.

    Returns
    -------
    torch.Tensor
        [..., quantity]; natural logarithm of T60 and DIST, the others as they
        are.

    Example
    -------
    >>> to_scale(torch.tensor([1.0, -3.0]), ["T60", "DRR"])
    tensor([ 0., -3.])
    """
    return torch.stack(
        [
            value.log() if SCALES[name][0] else value
            for name, value in zip(quantities, values.unbind(-1), strict=True)
        ],
        -1,
    )


def from_scale(values, quantities):
    """What ``to_scale`` undoes.

    Arguments
    ---------
    values : torch.Tensor
        [..., quantity].
    quantities : sequence of str
        Their names.

    Returns
    -------
    torch.Tensor
        [..., quantity], in seconds, decibels, metres.

    Example
    -------
    >>> from_scale(torch.tensor([0.0, -3.0]), ["T60", "DRR"])
    tensor([ 1., -3.])
    """
    return torch.stack(
        [
            value.exp() if SCALES[name][0] else value
            for name, value in zip(quantities, values.unbind(-1), strict=True)
        ],
        -1,
    )


class _Convolution(nn.Sequential):
    """Convolution over bands and frames, normalised."""

    def __init__(self, inputs, outputs, kernel, stride, bands_padded=True):
        padding = (kernel[0] // 2 * bands_padded, kernel[1] // 2)
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )


class _Dilated(nn.Module):
    """Residual convolution over frames that are apart."""

    def __init__(self, width, kernel, dilation):
        super().__init__()
        padding = kernel // 2 * dilation
        self.layers = nn.Sequential(
            nn.Conv1d(
                width, width, kernel, 1, padding, dilation, width, bias=False
            ),
            nn.Conv1d(width, width, 1, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
        )

    def forward(self, x):
        return x + self.layers(x)


@loadable
class RoomAcousticsNetwork(nn.Module):
    """Quantiles of T60, DRR, C50 and distance from speech of each channel.

    The level of the signal and a constant gain in each band change nothing.

    Arguments
    ---------
    quantities : sequence of str
        Keys of ``SCALES``.
    fs : int
        Sampling rate, Hz.
    n_fft : int
        Frame length, samples.
    hop_length : int
        Samples from frame to frame.
    num_bands : int
        Mel bands; a multiple of 8.
    widths : sequence of int
        Channels of the five convolutions.
    num_dilated : int
        Convolutions over frames that are 1, 2, 4, ... apart.
    hidden : int
        Units before the output.
    dropout : float
        Share of them that is left out in training.

    Raises
    ------
    ValueError
        If a quantity is not known or the number of bands does not fit.

    Example
    -------
    >>> net = RoomAcousticsNetwork(["T60", "DRR"])
    >>> net(torch.randn(2, 16000, 1)).shape
    torch.Size([2, 1, 2, 3])
    """

    def __init__(
        self,
        quantities=("T60", "DRR", "C50"),
        *,
        fs=16000,
        n_fft=384,
        hop_length=128,
        num_bands=32,
        widths=(16, 32, 48, 64, 128),
        num_dilated=3,
        hidden=128,
        dropout=0.1,
    ):
        super().__init__()
        check_quantities(quantities)
        if num_bands % 8 or num_bands < 16:
            raise ValueError(
                f"num_bands must be a multiple of 8 from 16 on, got {num_bands}"
            )
        self.quantities = tuple(quantities)
        self.transform = STFT(n_fft, hop_length)
        bank = mel_filter_bank(fs, n_fft, num_bands, f_min=60.0)
        self.register_buffer("bank", bank, persistent=False)
        scales = torch.tensor([SCALES[name][1:] for name in quantities])
        self.register_buffer("scales", scales, persistent=False)
        first, second, third, fourth, last = widths
        self.convolutions = nn.Sequential(
            _Convolution(1, first, (3, 7), (1, 2)),
            _Convolution(first, second, (3, 5), (2, 2)),
            _Convolution(second, third, (3, 5), (2, 2)),
            _Convolution(third, fourth, (3, 5), (2, 1)),
            _Convolution(fourth, last, (num_bands // 8, 5), 1, False),
        )
        self.frames = nn.Sequential(
            *(_Dilated(last, 5, 2**i) for i in range(num_dilated))
        )
        self.attention = nn.Conv1d(last, last, 1)
        self.head = nn.Sequential(
            nn.Linear(2 * last, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, 3 * len(quantities)),
        )

    def features(self, waveform):
        """Level of each band about its mean, in units of 10 dB.

        Arguments
        ---------
        waveform : torch.Tensor
            [batch, time, channel].

        Returns
        -------
        torch.Tensor
            [batch * channel, 1, band, frame].
        """
        real, imag = self.transform(waveform)
        power = (real.square() + imag.square()).flatten(0, -3) @ self.bank
        whole = power.mean((-2, -1), keepdim=True)
        level = torch.log10(power / (whole + 1e-20) + _FLOOR)
        return (level - level.mean(-2, keepdim=True)).mT[:, None]

    def forward(self, waveform):
        """Quantiles of each quantity.

        Arguments
        ---------
        waveform : torch.Tensor
            [batch, time, channel].

        Returns
        -------
        torch.Tensor
            [batch, channel, quantity, 3]: quantiles of 5, 50 and 95 %, in
            this order, on the scale of ``to_scale``.
        """
        batch, _, channels = waveform.shape
        x = self.convolutions(self.features(waveform)).flatten(1, 2)
        x = self.frames(x)
        weight = self.attention(x).softmax(-1)
        mean = (weight * x).sum(-1)
        spread = (weight * x.square()).sum(-1) - mean.square()
        pooled = torch.cat((mean, (spread.clamp_min(0) + 1e-4).sqrt()), -1)
        output = self.head(pooled).unflatten(-1, (-1, 3))
        below, middle, above = output.unbind(-1)
        ordered = torch.stack(
            (middle - F.softplus(below), middle, middle + F.softplus(above)), -1
        )
        center, unit = self.scales.unbind(-1)
        ordered = ordered * unit[:, None] + center[:, None]
        return ordered.unflatten(0, (batch, channels))

    def loss_scale(self, values):
        """Values or quantiles in units of the typical spread.

        Arguments
        ---------
        values : torch.Tensor
            [..., quantity], on the scale of ``to_scale``.

        Returns
        -------
        torch.Tensor
            [..., quantity].
        """
        return values / self.scales[:, 1]
