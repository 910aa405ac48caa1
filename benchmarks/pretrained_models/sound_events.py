"""Measure the shipped detector of sound events, sound-events.

    python benchmarks/pretrained_models/sound_events.py --data FOLDER --write

FOLDER holds ``events`` (ESC-10) and ``speech``, both as for the training, and
``rir/r3vival`` (R3VIVAL, CC BY 4.0; with its ``manifest.csv`` and
``array_geometry.csv``). Recordings, speakers and rooms are none of those of the
training. Scenes of a minute, up to two events at once, SNR 6 to 30 dB:

* simulated rooms, T60 0.2 to 0.8 s, a fifth of the events moving;
* the five conditions of a measured room, loudspeakers at 27 places each. Its
  array has seven microphones, so responses become first-order Ambisonics by the
  spatial decomposition method (Tervo et al., J. Audio Eng. Soc. 61, 2013): each
  sample of the centre's response comes from the direction that the arrival
  times at the others give. Labels are the published directions.

Scores are those of DCASE (macro averages, F at 20 degrees), of the model, the
best constant, chosen on the same scenes, and the network with random weights.
"""

import copy
import csv
import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from measuring import measuring_parser, report

from spatial_brain.dataio.audio import read_audio, write_audio
from spatial_brain.dataio.files import write_table
from spatial_brain.datasets.scene_corpus.generate import make_scene
from spatial_brain.datasets.scene_corpus.measured_rooms import with_rooms
from spatial_brain.datasets.scene_corpus.options import scene_options
from spatial_brain.datasets.seld.synth_seld import SPEECH, open_sounds
from spatial_brain.datasets.speech.pool import prepare_speech
from spatial_brain.geometry import SPEED_OF_SOUND
from spatial_brain.inference import SELDetector
from spatial_brain.inference.pretrained.figures import Figure
from spatial_brain.metrics.seld.scores import (
    SELDScores,
    constant_prediction,
    repeat_prediction,
)

SEED = 618033
# Divided at longer pauses, as in training: what is labelled sounds.
PAUSES = dict.fromkeys(
    ("baby_cry", "dog_bark", "rooster", "sneeze", SPEECH), 0.5
)
MEASURES = (
    ("F", "F", 100, "%", "higher"),
    ("localisation error", "LE", 1, "degrees", "lower"),
    ("localisation recall", "LR", 100, "%", "higher"),
    ("error rate", "ER", 1, "", "lower"),
    ("SELD score", "SELD", 1, "", "lower"),
)
# Of the spatial decomposition: samples of a window, and from one to the next.
WINDOW, HOP = 64, 8


def spatial_response(response, positions, fs):
    """First-order Ambisonics of a response by spatial decomposition.

    Arguments
    ---------
    response : torch.Tensor
        [time, microphone]; the last microphone is the centre.
    positions : torch.Tensor
        [microphone, 3], metres.
    fs : int
        Hertz.

    Returns
    -------
    torch.Tensor
        W, Y, Z, X, [time, 4].
    """
    number = len(response)
    padded = torch.nn.functional.pad(
        response.T, (WINDOW // 2, WINDOW // 2 + HOP)
    )
    frames = padded.unfold(-1, WINDOW, HOP) * torch.hann_window(WINDOW)
    spectra = torch.fft.rfft(frames, 2 * WINDOW)
    first, second = torch.triu_indices(len(positions), len(positions), 1)
    cross = torch.fft.irfft(spectra[first] * spectra[second].conj())
    offsets = positions[first] - positions[second]
    longest = float(offsets.norm(dim=-1).max())
    reach = math.ceil(longest / SPEED_OF_SOUND * fs) + 1
    cross = torch.cat((cross[..., -reach - 1 :], cross[..., : reach + 2]), -1)
    peak = cross[..., 1:-1].argmax(-1, keepdim=True) + 1
    before, at, after = (
        cross.take_along_dim(peak + step, -1)[..., 0] for step in (-1, 0, 1)
    )
    bend = (before - 2 * at + after).clamp(max=-1e-20)
    lag = peak[..., 0] - reach - 1 + 0.5 * (before - after) / bend
    # A microphone nearer to the source receives earlier.
    direction = -torch.linalg.pinv(offsets) @ (lag * SPEED_OF_SOUND / fs)
    direction = torch.nn.functional.normalize(direction, dim=0)
    direction = direction.repeat_interleave(HOP, dim=1)[:, :number]
    gains = torch.cat((torch.ones(1, number), direction[[1, 2, 0]]))
    return (gains * response[:, -1]).T


def write_responses(folder, output):
    """Responses of R3VIVAL as Ambisonics, and their table.

    Arguments
    ---------
    folder : Path
        ``rir/r3vival`` of the data.
    output : Path
        Gets a file a place and the table.

    Returns
    -------
    Path
        The table.
    """
    with open(folder / "array_geometry.csv", encoding="utf-8") as file:
        positions = torch.tensor(
            [
                [float(row[f"{axis}_m"]) for axis in "xyz"]
                for row in csv.DictReader(file)
            ]
        )
    with open(folder / "manifest.csv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["azimuth_deg"]]
    lines = []
    for row in rows:
        response, fs = read_audio(folder.parents[1] / row["path"])
        name = f"{row['id']}.wav"
        foa = spatial_response(response, positions, fs)
        write_audio(output / name, foa, fs, subtype="FLOAT")
        lines.append(
            {
                "path": name,
                "azimuth": row["azimuth_deg"],
                "elevation": row["elevation_est_deg"],
                "distance": row["distance_m"],
                "condition": row["condition"],
            }
        )
    return write_table(output / "responses.csv", lines)


def make_scenes(number, bank, **options):
    """Recordings [time, 4] and labels of scenes, one after the other."""
    options = with_rooms(
        scene_options(
            {
                "scenes": number,
                "events": None,
                "classes": ["knock"],  # the bank's are taken
                "formats": ["foa"],
                "seed": SEED,
                **options,
            }
        )
    )
    for index in range(number):
        scene = make_scene(index, options, bank)
        yield scene.signals["foa"], scene.table


def with_random_weights(detector):
    """The same detector before it learned anything."""
    untrained = copy.deepcopy(detector)
    torch.manual_seed(0)
    for module in untrained.mods.model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return untrained


def score(references, estimates, num_classes):
    """Scores of the estimates of all scenes, with intervals."""
    scores = SELDScores(num_classes)
    scores.append(
        references,
        estimates,
        num_frames=[table.num_frames for table in references],
    )
    return scores.compute(intervals=True)


def measure(scenes, detectors, num_classes):
    """Scores of each method on scenes, by name."""
    references, found = [], {name: [] for name in detectors}
    for waveform, table in scenes:
        references.append(table)
        for name, detector in detectors.items():
            found[name] += detector.detect_batch(waveform[None])
    prediction = constant_prediction(
        references, num_classes, lambda: SELDScores(num_classes)
    )
    found["best constant"] = [
        repeat_prediction(prediction, table.num_frames) for table in references
    ]
    return {
        name: score(references, tables, num_classes)
        for name, tables in found.items()
    }


def figures_of(results, rooms, test_set, number):
    """Figures of all methods on one test set."""
    figures = []
    for method, result in results.items():
        for name, key, scale, unit, better in MEASURES:
            low, high = (scale * end for end in result["intervals"][key])
            known = np.isfinite([low, high]).all()
            figures.append(
                Figure(
                    test_set=test_set,
                    rooms=rooms,
                    method=method,
                    kind="model" if method == "this model" else "trivial",
                    name=name,
                    value=scale * result[key],
                    unit=unit,
                    low=low if known else None,
                    high=high if known else None,
                    better=better,
                    items=number,
                )
            )
    return figures


def print_classes(title, names, result):
    """Scores of each class of the model."""
    print(f"\n{title}:\n")
    print("| class | F, % | LE, degrees | LR, % |")
    print("|---|---|---|---|")
    columns = [result["per_class"][key] for key in ("F", "LE", "LR")]
    for name, f, le, lr in zip(names, *columns, strict=True):
        print(f"| {name} | {100 * f:.1f} | {le:.1f} | {100 * lr:.1f} |")


def main():
    """Measure."""
    parser = measuring_parser(__doc__, "sound-events")
    parser.add_argument("--scenes", type=int, default=24, help="of each set")
    args = parser.parse_args()
    detector = SELDetector.from_hparams(args.model)
    names = list(detector.hparams.class_names)
    detectors = {
        "this model": detector,
        "random weights": with_random_weights(detector),
    }
    figures = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bank = open_sounds(
            args.data / "events",
            "test",
            class_names=names,
            pauses=PAUSES,
            spoken=prepare_speech(args.data / "speech", folder / "speech"),
        )
        table = write_responses(args.data / "rir" / "r3vival", folder / "rir")
        sets = {
            ("measured", "R3VIVAL, ESC-10 and speech"): {
                "responses": str(table),
                "moving": 0,
            },
            ("simulated", "T60 0.2 to 0.8 s, ESC-10 and speech"): {
                "moving": 0.2
            },
        }
        for (rooms, title), options in sets.items():
            scenes = make_scenes(args.scenes, bank, **options)
            results = measure(scenes, detectors, len(names))
            figures += figures_of(results, rooms, title, args.scenes)
            print_classes(f"{title}, {rooms}", names, results["this model"])
        waveform, _ = next(make_scenes(1, bank, duration=20.0))
    report(args, figures, lambda: detector.detect_batch(waveform[None]), 20.0)


if __name__ == "__main__":
    main()
