"""The report of a run that learns to reconstruct signals across channels."""

import math
from pathlib import Path

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from spatial_brain.reporting.plots import (
    DYNAMIC_RANGE,
    MANY_POINTS,
    PALETTE,
    condition_text,
    new_figure,
    style,
)
from spatial_brain.reporting.report import Report


def reconstruction(features, prediction, masked_frames, masked_channel):
    """A pair of signals: clean, masked, and with the masked part predicted.

    Arguments
    ---------
    features : torch.Tensor
        Clean spectra of two microphones, [2, bin, frame, 2 (real,
        imaginary)], as ``PairSpectra`` gives them.
    prediction : torch.Tensor
        Output of the network, same shape; only the masked frames of the
        masked channel are shown.
    masked_frames : torch.Tensor
        Bool, [frame].
    masked_channel : int
        0 or 1.

    Returns
    -------
    matplotlib.figure.Figure
        Level of the masked channel, and its phase less that of the other
        one; blank where one of them is hidden.

    Raises
    ------
    ValueError
        If shapes do not fit.

    Example
    -------
    >>> import torch
    >>> clean = torch.randn(2, 32, 20, 2)
    >>> figure = reconstruction(clean, clean, torch.arange(20) % 2 == 0, 1)
    >>> [axes.get_title("left") for axes in figure.axes[:3]]
    ['clean', 'masked', 'reconstructed']
    """
    clean, predicted = (
        np.asarray(part.detach().cpu().float(), dtype=np.float64)
        for part in (features, prediction)
    )
    hidden = np.asarray(masked_frames.cpu(), dtype=bool)
    if (
        clean.shape != predicted.shape
        or clean.ndim != 4
        or clean.shape[::3] != (2, 2)
        or hidden.shape != clean.shape[2:3]
    ):
        raise ValueError(
            "expected spectra [2, bin, frame, 2] and a mask [frame], got "
            f"{clean.shape}, {predicted.shape} and {hidden.shape}"
        )
    clean = clean[..., 0] + 1j * clean[..., 1]
    predicted = predicted[..., 0] + 1j * predicted[..., 1]
    spectrum, other = clean[masked_channel], clean[1 - masked_channel]
    columns = {
        "clean": spectrum,
        "masked": np.where(hidden, np.nan, spectrum),
        "reconstructed": np.where(hidden, predicted[masked_channel], spectrum),
    }
    loudest = 20 * np.log10(np.abs(spectrum).max() + 1e-12)
    with style():
        figure = new_figure(8.6, 4.6)
        panels = figure.subplots(2, 3, sharex=True, sharey=True)
        for column, (name, values) in enumerate(columns.items()):
            level = 20 * np.log10(np.abs(values) + 1e-12)
            upper = _draw(
                panels[0, column],
                level,
                "magma",
                (loudest - DYNAMIC_RANGE, loudest),
            )
            phase = np.degrees(np.angle(values * other.conj()))
            lower = _draw(panels[1, column], phase, "twilight", (-180, 180))
            panels[0, column].set_title(name)
            panels[1, column].set_xlabel("frame")
        for row, (name, image) in enumerate(
            (("level, dB", upper), ("phase difference, °", lower))
        ):
            panels[row, 0].set_ylabel("bin")
            bar = figure.colorbar(image, ax=panels[row], label=name)
            bar.outline.set_visible(False)
        panels[1, 0].set_xlim(0, len(hidden))
    return figure


def _draw(axes, values, colours, limits):
    """A picture of values [bin, frame] as pixels; NaN is left blank."""
    axes.grid(False)
    return axes.imshow(
        values,
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(0, values.shape[1], 1, values.shape[0] + 1),
    )


def _flatten_embeddings(embeddings, method="auto", seed=0):
    """Two coordinates for each embedding, and the name of the method used."""
    values = np.asarray(embeddings.detach().cpu().double())
    if values.ndim != 2 or len(values) < 3:
        raise ValueError(
            "expected at least three embeddings [example, dimension], got "
            f"{list(values.shape)}"
        )
    if method not in ("auto", "pca", "tsne"):
        raise ValueError(f"no method {method!r}; use auto, pca or tsne")
    if method != "pca":
        try:
            from sklearn.manifold import TSNE
        except ImportError as error:
            if method == "tsne":
                raise ImportError(
                    "t-SNE needs scikit-learn: pip install scikit-learn, or "
                    "use --embedding_method pca (method='pca')"
                ) from error
        else:
            perplexity = min(30.0, (len(values) - 1) / 3)
            machine = TSNE(2, perplexity=perplexity, random_state=seed)
            return machine.fit_transform(values), "t-SNE"
    centred = values - values.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    return centred @ directions[:2].T, "PCA"


def embedding_picture(embeddings, labels, label_name, method="auto", seed=0):
    """Embeddings in the plane, coloured by a label.

    Arguments
    ---------
    embeddings : torch.Tensor
        [example, dimension].
    labels : sequence of float
        One an example.
    label_name : str
        With the unit, such as ``"T60, s"``.
    method : str
        ``"pca"``: the two directions of largest variance; ``"tsne"``:
        neighbours stay neighbours (needs scikit-learn); ``"auto"``: the
        latter if scikit-learn is installed.
    seed : int
        Of t-SNE.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        For another method, or fewer than three embeddings.
    ImportError
        For t-SNE without scikit-learn.

    Example
    -------
    >>> import torch
    >>> figure = embedding_picture(
    ...     torch.randn(9, 4), range(9), "T60, s", "pca")
    >>> figure.axes[0].get_title(loc="left")
    'Embeddings (PCA)'
    """
    points, used = _flatten_embeddings(embeddings, method, seed)
    # From blue to orange through a grey that shows on white and on black.
    colours = LinearSegmentedColormap.from_list(
        "label", (PALETTE[0], "#9aa2b0", PALETTE[1])
    )
    with style():
        figure = new_figure(5.2, 4.2)
        axes = figure.add_subplot()
        dots = axes.scatter(
            *points.T,
            c=np.asarray(labels, dtype=float),
            cmap=colours,
            s=16,
            linewidths=0,
            alpha=0.8,
            rasterized=len(points) > MANY_POINTS,
        )
        bar = figure.colorbar(dots, ax=axes, label=label_name)
        bar.outline.set_visible(False)
        axes.set(xticks=[], yticks=[], title=f"Embeddings ({used})")
        axes.grid(False)
    return figure


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

    How the run was made is read from its folder; see ``Report.add_run``.

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
        :func:`spatial_brain.reporting.pretext.reconstruction`
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
    report.add_training(records)
    if examples:
        _add_reconstructions(report, examples, fs)
    report.add_run(folder)
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
        "hold of the room. Upper row: level; lower row: phase between the "
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
            f"{example['name']}{condition_text(example)}; channel "
            f"{int(example['masked_channel'])} is hidden",
        )
        for name, waveform in example.get("sounds", {}).items():
            report.add_audio(waveform, fs, f"{example['name']}: {name}")
