"""Training on signals of one channel: each is placed somewhere at random.

PSELDNets (Hu et al., IEEE/ACM TASLP 33, 2025) adapts networks for several
channels to classes of which there are only monophonic recordings: such a
signal, without room, is encoded to first-order Ambisonics from a direction
that is drawn anew every time.
"""

import math

import torch

# Axis (0: x, 1: y, 2: z) of the second, third and fourth FOA channel.
_FOA_AXES = [1, 2, 0]


class MonoPlacement:
    """Makes FOA signals of first channels, and labels of the drawn directions.

    Of each item the first channel (W, the omnidirectional one) is kept and
    encoded as a plane wave; all events of the item come from there. Where the
    events are, and of which class, stays.

    Arguments
    ---------
    integer_grid : bool
        Draw whole degrees of azimuth and elevation, each uniformly, as
        PSELDNets does, which crowds the poles. Otherwise directions are
        uniform on the sphere.

    Example
    -------
    >>> placement = MonoPlacement()
    >>> targets = {"doa": torch.tensor([[[[1.0, 0, 0], [0, 0, 0], [0, 0, 0]]]]),
    ...            "overlap": torch.ones(1)}
    >>> waveform, targets = placement(torch.ones(1, 100, 4), targets)
    >>> bool((waveform[0, 0, [3, 1, 2]] == targets["doa"][0, 0, 0]).all())
    True
    >>> targets["doa"][0, 0, 1].norm().item()
    0.0
    """

    def __init__(self, integer_grid=False):
        self.integer_grid = integer_grid

    def __call__(self, waveform, targets, generator=None):
        """Place each item in a direction of its own.

        Arguments
        ---------
        waveform : torch.Tensor
            FOA channels W, Y, Z, X, [batch, time, 4].
        targets : dict
            ``overlap`` [batch], the most events at once, and some of
            ``accdoa`` [batch, L, 3C], ``adpit`` [batch, L, 6, 4, C] and
            ``doa`` [batch, L, 3, 3]; the rest stays as it is.
        generator : torch.Generator, optional
            On the CPU; default: that of torch.

        Returns
        -------
        waveform : torch.Tensor
            [batch, time, 4].
        targets : dict
            Of the same keys and shapes.

        Raises
        ------
        ValueError
            If events of an item overlap: one signal has one direction.
        """
        most = int(targets["overlap"].max())
        if most > 1:
            raise ValueError(
                f"a training clip has {most} events at once, which a signal of "
                "one channel cannot give directions of their own; with "
                "--mono_input True train on clips without overlap (L3DAS22: "
                "--train_overlap '[ov1]')"
            )
        directions = self._draw(len(waveform), generator).to(waveform)
        gains = torch.nn.functional.pad(
            directions[:, _FOA_AXES], (1, 0), value=1.0
        )
        placed = dict(targets)
        if "accdoa" in targets:
            vectors = targets["accdoa"].unflatten(-1, (3, -1))
            vectors = _turned(vectors, directions[:, None, :, None], 2)
            placed["accdoa"] = vectors.flatten(2)
        if "adpit" in targets:
            activity, vectors = targets["adpit"].split((1, 3), 3)
            axes = directions[:, None, None, :, None]
            placed["adpit"] = torch.cat(
                (activity, _turned(vectors, axes, 3)), dim=3
            )
        if "doa" in targets:
            axes = directions[:, None, None, :]
            placed["doa"] = _turned(targets["doa"], axes, 3)
        return waveform[..., :1] * gains[:, None], placed

    def _draw(self, number, generator):
        """Unit vectors x, y, z, [number, 3]."""
        first, second = torch.rand(2, number, generator=generator).double()
        if self.integer_grid:
            azimuth = torch.deg2rad((360 * first).floor() - 180)
            sine = torch.deg2rad((180 * second).floor() - 90).sin()
        else:
            azimuth, sine = 2 * math.pi * first, 2 * second - 1
        cosine = (1 - sine.square()).sqrt()
        return torch.stack(
            (cosine * azimuth.cos(), cosine * azimuth.sin(), sine), -1
        ).float()


def _turned(vectors, direction, axis):
    """Vectors of the same lengths in another direction."""
    return torch.linalg.vector_norm(vectors, dim=axis, keepdim=True) * direction
