"""How many talkers there are, and how sure each direction is.

A network with K outputs always gives K directions, each with a distribution
over classes. :class:`TalkerCalibration` learns from recordings with 0 to K
talkers what these distributions look like for each number of talkers
(multinomial logistic regression on their sharpness and agreement), and how
often a direction is right (isotonic regression). Where there are fewer
talkers than outputs, the outputs that agree best are multiplied: of one
talker, sorted outputs lie on both sides.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import (
    isotonic_regression,
    linear_sum_assignment,
    minimize,
)

from spatial_brain.inference.localization import (
    CONFIDENCE_WIDTH,
    LIMITS,
    wrap_direction,
)

# What is less likely to be right is not given if the number is estimated.
ABSTENTION = 0.5
# Of the penalty on the weights of the standardised features.
_PENALTY = 1.0
# Directions behind a point of the curve, and points at most.
_PER_POINT, _MOST_POINTS = 20, 15
# Bhattacharyya coefficient from which on outputs mean the same talker.
_AGREE = 0.3
# Shares closer to 0 and 1 count as this.
_MARGIN = 1e-3


@dataclass(frozen=True)
class TalkerCalibration:
    """From outputs of a localiser to numbers of talkers and confidences.

    Arguments
    ---------
    weights : numpy.ndarray
        Of the features of the outputs, the constant last, for each number of
        talkers from 0 to K, [feature + 1, K + 1].
    evidence : numpy.ndarray
        Points at which the confidence is known, ascending, [point]: the
        probability near a direction times that of there being so many
        talkers.
    probability : numpy.ndarray
        That a direction with such evidence is within 10 degrees of a talker,
        not descending, [point].

    Example
    -------
    >>> one = TalkerCalibration(np.zeros((3, 2)), np.array([0.0, 1.0]),
    ...                         np.array([0.1, 0.9]))
    >>> one.confidence(np.array([[0.5]]), np.array([[0.0, 1.0]]))
    array([[0.5]])
    """

    weights: np.ndarray
    evidence: np.ndarray
    probability: np.ndarray

    @classmethod
    def fit(cls, logits, reference, decoder, target):
        """Learn from recordings whose talkers are known.

        Arguments
        ---------
        logits : torch.Tensor
            Outputs of the network, [recording, K, class].
        reference : numpy.ndarray
            True directions, degrees, [recording, K]; NaN where there are
            fewer talkers.
        decoder : callable
            From logits to degrees, [recording, talker].
        target : str
            What the degrees mean, a key of ``localization.MEANINGS``.

        Returns
        -------
        TalkerCalibration

        Raises
        ------
        ValueError
            If a number of talkers from 0 to K is in no recording.
        """
        counts = (~np.isnan(reference)).sum(1)
        numbers = np.arange(logits.shape[1] + 1)
        if missing := sorted({*numbers.tolist()} - {*counts.tolist()}):
            raise ValueError(
                f"no recording with {missing[0]} talkers: the number of "
                f"talkers is learned from recordings with 0 to {numbers[-1]}"
            )
        weights = _fit_numbers(_features(logits, decoder, target), counts)
        start = cls(weights, np.zeros(1), np.zeros(1))
        chances = start.number_probabilities(logits, decoder, target)
        evidence, right = [], []
        for number in numbers[1:].tolist():
            degrees, mass = directions_of(logits, number, decoder, target)
            evidence.append(_evidence(mass, chances).ravel())
            right.append(near_talkers(degrees, reference, target).ravel())
        return cls(
            weights, *_curve(np.concatenate(evidence), np.concatenate(right))
        )

    @classmethod
    def from_dict(cls, values):
        """Calibration of a model's card.

        Arguments
        ---------
        values : dict
            What ``to_dict`` gives.

        Returns
        -------
        TalkerCalibration

        Raises
        ------
        ValueError
            If it is damaged.

        Example
        -------
        >>> TalkerCalibration.from_dict({"weights": [[0.0]]})
        Traceback (most recent call last):
        ...
        ValueError: calibration: there is no evidence
        """
        parts = {}
        for name in ("weights", "evidence", "probability"):
            if name not in values:
                raise ValueError(f"calibration: there is no {name}")
            try:
                parts[name] = np.asarray(values[name], dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"calibration: {name} must be numbers"
                ) from error
        shape = parts["weights"].shape
        if len(shape) != 2 or shape[0] != _num_features(shape[1] - 1) + 1:
            raise ValueError(
                f"calibration: weights {list(shape)} are those of no number "
                "of outputs"
            )
        points, shares = parts["evidence"], parts["probability"]
        if (
            points.ndim != 1
            or not points.size
            or points.shape != shares.shape
            or (np.diff(points) <= 0).any()
            or (np.diff(shares) < 0).any()
            or not ((shares >= 0) & (shares <= 1)).all()
        ):
            raise ValueError(
                "calibration: evidence must ascend, with a probability for "
                "each that does not descend, in [0, 1]"
            )
        return cls(**parts)

    @property
    def num_outputs(self):
        """Directions that the network gives."""
        return self.weights.shape[1] - 1

    def to_dict(self):
        """The calibration as plain values, for the model's card.

        Returns
        -------
        dict
            ``weights, evidence, probability`` and ``within``, the degrees
            within which a direction is right.
        """
        parts = {
            name: np.round(getattr(self, name), 6).tolist()
            for name in ("weights", "evidence", "probability")
        }
        return {"within": CONFIDENCE_WIDTH, **parts}

    def number_probabilities(self, logits, decoder, target):
        """Probability of each number of talkers.

        Arguments
        ---------
        logits, decoder, target
            As ``fit`` takes them.

        Returns
        -------
        numpy.ndarray
            [recording, K + 1]; 0 talkers first.
        """
        features = _features(logits, decoder, target)
        return _softmax(features @ self.weights[:-1] + self.weights[-1])

    def confidence(self, mass, chances):
        """Probability that directions are right.

        Arguments
        ---------
        mass : numpy.ndarray
            Probability near each direction, [recording, talker].
        chances : numpy.ndarray
            Of each number of talkers, [recording, K + 1].

        Returns
        -------
        numpy.ndarray
            [recording, talker].
        """
        return np.interp(
            _evidence(mass, chances), self.evidence, self.probability
        )


class Estimates(NamedTuple):
    """What the outputs for windows show.

    Arguments
    ---------
    degrees : numpy.ndarray
        Directions, [window, talker]; NaN where there is none.
    confidence : numpy.ndarray
        Probability that each is within 10 degrees of a talker, same shape;
        NaN without a calibration.
    chances : numpy.ndarray or None
        Probability of each number of talkers, [window, talker + 1]; None
        without a calibration.
    """

    degrees: np.ndarray
    confidence: np.ndarray
    chances: np.ndarray | None


def estimate_talkers(logits, number, decoder, target, calibration=None):
    """Directions of the windows of a recording.

    Arguments
    ---------
    logits : torch.Tensor
        Outputs for windows with sound, [window, K, class].
    number : int or str
        Talkers; or ``"auto"``: as many as are likeliest in each window, and
        of those the directions that are rather right than wrong.
    decoder, target
        As ``TalkerCalibration.fit`` takes them.
    calibration : TalkerCalibration, optional
        Without one ``"auto"`` is K, and nothing has a confidence.

    Returns
    -------
    Estimates

    Example
    -------
    >>> from spatial_brain.processing.decoding import decode_classes
    >>> logits = torch.full((1, 2, 36), -9.0)
    >>> logits[0, 0, 10], logits[0, 1, 20] = 0.0, 0.0
    >>> found = estimate_talkers(logits, "auto", decode_classes, "cone")
    >>> found.degrees.round(1)
    array([[ 52.5, 102.5]])
    """
    most = logits.shape[1]
    chances = None
    if calibration is not None:
        chances = calibration.number_probabilities(logits, decoder, target)
    if number == "auto" and chances is not None:
        numbers = chances.argmax(1)
    else:
        numbers = np.full(len(logits), most if number == "auto" else number)
    found = np.full((2, len(logits), most), np.nan)
    for count in range(1, most + 1):
        mine = np.flatnonzero(numbers == count)
        if not len(mine):
            continue
        degrees, mass = directions_of(logits[mine], count, decoder, target)
        found[0, mine, :count] = degrees
        if chances is not None:
            found[1, mine, :count] = calibration.confidence(mass, chances[mine])
    degrees, confidence = found
    if number == "auto":
        unsure = confidence < ABSTENTION
        degrees[unsure], confidence[unsure] = np.nan, np.nan
    return Estimates(degrees, confidence, chances)


def directions_of(logits, number, decoder, target):
    """Directions of so many talkers, and the probability near them.

    Arguments
    ---------
    logits : torch.Tensor
        [recording, K, class].
    number : int
        Talkers, 1 to K.
    decoder, target
        As ``TalkerCalibration.fit`` takes them.

    Returns
    -------
    tuple of numpy.ndarray
        Degrees, and the probability within 10 degrees of them, both
        [recording, talker].

    Example
    -------
    >>> from spatial_brain.processing.decoding import decode_classes
    >>> logits = torch.full((1, 2, 36), -9.0)
    >>> logits[0, 0, 10:12], logits[0, 1, 11:13] = 0.0, 0.0
    >>> degrees, mass = directions_of(logits, 1, decode_classes, "cone")
    >>> degrees.round(1), mass.round(2)
    (array([[57.5]]), array([[1.]]))
    """
    merged = _merge(logits, number)
    degrees = decoder(merged)
    low, high = LIMITS[target]
    width = (high - low) / merged.shape[-1]
    bins = torch.arange(merged.shape[-1], device=merged.device)
    centres = low + (bins + 0.5) * width
    offset = wrap_direction(centres - degrees[..., None], target)
    near = offset.abs() <= CONFIDENCE_WIDTH
    mass = (merged.softmax(-1) * near).sum(-1)
    return degrees.cpu().double().numpy(), mass.cpu().double().numpy()


def near_talkers(degrees, reference, target):
    """Which directions are within 10 degrees of a talker of their own.

    Arguments
    ---------
    degrees : numpy.ndarray
        [recording, direction]; NaN where there is none.
    reference : numpy.ndarray
        True directions, degrees, [recording, talker]; NaN likewise.
    target : str
        A key of ``localization.MEANINGS``.

    Returns
    -------
    numpy.ndarray
        Bool, [recording, direction]; assigned for the smallest error.

    Example
    -------
    >>> near_talkers(np.array([[31.0, 33.0]]), np.array([[30.0, np.nan]]),
    ...              "cone")
    array([[ True, False]])
    """
    right = np.zeros(degrees.shape, dtype=bool)
    for row, (found, true) in enumerate(zip(degrees, reference, strict=True)):
        here = np.flatnonzero(~np.isnan(found))
        true = true[~np.isnan(true)]
        away = np.abs(wrap_direction(found[here, None] - true[None], target))
        first, second = linear_sum_assignment(away)
        right[row, here[first]] = away[first, second] <= CONFIDENCE_WIDTH
    return right


def _merge(logits, number):
    """Logits of so many talkers: the outputs that agree best become one.

    They are multiplied, or, if they do not agree at all, the sharper stays:
    a product would be between them.
    """
    scores = logits.double().log_softmax(-1)
    rows = torch.arange(len(scores), device=scores.device)
    while scores.shape[1] > number:
        count = scores.shape[1]
        pairs = torch.tensor([*combinations(range(count), 2)]).to(rows)
        agreement, best = _agreement(scores, pairs).max(1)
        first, second = pairs[best].unbind(-1)
        one, two = scores[rows, first], scores[rows, second]
        sharper = torch.where(_entropy(one) <= _entropy(two), 0, 1)
        sharper = torch.stack((one, two), 1)[rows, sharper]
        agree = (agreement >= _AGREE)[:, None]
        merged = torch.where(agree, (one + two).log_softmax(-1), sharper)
        scores = scores.clone()
        scores[rows, first] = merged
        kept = torch.ones_like(scores[..., 0], dtype=torch.bool)
        kept[rows, second] = False
        scores = scores[kept].unflatten(0, (len(rows), count - 1))
    return scores


def _agreement(scores, pairs):
    """Bhattacharyya coefficients of pairs of distributions, [row, pair]."""
    one, two = scores[:, pairs[:, 0]], scores[:, pairs[:, 1]]
    return (0.5 * (one + two)).exp().sum(-1)


def _num_features(num_outputs):
    """Of a network with so many outputs."""
    return 2 * num_outputs + (4 if num_outputs > 1 else 0)


def _features(logits, decoder, target):
    """What shows the number of talkers, [recording, feature].

    Sharpness of the outputs (probability near the direction, and entropy);
    of several outputs also how well the most similar two agree, and how sharp
    all of them are together.
    """
    count, classes = logits.shape[1:]
    degrees, mass = directions_of(logits, count, decoder, target)
    scores = logits.double().log_softmax(-1)
    columns = [
        _odds(np.sort(mass, 1)),
        np.sort(_entropy(scores).cpu().numpy(), 1),
    ]
    if count > 1:
        pairs = torch.tensor([*combinations(range(count), 2)])
        agreement = _agreement(scores, pairs.to(scores.device)).cpu().numpy()
        one, two = pairs.numpy().T
        apart = np.abs(
            wrap_direction(degrees[:, one] - degrees[:, two], target)
        )
        _, joint = directions_of(logits, 1, decoder, target)
        columns += [
            _odds(agreement.max(1, keepdims=True)),
            np.log(apart.min(1, keepdims=True) + 1.0),
            _odds(joint),
            _entropy(_merge(logits, 1)).cpu().numpy(),
        ]
    return np.concatenate(columns, 1)


def _odds(share):
    """Logarithm of the odds of a probability."""
    share = share.clip(_MARGIN, 1 - _MARGIN)
    return np.log(share / (1 - share))


def _entropy(scores):
    """Of distributions given by logarithms; 1 is flat, [recording, talker]."""
    entropy = -(scores.exp() * scores.clamp_min(-700.0)).sum(-1)
    return entropy / np.log(scores.shape[-1])


def _evidence(mass, chances):
    """Mass times the probability that there are as many talkers."""
    # That there are at least 1, 2, ... talkers, for the likeliest first.
    least = chances[:, :0:-1].cumsum(1)[:, ::-1]
    rank = (-mass).argsort(1, kind="stable").argsort(1, kind="stable")
    return mass * np.take_along_axis(least, rank, 1)


def _softmax(values):
    """Probabilities [row, class]."""
    values = np.exp(values - values.max(1, keepdims=True))
    return values / values.sum(1, keepdims=True)


def _fit_numbers(features, counts):
    """Weights [feature + 1, number] of the logistic regression."""
    mean, scale = features.mean(0), features.std(0)
    # A feature that is the same everywhere means nothing.
    scale = np.where(scale > 1e-9, scale, np.inf)
    inputs = np.c_[(features - mean) / scale, np.ones(len(features))]
    truth = np.eye(counts.max() + 1)[counts]
    shape = inputs.shape[1], truth.shape[1]

    def loss(weights):
        weights = weights.reshape(shape)
        share = _softmax(inputs @ weights)
        punished = weights * (np.arange(shape[0]) < shape[0] - 1)[:, None]
        value = -np.log((share * truth).sum(1).clip(1e-300)).sum()
        slope = inputs.T @ (share - truth) + _PENALTY * punished
        return value + _PENALTY / 2 * (punished**2).sum(), slope.ravel()

    start = np.zeros(np.prod(shape))
    weights = minimize(loss, start, jac=True, method="L-BFGS-B").x
    weights = weights.reshape(shape)
    weights[:-1] /= scale[:, None]
    weights[-1] -= mean @ weights[:-1]
    return weights


def _curve(evidence, right):
    """Points of the isotonic regression: evidence and share, ascending."""
    order = np.argsort(evidence, kind="stable")
    number = int(np.clip(len(order) // _PER_POINT, 1, _MOST_POINTS))
    parts = np.array_split(order, number)
    points = [evidence[part].mean() for part in parts]
    # Half a success and half a failure more: nothing is certain.
    shares = [(right[part].sum() + 0.5) / (len(part) + 1) for part in parts]
    sizes = [len(part) for part in parts]
    shares = isotonic_regression(shares, weights=sizes).x
    points, first = np.unique(np.round(points, 6), return_index=True)
    return points, shares[first]
