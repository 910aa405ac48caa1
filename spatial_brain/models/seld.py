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
    **options
        Options of the backbone's class.

    Raises
    ------
    ValueError
        For an unknown backbone, or a method or adapter that the backbone has
        not.

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
        **options,
    ):
        super().__init__()
        if backbone not in BACKBONES:
            raise ValueError(
                f"backbone must be one of {tuple(BACKBONES)}, got {backbone!r}"
            )
        output_sizes(method, num_classes)
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
        return self.network(features)

    def stream(self):
        """What takes the features of live sound.

        Returns
        -------
        spatial_brain.models.seld_crnn.stream.CRNNStream
            ``push(features)`` gives the label frames that are final.

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
        return self.network.stream()
