"""Errors of the interaural cues of separated sources.

Time differences (ITD) are positive where the left ear is later, level
differences (ILD) where the left ear is louder.

Functions called ``compat_...`` are for comparison with published figures only
(speechbrain, recipes/BinauralWSJ0Mix): each number is counted in an order of
the sources of its own, and delays are whole samples.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.signal import firwin, resample_poly

from spatial_brain.metrics.separation.signals import (
    best_permutation,
    centred,
    same_shape,
    split_batch,
    to_float64,
)

# Added to the energies.
EPS = 1e-8
# Heads are too small for larger delays, seconds.
MAX_ITD = 1e-3
# Listeners follow the delay of the waveform below 1.5 kHz only; the band's
# edges are cosines between these frequencies, Hz.
ITD_BAND = (50.0, 100.0, 1400.0, 1600.0)
# A frame is active if it is at most so far below the loudest one, dB.
ACTIVE_RANGE = 40.0
ACTIVE_FRAME = 0.02
# Bands of the ILD: lowest edge (Hz), width (equivalent rectangular
# bandwidths), frame (s), range of active frames within a band and of audible
# bands within an utterance (dB).
LOWEST_EDGE = 80.0
BAND_WIDTH = 2.0
ILD_FRAME = 0.064
BAND_RANGE = 30.0
AUDIBLE_RANGE = 60.0
# An ear so far below the reference is silent, as energy.
SILENT = 1e-10
# Frequencies so far below the strongest count less in PHAT, as amplitude.
PHAT_FLOOR = 1e-3
# Points a second of the interpolated correlation, and lags that interpolation
# needs on both sides.
LAG_RATE, MARGIN = 128000, 32


def interaural_errors(
    estimate,
    reference,
    fs,
    *,
    lengths=None,
    permutation=None,
    compat=False,
    itd="correlation",
):
    """Errors of the interaural cues of separated sources.

    Arguments
    ---------
    estimate : torch.Tensor or array
        Separated sources [batch, time, 2 (left, right), source], in any
        order; or one mixture, without the batch dimension.
    reference : torch.Tensor or array
        Same shape.
    fs : float
        Sampling rate, Hz.
    lengths : torch.Tensor or array, optional
        Relative lengths of the mixtures, [batch].
    permutation : array, optional
        Order of the estimates, [batch, source], so that they fit the
        references; default: ``best_permutation``, by SNR.
    compat : bool
        Whether to count as the original recipe does; see
        ``compat_interaural_errors``.
    itd : str
        How delays are found, see ``interaural_time_difference``.

    Returns
    -------
    dict of numpy.ndarray
        ``itd_error`` (microseconds) and ``ild_error`` (dB, mean over the
        bands of ``ild_bands``), [batch, source], in the order of the
        references; ``itd_estimate``, ``itd_reference``; ``ild_estimate``,
        ``ild_reference`` [batch, source, band]; ``permutation``. NaN where an
        ear is silent. With ``compat``: ``delta_ITD`` (microseconds) and
        ``delta_ILD`` (dB), [batch]. Without a batch, without that dimension.

    Raises
    ------
    ValueError
        If shapes do not fit or values are not finite.

    Example
    -------
    >>> reference = np.random.default_rng(0).standard_normal((8000, 2, 2))
    >>> errors = interaural_errors(reference[..., ::-1], reference, 8000)
    >>> errors["itd_error"], errors["permutation"]
    (array([0., 0.]), array([1, 0]))
    """
    single = np.ndim(estimate) == 3
    if single:
        estimate, reference = estimate[None], reference[None]
        permutation = None if permutation is None else [permutation]
    if np.ndim(estimate) != 4 or np.shape(estimate) != np.shape(reference):
        raise ValueError(
            "estimate and reference must be the same [batch, time, 2, source], "
            f"got {tuple(estimate.shape)} and {tuple(reference.shape)}"
        )
    items = split_batch({"estimate": estimate, "reference": reference}, lengths)
    results = []
    for k, item in enumerate(items):
        if compat:
            results.append(compat_interaural_errors(*item.values(), fs))
            continue
        order = (
            best_permutation(*item.values())
            if permutation is None
            else np.asarray(permutation[k])
        )
        sources = [
            _source_cues(
                item["estimate"][..., i], item["reference"][..., j], fs, itd
            )
            for j, i in enumerate(order)
        ]
        result = {
            name: np.array([cues[name] for cues in sources])
            for name in sources[0]
        }
        results.append({**result, "permutation": order})
    if single:
        return results[0]
    return {name: np.stack([r[name] for r in results]) for name in results[0]}


def _source_cues(estimate, reference, fs, method="correlation"):
    """Cues and their errors of one source; NaN where an ear is silent."""
    estimate = _check_binaural(estimate, "estimate")
    reference = _check_binaural(reference, "reference")
    active = _active_samples(reference, fs)
    energy = (estimate[active] ** 2).sum(0)
    wanted = (reference[active] ** 2).sum(0)
    # A silent ear has no cue, and the noise in it must not be taken for one.
    if not ((energy > SILENT * wanted) & (wanted > 0)).all():
        ild = np.full((2, len(ild_bands(fs)) - 1), np.nan)
        itd = (float("nan"), float("nan"))
    else:
        ild = _level_differences(estimate, reference, fs)
        itd = [
            interaural_time_difference(signal, fs, active, method)
            for signal in (estimate, reference)
        ]
    difference = np.abs(ild[0] - ild[1])
    known = difference[~np.isnan(difference)]
    return {
        "itd_estimate": itd[0],
        "itd_reference": itd[1],
        "itd_error": abs(itd[0] - itd[1]),
        "ild_estimate": ild[0],
        "ild_reference": ild[1],
        "ild_error": float(known.mean()) if len(known) else float("nan"),
    }


def interaural_time_difference(waveform, fs, active=None, method="correlation"):
    """Delay between the ears, far finer than a sample.

    ``"correlation"``: where the normalised cross-correlation of the ears below
    1.5 kHz is largest, within 1 ms. The correlation takes the left ear's active
    samples with whatever the right ear has around them, and is normalised at
    each lag, so that a mere delay is found without bias. A rest of another
    source in an estimate shifts it in proportion to that rest. So does an
    echo: one that arrives after 30 to 100 ms from elsewhere, 1 to 2 dB below
    the direct sound, pulls it by about 100 microseconds.

    ``"phat"``: where the whitened cross-correlation (GCC-PHAT; C. Knapp and G.
    Carter, IEEE Trans. ASSP 24, 1976) of the active samples is largest, all
    frequencies weighed alike. Its peak is narrow, so that an echo makes a
    second one and moves the first by less than 10 microseconds, as long as the
    direct sound is the louder. But frequencies without speech count as much:
    a rest of another source can make it jump by hundreds of microseconds.

    Arguments
    ---------
    waveform : torch.Tensor or array
        Shape [time, 2 (left, right)].
    fs : float
        Sampling rate, Hz.
    active : array, optional
        Bool, [time]: what counts; default: frames of 20 ms of the waveform
        that are at most 40 dB below the loudest one.
    method : str
        "correlation" or "phat".

    Returns
    -------
    float
        Microseconds, positive if the left ear is later; NaN if nothing is
        active, or an ear has no sound in the band.

    Raises
    ------
    ValueError
        If the waveform is not binaural or is not finite, or the method is
        unknown.

    Example
    -------
    >>> noise = np.random.default_rng(0).standard_normal(8003)
    >>> pair = np.stack((noise[:-3], noise[3:]), axis=1)
    >>> round(interaural_time_difference(pair, 8000))
    375
    """
    if method not in ("correlation", "phat"):
        raise ValueError(
            f"unknown method {method!r} of the ITD; use correlation or phat"
        )
    waveform = _check_binaural(waveform, "waveform")
    if active is None:
        active = _active_samples(waveform, fs)
    time, search = len(waveform), int(np.ceil(MAX_ITD * fs)) + MARGIN
    size = 1 << (time + search).bit_length()
    spectrum = np.fft.rfft(waveform, size, axis=0)
    frequency = np.fft.rfftfreq(size, 1 / fs)
    spectrum *= _band_pass(frequency)[:, None]
    left, right = np.fft.irfft(spectrum, size, axis=0)[:time].T
    total = (waveform[active] ** 2).sum(0)
    energy = np.array([(left[active] ** 2).sum(), (right[active] ** 2).sum()])
    if not (energy > SILENT * total).all():
        return float("nan")
    mask = np.asarray(active, dtype=np.float64)
    if method == "phat":
        return _peak(_whitened(mask[:, None] * waveform, search), fs)
    product = _correlate(mask * left, right, size, search)
    power = _correlate(mask, right**2, size, search)
    floor = 1e-9 * power.max()
    return _peak(product / np.sqrt(np.maximum(power, floor)), fs)


def _whitened(waveform, search):
    """GCC-PHAT of the ears, |lag| <= search."""
    size = 1 << (2 * len(waveform)).bit_length()
    left, right = np.fft.rfft(waveform, size, axis=0).T
    product = left * right.conj()
    magnitude = np.abs(product)
    floor = PHAT_FLOOR**2 * magnitude.max()
    full = np.fft.irfft(product / np.maximum(magnitude, floor), size)
    return np.concatenate((full[-search:], full[: search + 1]))


def _active_samples(reference, fs):
    """Bool [time]: frames of 20 ms at most 40 dB below the loudest one."""
    reference = to_float64(reference, "reference", 2)
    frame = max(1, round(ACTIVE_FRAME * fs))
    power = (reference**2).sum(1)
    energy = np.add.reduceat(power, np.arange(0, len(power), frame))
    loud = energy > energy.max() * 10 ** (-ACTIVE_RANGE / 10)
    return np.repeat(loud, frame)[: len(power)]


def _band_pass(frequency):
    """Response of the band of the ITD, with edges of half a cosine."""
    low, rise, fall, high = ITD_BAND
    edges = np.interp(frequency, (low, rise, fall, high), (0, 1, 1, 0))
    return np.sin(0.5 * np.pi * edges) ** 2


def _correlate(first, second, size, search):
    """Sum over t of first(t) second(t - lag), |lag| <= search."""
    spectrum = np.fft.rfft(first, size) * np.fft.rfft(second, size).conj()
    full = np.fft.irfft(spectrum, size)
    return np.concatenate((full[-search:], full[: search + 1]))


def _peak(correlation, fs):
    """Lag in microseconds of the largest value within the bound."""
    finer = max(1, round(LAG_RATE / fs))
    centre = (len(correlation) - 1) // 2 * finer
    # The top is flat: phases of the filter may differ by a millionth only.
    taps = firwin(2 * MARGIN * finer + 1, 0.95 / finer, window=("kaiser", 12.0))
    fine = resample_poly(correlation, finer, 1, window=taps)
    reach = int(MAX_ITD * fs * finer)
    fine = fine[centre - reach : centre + reach + 1]
    place = int(np.argmax(fine))
    shift = 0.0
    if 0 < place < len(fine) - 1:
        below, top, above = fine[place - 1 : place + 2]
        bend = below - 2 * top + above
        shift = 0.5 * (below - above) / bend if bend < 0 else 0.0
    lag = (place - reach + shift) / (finer * fs)
    return float(1e6 * np.clip(lag, -MAX_ITD, MAX_ITD))


def ild_bands(fs):
    """Edges of the bands in which levels are compared.

    Two equivalent rectangular bandwidths each (Glasberg and Moore, 1990),
    from 80 Hz to at most half the sampling rate.

    Arguments
    ---------
    fs : float
        Sampling rate, Hz.

    Returns
    -------
    numpy.ndarray
        Hz, ascending, [band + 1].

    Example
    -------
    >>> ild_bands(8000).round()[[0, 1, -1]], len(ild_bands(8000))
    (array([  80.,  154., 3856.]), 13)
    """
    first = 21.4 * np.log10(1 + 0.00437 * LOWEST_EDGE)
    last = 21.4 * np.log10(1 + 0.00437 * fs / 2)
    count = int((last - first) / BAND_WIDTH)
    numbers = first + BAND_WIDTH * np.arange(count + 1)
    return (10 ** (numbers / 21.4) - 1) / 0.00437


def _band_energies(waveform, fs):
    """Energies [frame, band, ear], of frames of 64 ms with half overlap."""
    waveform = to_float64(waveform, "waveform", 2)
    frame = round(ILD_FRAME * fs)
    hop = frame // 2
    missing = max(frame - len(waveform), -(len(waveform) - frame) % hop)
    padded = np.pad(waveform, ((0, missing), (0, 0)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, frame, axis=0)
    window = np.hanning(frame + 1)[:-1]
    power = np.abs(np.fft.rfft(frames[::hop] * window)) ** 2
    edges = np.round(ild_bands(fs) * frame / fs).astype(int)
    energies = np.add.reduceat(power[..., : edges[-1]], edges[:-1], axis=-1)
    return energies.swapaxes(1, 2)


def _level_differences(estimate, reference, fs):
    """ILD of both [band], dB, on the reference's frames; NaN without speech."""
    found, wanted = _band_energies(estimate, fs), _band_energies(reference, fs)
    loudness = wanted.sum(2)
    loudest = loudness.max(0)
    active = loudness > loudest * 10 ** (-BAND_RANGE / 10)
    audible = loudest > loudest.max() * 10 ** (-AUDIBLE_RANGE / 10)
    floor = 1e-6 * (active * loudness).sum(0)
    levels = []
    for energies in (found, wanted):
        total = (active[..., None] * energies).sum(0)
        with np.errstate(divide="ignore", invalid="ignore"):
            total = 10 * np.log10(np.maximum(total, floor[:, None]))
            levels.append(np.where(audible, total[:, 0] - total[:, 1], np.nan))
    return tuple(levels)


def _check_binaural(waveform, name):
    """A checked signal [time, 2]."""
    waveform = to_float64(waveform, name, 2)
    if waveform.shape[1] != 2:
        raise ValueError(
            f"{name} must be binaural [time, 2], got {waveform.shape}"
        )
    return waveform


def compat_interaural_errors(estimate, reference, fs):
    """Delta-ITD and delta-ILD exactly as the original recipe counts them.

    ITD: lag of the largest absolute GCC-PHAT of the whole utterance, in
    whole samples, not bounded. ILD: ratio of the energies of the ears. Mean
    over sources, in the given or the reversed order, whichever is smaller -
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
        ("delta_ITD", lambda source: _compat_itd(source, fs)),
        ("delta_ILD", _compat_ild),
    ):
        found, wanted = (
            np.array([cue(source) for source in sources]) for sources in signals
        )
        errors[name] = min(
            np.abs(wanted - order).mean() for order in (found, found[::-1])
        )
    return errors


def compat_snr(estimate, reference):
    """SNR as the original recipe counts it: that of its loss.

    Mean over ears and sources, in the best order, with 1e-8 added to the
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


def _compat_itd(source, fs):
    """ITD of the original recipe, microseconds; in silence its smallest lag."""
    size = 2 * len(source)
    spectrum = np.fft.rfft(source.astype(np.float32), size, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        spectrum = spectrum / np.abs(spectrum)
    correlation = np.fft.irfft(spectrum[:, 0] * spectrum[:, 1].conj(), size)
    reach = size // 2 + 1
    lags = np.concatenate((correlation[-reach:], correlation[:reach]))
    return float((np.argmax(np.abs(lags)) - reach) / fs * 1e6)


def _compat_ild(source):
    """ILD of the original recipe, dB, of a source [time, 2 (left, right)]."""
    left, right = (source**2).sum(0)
    return float(10 * np.log10(left / (right + EPS) + EPS))
