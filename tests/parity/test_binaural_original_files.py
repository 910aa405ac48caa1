"""Files equal to those that the original scripts make of the same inputs.

``binaural_generation.json`` holds what the scripts of
github.com/huangzj421/Binaural-WSJ0Mix@aea05b6 wrote for the tiny corpus,
lists, heads, rooms and noise of ``binaural_trees``: checksums of integers,
energies and some samples of floats.
"""

import json
import zlib
from pathlib import Path

import binaural_trees as tiny
import numpy as np
import pytest
import soundfile

from spatial_brain.datasets.binaural_wsj0mix.prepare import (
    prepare_binaural_wsj0mix,
)

GOLDEN = json.loads(
    Path(__file__).with_name("binaural_generation.json").read_text()
)
FOLDERS = {
    "clean2": "2speakers",
    "clean3": "3speakers",
    "noise": "noise",
    "reverb": "reverb",
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    return {
        "wsj0_folder": tiny.write_wsj0(folder / "wsj"),
        "metadata_folder": tiny.write_metadata(
            folder / "metadata", tiny.STARTS
        ),
        "hrtfs": tiny.write_cipic(folder / "cipic"),
        "rooms": tiny.write_rooms(folder / "rooms"),
        "noise_folder": tiny.write_noise(folder / "noise"),
    }


@pytest.mark.parametrize("variant", list(FOLDERS))
def test_files_equal_the_original(variant, inputs, tmp_path, caplog):
    compared = set()
    for fs in (8000, 16000):
        for mode in ("min", "max"):
            prepare_binaural_wsj0mix(
                tmp_path,
                tmp_path / "manifests",
                variant=variant,
                fs=fs,
                mode=mode,
                compat=True,
                check_counts=False,
                **inputs,
            )
    root = tmp_path / FOLDERS[variant]
    for path in root.glob("wav*/*/*/*/*.wav"):
        key = f"{variant}/{path.relative_to(root).as_posix()}"
        golden = GOLDEN[key]
        dtype = "float32" if variant == "noise" else "int16"
        samples, fs = soundfile.read(path, dtype=dtype)
        assert list(samples.shape) == golden["shape"], key
        assert fs == (8000 if "wav8k" in key else 16000)
        if variant == "noise":
            np.testing.assert_allclose(
                samples[1000:1003].ravel(), golden["samples"], rtol=1e-6
            )
            energy = (samples.astype(np.float64) ** 2).sum()
            assert energy == pytest.approx(golden["energy"], rel=1e-6)
        else:
            assert samples[1000:1003].ravel().tolist() == golden["samples"]
            assert zlib.crc32(samples.tobytes()) == golden["crc32"], key
        compared.add(key)
    assert compared == {k for k in GOLDEN if k.startswith(f"{variant}/")}
    assert "other noise" not in caplog.text
