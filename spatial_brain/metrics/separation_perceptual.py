"""STOI and PESQ of separated talkers, by the libraries of those names."""

import importlib
import warnings

import numpy as np

from spatial_brain.metrics.separation_scores import same_shape

# Metric to the library that computes it.
LIBRARIES = {"stoi": "pystoi", "estoi": "pystoi", "pesq": "pesq"}
PESQ_MODES = {8000: "nb", 16000: "wb"}


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
        If the library is not installed; says how to install it.

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
        If shapes differ, there is no such metric, or PESQ is asked for at
        another rate than 8 or 16 kHz.
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
        heard, wanted = estimate[(..., *place)], reference[(..., *place)]
        if heard.any() and wanted.any():
            result[place] = _score(library, metric, wanted, heard, fs)
    return result


def _score(library, metric, wanted, heard, fs):
    """Score of one signal; NaN where the library has none."""
    if metric == "pesq":
        try:
            return library.pesq(int(fs), wanted, heard, PESQ_MODES[fs])
        except (library.NoUtterancesError, library.BufferTooShortError):
            return np.nan
    with warnings.catch_warnings():
        # This warning comes with a value that is no score.
        warnings.filterwarnings("error", "Not enough STFT", RuntimeWarning)
        try:
            return library.stoi(wanted, heard, fs, extended=metric == "estoi")
        except RuntimeWarning:
            return np.nan
