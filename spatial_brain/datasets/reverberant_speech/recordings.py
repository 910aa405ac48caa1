"""Speech in stored rooms, mixed anew in every epoch."""

import numpy as np
import torch
from scipy import fft

from spatial_brain.dataio.array_store import ArrayStore
from spatial_brain.dataio.dataset import EpochDataset
from spatial_brain.datasets.reverberant_speech.disturbances import Disturbances
from spatial_brain.datasets.speech.pool import SpeechPool
from spatial_brain.simulation.mixing import active_level

# Speech before a recording begins, s: the room sounds already.
_LEAD = 1.0
_BABBLE_SPEAKERS = 5


class ReverberantSpeech(EpochDataset):
    """Recordings of one speaker in a room, with one or two microphones.

    An item has ``id``, ``waveform`` [time, channel], ``labels`` [channel,
    quantity], ``snr`` (dB) and ``room``. It depends on seed, epoch and index
    alone.

    Arguments
    ---------
    responses : str or Path
        Manifest of ``prepare_responses``.
    speech : str or Path
        Manifest of ``spatial_brain.datasets.speech.pool.prepare_speech``.
    num_items : int
        Recordings an epoch.
    quantities : sequence of str
        Keys of the responses' labels.
    duration : float
        Seconds.
    fs : int
        Sampling rate, Hz.
    seed : int
        Of all random choices.
    num_channels : int
        1: either of the two microphones; 2: both.
    snr_range : tuple of float
        dB.
    t60_range : tuple of float
        Responses with another measured T60 are left out, s.
    babble_share : float
        How often the noise is other speakers in another room.
    disturbances : dict, optional
        Options of :class:`Disturbances`.
    kept_files : int
        Files of speech that every process keeps in memory.

    Raises
    ------
    ValueError
        If there is no response with such a T60.
    """

    def __init__(
        self,
        responses,
        speech,
        num_items,
        *,
        quantities,
        duration=4.0,
        fs=16000,
        seed=0,
        num_channels=1,
        snr_range=(0.0, 40.0),
        t60_range=(0.1, 1.5),
        babble_share=0.2,
        disturbances=None,
        kept_files=400,
    ):
        super().__init__()
        self.store = ArrayStore(responses)
        self.lead = round(_LEAD * fs)
        self.num_samples = round(duration * fs)
        self.pool = SpeechPool(
            speech, self.lead + self.num_samples, fs, kept_files
        )
        self.num_items, self.fs, self.seed = num_items, fs, seed
        self.snr_range, self.babble_share = snr_range, babble_share
        self.disturbances = Disturbances(**(disturbances or {}))
        self.places = self._find_places(quantities, num_channels, t60_range)
        if not self.places:
            raise ValueError(
                f"{responses}: no response has a T60 of {t60_range} s"
            )

    def _find_places(self, quantities, num_channels, t60_range):
        """Room, source, microphones and labels of all usable responses."""
        places = []
        for room, entry in self.store.entries.items():
            # NaN for what a response does not show.
            found = {
                name: np.array(entry["labels"][name], dtype=float)
                for name in ("T60", *quantities)
            }
            labels = np.stack([found[name] for name in quantities], -1)
            low, high = t60_range
            good = np.isfinite(labels).all(-1)
            good &= (low <= found["T60"]) & (found["T60"] <= high)
            for source, usable in enumerate(good):
                chosen = [[m] for m in np.flatnonzero(usable)]
                if num_channels == 2:
                    chosen = [[0, 1]] if usable.all() else []
                places += [
                    (room, source, some, labels[source, some].astype("float32"))
                    for some in chosen
                ]
        return places

    def __len__(self):
        return self.num_items

    def __getitem__(self, index):
        rng = np.random.default_rng([self.seed, self.epoch, index])
        room, source, channels, labels = self._draw_place(rng)
        rirs = self.store.part(room, (source, channels)).numpy()
        size = fft.next_fast_len(
            self.lead + self.num_samples + rirs.shape[-1], real=True
        )
        colour = self.disturbances.colour(rng, size // 2 + 1, self.fs)
        clean = self._reverberate(self._speech(rng), rirs, size, colour)
        noise = self._noise(rng, len(channels), size, colour)
        snr = rng.uniform(*self.snr_range)
        level = float(active_level(torch.from_numpy(clean), self.fs).mean())
        power = float(np.square(noise).mean()) + 1e-20
        gain = 10.0 ** ((level - snr) / 20.0) / power**0.5
        return {
            "id": f"{index:06d}",
            "waveform": torch.from_numpy((clean + gain * noise).T.copy()),
            "labels": torch.from_numpy(labels),
            "snr": snr,
            "room": room,
        }

    def _draw_place(self, rng):
        """One of the usable responses."""
        return self.places[rng.integers(len(self.places))]

    def _speech(self, rng):
        """A stretch of dry speech."""
        state = np.random.RandomState(rng.integers(2**31))
        return self.pool.draw(state).numpy()

    def _reverberate(self, dry, rirs, size, colour):
        """Speech at the microphones, without its first second."""
        spectrum = fft.rfft(dry, size) * colour * fft.rfft(rirs, size)
        last = self.lead + self.num_samples
        return fft.irfft(spectrum, size)[:, self.lead : last]

    def _noise(self, rng, num_channels, size, colour):
        """Noise at the microphones, of any level."""
        if rng.random() < self.babble_share:
            dry = sum(self._speech(rng) for _ in range(_BABBLE_SPEAKERS))
            room, source, _, _ = self._draw_place(rng)
            rirs = self.store.part(room, (source, slice(num_channels))).numpy()
            rirs = rirs[..., : size - len(dry)]
            return self._reverberate(dry, rirs, size, colour)
        shape = num_channels, size
        noise = self.disturbances.noise(rng, *shape, self.fs, colour)
        return noise[:, : self.num_samples]
