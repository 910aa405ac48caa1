"""How much of each source a separation kept: SNR, SI-SNR, SDR, and the order.

All functions take one mixture, time first: [time, ...] or, where sources are
paired, [time, ear, source].
"""

import importlib
import warnings

import numpy as np
import torch
from scipy.linalg import solve_toeplitz
from scipy.optimize import linear_sum_assignment

# Ratios are kept within so many decibels: a perfect estimate in float32 has
# an error of rounding only, and means must stay finite.
LIMIT = 100.0
# Metric to the library that computes it.
LIBRARIES = {"stoi": "pystoi", "estoi": "pystoi", "pesq": "pesq"}
PESQ_MODES = {8000: "nb", 16000: "wb"}


def to_float64(signal, name, num_dims):
    """A signal as float64 array, checked.

    Arguments
    ---------
    signal : torch.Tensor or array
        Any numbers.
    name : str
        What messages call it.
    num_dims : int
        Dimensions it must have.

    Returns
    -------
    numpy.ndarray
        Same shape.

    Raises
    ------
    ValueError
        If the number of dimensions differs, the signal is empty, or a value
        is not finite.

    Example
    -------
    >>> to_float64(torch.tensor([1, 2]), "estimate", 1)
    array([1., 2.])
    """
    if isinstance(signal, torch.Tensor):
        signal = signal.detach().cpu()
    signal = np.asarray(signal, dtype=np.float64)
    if signal.ndim != num_dims or not signal.size:
        raise ValueError(
            f"{name} must have {num_dims} dimensions, none of them empty, got "
            f"shape {signal.shape}"
        )
    if not np.isfinite(signal).all():
        raise ValueError(f"{name} holds values that are not finite")
    return signal


def split_batch(signals, lengths=None):
    """The mixtures of a batch one by one, without their padding.

    Arguments
    ---------
    signals : dict
        Name to waveforms [batch, time, ...]; batch and time are the same
        in all.
    lengths : torch.Tensor or array, optional
        Length of each mixture relative to the time axis, in (0, 1], [batch].

    Returns
    -------
    list of dict
        Name to float64 array [time, ...], one dictionary a mixture.

    Raises
    ------
    ValueError
        If shapes do not fit, values are not finite, or a length is outside
        (0, 1].

    Example
    -------
    >>> items = split_batch({"mix": torch.zeros(2, 10, 2)}, [1.0, 0.5])
    >>> [item["mix"].shape for item in items]
    [(10, 2), (5, 2)]
    """
    arrays = {
        name: to_float64(signal, name, np.ndim(signal))
        for name, signal in signals.items()
    }
    shapes = {name: array.shape for name, array in arrays.items()}
    if len({shape[:2] for shape in shapes.values()}) != 1:
        raise ValueError(f"[batch, time] must be the same in all: {shapes}")
    number, time = next(iter(shapes.values()))[:2]
    if lengths is None:
        samples = np.full(number, time)
    else:
        lengths = to_float64(lengths, "lengths", 1)
        if (
            len(lengths) != number
            or not ((lengths > 0) & (lengths <= 1 + 1e-6)).all()
        ):
            raise ValueError(
                f"lengths must be {number} shares in (0, 1], got "
                f"{lengths.tolist()}"
            )
        samples = np.clip(np.round(lengths * time).astype(int), 1, time)
    return [
        {name: array[k, :end] for name, array in arrays.items()}
        for k, end in enumerate(samples)
    ]


def same_shape(estimate, reference):
    """Both signals as float64 arrays, checked to have the same shape.

    Arguments
    ---------
    estimate : torch.Tensor or array
        Shape [time, ...].
    reference : torch.Tensor or array
        Same shape.

    Returns
    -------
    tuple of numpy.ndarray
        Estimate and reference.

    Raises
    ------
    ValueError
        If shapes differ or values are not finite.

    Example
    -------
    >>> same_shape([1, 2], [5, 5])
    (array([1., 2.]), array([5., 5.]))
    """
    estimate, reference = (
        to_float64(signal, name, np.ndim(signal))
        for signal, name in ((estimate, "estimate"), (reference, "reference"))
    )
    if estimate.shape != reference.shape:
        raise ValueError(
            f"estimate {estimate.shape} and reference {reference.shape} must "
            "have the same shape [time, ...]"
        )
    return estimate, reference


def centred(signal):
    """A signal less its mean over time.

    Arguments
    ---------
    signal : numpy.ndarray
        Shape [time, ...].

    Returns
    -------
    numpy.ndarray
        Same shape.

    Example
    -------
    >>> centred(np.array([1.0, 3.0]))
    array([-1.,  1.])
    """
    return signal - signal.mean(0)


def _decibels(signal, noise):
    """Ratio of energies in dB within the limits; NaN for nothing at all."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip(10 * np.log10(signal / noise), -LIMIT, LIMIT)


def snr(estimate, reference):
    """Signal-to-noise ratio: what differs from the reference is noise.

    Means over time are taken away first, as the training loss does. A wrong
    level counts as noise: between the ears it is a wrong level difference.

    Arguments
    ---------
    estimate : torch.Tensor or array
        Shape [time, ...].
    reference : torch.Tensor or array
        Same shape.

    Returns
    -------
    numpy.ndarray
        Decibels, at most 100 in size, shape [...]; NaN where the reference
        is silent.

    Raises
    ------
    ValueError
        If shapes differ or values are not finite.

    Example
    -------
    >>> reference = np.sin(np.arange(800.0))
    >>> round(float(snr(0.9 * reference, reference)), 3)
    20.0
    """
    estimate, reference = map(centred, same_shape(estimate, reference))
    energy = (reference**2).sum(0)
    ratio = _decibels(energy, ((estimate - reference) ** 2).sum(0))
    return np.where(energy > 0, ratio, np.nan)


def si_snr(estimate, reference):
    """Scale-invariant signal-to-noise ratio (Le Roux et al., 2019).

    Arguments
    ---------
    estimate : torch.Tensor or array
        Shape [time, ...].
    reference : torch.Tensor or array
        Same shape.

    Returns
    -------
    numpy.ndarray
        Decibels, at most 100 in size, shape [...]; NaN where the reference
        or the estimate is silent.

    Raises
    ------
    ValueError
        If shapes differ or values are not finite.

    Example
    -------
    >>> t = np.arange(800) * np.pi / 100
    >>> estimate = 7.0 * (np.sin(t) + 0.1 * np.cos(t))
    >>> round(float(si_snr(estimate, np.sin(t))), 3)
    20.0
    """
    estimate, reference = map(centred, same_shape(estimate, reference))
    energy = (reference**2).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        gain = (estimate * reference).sum(0) / energy
        target = gain * reference
    noise = ((estimate - target) ** 2).sum(0)
    return _decibels((target**2).sum(0), noise)


def sdr(estimate, reference, filter_length=512):
    """Signal-to-distortion ratio of BSS Eval (Vincent et al., 2006).

    What a filter of ``filter_length`` taps can make of the reference is
    signal, the rest distortion. The filter forgives levels, delays and
    colours; this ratio therefore ignores interaural cues.

    Arguments
    ---------
    estimate : torch.Tensor or array
        Shape [time, ...].
    reference : torch.Tensor or array
        Same shape.
    filter_length : int
        Taps.

    Returns
    -------
    numpy.ndarray
        Decibels, at most 100 in size, shape [...]; NaN where the reference
        or the estimate is silent.

    Raises
    ------
    ValueError
        If shapes differ or values are not finite.

    Example
    -------
    >>> reference = np.random.default_rng(0).standard_normal(4000)
    >>> delayed = np.append(np.zeros(7), reference[:-7])
    >>> bool(sdr(delayed, reference) > 25), bool(snr(delayed, reference) < 0)
    (True, True)
    """
    estimate, reference = same_shape(estimate, reference)
    shape, time = estimate.shape[1:], len(estimate)
    size = 1 << (time + filter_length - 1).bit_length()
    result = np.full(shape, np.nan)
    for place in np.ndindex(*shape):
        found, wanted = estimate[(..., *place)], reference[(..., *place)]
        if not found.any() or not wanted.any():
            continue
        spectrum = np.fft.rfft(wanted, size)
        own = np.fft.irfft(np.abs(spectrum) ** 2, size)[:filter_length]
        # Correlation of the estimate with the reference delayed by k.
        both = np.fft.irfft(spectrum.conj() * np.fft.rfft(found, size), size)
        both = both[:filter_length]
        # Without it, band-limited references give singular equations.
        own[0] *= 1 + 1e-10
        target = both @ solve_toeplitz(own, both)
        result[place] = _decibels(target, max(found @ found - target, 0.0))
    return result


def best_permutation(estimate, reference):
    """The one order in which all metrics compare estimates and references.

    It has the largest mean SNR over sources and ears, among all orders. A
    silent reference does not count; it gets an estimate that is left over.

    Arguments
    ---------
    estimate : torch.Tensor or array
        Shape [time, ear, source].
    reference : torch.Tensor or array
        Same shape.

    Returns
    -------
    numpy.ndarray
        Integers [source]: ``estimate[..., permutation]`` is in the order of
        the references.

    Raises
    ------
    ValueError
        If shapes differ or are others, or values are not finite.

    Example
    -------
    >>> reference = np.random.default_rng(0).standard_normal((800, 2, 3))
    >>> best_permutation(reference[..., [2, 0, 1]], reference)
    array([1, 2, 0])
    """
    estimate, reference = same_shape(estimate, reference)
    if reference.ndim != 3:
        raise ValueError(
            f"expected signals [time, ear, source], got {reference.shape}"
        )
    pairs = np.stack(
        [
            snr(np.broadcast_to(one[..., None], reference.shape), reference)
            for one in np.moveaxis(estimate, 2, 0)
        ]
    )
    gains = np.nan_to_num(pairs).mean(1)
    rows, columns = linear_sum_assignment(gains, maximize=True)
    return rows[np.argsort(columns)]


def load_library(metric):
    """The library of a metric, or how to get it.

    Arguments
    ---------
    metric : str
        ``"stoi"``, ``"estoi"`` (extended STOI) or ``"pesq"``.

    Returns
    -------
    module

    Raises
    ------
    ValueError
        If there is no such metric.
    ImportError
        If the library is not installed.

    Example
    -------
    >>> load_library("mos")
    Traceback (most recent call last):
    ...
    ValueError: no metric 'mos'; use one of stoi, estoi, pesq
    """
    if metric not in LIBRARIES:
        raise ValueError(
            f"no metric {metric!r}; use one of {', '.join(LIBRARIES)}"
        )
    name = LIBRARIES[metric]
    try:
        return importlib.import_module(name)
    except ImportError as problem:
        raise ImportError(
            f"{metric.upper()} is computed by the library {name}, which is "
            f"not installed: pip install {name}"
        ) from problem


def perceptual_score(metric, estimate, reference, fs):
    """STOI, extended STOI or PESQ of every signal.

    Arguments
    ---------
    metric : str
        ``"stoi"`` or ``"estoi"`` (share, Taal et al., 2011; Jensen and Taal,
        2016) or ``"pesq"`` (MOS-LQO; narrow band at 8 kHz, wide band at
        16 kHz; ITU-T P.862).
    estimate : torch.Tensor or array
        Shape [time, ...].
    reference : torch.Tensor or array
        Same shape.
    fs : int
        Sampling rate, Hz.

    Returns
    -------
    numpy.ndarray
        Shape [...]; NaN where there is too little speech for a score.

    Raises
    ------
    ValueError
        If shapes differ, there is no such metric, or the rate for PESQ is
        neither 8 nor 16 kHz.
    ImportError
        If the library is not installed.

    Example
    -------
    >>> speech = np.random.default_rng(0).standard_normal((16000, 2))
    >>> pystoi = getfixture("monkeypatch")
    >>> import sys, types
    >>> stand_in = types.SimpleNamespace(stoi=lambda x, y, fs, extended: 0.9)
    >>> pystoi.setitem(sys.modules, "pystoi", stand_in)
    >>> perceptual_score("stoi", speech, speech, 16000)
    array([0.9, 0.9])
    """
    library = load_library(metric)
    if metric == "pesq" and fs not in PESQ_MODES:
        raise ValueError(f"PESQ is defined at 8000 and 16000 Hz, not at {fs}")
    estimate, reference = same_shape(estimate, reference)
    result = np.full(estimate.shape[1:], np.nan)
    for place in np.ndindex(*result.shape):
        found, wanted = estimate[(..., *place)], reference[(..., *place)]
        if found.any() and wanted.any():
            result[place] = _score(library, metric, wanted, found, fs)
    return result


def _score(library, metric, wanted, found, fs):
    """Score of one signal; NaN where the library has none."""
    if metric == "pesq":
        try:
            return library.pesq(int(fs), wanted, found, PESQ_MODES[fs])
        except (library.NoUtterancesError, library.BufferTooShortError):
            return np.nan
    with warnings.catch_warnings():
        # This warning comes with a value that is no score.
        warnings.filterwarnings("error", "Not enough STFT", RuntimeWarning)
        try:
            return library.stoi(wanted, found, fs, extended=metric == "estoi")
        except RuntimeWarning:
            return np.nan
