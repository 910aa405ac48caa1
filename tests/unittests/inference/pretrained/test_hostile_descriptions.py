"""Any change of a model's YAML ends in one line, or in a model that works."""

import re

import pytest
import torch

from spatial_brain.inference import (
    BinauralSeparator,
    RoomAcousticsEstimator,
    SELDetector,
    SoundLocalizer,
)
from spatial_brain.inference.pretrained.safe_yaml import load_safe_yaml
from spatial_brain.inference.pretrained.weights import save_weights

LOCALIZER = """\
modules:
  model: !new:spatial_brain.models.array_localizer.ArrayLocalizer
    num_microphones: 2
    max_distance: 0.1
    num_classes: 36
    num_delays: 11
    hidden: 8
    fs: 8000
    n_fft: 128
    hop_length: 64
sample_rate: 8000
microphone_positions: [[-0.05, 0, 0], [0.05, 0, 0]]
window_length: 0.5
hop_length: 0.5
target: full_azimuth
decoder: !name:spatial_brain.processing.decoding.decode_classes
  method: median
  low: -180.0
  circular: true
"""
DETECTOR = """\
modules:
  model: !new:spatial_brain.models.seld.SELDNetwork
    backbone: crnn
    method: multi_accdoa
    num_classes: 3
    num_channels: 7
    width: 4
features: !new:spatial_brain.processing.seld_features.LogMelIntensity
  sample_rate: 8000
  n_fft: 256
  hop_length: 80
sample_rate: 8000
array_format: foa
chunk_length: 1.0
detection_hop: 1.0
method: multi_accdoa
num_classes: 3
class_names: [a, b, c]
threshold: 0.5
merge_angle: 15.0
"""
SEPARATOR = """\
modules:
  model: !new:spatial_brain.models.binaural_tasnet.BinauralTasNet
    rule: parallel
    num_filters: 6
    kernel_size: 8
    stride: 4
    bottleneck: 4
    hidden: 5
    num_blocks: 2
    num_repeats: 1
    num_sources: 2
sample_rate: 8000
num_sources: 2
window_length: 1.0
"""
ACOUSTICS = """\
modules:
  model: !new:spatial_brain.models.mc_conformer.SpatialAcousticsEstimator
    embedding: spat
    num_bins: 32
    channels: 4
    spec_dim: 8
    spat_dim: 8
    spat_depth: 1
    heads: 2
    conv_kernel: 3
features: !new:spatial_brain.processing.pair_spectra.PairSpectra
  n_fft: 64
  hop_length: 32
sample_rate: 8000
task: T60
duration: 1.0
hop_length: 0.5
"""
# Interface: text of a small model, its verb, channels.
KINDS = {
    SoundLocalizer: (LOCALIZER, "localize_batch", 2),
    SELDetector: (DETECTOR, "detect_batch", 4),
    BinauralSeparator: (SEPARATOR, "separate_batch", 2),
    RoomAcousticsEstimator: (ACOUSTICS, "estimate_batch", 2),
}
VALUES = (
    "",
    "[1]",
    "{a: {b: 1}}",
    "-1",
    "0",
    "1.5",
    "1000000000000",
    ".nan",
    "true",
    "''",
    "wide",
    "!ref <modules>",
    "!unknown 3",
    "*nowhere",
    "!name:spatial_brain.processing.decoding.decode_classes",
)


def mutants(text):
    """Each line with other values, another name, twice, cut or missing."""
    lines = text.splitlines()
    depths = [len(line) - len(line.lstrip()) for line in lines]
    for start, line in enumerate(lines):
        stop = start + 1
        while stop < len(lines) and depths[stop] > depths[start]:
            stop += 1
        key = re.match(r" *\w+", line)[0]
        part = lines[start:stop]
        for changed in (
            *([f"{key}: {value}"] for value in VALUES),
            [],
            part * 2,
            [line.replace(key.strip(), "7", 1), *part[1:]],
            [line.replace(key.strip(), "../x", 1), *part[1:]],
            ["\t" + line, *part[1:]],
            [line[: len(line) // 2], *part[1:]],
        ):
            yield "\n".join(lines[:start] + changed + lines[stop:]) + "\n"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("interface", KINDS)
def test_mutants(interface, tmp_path):
    text, verb, channels = KINDS[interface]
    torch.manual_seed(0)
    network = load_safe_yaml(text, "good.yaml")["modules"]["model"]
    save_weights(tmp_path / "model.safetensors", network)
    count = working = 0
    for mutant in [text, *mutants(text)]:
        (tmp_path / "hyperparams.yaml").write_text(mutant)
        count += 1
        try:
            model = interface.from_hparams(tmp_path, run_opts={"device": "cpu"})
        except (ValueError, FileNotFoundError) as error:
            assert str(tmp_path) in str(error), mutant
            assert "\n" not in str(error) and len(str(error)) < 1200, error
            continue
        try:
            getattr(model, verb)(torch.randn(1, 8000, channels) / 10)
            working += 1
        except ValueError as error:
            assert str(error), mutant
    assert count > 200 and working > 1
