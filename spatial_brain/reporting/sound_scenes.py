"""A page about a corpus of sound scenes: numbers, pictures, sounds."""

from pathlib import Path

import numpy as np

from spatial_brain.dataio.annotations import read_events
from spatial_brain.dataio.audio import read_audio
from spatial_brain.dataio.files import read_json
from spatial_brain.datasets.scene_corpus.check import (
    CONTENTS,
    corpus_options,
)
from spatial_brain.datasets.scene_corpus.generate import METADATA, SCENES
from spatial_brain.reporting.plots import (
    DYNAMIC_RANGE,
    PALETTE,
    finish,
    grouped_bars,
    level_spectrogram,
    new_figure,
    style,
)
from spatial_brain.reporting.report import Report
from spatial_brain.reporting.seld import event_trajectories

PAGE = "report.html"
# Classes of the table; the rest stands in the table of contents.
_MOST_CLASSES = 200
_SECONDS = 20.0


def scene_corpus_report(corpus, num_scenes=3):
    """Write the page of a corpus that was merged.

    Arguments
    ---------
    corpus : str or Path
        Its folder.
    num_scenes : int
        Scenes that are shown, spread over the corpus.

    Returns
    -------
    Path
        The page, ``report.html`` in the folder.

    Raises
    ------
    FileNotFoundError
        If the folder holds no corpus, or one that was not merged.
    """
    corpus = Path(corpus)
    options = corpus_options(corpus)
    contents = read_json(corpus / CONTENTS)
    statistics = contents["statistics"]
    report = Report(
        f"Sound scenes: {corpus.name}",
        "A synthetic corpus of labelled spatial recordings.",
    )
    number = sum(statistics["events"].values())
    report.add_headline(f"{statistics['hours']:.3g} h", "recordings", main=True)
    report.add_headline(f"{options.scenes}", "scenes")
    report.add_headline(f"{number}", "events with labels")
    report.add_headline(f"{len(options.classes)}", "classes")
    _add_statistics(report, statistics)
    report.add_section("Scenes")
    count = min(num_scenes, options.scenes)
    indices = np.linspace(0, options.scenes - 1, count).round().astype(int)
    for index in sorted(set(indices.tolist())):
        _add_scene(report, corpus, options, options.name(index))
    report.add_section("Made with")
    report.add_values(
        {
            key: str(value)
            for key, value in contents["options"].items()
            if key != "classes"
        }
    )
    return report.write(corpus / PAGE)


def _add_statistics(report, statistics):
    """Add tables and histograms."""
    report.add_section("What it holds")
    hours = statistics["labelled_hours"]
    classes = list(statistics["events"].items())
    rows = [
        [name, number, 60 * hours[name]]
        for name, number in classes[:_MOST_CLASSES]
    ]
    caption = f"{statistics['moving_events']} of the events move."
    if len(classes) > len(rows):
        caption += f" The other classes stand in {CONTENTS}."
    report.add_table(["class", "events", "minutes"], rows, caption)
    overlap = statistics["overlap"]
    figures = [
        grouped_bars(
            [str(number) for number in range(len(overlap))],
            {"frames": [100 * share for share in overlap]},
            "frames, %",
            "Events at once",
            "events",
        ),
        _histogram(statistics["azimuth"], "azimuth, degrees", "Azimuth"),
        _histogram(statistics["elevation"], "elevation, degrees", "Elevation"),
    ]
    if any(statistics["distance"]["share"]):
        distance = statistics["distance"]
        figures.append(_histogram(distance, "distance, m", "Distance"))
    report.add_figures(figures)


def _histogram(histogram, label, title):
    """Picture of the shares between edges; a last one may be open."""
    edges, share = list(histogram["edges"]), histogram["share"]
    if len(edges) == len(share):
        edges.append(edges[-1] + (edges[-1] - edges[-2]))
    with style():
        figure = new_figure()
        axes = figure.add_subplot()
        axes.bar(
            edges[:-1],
            [100 * part for part in share],
            np.diff(edges),
            align="edge",
            color=PALETTE[0],
        )
        axes.set(xlabel=label, ylabel="labels, %")
        finish(figure, axes, title, 1)
    return figure


def _add_scene(report, corpus, options, name):
    """Add trajectories, spectrogram and player of a scene."""
    record = read_json(corpus / SCENES / f"{name}.json")
    table = read_events(
        corpus / METADATA / f"{name}.csv",
        options.dialect,
        num_frames=record["num_frames"],
    )
    report.add_figure(
        event_trajectories(table, class_names=options.classes, title=name),
        f"Labels; {_room(record)}, SNR {record['snr_db']:.0f} dB.",
    )
    form = options.formats[0]
    waveform, fs = read_audio(corpus / form / f"{name}.{options.audio}")
    signal = waveform[:, 0]
    report.add_figure(_spectrogram(signal, fs, f"{form}, first channel"))
    signal = signal[: round(_SECONDS * fs)]
    length = len(signal) / fs
    report.add_audio(signal, fs, f"{name}, {form}, first {length:g} seconds")


def _room(record):
    """The room of a scene, in words."""
    if record["measured_room"]:
        return f"measured room {record['measured_room']}"
    if record["t60"] == 0:
        return "free field"
    size = " x ".join(f"{side:.1f}" for side in record["room_size"])
    return f"room of {size} m, T60 {record['t60']:.2f} s"


def _spectrogram(signal, fs, title):
    """Levels of a signal over time and frequency."""
    level = level_spectrogram(signal, fs)
    with style():
        figure = new_figure(7.2, 3.0)
        axes = figure.add_subplot()
        axes.imshow(
            level,
            origin="lower",
            aspect="auto",
            vmin=level.max() - DYNAMIC_RANGE,
            extent=(0, len(signal) / fs, 0, fs / 2000),
            cmap="magma",
        )
        axes.grid(False)
        axes.set(xlabel="time, s", ylabel="frequency, kHz")
        axes.set_title(title)
    return figure
