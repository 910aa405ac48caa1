"""The page of one recording whose sources were localised."""

import numpy as np

from spatial_brain.dataio.audio import audio_info, read_audio
from spatial_brain.reporting.localization import direction_trajectory
from spatial_brain.reporting.report import Report

# Seconds of sound in the page, and rows of its table.
_SOUND = 120.0
_ROWS = 200


def recording_report(path, found, channels=None):
    """Write a page with sources, map over time, findings and sound.

    Arguments
    ---------
    path : str or Path
        The page, .html.
    found : Localization
        The result of a recording.
    channels : sequence of int, optional
        Channels that were used, from 0; the first of them is played.

    Returns
    -------
    Path
        The page.
    """
    info = audio_info(found.path)
    report = Report(
        f"Directions in {info.path}",
        f"{found.duration:.1f} s, {info.num_channels} channels, {info.fs} Hz"
        + (f"; array {found.array}" if found.array else "")
        + (f", method {found.method}" if found.method else ""),
    )
    report.add_section("Sources").add_table(
        ["source", "direction, °", "elevation, °", "confidence", "spread, °"],
        [
            [
                str(index + 1),
                talker["direction"],
                talker.get("elevation"),
                talker["confidence"],
                talker["spread"],
            ]
            for index, talker in enumerate(found.talkers)
        ],
        "Medians over the windows; the confidence is the mean probability "
        "that a direction is within 10 degrees.",
    )
    for note in found.notes:
        report.add_text(note)
    if found.findings:
        report.add_section("The recording").add_table(
            ["severity", "finding"],
            [[one.severity, one.message] for one in found.findings],
        )
    report.add_section("Over time").add_figure(direction_trajectory(found))
    length = min(info.num_samples, round(_SOUND * info.fs))
    sound, fs = read_audio(found.path, num_samples=length)
    report.add_audio(
        sound[:, channels[0] if channels else 0],
        fs,
        "The first of the channels used"
        + (f", its first {_SOUND:g} s" if length < info.num_samples else ""),
    )
    report.add_section("Windows").add_table(
        ["from, s", "to, s", "source", "direction, °", "confidence"],
        [
            [
                float(found.starts[window]),
                float(found.stops[window]),
                str(source + 1),
                float(found.directions[window, source]),
                _known(found.confidence[window, source]),
            ]
            for window, source in np.argwhere(~np.isnan(found.directions))[
                :_ROWS
            ]
        ],
    )
    return report.write(path)


def _known(value):
    """A number, or None for NaN."""
    return None if np.isnan(value) else float(value)
