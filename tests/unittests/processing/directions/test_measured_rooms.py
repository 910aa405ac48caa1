"""Directions and tracks of speech in a measured room, at a measured array."""

import csv

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

from spatial_brain.dataio.audio import read_audio
from spatial_brain.processing.directions.grid import DirectionGrid
from spatial_brain.processing.directions.music import MUSIC
from spatial_brain.processing.directions.srp_phat import SRPPhat
from spatial_brain.processing.tracking import DirectionTracker

FS = 16000


def read(path):
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def waveform(path):
    return read_audio(path, fs=FS, resample=True)[0].numpy()


@pytest.fixture(scope="module")
def measured(shared_data):
    """Array [6, 3], azimuth to response [time, 6], speech [time]."""
    folder = shared_data / "rir" / "r3vival"
    places = read(folder / "array_geometry.csv")[:6]
    array = torch.tensor(
        [[float(row[axis]) for axis in ("x_m", "y_m", "z_m")] for row in places]
    )
    responses = {
        float(row["azimuth_deg"]): waveform(shared_data / row["path"])[:, :6]
        for row in read(folder / "manifest.csv")
        if row["condition"] == "050"
        and row["azimuth_deg"] in ("-150", "-60", "30", "180")
        and row["distance_m"] == "2.00"
    }
    speech = [
        waveform(shared_data / row["path"])[:, 0]
        for row in read(shared_data / "speech" / "manifest.csv")[:4]
    ]
    return array, responses, np.concatenate(speech)


def at_array(measured, stretches, snr=25.0):
    """Speech that jumps between azimuths: (azimuth, seconds) each."""
    _, responses, speech = measured
    length = sum(int(seconds * FS) for _, seconds in stretches)
    signal, start = 0.0, 0
    for azimuth, seconds in stretches:
        stop = start + int(seconds * FS)
        part = np.zeros(length)
        part[start:stop] = speech[start:stop]
        signal = signal + np.stack(
            [fftconvolve(part, row)[:length] for row in responses[azimuth].T],
            axis=-1,
        )
        start = stop
    noise = np.random.default_rng(0).standard_normal(signal.shape)
    signal = signal / signal.std() + noise * 10 ** (-snr / 20)
    return torch.tensor(signal, dtype=torch.float32)[None]


@pytest.mark.parametrize("method", [SRPPhat, MUSIC])
def test_one_speaker(measured, method):
    locate = method(measured[0], FS, DirectionGrid.sphere(6.0))
    for azimuth in measured[1]:
        found = locate.peaks(at_array(measured, [(azimuth, 2.0)]))
        error = (found.azimuth[0, :, 0] - azimuth + 180) % 360 - 180
        sure = found.confidence[0, :, 0]
        sure = sure >= sure.median()
        assert error[sure].abs().median() < 3.0
        assert error[sure].abs().max() < 10.0
        assert found.elevation[0, sure, 0].median().abs() < 10.0


def test_a_speaker_who_jumps_is_tracked(measured):
    stretches = [(30.0, 4.0), (-150.0, 4.0), (-60.0, 4.0), (180.0, 4.0)]
    locate = SRPPhat(measured[0], FS, block=0.3)
    found = locate.peaks(at_array(measured, stretches))
    tracker = DirectionTracker(
        lag=0.5, max_gap=1.5, min_confidence=0.07, birth_confidence=0.15
    )
    tracks = tracker(
        found.times.numpy(),
        found.azimuth[0].numpy(),
        found.elevation[0].numpy(),
        found.confidence[0].numpy(),
    )
    assert 4 <= len(tracks) <= 6
    for number, (azimuth, _) in enumerate(stretches):
        now = (tracks.times > 4 * number + 1) & (tracks.times < 4 * number + 4)
        error = np.abs((tracks.azimuth[:, now] - azimuth + 180) % 360 - 180)
        assert (np.nanmin(error, axis=0) < 5).mean() > 0.9
