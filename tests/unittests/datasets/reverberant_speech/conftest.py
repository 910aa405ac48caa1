import pytest
import torch

from spatial_brain.dataio.audio import write_audio
from spatial_brain.dataio.manifest import write_manifest
from spatial_brain.datasets.reverberant_speech.responses import (
    prepare_responses,
)

KINDS = {"office": {"share": 1, "low": [3, 3, 2.5], "high": [5, 4, 3]}}


@pytest.fixture(scope="session")
def responses(tmp_path_factory):
    """Three small rooms."""
    folder = tmp_path_factory.mktemp("rooms")
    options = {"kinds": KINDS, "t60_range": [0.15, 0.5], "num_sources": 2}
    return prepare_responses(folder, 3, 5, name="rirs", **options)


@pytest.fixture(scope="session")
def speech(tmp_path_factory):
    """Two speakers of noise."""
    folder = tmp_path_factory.mktemp("speech")
    entries = {}
    for name in "ab":
        path = folder / f"{name}.wav"
        generator = torch.Generator().manual_seed(ord(name))
        noise = 0.1 * torch.randn(20000, generator=generator)
        write_audio(path, noise, 16000)
        entries[name] = {
            "wav": str(path),
            "speaker": name,
            "num_samples": len(noise),
        }
    write_manifest(folder / "speech.json", entries)
    return folder / "speech.json"
