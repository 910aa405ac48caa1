"""Annotated recordings as a user may have them, of noise."""

import torch

from spatial_brain.dataio.audio import write_audio


def write_own_scenes(folder, number=3, *, fs=16000, seconds=2.0, channels=4):
    """Write pairs of .wav and Audacity's .txt, one a room."""
    generator = torch.Generator().manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["path,room"]
    for k in range(number):
        shape = round(seconds * fs), channels
        waveform = torch.randn(shape, generator=generator).clamp(-9, 9) / 10
        write_audio(folder / f"Aufnahme {k}.wav", waveform, fs)
        (folder / f"Aufnahme {k}.txt").write_text(
            f"0.2\t1.55\tdog bark {30 + k} -10 1.5\n1\t1.8\tbell,-90,0\n"
        )
        lines.append(f"Aufnahme {k}.wav,room {k}")
    (folder / "recordings.csv").write_text("\n".join(lines))
