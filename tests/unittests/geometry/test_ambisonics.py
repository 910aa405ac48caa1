"""Orders and gains of Ambisonics: every file becomes W, Y, Z, X in SN3D."""

import pytest
import torch

from spatial_brain.geometry import find_channel_order, to_acn_sn3d
from spatial_brain.simulation.ambisonics import encode_foa


@pytest.fixture
def wave():
    return encode_foa(torch.randn(100), 35.0, -20.0)


def as_file(wave, name):
    """Channels as the definition of each order has them."""
    w, y, z, x = wave.unbind(-1)
    return torch.stack(
        {
            "acn-sn3d": (w, y, z, x),
            "acn-n3d": (w, 3**0.5 * y, 3**0.5 * z, 3**0.5 * x),
            "fuma": (w / 2**0.5, x, y, z),
            "wxyz": (w, x, y, z),
        }[name],
        dim=-1,
    )


@pytest.mark.parametrize("name", ["acn-sn3d", "acn-n3d", "fuma", "wxyz"])
def test_every_order_becomes_the_same(wave, name):
    for spelled in (name, name.upper()):
        found = to_acn_sn3d(as_file(wave, name), spelled)
        torch.testing.assert_close(found, wave)


@pytest.mark.parametrize("name", ["sn3d", "WXY", "WWYX", "", None])
def test_unknown_orders_are_refused(name):
    with pytest.raises(ValueError, match="known: acn-sn3d, acn-n3d, fuma"):
        find_channel_order(name)
