"""Errors of separated sources over a test set: signals, cues, and intervals.

One order of the sources, that of the best mean SNR, serves all metrics of a
mixture; the mixture itself is scored beside them as the baseline.
"""

from itertools import combinations

import numpy as np
import torch

from spatial_brain.geometry import angular_distance, azel_to_unit
from spatial_brain.metrics.separation.interaural import (
    EPS,
    compat_interaural_errors,
    compat_snr,
    ild_bands,
    interaural_errors,
)
from spatial_brain.metrics.separation.signals import (
    best_permutation,
    load_library,
    perceptual_score,
    sdr,
    si_snr,
    snr,
    split_batch,
    to_float64,
)
from spatial_brain.metrics.statistics import (
    ErrorCollector,
    percentile_interval,
)

# Edges of the ranges by which errors are broken down: angle between the
# closest sources (degrees), reverberation time (s).
BINS = {"angle": (15.0, 30.0, 60.0, 90.0), "t60": (0.2, 0.4, 0.6)}
CUES = ("itd_error", "ild_error")
EARS = ("left", "right")


class SeparationErrors(ErrorCollector):
    """Collects separated mixtures of a test set and sums their errors up.

    Rows have ``id``; ``num_talkers``; ``permutation``; lists of one number a
    source: ``snr`` and so on (mean of the ears, dB), ``snr_i`` (improvement
    over the mixture), ``snr_i_left``, ``snr_i_right``, ``mixture_snr``;
    ``itd_error`` (microseconds), ``ild_error`` (dB), ``itd``,
    ``mixture_itd``, ``reference_itd``, and the errors of the mixture,
    ``mixture_itd_error``, ``mixture_ild_error``; numbers of the original
    recipe ``compat_snr``, ``compat_snr_i`` (dB), ``compat_delta_ITD``
    (microseconds), ``compat_delta_ILD`` (dB), and ``silent_ears``, in which
    these rest on the 1e-8 that is added to energies; and conditions.

    The summary has ``num_mixtures``, ``num_talkers``; means over sources
    ``snr``, ``snr_i``, ..., ``itd_error``, ``ild_error`` with their ``_low``
    and ``_high`` (left out with a single mixture); ``missing``: metric to the
    number of sources which it could not be computed for, such as silent ones;
    ``mixture``: the same metrics of the mixture; ``compat``: ``snr``,
    ``snr_i``, ``delta_ITD``, ``delta_ILD`` of the original recipe and
    ``silent``, the number of mixtures with silent ears;
    ``ild_error_by_band``: ``frequency`` (Hz), ``estimate``, ``mixture`` (dB).

    Arguments
    ---------
    fs : int
        Sampling rate, Hz.
    sdr : bool
        Whether the signal-to-distortion ratio of BSS Eval is computed; it
        takes longer than all the rest.
    perceptual : sequence of str
        More metrics: ``"stoi"``, ``"estoi"``, ``"pesq"``, if their libraries
        are installed.
    bins : dict, optional
        Condition to the inner edges of its ranges, besides or instead of
        those of ``BINS``.
    itd : str
        How delays between the ears are found: "correlation", or "phat", which
        late echoes do not pull (``interaural_time_difference``).

    Raises
    ------
    ValueError
        If edges do not ascend or a metric is not known.
    ImportError
        If a metric's library is not installed.

    Example
    -------
    >>> reference = np.random.default_rng(0).standard_normal((1, 8000, 2, 2))
    >>> errors = SeparationErrors(8000)
    >>> errors.append(["a"], 0.9 * reference, reference, reference.sum(-1),
    ...               azimuths=[[30.0, -20.0]])
    >>> summary = errors.summarize()
    >>> round(summary["snr"]), round(summary["snr_i"])
    (20, 20)
    >>> list(summary["by"]["angle"])
    ['30 to 60']
    """

    _NO_MEANS = ("permutation",)

    def __init__(
        self, fs, *, sdr=True, perceptual=(), bins=None, itd="correlation"
    ):
        self.fs, self.with_sdr, self.itd = fs, sdr, itd
        self.perceptual = tuple(perceptual)
        for metric in self.perceptual:
            load_library(metric)
        super().__init__({**BINS, **(bins or {})})

    def clear(self):
        """Forget everything appended."""
        super().clear()
        self._bands = []

    @property
    def metrics(self):
        """Names of the signal metrics, in the order of tables."""
        return (
            "snr",
            "si_snr",
            *(("sdr",) if self.with_sdr else ()),
            *self.perceptual,
        )

    def append(
        self,
        ids,
        estimate,
        reference,
        mixture,
        *,
        azimuths=None,
        elevations=None,
        lengths=None,
        **conditions,
    ):
        """Add a batch.

        Arguments
        ---------
        ids : sequence of str
            Names of the mixtures.
        estimate : torch.Tensor or array
            Separated sources, [batch, time, 2 (left, right), source], in any
            order.
        reference : torch.Tensor or array
            Same shape.
        mixture : torch.Tensor or array
            What was separated, [batch, time, 2].
        azimuths : torch.Tensor or array, optional
            Of the references, degrees, [batch, source]. The smallest angle
            between two sources becomes the condition ``angle``.
        elevations : torch.Tensor or array, optional
            Degrees, [batch, source]; 0 by default.
        lengths : torch.Tensor or array, optional
            Relative lengths, [batch].
        **conditions
            One value a mixture, [batch]: a number, broken down by ``bins`` if
            it has such, or a text, broken down by itself.

        Raises
        ------
        ValueError
            If shapes do not fit or values are not finite; names the mixtures.
        """
        ids = [str(name) for name in ids]
        signals = {
            "estimate": estimate,
            "reference": reference,
            "mixture": mixture,
        }
        with self._naming(ids):
            _check_shapes(ids, signals)
            items = split_batch(signals, lengths)
            if azimuths is not None and np.shape(reference)[3] > 1:
                angles = _smallest_angles(azimuths, elevations, len(ids))
                conditions = {"angle": angles, **conditions}
            conditions = self._checked(conditions, (len(ids),))
        scores = [self._score(**item) for item in items]
        rows = [
            {"id": name, **row}
            for name, (row, _) in zip(ids, scores, strict=True)
        ]
        self._extend(rows, conditions)
        self._bands += [bands for _, bands in scores]

    def _score(self, estimate, reference, mixture):
        """All numbers of one mixture, and its ILD errors by band."""
        order = best_permutation(estimate, reference)
        row = {"num_talkers": len(order), "permutation": order.tolist()}
        # The mixture, as if it were the estimate of every source.
        unprocessed = np.repeat(mixture[..., None], len(order), axis=2)
        estimate = estimate[..., order]
        for metric in self.metrics:
            found, before = (
                self._metric(metric, signal, reference)
                for signal in (estimate, unprocessed)
            )
            row[metric] = found.mean(0).tolist()
            row[f"{metric}_i"] = (found - before).mean(0).tolist()
            for ear, gain in zip(EARS, found - before, strict=True):
                row[f"{metric}_i_{ear}"] = gain.tolist()
            row[f"mixture_{metric}"] = before.mean(0).tolist()
        bands = []
        for prefix, signal in (("", estimate), ("mixture_", unprocessed)):
            cues = interaural_errors(
                signal,
                reference,
                self.fs,
                permutation=np.arange(len(order)),
                itd=self.itd,
            )
            for name in CUES:
                row[prefix + name] = cues[name].tolist()
            row[f"{prefix}itd"] = cues["itd_estimate"].tolist()
            bands.append(np.abs(cues["ild_estimate"] - cues["ild_reference"]))
        row["reference_itd"] = cues["itd_reference"].tolist()
        compat = compat_snr(estimate, reference)
        gain = compat - compat_snr(unprocessed, reference)
        cues = compat_interaural_errors(estimate, reference, self.fs)
        row.update(compat_snr=compat, compat_snr_i=gain)
        ears = [(signal**2).sum(0) <= EPS for signal in (estimate, reference)]
        row["silent_ears"] = int(np.sum(ears))
        row.update((f"compat_{key}", float(v)) for key, v in cues.items())
        return row, np.stack(bands)

    def _metric(self, metric, signal, reference):
        """A signal metric of every ear and source, [ear, source]."""
        if metric in self.perceptual:
            return perceptual_score(metric, signal, reference, self.fs)
        function = {"snr": snr, "si_snr": si_snr, "sdr": sdr}[metric]
        return function(signal, reference)

    def summarize(self, num_bootstrap=1000, seed=0):
        """Means over all mixtures and by conditions.

        Arguments
        ---------
        num_bootstrap : int
            Draws for the 95 % intervals; 0 leaves them out.
        seed : int
            Of the draws.

        Returns
        -------
        dict
            What the class lists; and ``by``: condition -> range or text ->
            the same, without ``ild_error_by_band``.
        """
        result = super().summarize(num_bootstrap, seed)
        result["ild_error_by_band"] = self._band_errors()
        return result

    def _statistics(self, chosen, num_bootstrap, seed):
        """Means over the sources of the chosen mixtures, bool [row, 1]."""
        rows = self._chosen(chosen)
        number = len(rows)
        result = {
            "num_mixtures": number,
            "num_talkers": sum(row["num_talkers"] for row in rows),
        }
        draws = np.random.default_rng(seed).multinomial(
            number, np.full(number, 1 / number), size=num_bootstrap
        )
        for part, metrics in self._names().items():
            found = result.setdefault(part, {}) if part else result
            found["missing"] = {}
            for metric in metrics:
                key = f"{part}_{metric}" if part else metric
                values = [np.atleast_1d(row[key]) for row in rows]
                sums = np.array([np.nansum(value) for value in values])
                counts = np.array([(~np.isnan(v)).sum() for v in values])
                missing = sum(map(len, values)) - int(counts.sum())
                if missing:
                    found["missing"][metric] = missing
                found[metric] = float(_mean(sums.sum(), counts.sum()))
                if num_bootstrap and number > 1:
                    means = _mean(draws @ sums, draws @ counts)
                    low, high = percentile_interval(means)
                    found[f"{metric}_low"], found[f"{metric}_high"] = low, high
        result["compat"]["silent"] = sum(row["silent_ears"] > 0 for row in rows)
        return result

    def _names(self):
        """Part of the summary -> names of its metrics."""
        own = [*self.metrics, *(f"{metric}_i" for metric in self.metrics)]
        own += [f"{m}_i_{ear}" for m in self.metrics for ear in EARS]
        return {
            "": [*own, *CUES],
            "mixture": [*self.metrics, *CUES],
            "compat": ["snr", "snr_i", "delta_ITD", "delta_ILD"],
        }

    def _band_errors(self):
        """Mean ILD error in each band, over mixtures and sources."""
        edges = ild_bands(self.fs)
        errors = np.concatenate(self._bands, axis=1)
        known = ~np.isnan(errors)
        total = np.where(known, errors, 0.0).sum(1)
        with np.errstate(invalid="ignore"):
            means = total / known.sum(1)
        return {
            "frequency": np.sqrt(edges[1:] * edges[:-1]).tolist(),
            "estimate": means[0].tolist(),
            "mixture": means[1].tolist(),
        }


def _mean(total, count):
    """Total by count; NaN where there is nothing."""
    with np.errstate(invalid="ignore"):
        return np.true_divide(total, count)


def _check_shapes(ids, signals):
    """Raise a ValueError unless shapes are those of separated mixtures."""
    shapes = {name: tuple(np.shape(value)) for name, value in signals.items()}
    wanted = shapes["reference"]
    if (
        len(wanted) != 4
        or wanted[2] != 2
        or shapes["estimate"] != wanted
        or shapes["mixture"] != wanted[:3]
    ):
        raise ValueError(
            "expected estimate and reference [batch, time, 2, source] and "
            f"mixture [batch, time, 2], got {shapes}"
        )
    if len(ids) != wanted[0]:
        raise ValueError(f"{len(ids)} ids for {wanted[0]} mixtures")


def _smallest_angles(azimuths, elevations, number):
    """Smallest angle between two sources of each mixture, degrees."""
    azimuths = torch.from_numpy(to_float64(azimuths, "azimuths", 2))
    if elevations is None:
        elevations = torch.zeros_like(azimuths)
    else:
        elevations = torch.from_numpy(to_float64(elevations, "elevations", 2))
    if len(azimuths) != number or elevations.shape != azimuths.shape:
        raise ValueError(
            f"azimuths {tuple(azimuths.shape)} and elevations "
            f"{tuple(elevations.shape)} must be [{number}, source]"
        )
    units = azel_to_unit(azimuths, elevations)
    pairs = list(combinations(range(azimuths.shape[1]), 2))
    angles = [angular_distance(units[:, i], units[:, j]) for i, j in pairs]
    # On a grid of whole degrees, rounding must not choose the range.
    return torch.stack(angles).amin(0).round(decimals=4)
