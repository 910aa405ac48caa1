"""The published networks of the DCASE2024 Task 3 baseline.

Two networks come with partha2409/DCASE2024_seld_baseline (MIT), for
Ambisonics and for four microphones with GCC-PHAT. The mean and deviation of
features that they were trained with are not published; they are computed here
from the user's recordings, as the baseline computes its own: over all frames
of all development recordings.
"""

import json
import logging

from tqdm import tqdm

from spatial_brain.dataio.audio import read_audio
from spatial_brain.datasets.seld.files import (
    CLIP_SUFFIXES,
    list_files,
    unpack_part,
)
from spatial_brain.datasets.seld.starss23 import CLASS_NAMES, SAMPLE_RATE
from spatial_brain.inference.pretrained import (
    load_weights,
    read_weights,
    save_pretrained,
)
from spatial_brain.models.dcase_baseline import DCASEBaseline
from spatial_brain.processing.seld_features import BaselineFeatures

logger = logging.getLogger(__name__)

# Channels of the features -> which recordings they are of.
ARRAYS = {7: "foa", 10: "mic"}
FIRST_LAYER = "conv_block_list.0.conv.weight"
LAST_LAYER = "fnn_list.1.bias"

BASELINE = """\
# Baseline of DCASE2024 Task 3, {format} (published weights, own scaler).
modules:
  model: !new:spatial_brain.models.dcase_baseline.DCASEBaseline
    num_classes: {num_classes}
    num_channels: {num_channels}
features: !new:spatial_brain.processing.seld_features.BaselineFeatures
  format: {format}
  sample_rate: {sample_rate}
sample_rate: {sample_rate}  # Hz
array_format: {format}
chunk_length: 5.0  # s
detection_hop: 5.0  # s
method: multi_accdoa
num_classes: {num_classes}
class_names: {class_names}
threshold: 0.5
merge_angle: 15.0  # degrees
"""


def convert_baseline(checkpoint, output, data_folder):
    """Turn a published network into a pretrained folder.

    Arguments
    ---------
    checkpoint : Path
        ``3_1_dev_split0_multiaccdoa_foa_model.h5`` or
        ``6_1_dev_split0_multiaccdoa_mic_gcc_model.h5`` (files of PyTorch,
        whatever their suffix).
    output : Path
        Folder to write.
    data_folder : str or Path
        Holds ``foa_dev`` or ``mic_dev`` of STARSS23, or their archives.

    Returns
    -------
    tuple
        Folder, number of entries, number of parameters.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or no recordings.
    ValueError
        If names are missing or unexpected or shapes differ; they are named.

    Example
    -------
    >>> from pathlib import Path
    >>> convert_baseline(Path("none.h5"), Path("pretrained"), "STARSS23")
    Traceback (most recent call last):
    ...
    FileNotFoundError: no such weights file: none.h5
    """
    tensors = read_weights(checkpoint)
    channels, classes = (
        tensors[name].shape[axis]
        if name in tensors and tensors[name].ndim > axis
        else 0
        for name, axis in ((FIRST_LAYER, 1), (LAST_LAYER, 0))
    )
    if channels not in ARRAYS or classes != 12 * len(CLASS_NAMES):
        raise ValueError(
            f"{checkpoint} is no baseline of DCASE2024 with multi-ACCDOA and "
            f"distances: it should have {FIRST_LAYER} for 7 or 10 channels "
            f"and {LAST_LAYER} of {12 * len(CLASS_NAMES)}, and has "
            f"{channels} and {classes}"
        )
    format = ARRAYS[channels]
    model = DCASEBaseline(len(CLASS_NAMES), channels)
    scaler = {name: getattr(model, name) for name in ("mean", "deviation")}
    load_weights(model, {**tensors, **scaler}, checkpoint)
    model.mean, model.deviation = _scaler(data_folder, format)
    text = BASELINE.format(
        format=format,
        num_classes=len(CLASS_NAMES),
        num_channels=channels,
        sample_rate=SAMPLE_RATE,
        class_names=json.dumps(CLASS_NAMES),
    )
    keys = [line.split(":")[0] for line in text.splitlines() if line[0] != " "]
    keys = [key for key in keys if key != "modules" and key[0] != "#"]
    folder = save_pretrained(output, text, keys, {"model": model})
    logger.warning(
        "%s: distances, which the baseline estimates as well, are left out",
        folder,
    )
    return folder, len(tensors), sum(p.numel() for p in model.parameters())


def _scaler(data_folder, format):
    """Mean and deviation of each channel and bin, [channel, bin]."""
    place = unpack_part(data_folder, f"{format}_dev")
    files = [] if place is None else list_files(place, CLIP_SUFFIXES)
    if not files:
        raise FileNotFoundError(
            f"{data_folder}: no recordings in {format}_dev; give the folder of "
            "STARSS23 as --data-folder"
        )
    features, count, mean, squares = BaselineFeatures(format), 0, 0.0, 0.0
    for path in tqdm(files.values(), desc="features", unit="file"):
        waveform, _ = read_audio(path, fs=SAMPLE_RATE, num_channels=4)
        x = features(waveform[None])[0].double()
        # Sums of squares of parts together: Chan et al., 1979.
        part, frames = x.mean(1), x.shape[1]
        shift, total = part - mean, count + frames
        squares = squares + (x - part[:, None]).square().sum(1)
        squares = squares + shift.square() * (count * frames / total)
        mean, count = mean + shift * (frames / total), total
    deviation = (squares / count).sqrt()
    # As the baseline's scaler: what is constant stays.
    deviation[deviation == 0] = 1.0
    logger.info("%s: scaler of %d files, %d frames", place, len(files), count)
    return mean.float(), deviation.float()
