"""Differences between the ears in narrow bands, frame by frame, looking back.

The encoder's windows are short, 2 ms, as latency demands: too short to keep the
sounds of two talkers apart. The cues here are taken over a longer window which
ends with the same sample, so that they cost no latency.
"""

import torch
from torch import nn
from torch.nn import functional as F

# Level below which a band counts as silent: relative to the mean over bands,
# and absolute, power.
RELATIVE_FLOOR, ABSOLUTE_FLOOR = 1e-5, 1e-10
NUM_CUES = 3


class InterauralCues(nn.Module):
    """Level and phase differences of all bands, mapped to channels.

    With the spectra L and R of both ears, the cues of a band are

        |L|^2 - |R|^2,  2 Re(L R*)  and  2 Im(L R*),  over  |L|^2 + |R|^2,

    the Stokes parameters of the pair: a point of the unit sphere that says how
    much louder and how much later one ear gets the band. They do not depend on
    its level, unless it is 50 dB below the mean of the bands: there they go to
    zero.

    Arguments
    ---------
    window : int
        Samples, even; the recipe's 256 are 16 ms at 16 kHz.
    kernel_size : int
        Samples of the encoder's window, over which the window falls.
    stride : int
        Samples from frame to frame.
    channels : int
        To map the cues to.

    Example
    -------
    >>> cues = InterauralCues(64, 16, 8, 5)
    >>> cues(torch.randn(3, 2, 80)).shape
    torch.Size([3, 5, 9])
    """

    def __init__(self, window, kernel_size, stride, channels):
        super().__init__()
        self.window_length, self.kernel_size = window, kernel_size
        self.stride = stride
        self.num_bands = window // 2 - 1
        self.conv = nn.Conv1d(NUM_CUES * self.num_bands, channels, 1)
        self.register_buffer(
            "window", _window(window, kernel_size), persistent=False
        )

    def forward(self, ears):
        """Find the cues of the encoder's frames.

        Arguments
        ---------
        ears : torch.Tensor
            [batch, 2, time], at least ``kernel_size`` long.

        Returns
        -------
        torch.Tensor
            [batch, channel, frame].
        """
        before = self.window_length - self.kernel_size
        spectra = torch.stft(
            F.pad(ears, (before, 0)).flatten(0, 1),
            self.window_length,
            self.stride,
            window=self.window,
            center=False,
            return_complex=True,
        )
        left, right = spectra[:, 1:-1].unflatten(0, (-1, 2)).unbind(1)
        power = [torch.view_as_real(x).square().sum(-1) for x in (left, right)]
        total = power[0] + power[1]
        floor = RELATIVE_FLOOR * total.mean(1, keepdim=True) + ABSOLUTE_FLOOR
        total = total + floor
        cross = 2.0 * torch.view_as_real(left * right.conj())
        cues = ((power[0] - power[1]), cross[..., 0], cross[..., 1])
        return self.conv(torch.cat([cue / total for cue in cues], 1))


def _window(length, fall):
    """Rises slowly and falls fast: late samples count, [length]."""
    rise = torch.arange(length - fall).add(0.5) / max(length - fall, 1)
    end = torch.arange(fall).add(0.5) / fall
    return torch.cat(
        (torch.sin(rise * torch.pi / 2), torch.cos(end * torch.pi / 2))
    ).square()
