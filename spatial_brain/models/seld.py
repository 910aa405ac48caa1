"""Networks for sound event localization and detection, and their outputs.

One wrapper, four backbones, four forms of output. Methods:

- ``accdoa``: a vector per class, its length the activity (Shimada et al.,
  ICASSP 2021);
- ``multi_accdoa``: three such vectors per class, for same-class events
  (Shimada et al., ICASSP 2022);
- ``einv2``: three tracks of class and direction from two branches (Cao et
  al., ICASSP 2021);
- ``seddoa``: the same outputs from one branch.
"""

import importlib

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from spatial_brain.augment.rotation import (
    foa_turns,
    rotate_foa_features,
    rotate_outputs,
)
from spatial_brain.loadable import loadable
from spatial_brain.models.adaptation import adapt

METHODS = ("accdoa", "multi_accdoa", "einv2", "seddoa")
NUM_TRACKS = 3
NUM_BINS = 64  # mel bands
NUM_SPECTRA = 4  # channels with spectra, which come first
FRAMES_PER_LABEL = 10
# 10 s, which transformers see at once; each window has the frame that ends it.
WINDOW_FRAMES = 1000
WINDOW_LABELS = WINDOW_FRAMES // FRAMES_PER_LABEL

BACKBONES = {
    "htsat": ("spatial_brain.models.htsat", "HTSAT"),
    "passt": ("spatial_brain.models.passt", "PaSST"),
    "cnn14_conformer": (
        "spatial_brain.models.cnn14_conformer",
        "CNN14Conformer",
    ),
    "crnn": ("spatial_brain.models.seld_crnn", "SELDCRNN"),
}


def output_sizes(method, num_classes):
    """Numbers a label frame of each output.

    Arguments
    ---------
    method : str
        One of ``METHODS``.
    num_classes : int
        Event classes.

    Returns
    -------
    dict of int
        Size by output name.

    Raises
    ------
    ValueError
        If the method is not known.

    Example
    -------
    >>> output_sizes("multi_accdoa", 13), output_sizes("seddoa", 13)
    ({'multi_accdoa': 117}, {'sed': 39, 'doa': 9})
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, got {method!r}")
    if method == "accdoa":
        return {"accdoa": 3 * num_classes}
    if method == "multi_accdoa":
        return {"multi_accdoa": 3 * NUM_TRACKS * num_classes}
    return {"sed": NUM_TRACKS * num_classes, "doa": 3 * NUM_TRACKS}


def check_features(features, num_channels, num_bins):
    """Raise ValueError unless a network can take a feature map.

    Arguments
    ---------
    features : torch.Tensor
        Should be [batch, num_channels, at least 10 frames, num_bins].
    num_channels : int
        Of the network.
    num_bins : int
        Of the network.

    Example
    -------
    >>> import torch
    >>> check_features(torch.zeros(1, 4, 101, 64), 7, 64)
    Traceback (most recent call last):
    ValueError: expected features [batch, 7, at least 10 frames, 64], got
    (1, 4, 101, 64)
    """
    frames = features.shape[2] if features.ndim == 4 else 0
    expected = (num_channels, max(frames, FRAMES_PER_LABEL), num_bins)
    if features.shape[1:] != expected:
        raise ValueError(
            f"expected features [batch, {num_channels}, at least "
            f"{FRAMES_PER_LABEL} frames, {num_bins}], got "
            f"{tuple(features.shape)}"
        )


def finish_outputs(outputs):
    """Last step of every network: activations, and tracks on their own axis.

    Arguments
    ---------
    outputs : dict of torch.Tensor
        Values before the activation [batch, frame, size], named and sized as
        ``output_sizes`` says.

    Returns
    -------
    dict of torch.Tensor
        ``accdoa`` [batch, frame, 3 classes] and ``multi_accdoa`` [batch,
        frame, 9 classes] after tanh (track, axis, class; the class runs
        fastest); or ``sed`` [batch, frame, 3, classes], logits, and ``doa``
        [batch, frame, 3, 3] after tanh. float32 (float64 for such input).

    Example
    -------
    >>> import torch
    >>> done = finish_outputs({"sed": torch.zeros(1, 4, 39),
    ...                        "doa": torch.ones(1, 4, 9)})
    >>> done["sed"].shape, done["doa"].shape, done["doa"].max().item() < 1
    (torch.Size([1, 4, 3, 13]), torch.Size([1, 4, 3, 3]), True)
    """
    finished = {}
    for name, x in outputs.items():
        x = x.double() if x.element_size() == 8 else x.float()
        if name in ("sed", "doa"):
            x = x.unflatten(-1, (NUM_TRACKS, -1))
        finished[name] = x if name == "sed" else x.tanh()
    return finished


@loadable
class SELDNetwork(nn.Module):
    """Feature maps to events, classes and directions.

    Arguments
    ---------
    backbone : str
        "htsat", "passt", "cnn14_conformer" or "crnn".
    method : str
        One of ``METHODS`` that the backbone has.
    num_classes : int
        Event classes.
    num_channels : int
        Channels of the features; 7 for log-mel spectra and intensity vectors
        of first-order Ambisonics.
    adapter : str, optional
        What is trained instead of everything, and which layers are added for
        it: "adapter", "adapterbit", "lora" or "bias", see
        ``spatial_brain.models.adaptation``.
    freeze_statistics : bool
        Whether batch normalisation works with its running statistics, and
        keeps them, in training as well.
    turns : int
        1, 2 or 4: outputs are the mean over scenes that are turned by parts
        of a circle, and turned back, in so many times the time. Not in
        training. For FOA features with a vector, and methods "accdoa" and
        "multi_accdoa".
    **options
        Options of the backbone's class.

    Raises
    ------
    ValueError
        For an unknown backbone, a method or adapter that the backbone has
        not, or turns of features or outputs that cannot be turned.

    Example
    -------
    >>> import torch
    >>> network = SELDNetwork("htsat", "multi_accdoa", 13).eval()
    >>> with torch.no_grad():
    ...     outputs = network(torch.randn(1, 7, 501, 64))
    >>> outputs["multi_accdoa"].shape
    torch.Size([1, 50, 117])
    """

    def __init__(
        self,
        backbone,
        method,
        num_classes,
        num_channels=7,
        adapter=None,
        freeze_statistics=False,
        turns=1,
        **options,
    ):
        super().__init__()
        if backbone not in BACKBONES:
            raise ValueError(
                f"backbone must be one of {tuple(BACKBONES)}, got {backbone!r}"
            )
        output_sizes(method, num_classes)
        if turns > 1 and not (method.endswith("accdoa") and num_channels == 7):
            raise ValueError(
                f"turns={turns} needs methods accdoa or multi_accdoa and 7 "
                f"channels of features, got {method} and {num_channels}"
            )
        self._turns = tuple(foa_turns(turns))
        self.backbone = backbone
        self.method = method
        self.num_classes = num_classes
        self.num_channels = num_channels
        self.freeze_statistics = freeze_statistics
        # Only what is used is imported: some backbones bring libraries.
        module, name = BACKBONES[backbone]
        build = getattr(importlib.import_module(module), name)
        self.network = build(method, num_classes, num_channels, **options)
        if adapter is not None:
            adapt(self.network, adapter)
        self.train()

    def train(self, mode=True):
        """Switch between training and evaluation.

        Arguments
        ---------
        mode : bool
            Whether to train; frozen statistics stay as they are.

        Returns
        -------
        SELDNetwork
            This.
        """
        super().train(mode)
        if self.freeze_statistics:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, features):
        """Compute the outputs of the method.

        Arguments
        ---------
        features : torch.Tensor
            [batch, channel, frame, bin], 100 frames a second, at least 10.

        Returns
        -------
        dict of torch.Tensor
            As ``finish_outputs`` says; frame // 10 label frames.

        Raises
        ------
        ValueError
            If axes, channels or bins are others, or frames fewer than ten.
        """
        if self.training or len(self._turns) == 1:
            return self.network(features)
        return _mean_of_turns(
            self.method,
            [
                (turn, self.network(rotate_foa_features(features, turn)))
                for turn in self._turns
            ],
        )

    def stream(self):
        """What takes the features of live sound.

        Returns
        -------
        object
            ``push(features)`` gives the label frames that are final, see
            ``spatial_brain.models.seld_crnn.stream.CRNNStream``.

        Raises
        ------
        ValueError
            If the backbone has no live form, or was not made causal.
        """
        if not hasattr(self.network, "stream"):
            raise ValueError(
                f"the backbone {self.backbone!r} needs later frames for every "
                "output; live sound needs crnn with causal: True"
            )
        if len(self._turns) == 1:
            return self.network.stream()
        return _TurnedStream(self.network, self.method, self._turns)


class _TurnedStream:
    """The mean of the streams of a network for turned features."""

    def __init__(self, network, method, turns):
        self._method = method
        self._streams = [(turn, network.stream()) for turn in turns]

    def reset(self):
        """Forget all input."""
        for _, stream in self._streams:
            stream.reset()

    def push(self, features):
        """Take feature frames, give the label frames that they complete."""
        return self._mean(
            lambda turn, stream: stream.push(
                rotate_foa_features(features[None], turn)[0]
            )
        )

    def flush(self):
        """Forget the recording, give no frames."""
        return self._mean(lambda _, stream: stream.flush())

    def _mean(self, call):
        """Mean of what a call gives for each turn."""
        found = [(turn, call(turn, stream)) for turn, stream in self._streams]
        return _mean_of_turns(self._method, found)


def _mean_of_turns(method, found):
    """Mean of outputs, each turned back, from pairs of a turn and outputs."""
    back = [
        rotate_outputs(outputs, method, turn, inverse=True)
        for turn, outputs in found
    ]
    return {
        name: sum(part[name] for part in back) / len(back) for name in back[0]
    }
