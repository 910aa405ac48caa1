"""SNR and cue errors exactly as the original recipe counts them.

For comparison with published figures only (speechbrain,
recipes/BinauralWSJ0Mix): each number is counted in an order of the talkers of
its own, and delays are whole samples.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment

from spatial_brain.metrics.separation_scores import (
    centred,
    same_shape,
    to_float64,
)

# Added to the energies.
EPS = 1e-8


def compat_snr(estimate, reference):
    """SNR as the original recipe counts it: that of its loss.

    Mean over ears and talkers, in the best order, with 1e-8 added to the
    energies.

    Arguments
    ---------
    estimate : torch.Tensor or array
        Shape [time, ear, source].
    reference : torch.Tensor or array
        Same shape.

    Returns
    -------
    float
        Decibels.

    Raises
    ------
    ValueError
        If shapes differ or values are not finite.

    Example
    -------
    >>> reference = np.random.default_rng(0).standard_normal((800, 2, 2))
    >>> round(compat_snr(0.9 * reference[..., ::-1], reference), 3)
    20.0
    """
    estimate, reference = map(centred, same_shape(estimate, reference))
    noise = estimate[..., :, None] - reference[..., None, :]
    ratio = (reference**2).sum(0)[..., None, :] / ((noise**2).sum(0) + EPS)
    pairs = 10 * np.log10(ratio + EPS).mean(0)
    return float(pairs[linear_sum_assignment(pairs, maximize=True)].mean())


def compat_interaural_errors(estimate, reference, fs):
    """Delta-ITD and delta-ILD exactly as the original recipe counts them.

    ITD: lag of the largest absolute GCC-PHAT of the whole utterance, in
    whole samples, not bounded. ILD: ratio of the energies of the ears. Mean
    over talkers, in the given or the reversed order, whichever is smaller -
    for each cue on its own. The delays are those of pyroomacoustics'
    ``tdoa``.

    Arguments
    ---------
    estimate : torch.Tensor or array
        Shape [time, 2 (left, right), source].
    reference : torch.Tensor or array
        Same shape.
    fs : float
        Sampling rate, Hz.

    Returns
    -------
    dict
        ``delta_ITD``, microseconds, and ``delta_ILD``, dB.

    Example
    -------
    >>> reference = np.random.default_rng(0).standard_normal((800, 2, 2))
    >>> errors = compat_interaural_errors(0.5 * reference, reference, 8000)
    >>> {name: round(float(value), 6) for name, value in errors.items()}
    {'delta_ITD': 0.0, 'delta_ILD': 0.0}
    """
    signals = [
        np.moveaxis(to_float64(signal, name, 3), 2, 0)
        for signal, name in ((estimate, "estimate"), (reference, "reference"))
    ]
    errors = {}
    for name, cue in (
        ("delta_ITD", lambda talker: compat_itd(talker, fs)),
        ("delta_ILD", compat_ild),
    ):
        found, wanted = (
            np.array([cue(talker) for talker in talkers]) for talkers in signals
        )
        errors[name] = min(
            np.abs(wanted - order).mean() for order in (found, found[::-1])
        )
    return errors


def compat_itd(talker, fs):
    """ITD of the original recipe; see ``compat_interaural_errors``.

    Arguments
    ---------
    talker : array
        Shape [time, 2 (left, right)].
    fs : float
        Sampling rate, Hz.

    Returns
    -------
    float
        Microseconds, positive if the left ear is later; in silence, where
        the phase transform divides 0 by 0, the smallest lag there is.

    Example
    -------
    >>> noise = np.random.default_rng(0).standard_normal(803)
    >>> compat_itd(np.stack((noise[:-3], noise[3:]), axis=1), 8000)
    375.0
    """
    size = 2 * len(talker)
    spectrum = np.fft.rfft(talker.astype(np.float32), size, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        spectrum = spectrum / np.abs(spectrum)
    correlation = np.fft.irfft(spectrum[:, 0] * spectrum[:, 1].conj(), size)
    reach = size // 2 + 1
    lags = np.concatenate((correlation[-reach:], correlation[:reach]))
    return float((np.argmax(np.abs(lags)) - reach) / fs * 1e6)


def compat_ild(talker):
    """ILD of the original recipe; see ``compat_interaural_errors``.

    Arguments
    ---------
    talker : array
        Shape [time, 2 (left, right)].

    Returns
    -------
    float
        Decibels, positive if the left ear is louder.

    Example
    -------
    >>> round(compat_ild(np.ones((800, 2)) * [2, 1]), 3)
    6.021
    """
    left, right = (talker**2).sum(0)
    return float(10 * np.log10(left / (right + EPS) + EPS))
