"""The report of a run that separates talkers binaurally."""

from pathlib import Path

import numpy as np
from matplotlib.ticker import FuncFormatter, NullFormatter

from spatial_brain.metrics.separation.signals import (
    best_permutation,
    to_float64,
)
from spatial_brain.reporting.plots import (
    DYNAMIC_RANGE,
    FAINT,
    MANY_POINTS,
    MARKERS,
    PALETTE,
    finish,
    level_spectrogram,
    line_plot,
    new_figure,
    style,
)
from spatial_brain.reporting.report import (
    Report,
    check_results,
    interval_text,
)

# Ranges of the angle with equally many mixtures, at most, and the smallest
# number of mixtures in one.
MAX_RANGES, MIN_MIXTURES = 8, 5
FREQUENCY_TICKS = (125, 250, 500, 1000, 2000, 4000, 8000)
# Metric: heading, decimal places.
COLUMNS = {
    "snr_i": ("SNRi, dB", 2),
    "si_snr_i": ("SI-SNRi, dB", 2),
    "sdr_i": ("SDRi, dB", 2),
    "snr": ("SNR, dB", 2),
    "stoi": ("STOI", 3),
    "estoi": ("ESTOI", 3),
    "pesq": ("PESQ", 2),
    "itd_error": ("ITD error, µs", 1),
    "ild_error": ("ILD error, dB", 2),
}
# Names of the original recipe for the same quantities.
COMPAT = {
    "snr_i": "snr_i",
    "snr": "snr",
    "itd_error": "delta_ITD",
    "ild_error": "delta_ILD",
}
HEADLINES = {
    "snr_i": "SNR improvement",
    "si_snr_i": "SI-SNR improvement",
    "itd_error": "error of time differences (ITD)",
    "ild_error": "error of level differences (ILD)",
}
CONDITIONS = {
    "angle": "angle between talkers, °",
    "t60": "reverberation time T60, s",
}
MEANING = (
    "SNRi, SI-SNRi, SDRi: improvement over the mixture, mean of both ears. "
    "Errors of cues: per talker, ITD below 1.5 kHz within 1 ms, ILD as mean "
    "over bands, on active frames. One order of the talkers, that of the best "
    "SNR, for all of these. Rows 'as the original counts' have SNRi, "
    "delta-ITD and delta-ILD of the original recipe in these columns: whole "
    "samples, broad band, an order of its own for each cue."
)
# What an example holds, with the number of dimensions.
_SIGNALS = {"mixture": 2, "reference": 3, "estimate": 3}
PLAYER_SECONDS = 6
NUM_WORST = 10


def _separation_spectrograms(mixture, reference, estimate, fs, names):
    """One ear of a mixture, of its sources, and of what was separated."""
    sources = len(names)
    panels = [("mixture", mixture)]
    for k, name in enumerate(names):
        panels.append((name, reference[:, k]))
        panels.append((f"{name}, separated", estimate[:, k]))
    levels = [level_spectrogram(signal, fs) for _, signal in panels]
    # What was played sets the scale: a wild estimate must not darken it.
    loudest = max(level.max() for level in levels[:2])
    with style():
        figure = new_figure(8.2, 2.1 * (sources + 1))
        grid = figure.add_gridspec(sources + 1, 2)
        places = [grid[0, :]]
        places += [grid[1 + k, j] for k in range(sources) for j in (0, 1)]
        for index, (place, level) in enumerate(
            zip(places, levels, strict=True)
        ):
            axes = figure.add_subplot(place)
            axes.grid(False)
            image = axes.imshow(
                level,
                cmap="magma",
                vmin=loudest - DYNAMIC_RANGE,
                vmax=loudest,
                origin="lower",
                aspect="auto",
                extent=(0, len(reference) / fs, 0, fs / 2000),
            )
            axes.set_title(panels[index][0])
            if index % 2 == 1 or index == 0:
                axes.set_ylabel("kHz")
            if index in (0, len(panels) - 1, len(panels) - 2):
                axes.set_xlabel("time, s")
        bar = figure.colorbar(image, ax=figure.axes, label="level, dB")
        bar.outline.set_visible(False)
    return figure


def _error_by_angle(angles, values, y_label, title):
    """An error of each mixture against the angle between its sources."""
    angles = np.asarray(angles, dtype=float)
    with style():
        figure = new_figure()
        axes = figure.add_subplot()
        for index, (label, errors) in enumerate(values.items()):
            colour = PALETTE[index % len(PALETTE)]
            errors = np.asarray(errors, dtype=float)
            known = np.isfinite(errors)
            if not known.any():
                continue
            x, mean, half = _range_means(angles[known], errors[known])
            if index == 0:
                many = known.sum() > MANY_POINTS
                axes.scatter(
                    angles[known],
                    errors[known],
                    s=7,
                    color=colour,
                    alpha=0.35,
                    linewidths=0,
                    rasterized=bool(many),
                )
            axes.fill_between(
                x, mean - half, mean + half, color=colour, alpha=0.2, lw=0
            )
            axes.plot(
                x,
                mean,
                label=label,
                color=colour,
                marker=MARKERS[index % len(MARKERS)],
                markersize=4.5,
            )
        axes.set(xlabel="angle between talkers, degrees", ylabel=y_label)
        axes.set_xlim(left=0)
        _limit(axes, next(iter(values.values())))
        finish(figure, axes, title, len(values))
    return figure


def _range_means(angles, errors):
    """Mean angle, mean error and half interval in ranges of the angle."""
    count = np.clip(len(angles) // MIN_MIXTURES, 1, MAX_RANGES)
    shares = np.arange(1, count) / count
    # Angles often lie on a grid; equal ones stay together.
    edges = np.unique(np.quantile(angles, shares, method="lower"))
    index = np.digitize(angles, edges)
    parts = [index == k for k in np.unique(index)]
    mean = np.array([errors[part].mean() for part in parts])
    half = np.array(
        [1.96 * errors[part].std() / np.sqrt(part.sum()) for part in parts]
    )
    return np.array([angles[part].mean() for part in parts]), mean, half


def _limit(axes, errors):
    """Cut single points that would press all others to the axis."""
    errors = np.asarray(errors, dtype=float)
    errors = errors[np.isfinite(errors)]
    if not len(errors):
        return
    usual = np.quantile(errors, 0.98)
    lines = max(line.get_ydata().max() for line in axes.lines)
    if errors.min() >= 0:
        top = 1.15 * max(usual, lines)
        axes.set_ylim(0, top if errors.max() > 2 * top else None)


def _delay_scatter(reference, delays):
    """Estimated interaural time differences against the true ones, µs."""
    with style():
        figure = new_figure(5.2, 4.4)
        axes = figure.add_subplot()
        axes.plot((-1000, 1000), (-1000, 1000), color=FAINT, lw=1.0)
        for index, (label, values) in enumerate(delays.items()):
            axes.scatter(
                reference,
                values,
                s=9,
                alpha=0.5,
                linewidths=0,
                label=label,
                # As in the other pictures: the network first in the palette.
                color=PALETTE[len(delays) - 1 - index],
                marker=MARKERS[len(delays) - 1 - index],
                rasterized=len(reference) > MANY_POINTS,
            )
        reach = np.abs(np.asarray(reference, dtype=float))
        reach = 1.1 * max(300.0, np.nanmax(reach, initial=0.0))
        axes.set(
            xlim=(-reach, reach),
            ylim=(-1050, 1050),
            xlabel="true delay of the left ear, µs",
            ylabel="delay after separation, µs",
        )
        finish(figure, axes, "Time differences of the talkers", len(delays))
    return figure


def _level_error_bands(by_band):
    """Mean error of the level difference in each band, dB."""
    frequency = by_band["frequency"]
    series = {
        name: (frequency, values)
        for name, values in by_band.items()
        if name != "frequency"
    }
    figure = line_plot(
        series,
        "frequency, Hz",
        "mean ILD error, dB",
        "Level differences by frequency",
    )
    axes = figure.axes[0]
    low, high = min(frequency) / 1.15, max(frequency) * 1.15
    axes.set_xscale("log")
    axes.set_xticks([tick for tick in FREQUENCY_TICKS if low < tick < high])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda hz, _: f"{hz:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.set_xlim(low, high)
    return figure


def separation_report(
    output_folder,
    metrics,
    records,
    rows,
    examples=(),
    title="Binaural separation of talkers",
    subtitle=None,
    notes=None,
):
    """Write ``report.html`` of a separation run.

    How the run was made is read from its folder; see ``Report.add_run``.

    Arguments
    ---------
    output_folder : str or Path
        Folder of the run; the report is written into it.
    metrics : dict
        Method to what ``SeparationErrors.summarize`` returns: ``"network"``,
        and others on the same mixtures, if there are any.
    records : list of dict
        One an epoch, as ``read_train_log`` gives them; may be empty.
    rows : list of dict
        Of the network, as ``SeparationErrors.rows`` gives them.
    examples : sequence of dict
        Mixtures to show and to play: ``id``, ``mixture`` [time, 2],
        ``reference`` [time, 2, source], ``estimate`` (same shape, in any
        order), ``fs``, and, if known, ``azimuths`` (degrees, + left,
        [source]).
    title : str
        Heading.
    subtitle : str, optional
        A sentence: data, model, device.
    notes : str, optional
        Text below the results.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    ValueError
        If there are no results of the network, or no rows.

    Example
    -------
    >>> from spatial_brain.metrics.separation.errors import SeparationErrors
    >>> sources = np.random.default_rng(0).standard_normal((1, 4000, 2, 2))
    >>> errors = SeparationErrors(8000)
    >>> errors.append(["a"], 0.9 * sources, sources, sources.sum(-1))
    >>> path = separation_report(getfixture("tmp_path"),
    ...     {"network": errors.summarize()}, [], errors.rows())
    >>> "SNR improvement" in path.read_text()
    True
    """
    check_results(metrics, rows)
    report = Report(title, subtitle)
    _add_results(report, metrics)
    if notes:
        report.add_text(notes)
    _add_cues(report, metrics["network"], rows)
    _add_conditions(report, metrics["network"], rows)
    report.add_training(records)
    if examples:
        _add_examples(report, examples)
    _add_worst(report, rows)
    report.add_run(output_folder)
    return report.write(Path(output_folder) / "report.html")


def _add_results(report, metrics):
    """Add the big numbers and the table of all methods."""
    network = metrics["network"]
    for name, label in HEADLINES.items():
        heading, digits = COLUMNS[name]
        unit = heading.rpartition(", ")[2]
        if name in network["mixture"]:
            label += f"; mixture {network['mixture'][name]:.{digits}f} {unit}"
        report.add_headline(
            f"{network[name]:.{digits}f} {unit}", label, main=name == "snr_i"
        )
    known = [name for name in COLUMNS if name in network]
    # Nothing is improved by leaving all as it is.
    unchanged = {name: 0.0 for name in known if name.endswith("_i")}
    lines = [
        *metrics.items(),
        ("mixture", {**network["mixture"], **unchanged}),
    ]
    for method, values in metrics.items():
        compat = {name: values["compat"][key] for name, key in COMPAT.items()}
        lines.append((f"{method}, as the original counts", compat))
    report.add_section("Results")
    report.add_table(
        ["method", *(COLUMNS[name][0] for name in known), "95 % of SNRi"],
        [
            [
                method,
                *(values.get(name) for name in known),
                interval_text(values, "snr_i"),
            ]
            for method, values in lines
        ],
        f"{network['num_mixtures']} test mixtures, {network['num_talkers']} "
        f"talkers. {MEANING}",
        emphasis=list(metrics).index("network"),
        digits=[0, *(COLUMNS[name][1] for name in known), 0],
    )
    missing = [
        f"{COLUMNS[name][0].partition(',')[0]}: {number}"
        for name, number in network["missing"].items()
        if name in COLUMNS
    ]
    if missing:
        report.add_text(
            "Talkers without a value, silent in the reference or in the "
            f"estimate, which the means leave out: {'; '.join(missing)}."
        )
    silent = network["compat"].get("silent", 0)
    if silent:
        report.add_text(
            f"An ear of a talker is silent in {silent} of "
            f"{network['num_mixtures']} mixtures. What the original counts "
            "there rests on the 1e-8 that it adds to energies (down to -80 dB, "
            "or about +80), and moves its means."
        )


def _means(rows, key):
    """Mean over the sources of each mixture; NaN if there is none."""
    known = [[value for value in row[key] if value == value] for row in rows]
    return np.array([np.mean(values or [np.nan]) for values in known])


def _add_cues(report, network, rows):
    """Add delays of all sources, and errors of levels by frequency."""
    report.add_section("Interaural cues")
    bands = dict(network["ild_error_by_band"])
    bands["network"] = bands.pop("estimate")
    bands["mixture"] = bands.pop("mixture")
    delays = {
        label: np.concatenate([row[key] for row in rows])
        for label, key in (("mixture", "mixture_itd"), ("network", "itd"))
    }
    truth = np.concatenate([row["reference_itd"] for row in rows])
    report.add_figures(
        [_delay_scatter(truth, delays), _level_error_bands(bands)],
        [
            "Each point is a talker of the test set. The mixture has one "
            "delay, between those of its talkers or that of the louder one.",
            "Mean over the talkers, in bands two auditory filters wide.",
        ],
    )


def _add_conditions(report, network, rows):
    """Add errors against the angle, and tables by all conditions."""
    if not network["by"]:
        return
    report.add_section("Where it is hard")
    if "angle" in network["by"]:
        angles = [row["angle"] for row in rows]
        gains = {"network": _means(rows, "snr_i")}
        figures = [_error_by_angle(angles, gains, "SNRi, dB", "Separation")]
        for name, word in (("itd_error", "Time"), ("ild_error", "Level")):
            figures.append(
                _error_by_angle(
                    angles,
                    {
                        "network": _means(rows, name),
                        "mixture": _means(rows, f"mixture_{name}"),
                    },
                    COLUMNS[name][0],
                    f"{word} differences",
                )
            )
        report.add_figures(
            figures,
            [
                "Each point is a mixture; lines are means with 95 % intervals.",
                *["The mixture: cues before separation."] * 2,
            ],
        )
    names = ("snr_i", "si_snr_i", "itd_error", "ild_error")
    for condition, groups in network["by"].items():
        report.add_table(
            [
                CONDITIONS.get(condition, condition.replace("_", " ")),
                "mixtures",
                *(COLUMNS[name][0] for name in names),
                "ITD error of the mixture, µs",
                "ILD error of the mixture, dB",
            ],
            [
                [
                    label,
                    part["num_mixtures"],
                    *(part[name] for name in names),
                    part["mixture"]["itd_error"],
                    part["mixture"]["ild_error"],
                ]
                for label, part in groups.items()
            ],
            digits=[0, 0, *(COLUMNS[name][1] for name in names), 1, 2],
        )


def _add_examples(report, examples):
    """Add spectrograms and players of some mixtures."""
    report.add_section("Examples")
    report.add_text(
        "Spectrograms of the left ear. The players have both ears - use "
        "headphones - with one gain for all sounds of a mixture, so that "
        "levels and directions are those of the signals."
    )
    for example in examples:
        fs = example["fs"]
        end = round(PLAYER_SECONDS * fs)
        mixture, reference, estimate = (
            to_float64(example[name], f"{example['id']}: {name}", dims)[:end]
            for name, dims in _SIGNALS.items()
        )
        estimate = estimate[..., best_permutation(estimate, reference)]
        azimuths = example.get("azimuths")
        names = [
            f"talker {k + 1}"
            + ("" if azimuths is None else f", {_place(float(azimuths[k]))}")
            for k in range(reference.shape[2])
        ]
        report.add_figure(
            _separation_spectrograms(
                *(mixture[:, 0], reference[:, 0], estimate[:, 0]), fs, names
            ),
            str(example["id"]),
        )
        signals = {"mixture": mixture}
        for k, name in enumerate(names):
            signals[f"{name}: as it was"] = reference[..., k]
            signals[f"{name}: separated"] = estimate[..., k]
        report.add_players(signals, fs)


def _place(azimuth):
    """An azimuth in words."""
    azimuth = (azimuth + 180) % 360 - 180
    if round(azimuth) in (0, -180):
        return "in front" if round(azimuth) == 0 else "behind"
    return f"{abs(azimuth):.0f}° {'left' if azimuth > 0 else 'right'}"


def _add_worst(report, rows):
    """Add a table of the mixtures that were separated worst."""
    gains = _means(rows, "snr_i")
    order = np.argsort(gains, kind="stable")[:NUM_WORST]
    errors = [_means(rows, name) for name in ("itd_error", "ild_error")]
    report.add_section("Worst cases")
    report.add_table(
        [
            "mixture",
            "angle, °",
            "SNRi, dB",
            "talkers, dB",
            "ITD error, µs",
            "ILD error, dB",
        ],
        [
            [
                str(rows[k]["id"]),
                rows[k].get("angle"),
                float(gains[k]),
                ", ".join(f"{value:.1f}" for value in rows[k]["snr_i"]),
                *(float(values[k]) for values in errors),
            ]
            for k in order
        ],
        f"The {len(order)} mixtures of {len(rows)} with the smallest SNR "
        "improvement; 'talkers': that of each.",
        digits=[0, 0, 2, 0, 1, 2],
    )
