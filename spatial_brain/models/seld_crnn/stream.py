"""The small causal network for SELD on live features, with carried state."""

import torch
from torch import nn

# Feature frames that become one label frame.
FRAMES_PER_LABEL = 10
# Frames before the present one that a convolution looks at.
_REACH = 2


class CRNNStream:
    """Outputs of live features; made by ``SELDCRNN.stream()``.

    Together they are the network's outputs for the whole recording, up to
    rounding. A label frame comes out with the last of its ten feature frames.

    Arguments
    ---------
    network : spatial_brain.models.seld_crnn.SELDCRNN
        Causal, and not in training.

    Raises
    ------
    ValueError
        If it is not.

    Example
    -------
    >>> from spatial_brain.models.seld_crnn import SELDCRNN
    >>> network = SELDCRNN("accdoa", 2, width=8, attention_layers=0,
    ...                    causal=True).eval()
    >>> stream = network.stream()
    >>> [len(stream.push(torch.randn(7, n, 64))["accdoa"]) for n in (9, 1, 25)]
    [0, 1, 2]
    """

    def __init__(self, network):
        if not network.causal:
            raise ValueError(
                "this network needs later frames for every output; live sound "
                "needs one trained with causal: True"
            )
        if network.training:
            raise ValueError("the network is in training: call eval() first")
        self._network = network
        self.reset()

    def reset(self):
        """Forget all input; the next frames begin a recording."""
        self._waiting = []
        self._past, self._hidden = {}, {}

    @torch.no_grad()
    def push(self, features):
        """Take feature frames, give the label frames that they complete.

        Arguments
        ---------
        features : torch.Tensor
            [channel, frame, bin], any number of frames.

        Returns
        -------
        dict of torch.Tensor
            As the network gives it, without the batch: [label frame, ...],
            perhaps of none.
        """
        features = torch.cat((*self._waiting, features), dim=1)
        whole = features.shape[1] // FRAMES_PER_LABEL * FRAMES_PER_LABEL
        self._waiting = [features[:, whole:]]
        if not whole:
            return self._network.no_frames()
        outputs = self._network.run(
            features[None, :, :whole], self._convolve, self._recur
        )
        return {name: part[0] for name, part in outputs.items()}

    def flush(self):
        """Forget the recording: frames that fill no label frame give nothing.

        Returns
        -------
        dict of torch.Tensor
            Of no frames.
        """
        self.reset()
        return self._network.no_frames()

    def _convolve(self, stage, x):
        """A stage of the network behind the frames that it had before."""
        convolution, *rest = stage
        past = self._past.get(stage)
        if past is None:
            past = x.new_zeros(*x.shape[:2], _REACH, x.shape[3])
        x = torch.cat((past, x), dim=2)
        self._past[stage] = x[:, :, -_REACH:]
        # Without the zeros that the causal form puts before its input.
        x = nn.Conv2d.forward(convolution, x)
        for part in rest:
            x = part(x)
        return x

    def _recur(self, branch, x):
        """What looks along time, from the state that it was left in."""
        recurrent, *rest = branch.along_time
        x, self._hidden[branch] = recurrent.run(
            branch.sequence(x), self._hidden.get(branch)
        )
        for part in rest:
            x = part(x)
        return x
