#!/usr/bin/env python3
"""Directions over time on LOCATA, scored and submitted as in the challenge.

> python track.py --data_folder /data/LOCATA                      # SRP-PHAT
> python track.py --data_folder /data/LOCATA --method music --tasks 1 3 5
> python track.py --data_folder /data/LOCATA --method results/tdoa/...
> python track.py --synthetic                                  # needs no data

Every method gives peaks of blocks of half a second; a tracker makes tracks of
them. A trained network of train.py (or of another recipe with the task TDOA)
estimates the time difference of every pair, and the pairs vote. In the output
folder: ``metrics.json``, ``report.html`` with a picture of each recording, and
``submission/<set>/task1/recording1/<array>/source_1.txt`` in the challenge's
format: radians, azimuth from the array's y axis, elevation from its z axis.
"""

import argparse
import logging
import time
from pathlib import Path

import numpy as np
import torch

from spatial_brain.atomic import atomic_path
from spatial_brain.dataio.audio import resample_audio
from spatial_brain.dataio.files import without_nan, write_json
from spatial_brain.dataio.parallel import progress
from spatial_brain.datasets.real_arrays.corpus import PAIR_RANGE
from spatial_brain.datasets.real_arrays.recordings.locata import (
    ARRAYS,
    SETS,
    TASKS,
    Locata,
    task_of,
)
from spatial_brain.datasets.real_arrays.synthetic.locata import (
    write_synthetic_locata,
)
from spatial_brain.experiment import one_line_errors
from spatial_brain.inference.room_acoustics import RoomAcousticsEstimator
from spatial_brain.metrics.tracking import TrackingErrors
from spatial_brain.processing.directions.grid import DirectionGrid
from spatial_brain.processing.directions.music import MUSIC
from spatial_brain.processing.directions.peaks import DirectionPeaks
from spatial_brain.processing.directions.srp_phat import SRPPhat
from spatial_brain.processing.directions.tdoa import TDOALocalizer
from spatial_brain.processing.tracking import DirectionTracker
from spatial_brain.processing.tracks import DirectionTracks
from spatial_brain.reporting.report import Report
from spatial_brain.reporting.tracking import (
    add_tracking_measures,
    direction_tracks,
)

logger = logging.getLogger(__name__)
FS = 16000
CLASSICAL = {"srp-phat": SRPPhat, "music": MUSIC}
# The line's far microphones see a source beside them from other directions.
CHANNELS = {"dicit": [4, 5, 6, 8, 9]}
SHOWN = {
    "azimuth_error": "azimuth error, degrees",
    "elevation_error": "elevation error, degrees",
    "detection": "detected",
    "accuracy_10": "within 10 degrees",
    "false_alarm_rate": "false alarms/s",
    "swap_rate": "swaps/s",
    "latency": "latency, s",
}


def parse_arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data_folder", help="LOCATA: holds dev and eval")
    add("--synthetic", action="store_true", help="a small synthetic LOCATA")
    add("--sets", nargs="+", default=["dev"], choices=SETS)
    add("--tasks", nargs="+", type=int, default=list(TASKS), choices=TASKS)
    add("--arrays", nargs="+", default=list(ARRAYS[:3]), choices=ARRAYS)
    add(
        "--method",
        default="srp-phat",
        help=f"{', '.join(CLASSICAL)}, or the output folder of a run",
    )
    add("--channels", type=int, nargs="+", help="of the array, from 0")
    add("--block", type=float, default=0.5, help="s; a network has its own")
    add("--hop", type=float, default=0.1, help="s")
    add("--band", type=float, nargs=2, default=[300.0, 4000.0], help="Hz")
    add("--max_pairs", type=int, default=12, help="that a network estimates")
    add("--min_confidence", type=float, default=0.1, help="of a peak")
    add("--birth_confidence", type=float, default=0.2, help="of a new track")
    add("--max_gap", type=float, default=1.0, help="s a track coasts")
    add("--lag", type=float, default=0.0, help="s of the future; inf: all")
    add("--compat", action="store_true", help="measures as evaluated in 2018")
    add("--pictures", type=int, default=40, help="in the report")
    add("--output", default="results/tracks", help="folder")
    return parser.parse_args()


def open_corpus(options):
    """LOCATA as asked for, or a synthetic one."""
    if options.synthetic == (options.data_folder is not None):
        raise ValueError("give --data_folder or --synthetic, one of them")
    folder = options.data_folder
    if options.synthetic:
        folder = write_synthetic_locata(
            Path(options.output) / "LOCATA",
            sets=options.sets,
            tasks=options.tasks,
            arrays=options.arrays,
            duration=6.0,
            num_workers=2,
        )
    corpus = Locata(
        folder, sets=options.sets, tasks=options.tasks, arrays=options.arrays
    )
    logger.info("%s", corpus.preflight().line())
    return corpus


def channels_of(options, array, num_channels):
    """Microphones of an array that are used."""
    if options.channels is not None:
        wrong = [c for c in options.channels if not 0 <= c < num_channels]
        if wrong or len(set(options.channels)) < 2:
            raise ValueError(
                f"--channels {options.channels}: two different channels of "
                f"{array} at least, from 0 to {num_channels - 1}"
            )
        return options.channels
    return CHANNELS.get(array, list(range(num_channels)))


class NetworkPeaks:
    """Peaks from the time differences that a network estimates.

    Arguments
    ---------
    model : RoomAcousticsEstimator
        Trained on the task TDOA.
    array : MicrophoneArray
        The microphones used.
    hop : float
        From block to block, seconds.
    max_pairs : int
        Pairs used, the widest that the network was made for.
    """

    def __init__(self, model, array, hop, max_pairs):
        self.model, self.hop = model, hop
        self.length = round(model.hparams.duration * FS)
        pairs = array.pairs(*PAIR_RANGE)
        if not len(pairs):
            raise ValueError(
                f"{array.name}: no two microphones are 0.03 to 0.2 m apart, "
                "which networks of the task TDOA are made for; see --channels"
            )
        apart = array.distances[pairs[:, 0], pairs[:, 1]]
        widest = apart.argsort(descending=True, stable=True)[:max_pairs]
        self.pairs = pairs[widest].tolist()
        positions = array.positions
        self.locate = TDOALocalizer(
            positions,
            DirectionGrid.for_array(positions),
            # The network gives the delay of the second behind the first.
            [(second, first) for first, second in self.pairs],
        )

    def peaks(self, waveform, num_peaks=1):
        """See ``BlockMaps.peaks``; a waveform [1, time, microphone]."""
        short = max(0, self.length - waveform.shape[1])
        waveform = torch.nn.functional.pad(waveform[0], (0, 0, 0, short))
        blocks = waveform.unfold(0, self.length, round(self.hop * FS))
        tdoa = torch.stack(
            [
                self.model.estimate_batch(blocks[:, pair].mT).flatten()
                for pair in self.pairs
            ],
            dim=-1,
        )
        azimuth, elevation, confidence = self.locate(
            tdoa / FS, num_peaks=num_peaks
        )
        times = torch.arange(len(blocks)) * self.hop + self.length / FS / 2
        return DirectionPeaks(
            times, azimuth[None], elevation[None], confidence[None]
        )


def make_method(options, model, array):
    """What gives peaks of an array's recordings."""
    if model is not None:
        return NetworkPeaks(model, array, options.hop, options.max_pairs)
    return CLASSICAL[options.method](
        array.positions,
        FS,
        block=options.block,
        hop=options.hop,
        band=tuple(options.band),
    )


def load_model(method):
    """A trained network, or None for a classical method."""
    if method in CLASSICAL:
        return None
    if not Path(method).exists():
        raise FileNotFoundError(
            f"--method {method}: neither {', '.join(CLASSICAL)} nor a folder "
            "of a run"
        )
    model = RoomAcousticsEstimator.from_hparams(source=method)
    if model.hparams.task != "TDOA" or model.hparams.sample_rate != FS:
        raise ValueError(
            f"--method {method}: estimates {model.hparams.task} at "
            f"{model.hparams.sample_rate} Hz; TDOA at {FS} Hz is needed"
        )
    return model


def reference_tracks(truth):
    """Where the sources were at the times that the challenge asks for."""
    valid = truth.valid.numpy()
    names = list(truth.sources)
    angles = [truth.direction(name) for name in names]
    return DirectionTracks(
        truth.time.numpy()[valid],
        np.stack([azimuth.numpy()[valid] for azimuth, _ in angles]),
        np.stack([elevation.numpy()[valid] for _, elevation in angles]),
        np.stack([truth.activity[name].numpy()[valid] for name in names]),
        names,
    )


def follow(options, method, tracker, corpus, recording, channels):
    """Tracks of a recording, and the seconds that they took."""
    waveform = corpus.read_segment(
        recording, 0, recording.num_samples, channels
    )
    waveform = resample_audio(waveform, recording.fs, FS)
    begin = time.perf_counter()
    several = task_of(recording) % 2 == 0
    with torch.no_grad():
        found = method.peaks(waveform[None], num_peaks=3 if several else 1)
    tracks = tracker(
        found.times.numpy(),
        found.azimuth[0].numpy(),
        found.elevation[0].numpy(),
        found.confidence[0].numpy(),
    )
    return tracks, time.perf_counter() - begin


def write_submission(folder, tracks, truth, seconds):
    """Write a recording's files as the challenge takes them."""
    valid = truth.valid.numpy()
    at = tracks.at(truth.time.numpy()[valid])
    clock = truth.clock.numpy()[valid]
    # Of a run before, which may have had more tracks.
    for old in folder.glob("source_*.txt"):
        old.unlink()
    columns = "year month day hour minute second timestamps azimuth".split()
    for number in range(len(at)):
        values = [clock, at.times[:, None]]
        values.append(np.radians(at.azimuth[number])[:, None])
        names = list(columns)
        if not np.isnan(at.elevation[number]).all():
            # From the z axis, as the challenge has it.
            values.append(np.radians(90 - at.elevation[number])[:, None])
            names.append("elevation")
        with atomic_path(folder / f"source_{number + 1}.txt") as path:
            np.savetxt(
                path,
                np.concatenate(values, axis=1),
                fmt="%.9g",
                delimiter="\t",
                header="\t".join(names),
                comments="",
            )
    with atomic_path(folder / "telapsed.txt") as path:
        path.write_text(f"{seconds:f}\n", encoding="utf-8")


def run(options):
    """Follow, score and submit all recordings; the errors and the tracks."""
    model, corpus = load_model(options.method), open_corpus(options)
    errors = TrackingErrors(compat=options.compat)
    tracker = DirectionTracker(
        min_confidence=options.min_confidence,
        birth_confidence=options.birth_confidence,
        max_gap=options.max_gap,
        lag=options.lag,
    )
    methods, shown = {}, []
    for recording in progress(corpus.recordings(), description="recordings"):
        name = recording.array
        if name not in methods:
            array = corpus.arrays[name]
            channels = channels_of(options, name, len(array))
            array = array.select(channels)
            methods[name] = make_method(options, model, array), channels
            logger.info(
                "%s: channels %s; cannot tell apart: %s",
                name,
                channels,
                array.ambiguity,
            )
        method, channels = methods[name]
        tracks, seconds = follow(
            options, method, tracker, corpus, recording, channels
        )
        truth = corpus.truth(recording)
        place = Path(options.output) / "submission"
        write_submission(place / recording.id, tracks, truth, seconds)
        if not truth.sources:
            continue
        reference = reference_tracks(truth)
        errors.append(
            recording.id,
            reference,
            tracks,
            task=str(task_of(recording)),
            array=name,
        )
        shown.append((recording.id, reference, tracks))
    return errors, shown


def write_report(options, summary, shown):
    """Write ``report.html``: measures, and a picture of each recording."""
    report = Report(
        "Directions over time, LOCATA",
        f"{options.method}, {len(shown)} recordings of {options.data_folder}"
        if not options.synthetic
        else f"{options.method}, {len(shown)} synthetic recordings",
    )
    report.add_section("Measures of the challenge")
    rows = {"all": summary}
    rows |= {f"task {k}": v for k, v in summary["by"]["task"].items()}
    rows |= summary["by"]["array"]
    add_tracking_measures(report, rows, "recordings")
    report.add_section("Recordings")
    report.add_figures(
        [
            direction_tracks(tracks, reference, name)
            for name, reference, tracks in shown[: options.pictures]
        ]
    )
    if len(shown) > options.pictures:
        report.add_text(
            f"{len(shown) - options.pictures} more recordings are in the "
            "measures; --pictures shows more."
        )
    report.write(Path(options.output) / "report.html")


def main():
    """Track, print the measures and write the results."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = parse_arguments()
    errors, shown = run(options)
    if not shown:
        raise ValueError(
            f"{options.data_folder}: no recording of the sets {options.sets}, "
            f"tasks {options.tasks} and arrays {options.arrays} with positions "
            "of its sources"
        )
    summary = errors.summarize(num_bootstrap=1000)
    print(f"{options.method}, {len(shown)} recordings:")
    for key, words in SHOWN.items():
        print(f"  {words:26s}{summary[key]:.2f}")
    write_report(options, summary, shown)
    write_json(Path(options.output) / "metrics.json", without_nan(summary))


if __name__ == "__main__":
    with one_line_errors():
        main()
