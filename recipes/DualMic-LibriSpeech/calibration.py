"""Numbers of talkers and confidences of the trained network.

They are learned from recordings with no, one and both talkers of rooms of
their own and of the speakers of the validation; what they are worth is
measured on those of the test set.
"""

import logging

import numpy as np
import torch
from speechbrain.dataio.dataloader import make_dataloader

from spatial_brain.inference.pretrained import unwrap
from spatial_brain.inference.talkers import (
    ABSTENTION,
    TalkerCalibration,
    estimate_talkers,
    near_talkers,
)
from spatial_brain.metrics.calibration import (
    expected_calibration_error,
    reliability_curve,
)
from spatial_brain.metrics.localization import BINS

logger = logging.getLogger(__name__)

# RMS of what is no talker; the network does not look at levels.
NOISE_LEVEL = 0.01


def calibrate(brain):
    """Calibrate the network of a brain, and measure how good that is.

    Arguments
    ---------
    brain : LocalizationBrain
        With the weights of the test; its hyper-parameters have
        ``calibration_set`` (None: no calibration) and ``test_set``.

    Returns
    -------
    tuple
        Plain values for the model's card, and for ``metrics.json``; both None
        without a calibration.
    """
    hparams = brain.hparams
    if hparams.calibration_set is None:
        logger.warning(
            "nothing to calibrate with (simulated rooms: num_rooms): the model "
            "will give no confidence, and as many talkers as it has outputs"
        )
        return None, None
    meaning = hparams.decoder, hparams.target
    logits, reference = predict_all(brain, hparams.calibration_set)
    fitted = TalkerCalibration.fit(logits, reference, *meaning).to_dict()
    # What the card holds is what is measured.
    calibration = TalkerCalibration.from_dict(fitted)
    measured = measure(
        calibration, *predict_all(brain, hparams.test_set), meaning
    )
    measured["fitted_on"] = len(logits)
    logger.info(
        "calibrated on %d recordings; of %d of the test the number of talkers "
        "is right in %.0f %%",
        len(logits),
        measured["recordings"],
        100 * measured["number_right"],
    )
    return fitted, measured


@torch.no_grad()
def predict_all(brain, dataset):
    """Outputs for each mixture of a data set with no, one and both talkers.

    Arguments
    ---------
    brain : LocalizationBrain
        The network and how it mixes.
    dataset : SeededDataset
        Mixtures.

    Returns
    -------
    tuple
        Logits, [recording, talker, class], and true directions,
        [recording, talker], NaN where there are fewer.
    """
    network = unwrap(brain.modules.model).eval()
    # Evaluation adds options of its own to those of the YAML.
    options = {
        name: value
        for name, value in brain.hparams.test_dataloader_opts.items()
        if name in ("batch_size", "num_workers")
    }
    logits, reference = [], []
    for batch in make_dataloader(dataset, **options):
        batch = batch.to(brain.device)
        angles = batch.angles.data.cpu().double().numpy()
        for talkers in range(angles.shape[1] + 1):
            if talkers:
                waveform = brain.mix_sources(batch, talkers)
            else:
                waveform = _noise_alone(batch)
            logits.append(network(waveform).float().cpu())
            present = np.arange(angles.shape[1]) < talkers
            reference.append(np.where(present, angles, np.nan))
    return torch.cat(logits), np.concatenate(reference)


def _noise_alone(batch):
    """Noise of the rooms; of every other mixture that of the microphones."""
    waveforms = []
    length, channels = batch.dry.data.shape[1], batch.mic_gains.data.shape[1]
    for name, diffuse in zip(batch.id, batch.noise.data, strict=True):
        number = int(name.removeprefix("mix"))
        generator = torch.Generator().manual_seed(number)
        own = torch.randn(length, channels, generator=generator)
        noise = own.to(diffuse)
        if number % 2 and diffuse.any():
            noise = diffuse / diffuse.square().mean().sqrt()
        waveforms.append(NOISE_LEVEL * noise)
    gains = 10 ** (batch.mic_gains.data[:, None] / 20)
    return torch.stack(waveforms) * gains


def measure(calibration, logits, reference, meaning):
    """What a calibration is worth on recordings whose talkers are known.

    Arguments
    ---------
    calibration : TalkerCalibration
        Learned from others.
    logits : torch.Tensor
        [recording, talker, class].
    reference : numpy.ndarray
        True directions, degrees, [recording, talker]; NaN where there are
        fewer.
    meaning : tuple
        Decoder and target.

    Returns
    -------
    dict
        ``recordings``; ``number_right`` (share) and ``numbers`` (how many
        recordings of each number of talkers, in rows, have which estimate);
        ``two_right`` by the angle between the talkers; ``directions`` that
        are given, their ``right`` share, ``expected_calibration_error`` and
        ``reliability``; ``phantoms``, the share of the directions that are
        nobody's; ``abstention``, the least confidence. What needs directions
        is None if none is given.
    """
    target = meaning[1]
    counts = (~np.isnan(reference)).sum(1)
    found = estimate_talkers(logits, "auto", *meaning, calibration)
    estimated = found.chances.argmax(1)
    number = reference.shape[1] + 1
    table = np.zeros((number, number), dtype=int)
    np.add.at(table, (counts, estimated), 1)
    given = ~np.isnan(found.degrees)
    right = near_talkers(found.degrees, reference, target)[given]
    confidence = found.confidence[given]
    result = {
        "right": None,
        "phantoms": None,
        "expected_calibration_error": None,
        "reliability": [],
        "recordings": len(logits),
        "number_right": float(np.mean(counts == estimated)),
        "numbers": table.tolist(),
        "two_right": _by_separation(reference, estimated),
        "directions": int(given.sum()),
        "abstention": ABSTENTION,
    }
    if given.any():
        extra = np.maximum(given.sum(1) - counts, 0).sum()
        result |= {
            "right": float(right.mean()),
            "phantoms": float(extra / given.sum()),
            "expected_calibration_error": expected_calibration_error(
                confidence, right
            ),
            "reliability": reliability_curve(confidence, right),
        }
    return result


def _by_separation(reference, estimated):
    """Share of recordings of two talkers that are counted as such."""
    both = ~np.isnan(reference).any(1)
    apart = np.abs(np.diff(reference[both, :2], axis=1))[:, 0]
    edges = (0.0, *BINS["separation"], 180.0)
    shares = {}
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        mine = (apart >= low) & (apart <= high)
        if mine.any():
            share = float(np.mean(estimated[both][mine] == reference.shape[1]))
            shares[f"{low:g} to {high:g}"] = share
    return shares
