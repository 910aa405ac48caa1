"""Azimuths of sources with any number of microphones.

The network of X. Xiao, S. Zhao, X. Zhong, D. L. Jones, E. S. Chng and H. Li, "A
learning-based approach to direction of arrival estimation in noisy and
reverberant environments", ICASSP 2015, in few layers: correlations of all pairs
of microphones, and a perceptron that learns what reverberation makes of them.
Places of the microphones are not needed.
"""

from torch import nn

from spatial_brain.geometry import SPEED_OF_SOUND
from spatial_brain.loadable import loadable
from spatial_brain.processing.spatial import GCCPhat
from spatial_brain.processing.stft import check_transform


@loadable
class ArrayLocalizer(nn.Module):
    """Scores of azimuth classes for each source, from GCC-PHAT of all pairs.

    Arguments
    ---------
    num_microphones : int
        At least 2.
    max_distance : float
        Largest distance of two microphones, metres.
    num_classes : int
        Equal bins of azimuth.
    num_sources : int
        Distributions given.
    num_delays : int
        Delays of each pair that are looked at, up to the time that sound
        takes for ``max_distance``.
    hidden : int
        Units of the hidden layer.
    dropout : float
        Share of them that is left out in training.
    fs : int
        Sampling rate, hertz.
    n_fft : int
        Frame length, samples.
    hop_length : int
        Samples from frame to frame.

    Raises
    ------
    ValueError
        If there are less than two microphones or delays, or the distance is
        not positive, or takes more than half a frame.

    Example
    -------
    >>> import torch
    >>> net = ArrayLocalizer(4, max_distance=0.1, num_classes=72)
    >>> net(torch.randn(2, 16000, 4)).shape
    torch.Size([2, 1, 72])
    """

    def __init__(
        self,
        num_microphones,
        max_distance,
        num_classes=72,
        num_sources=1,
        *,
        num_delays=51,
        hidden=256,
        dropout=0.3,
        fs=16000,
        n_fft=512,
        hop_length=256,
    ):
        super().__init__()
        if num_microphones < 2:
            raise ValueError(
                f"num_microphones must be at least 2, got {num_microphones}"
            )
        check_transform(n_fft, hop_length, n_fft)
        self.num_microphones = num_microphones
        self.correlate = GCCPhat(
            num_delays, max_distance / SPEED_OF_SOUND, fs, n_fft, hop_length
        )
        inputs = num_microphones * (num_microphones - 1) // 2 * num_delays
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.LayerNorm(inputs),
            nn.Linear(inputs, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_sources * num_classes),
            nn.Unflatten(1, (num_sources, num_classes)),
        )

    def forward(self, waveform):
        """Score the azimuth classes of each source.

        Arguments
        ---------
        waveform : torch.Tensor
            [batch, time, microphone], at least half a frame long.

        Returns
        -------
        torch.Tensor
            Logits, [batch, source, class].

        Raises
        ------
        ValueError
            If the shape is wrong or the signal too short.
        """
        if waveform.ndim != 3 or waveform.shape[2] != self.num_microphones:
            raise ValueError(
                "expected a waveform [batch, time, "
                f"{self.num_microphones} microphones], got "
                f"{tuple(waveform.shape)}"
            )
        return self.layers(self.correlate(waveform))
