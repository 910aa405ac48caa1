"""Train a localiser in simulated rooms and locate talkers in a new one.

Run by ``make demo``. Needs no data. Leaves everything in ``results/demo``.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import torch

from spatial_brain.dataio.audio import write_audio
from spatial_brain.geometry import cone_angle, linear_array
from spatial_brain.inference import SoundLocalizer
from spatial_brain.processing.localization import (
    gcc_phat_directions,
    srp_phat_directions,
)
from spatial_brain.reporting.localization import half_plane
from spatial_brain.reporting.plots import save_figure
from spatial_brain.simulation import (
    SyntheticTalker,
    diffuse_noise,
    sample_room,
    simulate_rir,
    synthetic_speech,
)
from spatial_brain.simulation.mixing import add_noise, mix_batch

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "recipes" / "DualMic-LibriSpeech"
OUTPUT = ROOT / "results" / "demo"
SPACING = 0.1
METHODS = {
    "network": "network",
    "gcc_phat": "GCC-PHAT",
    "srp_phat": "SRP-PHAT",
    "chance": "constant estimate",
}


def train():
    """Run the recipe's mini configuration."""
    command = [sys.executable, "train.py", "hparams/mini.yaml"]
    command += ["--output_folder", str(OUTPUT)]
    code = subprocess.run(command, cwd=RECIPE, check=False).returncode
    if code:
        sys.exit(f"the training stopped with exit code {code}; see above")


def print_results():
    """Print the table of the network and the baselines."""
    metrics = json.loads((OUTPUT / "metrics.json").read_text())
    rows = metrics["methods"]
    print("\nTwo talkers, two microphones, unseen rooms and voices")
    print(f"{'':18}{'mean error':>12}{'median':>10}{'within 10°':>12}")
    for key, name in METHODS.items():
        row = rows[key]
        print(
            f"{name:18}{row['mae']:11.1f}°{row['median']:9.1f}°"
            f"{100 * row['accuracy_10']:11.0f}%"
        )


def record_talkers(path):
    """Write a recording of two new talkers in a new room.

    Arguments
    ---------
    path : Path
        WAV file to write, two channels at 16 kHz.

    Returns
    -------
    tuple of torch.Tensor
        Recording [time, 2], and angles of the talkers from the axis of the
        microphones, degrees, [2].
    """
    generator = torch.Generator().manual_seed(97)
    room = sample_room(
        generator,
        t60_range=(0.4, 0.6),
        array=linear_array(2, SPACING),
        distance_range=(1.0, 3.0),
        min_angle=20.0,
        random_yaw=False,
    )
    dry = torch.stack(
        [
            synthetic_speech(6 * 16000, 16000, SyntheticTalker(seed), generator)
            for seed in (900_001, 900_002)
        ]
    )
    rirs = simulate_rir(room.size, room.sources, room.microphones, t60=room.t60)
    recording = mix_batch(dry[None], rirs[None])[0]
    noise = diffuse_noise(
        room.microphones, len(recording), fs=16000, generator=generator
    )
    recording = add_noise(recording, noise.T, 20.0)
    recording = 0.5 * recording / recording.abs().max()
    write_audio(path, recording, 16000)
    directions = room.sources - room.microphones.mean(0)
    return recording, cone_angle(directions).sort().values


def locate(path, truth):
    """Locate the talkers of the recording with the trained model."""
    picture = path.with_suffix(".png")
    print(f"\nA new recording: {path.relative_to(ROOT)}")
    print("truly at " + " and ".join(f"{angle:.0f}°" for angle in truth))
    command = [sys.executable, "-m", "spatial_brain.cli.main", "locate"]
    command += [str(path), "--model", str(OUTPUT), "--force"]
    command += ["--picture", str(picture)]
    print("$ spatial-brain locate " + " ".join(command[4:]), flush=True)
    subprocess.run(command, check=True)


def draw(path, recording, truth):
    """Draw the truth and the estimates of the network and the baselines."""
    located = SoundLocalizer.from_hparams(source=str(OUTPUT)).localize_file(
        path
    )
    estimates = {
        "network": [talker["direction"] for talker in located.talkers],
        "GCC-PHAT": gcc_phat_directions(recording[None], SPACING)[0].tolist(),
        "SRP-PHAT": srp_phat_directions(recording[None], SPACING)[0].tolist(),
    }
    figure = half_plane(truth.tolist(), estimates, "Two unseen talkers")
    save_figure(figure, OUTPUT / "demo.png")


def main():
    """Train, print, record, locate."""
    start = time.time()
    train()
    print_results()
    recording = OUTPUT / "new_recording.wav"
    waveform, truth = record_talkers(recording)
    locate(recording, truth)
    draw(recording, waveform, truth)
    print(f"\nReport:  {OUTPUT / 'report.html'}")
    print(f"Picture: {OUTPUT / 'demo.png'}")
    print(f"Done in {(time.time() - start) / 60:.1f} minutes.")


if __name__ == "__main__":
    main()
