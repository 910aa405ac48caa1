"""A tiny Binaural-WSJ0Mix: corpus, lists, heads, rooms and noise.

All numbers come from one integer generator, so that the original scripts can
be run on the same files anywhere.
"""

import csv
from pathlib import Path

import numpy as np
import soundfile

LATERALS = (-80, -65, -55, *range(-45, 46, 5), 55, 65, 80)
SUBJECTS = {"tr": "subject08", "cv": "subject03", "tt": "subject18"}
ROOMS = {"tr": "0_2s", "cv": "0_5s", "tt": "0_3s"}
# Speaker, folder and length of each utterance.
UTTERANCES = {
    "01aa0101": ("si_tr_s", 9001),
    "01ba0102": ("si_tr_s", 7000),
    "01ca0103": ("si_tr_s", 8003),
    "050a0501": ("si_dt_05", 6001),
    "051a0502": ("si_dt_05", 7501),
    "440c0203": ("si_et_05", 8000),
}
SPLITS = {
    "tr": ("01aa0101", "01ba0102", "01ca0103"),
    "cv": ("01ba0102", "01ca0103", "01aa0101"),
    "tt": ("440c0203", "050a0501", "051a0502"),
}
ENVIRONMENTS = {
    "Train": ["DWASHING", "DKITCHEN", "NFIELD", "NPARK", "OOFFICE", "OMEETING"],
    "Test": ["PSTATION", "PRESTO", "STRAFFIC", "SCAFE", "TMETRO", "TCAR"],
    "Valid": ["DLIVING", "NRIVER", "OHALLWAY", "PCAFETER", "SPSQUARE", "TBUS"],
}
# Where speech begins, by the draws of the noise.
STARTS = {"tr": (9473, 16471), "cv": (20933, 1799), "tt": (22195, 28264)}


def wave(seed, shape, amplitude):
    """Integers, the same on every machine."""
    rng = np.random.RandomState(seed)
    return rng.randint(-amplitude, amplitude + 1, shape).astype(np.int16)


def write_wsj0(folder, suffix=".wav", upper=False):
    """Utterances below ``wsj0``, or in the LDC's upper-case folders."""
    for index, (stem, (subset, length)) in enumerate(UTTERANCES.items()):
        path = Path("wsj0", subset, stem[:3], stem)
        path = Path("11-1.1", str(path).upper()) if upper else path
        path = Path(folder, path)
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(
            f"{path}{suffix.upper() if upper else suffix}",
            wave(index, length, 9000),
            16000,
            format={".wv1": "NIST"}.get(suffix),
            subtype="PCM_16",
        )
    return Path(folder)


def write_cipic(folder):
    """Heads in the WAV version of CIPIC: 50 frames of 200 channels."""
    for seed, subject in enumerate(SUBJECTS.values()):
        for index, lateral in enumerate(LATERALS):
            sign = "neg" if lateral < 0 else ""
            for ear, side in enumerate(("left", "right")):
                path = Path(folder, subject)
                path.mkdir(parents=True, exist_ok=True)
                louder = (lateral < 0) == (ear == 0)
                responses = wave(1000 * seed + 2 * index + ear, (50, 200), 300)
                responses[:, 43 if louder else 60] = 9000 if louder else 3000
                soundfile.write(
                    path / f"{sign}{abs(lateral)}az{side}.wav", responses, 44100
                )
    return Path(folder)


def write_rooms(folder):
    """Room responses as CATT_RIRs/Binaural/16k."""
    for seed, room in enumerate(ROOMS.values()):
        path = Path(folder, "CATT_RIRs", "Binaural", "16k", room)
        path.mkdir(parents=True, exist_ok=True)
        decay = 0.995 ** np.arange(1200)
        for azimuth in range(-90, 91, 5):
            response = wave(500 * seed + azimuth + 90, (1200, 2), 4000)
            response = response * decay[:, None]
            response[:30] = 0
            response[30, int(azimuth > 0)] = 20000
            response[38, int(azimuth <= 0)] = 9000
            soundfile.write(
                path / f"CATT_{room}_{azimuth}.wav",
                response.astype(np.int16),
                16000,
            )
    return Path(folder, "CATT_RIRs")


def write_noise(folder):
    """DEMAND, cut to what the longest mixture needs."""
    seed = 0
    for names in ENVIRONMENTS.values():
        for name in names:
            path = Path(folder, "demand", name, "ch01.wav")
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, wave(7000 + seed, 80000, 2000), 16000)
            seed += 1
    return Path(folder)


def _write_csv(path, header, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def _places(split, count):
    """Names, and lateral angle, elevation and index of each source."""
    stems = SPLITS[split]
    levels = ("1.5", "-1.5", "0")
    for row in range(2):
        # The second mixture has the sources the other way round.
        chosen = stems[:count] if row == 0 else stems[:count][::-1]
        name = "_".join(
            part
            for pair in zip(chosen, levels[:count], strict=True)
            for part in pair
        )
        angles = [
            (LATERALS[(7 * row + 9 * n) % 25], (0, 62, 146)[n], (8, 19, 34)[n])
            for n in range(count)
        ]
        yield f"{name}.wav", chosen, angles


def write_metadata(folder, starts=STARTS):
    """Published lists of two mixtures a split, all variants."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for number, split in enumerate(SPLITS):
        for count, tail in ((2, ""), (3, "3")):
            rows = list(_places(split, count))
            _write_places(folder, split, rows, count, tail)
            _write_gains(
                folder / f"scaling_{split}{tail}.npz",
                rows,
                count,
                number,
                starts[split],
            )
        _write_csv(
            folder / f"hrtf_reverb_meta_{split}.csv",
            ["utterance_id", "reverb_time", "azimuth1", "azimuth2"],
            [
                [name, ROOMS[split], angles[0][0], angles[1][0]]
                for name, _, angles in _places(split, 2)
            ],
        )
    _write_csv(
        folder / "file_splits.csv",
        ["Filename", "Split", "Noise Band"],
        [
            [f"demand/{name}/ch01.wav", split, 0]
            for split, names in ENVIRONMENTS.items()
            for name in names
        ],
    )
    return folder


def _write_places(folder, split, rows, count, tail):
    """Who speaks, and from where."""
    numbers = range(1, count + 1)
    _write_csv(
        folder / f"mix_{count}_spk_filenames_{split}.csv",
        ["output_filename", *(f"s{n}_path" for n in numbers)],
        [
            [
                name,
                *(f"wsj0/{UTTERANCES[s][0]}/{s[:3]}/{s}.wav" for s in chosen),
            ]
            for name, chosen, _ in rows
        ],
    )
    _write_csv(
        folder / f"hrtf_meta_{split}{tail}.csv",
        ["utterance_id", "subject"]
        + [f"azimuth{n}" for n in numbers]
        + [f"elevation{n}" for n in numbers]
        + [f"elevation_index{n}" for n in numbers],
        [
            [name, SUBJECTS[split], *np.ravel(np.transpose(angles))]
            for name, _, angles in rows
        ],
    )


def _write_gains(path, rows, count, number, starts):
    """Gains, with the ids pickled as in the published files."""
    arrays = {"utterance_id": np.array([r[0] for r in rows], dtype=object)}
    for rate in (8, 16):
        for mode in ("min", "max"):
            end = f"{rate}k_{mode}"
            base = 0.9 + 0.01 * number + (0.1 if mode == "min" else 0.0)
            arrays[f"scaling_wsjmix_{end}"] = base + 0.13 * np.arange(
                2.0 * count
            ).reshape(2, count)
            arrays[f"scaling_wham_speech_{end}"] = np.array([0.31, 0.47])
            arrays[f"scaling_wham_noise_{end}"] = np.array([0.9, 1.1])
    arrays["speech_start_sample_16k"] = np.array(starts)
    np.savez(path, **arrays)
