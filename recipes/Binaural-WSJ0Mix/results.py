"""What the original recipe leaves of a test: its table, and sounds."""

from pathlib import Path

from spatial_brain.dataio.audio import write_audio
from spatial_brain.dataio.files import write_table
from spatial_brain.metrics.separation.signals import best_permutation

COLUMNS = {
    "snr": "compat_snr",
    "snr_i": "compat_snr_i",
    "delta_ITD": "compat_delta_ITD",
    "delta_ILD": "compat_delta_ILD",
}
# Largest sample of the sounds of a mixture.
PEAK = 0.9


def write_compat_csv(path, rows):
    """Write ``test_results.csv`` as the original counts and names things.

    Arguments
    ---------
    path : Path
        File to write, complete or not at all.
    rows : list of dict
        From ``SeparationErrors.rows``.
    """
    lines = [
        {"snt_id": row["id"]}
        | {name: float(row[key]) for name, key in COLUMNS.items()}
        for row in rows
    ]
    means = {
        name: sum(line[name] for line in lines) / len(lines) for name in COLUMNS
    }
    write_table(path, [*lines, {"snt_id": "avg", **means}])


def write_audio_examples(folder, examples):
    """Write mixtures, talkers, and what was separated, to listen to.

    One factor for all files of a mixture: levels and interaural differences
    stay, and estimates are in the order of the talkers.

    Arguments
    ---------
    folder : Path
        Gets ``item<id>_mix.wav``, ``item<id>_source<k>.wav`` and
        ``item<id>_source<k>hat.wav``.
    examples : list of dict
        ``id``, ``fs``, ``mixture`` [time, 2], ``reference`` and ``estimate``
        [time, 2, source].
    """
    for example in examples:
        mixture, reference = example["mixture"], example["reference"]
        order = best_permutation(example["estimate"], reference)
        estimate = example["estimate"][..., order]
        signals = {"mix": mixture}
        for k in range(reference.shape[-1]):
            signals[f"source{k + 1}"] = reference[..., k]
            signals[f"source{k + 1}hat"] = estimate[..., k]
        peak = max(float(x.abs().max()) for x in signals.values())
        for name, signal in signals.items():
            path = Path(folder, f"item{example['id']}_{name}.wav")
            write_audio(path, signal * (PEAK / max(peak, 1e-8)), example["fs"])
