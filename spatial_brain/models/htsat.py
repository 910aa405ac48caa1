"""HTS-AT for sound event localization and detection.

The audio transformer of Chen et al. (ICASSP 2022) on Swin, with the
"token-semantic" heads that PSELDNets gives it (Hu et al., IEEE/ACM TASLP 33,
2025); state dicts of the public networks load with ``strict=True``.
"""

import torch
import torch.nn.functional as F
from torch import nn

from spatial_brain.models.seld import (
    FRAMES_PER_LABEL,
    NUM_BINS,
    NUM_SPECTRA,
    WINDOW_FRAMES,
    WINDOW_LABELS,
    check_features,
    finish_outputs,
    output_sizes,
)
from spatial_brain.nnet.layers import CrossStitch, InputNorm
from spatial_brain.nnet.swin import SwinTransformer

QUARTERS = 4  # pieces of time that are stacked to a square image
SIDE = QUARTERS * NUM_BINS  # of the image, pixels
TIME_STEPS = 32  # of the encoder's output, an image


def _fold_images(x):
    """Features to images of 10 s, [batch * windows, channel, 256, 256]."""
    # Window k holds the frames 1000 k to 1000 k + 1000 and zeros; its rows are
    # quarters of time, then mel bands, its columns the frames of a quarter.
    frames = x.shape[2]
    windows = -(-(frames // FRAMES_PER_LABEL) // WINDOW_LABELS)
    needed = windows * WINDOW_FRAMES + 1
    # A negative padding cuts frames that give no label frame.
    x = F.pad(x, (0, 0, 0, needed - frames))
    x = x.unfold(2, WINDOW_FRAMES + 1, WINDOW_FRAMES)
    x = F.pad(x, (0, QUARTERS * SIDE - WINDOW_FRAMES - 1))
    x = x.unflatten(-1, (QUARTERS, SIDE)).permute(0, 2, 1, 4, 3, 5)
    return x.reshape(-1, x.shape[2], SIDE, SIDE)


def _unfold_map(x):
    """Map [image, 8, 8, channel] to [image, channel, 2, 32]: bands, time."""
    x = x.unflatten(1, (QUARTERS, -1)).permute(0, 4, 2, 1, 3)
    return x.flatten(3)


def _label_average():
    """Matrix float32 [100, 32] from time steps to label frames."""
    # Linear interpolation to feature frames (each step is the centre of 32),
    # then means of ten frames.
    frame = torch.arange(WINDOW_FRAMES, dtype=torch.float64)
    scale = QUARTERS * SIDE // TIME_STEPS
    place = ((frame + 0.5) / scale - 0.5).clamp(min=0, max=TIME_STEPS - 1)
    step = torch.arange(TIME_STEPS, dtype=torch.float64)
    weight = (1 - (place[:, None] - step).abs()).clamp(min=0)
    return weight.view(-1, FRAMES_PER_LABEL, TIME_STEPS).mean(1).float()


class HTSAT(nn.Module):
    """Swin on folded spectrograms with one head an output.

    Clips longer than ten seconds are cut into windows of ten, each an image
    of its own; shorter ones and the last window are filled up with zeros
    after the normalisation. So no clip ever meets another one, and a clip of
    ten seconds is processed exactly as by the original.

    Arguments
    ---------
    method : str
        "accdoa", "multi_accdoa", "einv2" (two encoders that share what they
        learn before each stage) or "seddoa".
    num_classes : int
        Event classes.
    num_channels : int
        Feature channels, spectra first. The sound-event branch of "einv2"
        takes the first four only.
    symmetric_stitch : bool
        Form of the cross-stitch units, see ``CrossStitch``.
    drop_path : float
        Probability of leaving a branch out in the last block.
    checkpoint_blocks : bool
        Whether training computes blocks twice to save memory.

    Raises
    ------
    ValueError
        If the method is not known.

    Example
    -------
    >>> network = HTSAT("accdoa", 13).eval()
    >>> with torch.no_grad():
    ...     outputs = network(torch.randn(1, 7, 1001, 64))
    >>> outputs["accdoa"].shape
    torch.Size([1, 100, 39])
    """

    def __init__(
        self,
        method,
        num_classes,
        num_channels=7,
        symmetric_stitch=False,
        drop_path=0.1,
        checkpoint_blocks=False,
    ):
        super().__init__()
        self.method = method
        sizes = output_sizes(method, num_classes)
        options = {
            "drop_path": drop_path,
            "checkpoint_blocks": checkpoint_blocks,
        }
        self.scalar = InputNorm(num_channels, NUM_BINS)
        if method == "einv2":
            spectra = min(NUM_SPECTRA, num_channels)
            self.sed_encoder = SwinTransformer(spectra, **options)
            self.doa_encoder = SwinTransformer(num_channels, **options)
            self.stitch1 = nn.ModuleList(
                CrossStitch(layer.dim, symmetric_stitch)
                for layer in self.doa_encoder.layers
            )
            dim = self.doa_encoder.dim
        else:
            self.encoder = SwinTransformer(num_channels, **options)
            dim = self.encoder.dim
        for name, size in sizes.items():
            head = nn.Conv2d(dim, size, (2, 3), padding=(0, 1))
            setattr(self, _head_name(name), head)
        self.register_buffer(
            "label_average", _label_average(), persistent=False
        )

    def forward(self, features):
        """Compute the outputs of the method.

        Arguments
        ---------
        features : torch.Tensor
            [batch, channel, frame, 64], at least 10 frames.

        Returns
        -------
        dict of torch.Tensor
            See ``spatial_brain.models.seld.finish_outputs``.

        Raises
        ------
        ValueError
            If channels or bins are others, or frames fewer than ten.
        """
        check_features(features, len(self.scalar), NUM_BINS)
        labels = features.shape[2] // FRAMES_PER_LABEL
        image = _fold_images(self.scalar(features))
        outputs = {}
        for name, x in self._encode(image).items():
            x = getattr(self, _head_name(name))(_unfold_map(x)).squeeze(2)
            x = self.label_average @ x.transpose(1, 2).to(
                self.label_average.dtype
            )
            x = x.reshape(features.shape[0], -1, x.shape[-1])
            outputs[name] = x[:, :labels]
        return finish_outputs(outputs)

    def _encode(self, image):
        """Encoder's map [image, 8, 8, channel] for each output."""
        if self.method == "einv2":
            return self._encode_two(image)
        x = self.encoder(image)
        if self.method == "seddoa":
            return {"sed": x, "doa": x}
        return {self.method: x}

    def _encode_two(self, image):
        """Both branches, mixed before every stage."""
        sed, doa = self.sed_encoder, self.doa_encoder
        x = sed.patch_embed(image[:, :NUM_SPECTRA])
        y = doa.patch_embed(image)
        for stitch, sed_layer, doa_layer in zip(
            self.stitch1, sed.layers, doa.layers, strict=True
        ):
            x, y = stitch(x, y)
            x, y = sed_layer(x), doa_layer(y)
        return {"sed": sed.norm(x), "doa": doa.norm(y)}


def _head_name(output):
    """Name of the original for the convolution that makes an output."""
    branch = f"{output}_" if output in ("sed", "doa") else ""
    return f"{branch}tscam_conv"
