"""Features of live sound are those of the whole recording."""

import pytest
import torch

from spatial_brain.processing.feature_stream import FeatureStream
from spatial_brain.processing.seld_features import (
    BaselineFeatures,
    LogMelGCC,
    LogMelIntensity,
    Salsa,
    SalsaLite,
)
from spatial_brain.processing.stft import SpectralFeatures

RATE = 8000


class Sparse(SpectralFeatures):
    """Frames that hardly overlap; the last may end before the end's mirror."""

    num_channels, num_bins = 4, 257

    def features(self, real, imag):
        return real


FEATURES = {
    "sparse": lambda: Sparse(512, 480),
    "intensity": lambda: LogMelIntensity(RATE, 512, n_mels=32),
    "gcc": lambda: LogMelGCC(RATE, 512, n_mels=32),
    "salsa-lite": lambda: SalsaLite(RATE, 512),
    "salsa-lite of the baseline": lambda: SalsaLite(RATE, 512, baseline=True),
}


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("size", [1, 161, 480, 5000])
@pytest.mark.parametrize("length", [2400, 2471])
def test_frames_do_not_depend_on_chunks(name, size, length):
    torch.manual_seed(0)
    features, sound = FEATURES[name](), torch.randn(length, 4)
    stream = FeatureStream(features)
    for _ in range(2):
        parts = [stream.push(chunk) for chunk in sound.split(size)]
        found = torch.cat([*parts, stream.flush()], dim=1)
        wanted = features(sound[None])[0]
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-3)


def test_a_frame_comes_with_its_last_sample():
    features = LogMelIntensity(RATE, 512, n_mels=32)
    stream = FeatureStream(features)
    # The frame around sample 80 k ends 256 samples later.
    assert stream.push(torch.randn(256, 4)).shape[1] == 0
    assert stream.push(torch.randn(1, 4)).shape[1] == 1
    assert stream.push(torch.randn(78, 4)).shape[1] == 0
    assert stream.push(torch.randn(1, 4)).shape[1] == 1


def test_what_depends_on_the_whole_recording_is_refused():
    for features in (Salsa(), BaselineFeatures("mic")):
        with pytest.raises(ValueError, match="whole recording"):
            FeatureStream(features)
    stream = FeatureStream(LogMelIntensity(RATE, 512, n_mels=32))
    with pytest.raises(ValueError, match="4 channels"):
        stream.push(torch.randn(10, 2))
    assert stream.flush().shape == (7, 0, 32)
    stream.push(torch.randn(20, 4))
    with pytest.raises(ValueError, match="too short"):
        stream.flush()
