"""Live sound at another rate is the whole recording converted."""

import pytest
import torch

from spatial_brain.dataio.audio import resample_audio
from spatial_brain.inference.streaming.resampling import ResampleStream


@pytest.mark.parametrize("old, new", [
    (48000, 16000), (44100, 24000), (16000, 24000), (47999, 48000),
    (16000, 16000),
])  # fmt: skip
@pytest.mark.parametrize("size", [101, 480, 20000])
def test_samples_do_not_depend_on_chunks(old, new, size):
    torch.manual_seed(0)
    sound = torch.randn(6000, 2)
    wanted, stream = resample_audio(sound, old, new), ResampleStream(old, new)
    for _ in range(2):
        parts = [stream.push(chunk) for chunk in sound.split(size)]
        given = sum(map(len, parts))
        rest = stream.flush()
        found = torch.cat([*parts, rest])
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
        assert given > len(wanted) - 40
