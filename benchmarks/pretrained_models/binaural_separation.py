"""Two talkers separated at both ears: the shipped model beside other methods.

    python benchmarks/pretrained_models/binaural_separation.py --data FOLDER

FOLDER holds ``speech`` with its manifest, of which the test speakers are taken;
heads in ``hrtf`` (SOFA files, CIPIC); and binaural room responses in ``rir``:
SOFA files, folders with a ``manifest.csv`` of ``path`` and ``azimuth_deg``.
Heads of ``--seen`` were in training, all others were not. Computed heads and
simulated rooms are those that the recipe keeps for its test.

Mixtures are 5 s of two speakers, at least 20 degrees apart, from in front or
behind, within 22.5 degrees of the height of the ears; levels are those of
wsj0-mix. "interaural mask" gives each time-frequency bin to the talker whose
responses at both ears it fits better: those of a sphere, from the two lateral
angles that explain most of the mixture, or, what no method can know, those of
this head from both true directions. "ideal mask" knows the talkers' own
spectra: the bound for masks of such bins. All masks look ahead, 32 ms or to the
end. "mixture" leaves it as it is.
"""

import csv
import itertools
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from measuring import measuring_parser, report

from spatial_brain.dataio.audio import audio_info, read_audio
from spatial_brain.dataio.parallel import progress
from spatial_brain.datasets.binaural_wsj0mix.brirs import (
    MeasuredRoom,
    RoomResponses,
    load_rooms,
)
from spatial_brain.datasets.binaural_wsj0mix.head_rooms import (
    load_head_rooms,
    simulate_head_rooms,
)
from spatial_brain.datasets.binaural_wsj0mix.noise import METADATA_FS
from spatial_brain.datasets.binaural_wsj0mix.rendering import MixtureRenderer
from spatial_brain.datasets.binaural_wsj0mix.sampling import (
    SceneDrawer,
    draw_mixtures,
    set_gains,
    split_heads,
)
from spatial_brain.datasets.speech.corpora import (
    find_utterances,
    read_headers,
)
from spatial_brain.inference import BinauralSeparator
from spatial_brain.inference.pretrained.figures import mean_figure
from spatial_brain.metrics.separation.errors import SeparationErrors
from spatial_brain.simulation.acoustics import t60 as measure_t60
from spatial_brain.simulation.hrtf import load_hrtfs
from spatial_brain.simulation.hrtf.grid import (
    CIPIC_LATERALS,
    interaural_to_unit,
)
from spatial_brain.simulation.hrtf.interpolation import resample_responses
from spatial_brain.simulation.hrtf.readers import find_heads
from spatial_brain.simulation.hrtf.sphere import spherical_head_responses

SECONDS, MIN_GAP = 5.0, 20.0
# CIPIC's polar angles near the height of the ears, in front and behind.
POLARS = (-22.5, -11.25, 0.0, 11.25, 22.5)
POLARS += tuple(180.0 - angle for angle in POLARS)
N_FFT, HOP = 1024, 256
SEED = 17
NUM_ROOMS = 6
METHODS = {
    "this model": "model",
    "mixture": "trivial",
    "interaural mask": "classical",
    "interaural mask, head and directions known": "classical",
    "ideal mask, talkers known": "classical",
}
# Keys of SeparationErrors: name of the figure, unit, better.
MEASURES = {
    "si_snr_i": ("SI-SNR improvement", "dB", "higher"),
    "snr_i": ("SNR improvement", "dB", "higher"),
    "itd_error": ("ITD error", "µs", "lower"),
    "ild_error": ("ILD error", "dB", "lower"),
}


def test_sets(args, fs):
    """Title, kind of rooms, responses, listeners and scenes of each set."""
    free = {"polars": POLARS}
    for name in find_heads(args.data / "hrtf"):
        heads = load_hrtfs(str(args.data / "hrtf"), fs, subjects=[name])
        title = f"head {name}" + (" (in training)" * (name in args.seen))
        yield title, "measured", heads, [name], free, None
    for name, rooms in measured_rooms(args.data / "rir", fs).items():
        room = rooms.rooms[name]
        scenes = {"polars": [0.0], "laterals": sorted(set(room.laterals))}
        title = f"room {name}, T60 {room.t60:.2g} s"
        yield title, "measured", rooms, [name], scenes, rooms.t60s
    sets = dict.fromkeys(("train", "valid", "test"), "pinnae")
    names = split_heads(sets)["test"]
    heads = load_hrtfs("pinnae", fs, subjects=names)
    yield "computed heads", "simulated", heads, names, free, None
    with tempfile.TemporaryDirectory() as folder:
        number = {"test": NUM_ROOMS}
        found = simulate_head_rooms(
            folder, heads, {"test": names}, number, seed=SEED
        )["test"]
        rooms = load_head_rooms(folder, found, fs)
        low, high = min(found.values()), max(found.values())
        title = f"computed heads in rooms, T60 {low:.2g} to {high:.2g} s"
        scenes = {"polars": [0.0]}
        yield title, "simulated", rooms, list(found), scenes, found


def measured_rooms(folder, fs):
    """Binaural responses of rooms by the names of their files or folders."""
    found = {}
    for path in sorted(folder.rglob("*.sofa")):
        found[path.stem] = load_rooms(path, fs)
    for path in sorted(folder.rglob("manifest.csv")):
        with path.open(encoding="utf-8") as stream:
            rows = [r for r in csv.DictReader(stream) if is_binaural(r, folder)]
        if rows:
            found[path.parent.name] = read_room(path.parent.name, rows, folder)
    return {
        name: rooms if rooms.fs == fs else resampled(rooms, fs)
        for name, rooms in found.items()
    }


def is_binaural(row, folder):
    """Whether a row of a manifest is a response of two ears."""
    path = folder.parent / row["path"]
    return audio_info(path).num_channels == 2


def read_room(name, rows, folder):
    """A room of files, a direction each."""
    signals = [read_audio(folder.parent / row["path"]) for row in rows]
    rirs = torch.stack([signal.T for signal, _ in signals]).double()
    fs = signals[0][1]
    azimuths = torch.tensor([float(row["azimuth_deg"]) for row in rows])
    directions = interaural_to_unit(-azimuths.double(), 0.0)
    ear = rirs[0, 0].float()
    t60 = float(measure_t60(ear, fs).median())
    room = MeasuredRoom(rirs.numpy(), directions, round(t60, 3))
    return RoomResponses({name: room}, fs)


def resampled(rooms, fs):
    """Rooms at another rate."""
    return RoomResponses(
        {
            name: replace(
                room,
                rirs=resample_responses(
                    torch.from_numpy(room.rirs), rooms.fs, fs
                ).numpy(),
            )
            for name, room in rooms.rooms.items()
        },
        fs,
    )


def test_mixtures(args, renderer, listeners, scenes, t60s):
    """Mixtures of the test speakers and their signals, one by one."""
    corpus = find_utterances(args.data / "speech" / "manifest.csv")
    chosen = [u for u in corpus if u.split == "test"]
    speech = {
        u.id: {
            "wav": str(Path(u.path).resolve()),
            "speaker": u.speaker,
            "num_samples": u.num_samples,
        }
        for u in read_headers(chosen, fs=METADATA_FS)
    }
    samples = round(SECONDS * METADATA_FS)
    drawer = SceneDrawer(
        speech, listeners, min_gap=MIN_GAP, min_samples=samples, **scenes
    )
    mixtures, levels, _ = draw_mixtures(
        drawer, speech, args.mixtures, SEED, rooms=t60s
    )
    for mixture in set_gains(mixtures, levels, renderer.fs):
        mixture = replace(mixture, num_samples=samples)
        yield mixture, renderer.render(mixture)


def fits(spectrum, responses):
    """Power that responses [k, ear, time] explain, [k, bin, frame]."""
    responses = torch.as_tensor(responses)[..., :N_FFT]
    steering = torch.fft.rfft(responses, n=N_FFT).to(spectrum)
    steering = steering / steering.abs().square().sum(1, keepdim=True).sqrt()
    found = torch.einsum("kef,eft->kft", steering.conj(), spectrum)
    return found.abs().square()


def interaural_mask(mix, responses):
    """Talkers [time, ear, source] by the response that each bin fits."""
    spectrum = transform(mix)
    fit = fits(spectrum, responses)
    mask = (fit == fit.amax(0)).to(fit)
    return inverse(spectrum[:, None] * mask, len(mix))


def likely_responses(mix, sphere):
    """Those two responses of a sphere that explain most of a mixture."""
    fit = fits(transform(mix), sphere)
    pairs = itertools.combinations(range(len(fit)), 2)
    best = max(
        pairs, key=lambda pair: torch.maximum(*fit[list(pair)]).sum().item()
    )
    return sphere[list(best)]


def ideal_mask(mix, sources):
    """Talkers by the share of each bin's magnitude that is theirs."""
    parts = torch.stack([transform(s) for s in sources.unbind(-1)], 1).abs()
    mask = parts / parts.sum(1, keepdim=True).clamp_min(1e-12)
    return inverse(transform(mix)[:, None] * mask, len(mix))


def transform(signal):
    """Spectrum [ear, bin, frame] of [time, ear]."""
    window = torch.hann_window(N_FFT, dtype=signal.dtype)
    return torch.stft(signal.T, N_FFT, HOP, window=window, return_complex=True)


def inverse(spectra, length):
    """Signals [time, ear, source] of [ear, source, bin, frame]."""
    window = torch.hann_window(N_FFT, dtype=spectra.real.dtype)
    flat = torch.istft(
        spectra.flatten(0, 1), N_FFT, HOP, window=window, length=length
    )
    return flat.unflatten(0, spectra.shape[:2]).permute(2, 0, 1)


def measure(args, separator):
    """Figures of all test sets and methods."""
    fs, figures = separator.hparams.sample_rate, []
    lateral = torch.tensor(CIPIC_LATERALS, dtype=torch.float64)
    sphere = spherical_head_responses(
        interaural_to_unit(lateral, 0.0), fs, model="rigid-sphere"
    )
    for title, kind, responses, *rest in test_sets(args, fs):
        renderer = MixtureRenderer("/", responses, fs, dtype="float32")
        errors = {
            name: SeparationErrors(fs, sdr=False, itd="phat")
            for name in METHODS
        }
        items = test_mixtures(args, renderer, *rest)
        for mixture, signals in progress(
            items, total=args.mixtures, description=title, unit="mixture"
        ):
            mix, sources = signals["mix"], signals["sources"]
            estimates = (
                separator.separate_batch(mix[None])[0],
                mix[..., None].expand_as(sources),
                interaural_mask(mix, likely_responses(mix, sphere)),
                interaural_mask(mix, renderer.hrtfs.responses(mixture)),
                ideal_mask(mix, sources),
            )
            for found, estimate in zip(errors.values(), estimates, strict=True):
                found.append(
                    [mixture.name], estimate[None], sources[None], mix[None]
                )
        figures += summed_up(title, kind, errors)
    return figures


def summed_up(title, kind, errors):
    """Figures of one test set."""
    return [
        mean_figure(
            [value for row in found.rows() for value in row[key]],
            [row["id"] for row in found.rows() for _ in row[key]],
            test_set=title,
            rooms=kind,
            method=method,
            kind=METHODS[method],
            name=name,
            unit=unit,
            better=better,
        )
        for key, (name, unit, better) in MEASURES.items()
        for method, found in errors.items()
    ]


def main():
    """Measure the model."""
    parser = measuring_parser(__doc__, "binaural-separation")
    parser.add_argument("--mixtures", type=int, default=60, help="of a set")
    parser.add_argument("--seen", nargs="*", default=["mit_kemar_normal_pinna"])
    args = parser.parse_args()
    separator = BinauralSeparator.from_hparams(args.model)
    figures = measure(args, separator)
    fs = separator.hparams.sample_rate
    sound = 0.1 * torch.randn(round(SECONDS * fs), 2)
    stream = separator.mods.model.stream()

    def live():
        """Blocks of 10 ms."""
        for block in sound.split(fs // 100):
            stream.push(block)
        stream.flush()

    report(args, figures, live, SECONDS)


if __name__ == "__main__":
    main()
