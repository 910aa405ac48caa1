"""Small trained layers in a network whose own weights are kept.

Bottleneck adapters (Houlsby et al., ICML 2019) in the two places where
PSELDNets puts them (Hu et al., IEEE/ACM TASLP 33, 2025), and low-rank updates
of linear maps and convolutions (LoRA; Hu et al., ICLR 2022). All begin without
effect, and leave the names of the network's own weights as they are.
"""

import math

import torch.nn.functional as F
from torch import nn


class Adapter(nn.Module):
    """Linear map to fewer dimensions, GELU, linear map back, scaled.

    Arguments
    ---------
    dim : int
        Size of the last dimension.
    ratio : float
        Inner size as a part of ``dim``.
    scale : float
        Factor of the output.

    Example
    -------
    >>> import torch
    >>> Adapter(8)(torch.randn(2, 3, 8)).abs().max().item()
    0.0
    """

    def __init__(self, dim, ratio=0.5, scale=0.1):
        super().__init__()
        self.scale = scale
        self.fc1 = nn.Linear(dim, int(dim * ratio))
        self.fc2 = nn.Linear(int(dim * ratio), dim)
        nn.init.zeros_(self.fc2.weight)
        nn.init.zeros_(self.fc2.bias)

    def forward(self, x):
        """Map a tensor to one of the same shape.

        Arguments
        ---------
        x : torch.Tensor
            [..., dim].

        Returns
        -------
        torch.Tensor
            [..., dim]; zeros until the adapter is trained.
        """
        return self.scale * self.fc2(F.gelu(self.fc1(x)))


def _behind(module, inputs, output):
    """Forward hook: what the adapter makes of a layer's output is added."""
    return output + module.adapter(output)


def _beside(module, inputs, output):
    """Forward hook: what the adapter makes of a layer's input is added."""
    return output + module.adapter(inputs[0])


def add_adapter(module, dim, parallel=False):
    """Give a layer an adapter, under the name ``adapter``.

    Arguments
    ---------
    module : torch.nn.Module
        Layer from [..., dim] to [..., dim]; changed in place.
    dim : int
        Size of the last dimension.
    parallel : bool
        Whether the adapter takes the layer's input instead of its output.

    Example
    -------
    >>> layer = nn.Linear(4, 4)
    >>> add_adapter(layer, 4)
    >>> sorted(layer.state_dict())[:2]
    ['adapter.fc1.bias', 'adapter.fc1.weight']
    """
    module.adapter = Adapter(dim)
    module.register_forward_hook(_beside if parallel else _behind)


class LoRALinear(nn.Linear):
    """A linear map with a trained update of low rank beside its weight.

    ``y = W x + b + alpha / rank * B A x``; B begins as zeros. The update is
    never merged into the weight, so that a state dict means the same whenever
    it is saved.

    Arguments
    ---------
    linear : torch.nn.Linear
        The map; its weight, which is kept, and its bias become those of this.
    rank : int
        Rank of the update.
    alpha : float
        Scale of the update, times the rank.

    Example
    -------
    >>> import torch
    >>> linear, x = nn.Linear(6, 4), torch.randn(2, 6)
    >>> lora = LoRALinear(linear, rank=2)
    >>> bool((lora(x) == linear(x)).all())
    True
    >>> [name for name, p in lora.named_parameters() if p.requires_grad]
    ['bias', 'lora_A', 'lora_B']
    """

    def __init__(self, linear, rank=16, alpha=1.0):
        nn.Module.__init__(self)
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        self.weight = linear.weight.requires_grad_(False)
        self.register_parameter("bias", linear.bias)
        self.scale = alpha / rank
        self.lora_A = nn.Parameter(
            linear.weight.new_empty(rank, linear.in_features)
        )
        self.lora_B = nn.Parameter(
            linear.weight.new_zeros(linear.out_features, rank)
        )
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, x):
        """Apply the map and its update.

        Arguments
        ---------
        x : torch.Tensor
            [..., in_features].

        Returns
        -------
        torch.Tensor
            [..., out_features].
        """
        update = F.linear(F.linear(x, self.lora_A), self.lora_B)
        return super().forward(x) + self.scale * update


class LoRAConv2d(nn.Module):
    """A convolution with a trained update of low rank beside its weight.

    The update is a convolution of the same kind to ``rank`` channels, then one
    of 1 x 1, which begins as zeros.

    Arguments
    ---------
    conv : torch.nn.Conv2d
        The convolution; its weight, which is kept, and its bias become those
        of this.
    rank : int
        Rank of the update.
    alpha : float
        Scale of the update, times the rank.

    Example
    -------
    >>> import torch
    >>> conv, x = nn.Conv2d(3, 8, 4, 4), torch.randn(1, 3, 8, 8)
    >>> lora = LoRAConv2d(conv, rank=2)
    >>> bool((lora(x) == conv(x)).all())
    True
    >>> sorted(lora.state_dict())
    ['bias', 'lora_A.weight', 'lora_B.weight', 'weight']
    """

    def __init__(self, conv, rank=16, alpha=1.0):
        super().__init__()
        self.stride, self.padding = conv.stride, conv.padding
        self.weight = conv.weight.requires_grad_(False)
        self.register_parameter("bias", conv.bias)
        self.scale = alpha / rank
        self.lora_A = nn.Conv2d(
            conv.in_channels,
            rank,
            conv.kernel_size,
            conv.stride,
            conv.padding,
            bias=False,
            device=conv.weight.device,
        )
        self.lora_B = nn.Conv2d(
            rank, conv.out_channels, 1, bias=False, device=conv.weight.device
        )
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x):
        """Apply the convolution and its update.

        Arguments
        ---------
        x : torch.Tensor
            [batch, channel, row, column].

        Returns
        -------
        torch.Tensor
            [batch, channel, row, column] as the convolution gives it.
        """
        y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        return y + self.scale * self.lora_B(self.lora_A(x))
