"""T60, DRR, C50 and distance from speech, by the shipped model and others.

    python benchmarks/pretrained_models/room_acoustics.py --data FOLDER

FOLDER holds ``speech`` with its manifest, of which the test speakers are taken,
and measured responses in ``rir``: R3VIVAL (five states of a room, CC BY 4.0),
University of Surrey room A, Netzwerkakademie (CC0). Their labels are read from
the responses, at 16 kHz, without their noise; each room counts alike. Simulated
rooms are those of the recipe's test (a few minutes, once, with ``--work``).

"decay rates" is J. Y. C. Wen, E. A. P. Habets and P. A. Naylor, "Blind
estimation of reverberation time based on the distribution of signal decay
rates", ICASSP 2008: the variance of the falling slopes of speech in sub-bands,
whose relation to T60, a parabola, is fitted to half of the simulated
recordings; the other half is the test set.
"""

import csv
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from hyperpyyaml import load_hyperpyyaml
from measuring import measuring_parser, report

from spatial_brain.dataio.audio import read_audio, resample_audio
from spatial_brain.dataio.parallel import progress
from spatial_brain.datasets.reverberant_speech.disturbances import Disturbances
from spatial_brain.datasets.reverberant_speech.recordings import (
    ReverberantSpeech,
)
from spatial_brain.datasets.reverberant_speech.responses import (
    prepare_responses,
    response_labels,
)
from spatial_brain.datasets.speech.pool import SpeechPool, prepare_speech
from spatial_brain.inference import RoomAcousticsEstimator
from spatial_brain.inference.pretrained.figures import Figure, mean_figure
from spatial_brain.inference.room_parameters import error_name
from spatial_brain.metrics.room_acoustics import TASKS
from spatial_brain.processing.stft import STFT, mel_filter_bank
from spatial_brain.simulation.hrtf.sofa import read_room_sofa
from spatial_brain.simulation.mixing import add_noise, convolve

FS = 16000
LONG, SHORT = 18.0, 4.0  # s
SNRS = (10.0, 30.0)  # dB, in measured rooms
SEED = 11
YAML = "recipes/RoomAcoustics/hparams/room_acoustics.yaml"
ROOT = Path(__file__).resolve().parents[2]
# Of the decay rates: bands, and frames of 8 ms that a slope is taken over.
BANDS, SLOPE_FRAMES = 16, 12


class Recording(NamedTuple):
    """A recording of two channels and what is true of its room."""

    waveform: torch.Tensor  # [time, 2]
    labels: dict  # quantity -> [channel]
    room: str


def read_rows(path):
    """Rows of a table."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def measured_responses(data):
    """Room to responses [2, time] at 16 kHz, with their distances, m."""
    rooms = {}
    for name in ("r3vival", "brir_netzwerkakademie"):
        for row in read_rows(data / "rir" / name / "manifest.csv"):
            rir, fs = read_audio(data / row["path"])
            # Two microphones that face each other, 9.6 cm apart.
            rir = resample_audio(rir[:, :2], fs, FS).T
            room = f"{name} {row.get('condition') or ''}".strip()
            distance = float(row["distance_m"] or "nan")
            rooms.setdefault(room, []).append((rir, distance))
    [path] = (data / "rir" / "surrey_brir").glob("*.sofa")
    room = read_room_sofa(path, 2)
    rooms["surrey A"] = [
        (resample_audio(rir.T, room.fs, FS).T, 1.5) for rir in room.responses
    ]
    return rooms


def measured_recordings(data, speech, number):
    """Speech in measured rooms, so many recordings of each."""
    rng = np.random.default_rng(SEED)
    pool = SpeechPool(speech, round((LONG + 1) * FS), FS)
    disturbances = Disturbances()
    rooms = measured_responses(data)
    for room, responses in progress(rooms.items(), description="measured"):
        order = rng.permutation(len(responses))
        for index in range(number):
            rir, distance = responses[order[index % len(order)]]
            state = np.random.RandomState(rng.integers(2**31))
            dry = pool.draw(state)
            image = convolve(dry[None], rir[None], len(dry))[0].T[FS:]
            flat = np.ones(len(image) // 2 + 1, np.float32)
            noise = disturbances.noise(rng, 2, len(image), FS, flat)
            noise = torch.from_numpy(noise.T.copy())
            labels = {
                name: values.float()
                for name, values in response_labels(rir, FS).items()
            }
            labels["DIST"] = torch.full((2,), distance)
            yield Recording(
                add_noise(image, noise, rng.uniform(*SNRS)), labels, room
            )


def simulated_recordings(speech, folder):
    """Speech in the test rooms of the recipe, a recording for each."""
    with open(ROOT / YAML, encoding="utf-8") as file:
        hparams = load_hyperpyyaml(file, {"data_folder": "unused"})
    quantities, number = hparams["quantities"], hparams["num_rooms"]["test"]
    responses = prepare_responses(
        folder,
        number,
        hparams["room_seed"] + 2,
        name="responses_test",
        num_workers=2,
        fs=FS,
        **hparams["rooms"],
    )
    data = ReverberantSpeech(
        responses,
        speech,
        number,
        quantities=quantities,
        duration=LONG,
        fs=FS,
        seed=SEED,
        num_channels=2,
        **hparams["recordings"],
    )
    for index in progress(range(number), description="simulated"):
        item = data[index]
        labels = dict(zip(quantities, item["labels"].T, strict=True))
        yield Recording(item["waveform"], labels, item["room"])


def decay_variance(waveform):
    """Logarithm of the variance of falling slopes, mean over bands."""
    real, imag = STFT(384, 128)(waveform[None, :, :1])
    power = (real.square() + imag.square())[0, 0]
    level = 10 * (power @ mel_filter_bank(FS, 384, BANDS, 60.0) + 1e-12).log10()
    pieces = level.unfold(0, SLOPE_FRAMES, 1)
    time = torch.arange(SLOPE_FRAMES) - (SLOPE_FRAMES - 1) / 2
    slopes = (pieces @ time) / time.square().sum()
    # The distribution is mirrored about 0, of which the falling side is kept.
    falling = torch.where(slopes < 0, slopes.square(), 0.0).sum(0)
    return float((falling / (slopes < 0).sum(0).clamp_min(1)).log().mean())


def fit_decay_rates(recordings):
    """Parabola from the logarithm of the variance to that of T60."""
    seen = [decay_variance(one.waveform) for one in recordings]
    truth = [float(one.labels["T60"][0].log()) for one in recordings]
    return np.polyfit(seen, truth, 2)


def measure(model, recordings, rooms, test_set, parabola):
    """Figures of all quantities and methods on a test set."""
    quantities = model.hparams.quantities
    cases = {
        f"{test_set}, {LONG:g} s": (LONG, 1),
        f"{test_set}, {LONG:g} s, two channels": (LONG, 2),
        f"{test_set}, {SHORT:g} s": (SHORT, 1),
    }
    figures = []
    for name, (seconds, channels) in cases.items():
        cut = [
            one.waveform[: round(seconds * FS), :channels] for one in recordings
        ]
        found = torch.cat([model.estimate_batch(x[None]) for x in cut])
        for index, quantity in enumerate(quantities):
            truth = [x.labels[quantity][:channels].mean() for x in recordings]
            case = Case(quantity, name, rooms, recordings, torch.stack(truth))
            figures += case.of_model(found[:, index])
            if quantity == "T60":
                seen = [decay_variance(waveform) for waveform in cut]
                rates = torch.from_numpy(np.exp(np.polyval(parabola, seen)))
                figures += case.of_method(rates, "decay rates", "classical")
    return figures


class Case:
    """One quantity on one test set."""

    def __init__(self, quantity, test_set, rooms, recordings, truth):
        self.known = truth.isfinite()
        self.truth = truth[self.known].double()
        self.groups = [
            one.room
            for one, known in zip(recordings, self.known, strict=True)
            if known
        ]
        self.quantity, self.rooms, self.test_set = quantity, rooms, test_set

    def facts(self, method="this model", kind="model"):
        """Fields that all figures of a method have."""
        facts = {"test_set": self.test_set, "rooms": self.rooms}
        return facts | {"method": method, "kind": kind}

    def of_method(self, estimate, method, kind):
        """Error, correlation and bias of estimates [recording]."""
        difference = estimate.double()[self.known] - self.truth
        facts = self.facts(method, kind)
        unit, name = TASKS[self.quantity].unit, self.quantity
        figures = [
            mean_figure(
                difference.abs(), self.groups, name=error_name(name), unit=unit,
                **facts,
            )
        ]  # fmt: skip
        if kind == "trivial":
            return figures
        pair = torch.stack((difference + self.truth, self.truth))
        correlation = float(torch.corrcoef(pair)[0, 1])
        bias = mean_figure(
            difference, self.groups, name=f"{name} bias", unit=unit, **facts
        )
        return [
            *figures,
            bias,
            Figure(
                name=f"{name} correlation",
                value=correlation,
                better="higher",
                items=len(self.truth),
                **facts,
            ),
        ]

    def of_model(self, found):
        """Figures of the model, [recording, 3], and of the best constant."""
        low, estimate, high = found.double().unbind(-1)
        constant = self.truth.median().expand(len(found))
        inside = (low[self.known] <= self.truth) & (
            self.truth <= high[self.known]
        )
        return [
            *self.of_method(estimate, "this model", "model"),
            *self.of_method(constant, "best constant", "trivial"),
            mean_figure(
                100 * inside.double(),
                self.groups,
                name=f"{self.quantity} in its interval of 90 %",
                unit="%",
                better="higher",
                **self.facts(),
            ),
        ]


def main():
    """Measure and report."""
    parser = measuring_parser(__doc__, "room-acoustics")
    add = parser.add_argument
    add("--measured", type=int, default=30, help="recordings of a room")
    add("--work", help="folder that keeps the simulated rooms")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = RoomAcousticsEstimator.from_hparams(args.model)
    with tempfile.TemporaryDirectory() as folder:
        folder = args.work or folder
        speech = prepare_speech(args.data / "speech", folder)["et"]
        simulated = list(simulated_recordings(speech, folder))
        measured = list(measured_recordings(args.data, speech, args.measured))
    half = len(simulated) // 2
    parabola = fit_decay_rates(simulated[:half])
    figures = measure(
        model, measured, "measured", "seven measured rooms, SNR 10 to 30 dB",
        parabola,
    )  # fmt: skip
    figures += measure(
        model, simulated[half:], "simulated", "rooms of the recipe's test",
        parabola,
    )  # fmt: skip
    sound = measured[0].waveform[None, :, :1]
    report(args, figures, lambda: model.estimate_batch(sound), LONG)


if __name__ == "__main__":
    main()
