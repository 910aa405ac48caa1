"""The report of a run that learns to reconstruct signals across channels."""

import math
from pathlib import Path

from spatial_brain.reporting.acoustics_report import TOLD
from spatial_brain.reporting.localization_report import add_run
from spatial_brain.reporting.plots import training_curves
from spatial_brain.reporting.report import Report
from spatial_brain.reporting.representation_plots import reconstruction


def pretext_report(
    folder,
    *,
    metrics,
    records,
    examples=(),
    fs=16000,
    title="Reconstruction across channels",
    subtitle=None,
    notes=None,
):
    """Write ``report.html`` of a run that learns to reconstruct signals.

    The command, the hyper-parameters and the environment are taken from
    ``command.txt``, ``hyperparams.yaml`` and ``env.log`` of the folder, as
    far as they are there.

    Arguments
    ---------
    folder : str or Path
        Folder of the run; the report is written into it.
    metrics : dict
        Set of signals (the first is the one the page is about) to numbers:
        ``loss`` (mean squared error of what was hidden), ``reference`` (the
        same if the other channel is copied), and others.
    records : list of dict
        One an epoch, as ``read_train_log`` gives them; may be empty.
    examples : sequence of dict
        Signals to show: ``name``; ``features``, ``prediction``,
        ``masked_frames`` and ``masked_channel`` as
        :func:`spatial_brain.reporting.representation_plots.reconstruction`
        takes them; conditions ``t60`` (s), ``snr`` (dB); and ``sounds``, name
        to waveform [time].
    fs : int
        Sampling rate of the sounds, Hz.
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
        If there are no numbers, or the first set lacks ``loss`` or
        ``reference``.

    Example
    -------
    >>> path = pretext_report(getfixture("tmp_path"), metrics={
    ...     "test": {"loss": 0.5, "reference": 1.0}}, records=[])
    >>> "3.0 dB" in path.read_text()
    True
    """
    if not metrics or not {"loss", "reference"} <= {
        *next(iter(metrics.values()))
    }:
        raise ValueError(
            "a report needs 'loss' and 'reference' of a set of signals, got "
            f"{metrics}"
        )
    report = Report(title, subtitle)
    _add_losses(report, metrics)
    if notes:
        report.add_text(notes)
    if records:
        report.add_section("Training")
        report.add_figures(training_curves(records))
    if examples:
        _add_reconstructions(report, examples, fs)
    add_run(report, folder)
    return report.write(Path(folder) / "report.html")


def _gain(values):
    """How much better than copying the other channel, dB."""
    if not values.get("loss") or not values.get("reference"):
        return None
    return 10 * math.log10(values["reference"] / values["loss"])


def _add_losses(report, metrics):
    """Add the big numbers and the table of all sets of signals."""
    main = next(iter(metrics.values()))
    report.add_headline(f"{main['loss']:.3f}", "error of what is hidden", True)
    report.add_headline(f"{main['reference']:.3f}", "other channel copied")
    gain = _gain(main)
    if gain is not None:
        report.add_headline(f"{gain:.1f} dB", "less error than by copying")
    names = []
    for values in metrics.values():
        for name, value in values.items():
            known = name in ("loss", "reference", *names)
            if isinstance(value, int | float) and not known:
                names.append(name)
    report.add_section("Results")
    report.add_table(
        [
            "signals",
            "error",
            "other channel copied",
            "gain, dB",
            *(name.replace("_", " ") for name in names),
        ],
        [
            [
                name,
                values.get("loss"),
                values.get("reference"),
                _gain(values),
                *(values.get(key) for key in names),
            ]
            for name, values in metrics.items()
        ],
        "Mean squared error of the hidden frames of the hidden channel, in "
        "spectra whose first channel has a mean magnitude of one.",
        digits=[0, 4, 4, 1, *[3] * len(names)],
    )


def _add_reconstructions(report, examples, fs):
    """Add spectrograms of signals, and how they sound."""
    report.add_section("Reconstructions")
    report.add_text(
        "Half of the frames of one channel are hidden. The network fills "
        "them in from the other channel and from what the remaining frames "
        "tell of the room. Upper row: level; lower row: phase between the "
        "channels, which only a network that knows the room can get right."
    )
    for example in examples:
        report.add_figure(
            reconstruction(
                example["features"],
                example["prediction"],
                example["masked_frames"],
                int(example["masked_channel"]),
            ),
            f"{example['name']}{_conditions(example)}; channel "
            f"{int(example['masked_channel'])} is hidden",
        )
        for name, waveform in example.get("sounds", {}).items():
            report.add_audio(waveform, fs, f"{example['name']}: {name}")


def _conditions(row):
    """Conditions of a signal for a caption."""
    return "".join(
        f", {name} {float(row[key]):.{digits}f} {unit}"
        for key, (name, unit, digits) in TOLD.items()
        if row.get(key) is not None
    )
