"""Speech in real rooms: signals of two microphones from measured responses.

As SAR-SSL makes them (B. Yang and X. Li, IEEE/ACM TASLP 32, 2024): a random
response and pair of microphones, noise that was recorded with the same array
in the same room, at an SNR relative to the direct sound, and random speech.
Items are those of ``spatial_brain.datasets.microphone_pairs.examples``.
"""

import math
import zlib
from bisect import bisect_right
from itertools import accumulate

import numpy as np
import torch
from scipy.fft import next_fast_len

from spatial_brain.datasets.microphone_pairs.examples import (
    DrawnPairs,
    check_room_names,
)
from spatial_brain.datasets.microphone_pairs.mixing import mix_at_snr
from spatial_brain.datasets.real_arrays.corpus import SPLITS
from spatial_brain.datasets.real_arrays.response_cache import ResponseCache
from spatial_brain.datasets.speech.pool import SpeechPool
from spatial_brain.datasets.wsj0_simu.scenes import stage_seed
from spatial_brain.simulation import diffuse_noise
from spatial_brain.simulation.acoustics import volume_and_surface
from spatial_brain.simulation.room_labels import (
    absorption_from_t60,
    tdoa_samples,
)

NOISES = ("recorded", "diffuse", "white", "none")
COMPAT = ("signed_argmax",)
# Seconds on either side of the direct path that belong to it.
_DIRECT = 2.5e-3
_SPLIT_OF_STAGE = {"train": "train", "val": "val"}


class ResponseSignals(DrawnPairs):
    """Signals drawn from the responses of one corpus.

    An example depends on stage, corpus, number and (with ``renew``) epoch
    alone: it is the same for any number of workers and ranks. Every pair of
    every response is equally likely, as in the original.

    Arguments
    ---------
    stage : str
        "pretrain", "preval", "pretest", "train", "val" or "test".
    cache : str or Path or ResponseCache
        From ``write_response_caches``.
    size : int
        Number of examples.
    source : str or Path or SpeechPool
        Manifest of speech, from ``prepare_speech``.
    split : str, optional
        "train", "val" or "test" responses of the corpus, or "all"; default:
        those of the stage, or all of ``rooms`` where these are given.
    rooms : sequence of str, optional
        Names of rooms to take; default: all of the split.
    noise : str
        "recorded": of the same array and room, none for responses that have
        none; "diffuse" or "white": Gaussian; "none".
    snr_range : sequence of float
        Direct sound to noise, dB, drawn uniformly.
    T : float
        Seconds of an example.
    compat : bool or sequence of str
        "signed_argmax": the direct path is taken to be where the response is
        largest, as in the original; True for all of them.
    renew : bool
        Draw other examples in every epoch (see ``set_epoch``).
    crop : float, optional
        Keep the first seconds of an example only.
    with_direct : bool
        Give the direct sound alone as well.

    Raises
    ------
    ValueError
        If an argument cannot be used, or no response is left.

    Example
    -------
    >>> ResponseSignals.__name__  # see prepare_response_signals
    'ResponseSignals'
    """

    def __init__(
        self,
        stage,
        cache,
        size,
        source,
        *,
        split=None,
        rooms=None,
        noise="recorded",
        snr_range=(15.0, 30.0),
        T=4.112,
        compat=False,
        renew=False,
        crop=None,
        with_direct=False,
    ):
        if not isinstance(cache, ResponseCache):
            cache = ResponseCache(cache)
        super().__init__(cache.fs, renew, crop, with_direct)
        stage_seed(stage)
        low, high = snr_range
        if size < 1 or not T > 0 or not low <= high:
            raise ValueError(
                "size must be at least 1, T positive and snr_range (low, "
                f"high), got {size}, {T} and {list(snr_range)}"
            )
        if noise not in NOISES:
            raise ValueError(
                f"noise must be one of {', '.join(NOISES)}, got {noise!r}"
            )
        self.stage, self.cache, self.size = stage, cache, size
        self.noise, self.snr_range, self.T = noise, (low, high), T
        self.num_samples = int(T * self.fs)
        self.compat = _check_compat(compat)
        if not isinstance(source, SpeechPool):
            source = SpeechPool(source, self.num_samples, self.fs)
        self.source = source
        self.split = split or (
            split_of_stage(stage) if rooms is None else "all"
        )
        self._choose(rooms)

    def _choose(self, rooms):
        """Responses of the split and the rooms, with their noises."""
        if self.split not in (*SPLITS, "all"):
            raise ValueError(
                f"split must be one of {', '.join(SPLITS)}, all, got "
                f"{self.split!r}"
            )
        responses = [
            response
            for response in self.cache.responses
            if self.split in ("all", response.split)
            and len(self.cache.pairs(response.array))
        ]
        there = sorted({response.room for response in responses})
        if rooms is not None:
            name = f"{self.cache.path}, split {self.split}"
            check_room_names(rooms, there, name)
            responses = [one for one in responses if one.room in rooms]
        if not responses:
            raise ValueError(
                f"{self.cache.path}: {self.cache.corpus} has no responses of "
                f"split {self.split}; choose another split, or rooms"
            )
        self.responses = responses
        self.rooms = sorted({response.room for response in responses})
        numbers = [len(self.cache.pairs(one.array)) for one in responses]
        self._ends = list(accumulate(numbers))
        self._matching = [self._noises_of(response) for response in responses]

    def _noises_of(self, response):
        """Recorded noises that are long enough for a response."""
        if self.noise != "recorded":
            return []
        return [
            noise
            for noise in self.cache.matching(response)
            if noise.num_samples >= self.num_samples
        ]

    def facts(self):
        """Counts for the log.

        Returns
        -------
        dict
            "rooms", "arrays", "pairs", "responses", "examples", "hours", and
            "responses without noise" where there are.
        """
        arrays = {response.array for response in self.responses}
        facts = {
            "rooms": len(self.rooms),
            "arrays": len(arrays),
            "pairs": sum(len(self.cache.pairs(array)) for array in arrays),
            "responses": len(self.responses),
            "examples": self.size,
            "hours": self.size * self.T / 3600,
        }
        without = sum(not noises for noises in self._matching)
        if self.noise == "recorded" and without:
            facts["responses without noise"] = without
        return facts

    def __len__(self):
        return self.size

    def name(self, index):
        """Id of an example: stage, corpus and number."""
        return f"{self.stage}_{self.cache.corpus}_{index:06d}"

    def _rng(self, index):
        """Random state of an example."""
        corpus = zlib.crc32(self.cache.corpus.encode())
        return np.random.RandomState(
            [stage_seed(self.stage), corpus, index, self.drawn_epoch]
        )

    def __getitem__(self, index):
        if not 0 <= index < self.size:
            raise IndexError(f"no example {index} of {self.size}")
        return self.finish(self.simulate(index))

    def simulate(self, index):
        """Example in full length, with the direct sound.

        Arguments
        ---------
        index : int
            Of the example.

        Returns
        -------
        dict
            See the module.
        """
        rng = self._rng(index)
        number = rng.randint(self._ends[-1])
        place = bisect_right(self._ends, number)
        response = self.responses[place]
        pairs = self.cache.pairs(response.array)
        channels = pairs[number - self._ends[place]].tolist()
        rir = self.cache.read_response(response.id, channels)
        kind, noise = self._draw_noise(rng, place, channels)
        speech = self.source.draw(rng)
        snr = rng.uniform(*self.snr_range)
        clean, direct = self._convolve(
            speech, torch.stack((rir, self._direct(rir, response, channels)))
        )
        if noise is None:
            snr, noise = math.nan, torch.zeros_like(clean)
        mixture, direct = mix_at_snr(
            clean[None],
            direct[None],
            noise[None],
            torch.tensor([0.0 if math.isnan(snr) else snr]),
        )
        return {
            "id": self.name(index),
            "room": response.room,
            "corpus": self.cache.corpus,
            "array": response.array,
            "spacing": _spacing(response, channels),
            "position": response.position,
            "noise": kind,
            "waveform": mixture[0].T.contiguous(),
            "direct": direct[0].T.contiguous(),
            "labels": {
                **self._labels(response, channels),
                "SNR": torch.tensor(snr, dtype=torch.float32),
            },
        }

    def _draw_noise(self, rng, place, channels):
        """Kind and samples of noise, [2, time]; None where there is none."""
        if self.noise == "recorded":
            noises = self._matching[place]
            if not noises:
                return "", None
            noise = noises[rng.randint(len(noises))]
            start = rng.randint(noise.num_samples - self.num_samples + 1)
            return noise.kind, self.cache.read_noise(
                noise.id, channels, start, start + self.num_samples
            )
        if self.noise == "none":
            return "", None
        white = rng.standard_normal((2, self.num_samples))
        noise = torch.from_numpy(white.astype(np.float32))
        if self.noise == "white":
            return "white", noise
        microphones = self.responses[place].microphones[channels]
        return "diffuse", diffuse_noise(
            microphones.float(), self.num_samples, fs=self.fs, noise=noise
        )

    def _direct(self, rir, response, channels):
        """Response around its direct path, [2, time]."""
        if "signed_argmax" in self.compat:
            middle = rir.argmax(-1, keepdim=True)
        else:
            middle = response.measured["direct"][channels, None]
        away = (torch.arange(rir.shape[-1]) - middle).abs()
        return torch.where(away <= int(_DIRECT * self.fs), rir, 0.0)

    def _convolve(self, speech, rirs):
        """First samples of the speech in the room, [2 kinds, 2, time]."""
        size = self.num_samples + rirs.shape[-1]
        nfft = next_fast_len(size, real=True)
        spectrum = torch.fft.rfft(speech, n=nfft) * torch.fft.rfft(rirs, n=nfft)
        return torch.fft.irfft(spectrum, n=nfft)[..., : self.num_samples]

    def _labels(self, response, channels):
        """All labels but the SNR; NaN where one is not known."""
        first = channels[0]
        room = self.cache.rooms[response.room]
        t60 = _pair_t60(response, channels, room)
        labels = {
            "TDOA": math.nan,
            "T60": t60,
            "DRR": response.measured["drr"][first],
            "C50": response.measured["c50"][first],
            **dict.fromkeys(("ABS", "SUR", "VOL"), math.nan),
        }
        if response.source is not None and response.microphones is not None:
            labels["TDOA"] = tdoa_samples(
                response.microphones[channels], response.source, fs=self.fs
            )
        if room.size is not None:
            size = torch.tensor(room.size, dtype=torch.float64)
            volume, surface = volume_and_surface(size)
            labels["ABS"] = absorption_from_t60(size, t60)
            labels["SUR"], labels["VOL"] = surface.log10(), volume.log10()
        return {
            name: torch.as_tensor(value, dtype=torch.float32)
            for name, value in labels.items()
        }

    def options(self):
        """What the examples depend on, for JSON."""
        return {
            "stage": self.stage,
            "cache": {**self.cache.options, "crc32": self.cache.checksum},
            "size": self.size,
            "source": str(self.source.manifest),
            "split": self.split,
            "rooms": self.rooms,
            "noise": self.noise,
            "snr_range": list(self.snr_range),
            "T": self.T,
            "compat": list(self.compat),
        }


def split_of_stage(stage):
    """Split of the responses that belong to a stage.

    Arguments
    ---------
    stage : str
        Such as "pretrain".

    Returns
    -------
    str
        "train", "val" or "test".

    Example
    -------
    >>> [split_of_stage(stage) for stage in ("pretrain", "val", "pretest")]
    ['train', 'val', 'test']
    """
    return _SPLIT_OF_STAGE.get(stage.removeprefix("pre"), "test")


def _check_compat(compat):
    """Names of the faults to keep."""
    if isinstance(compat, bool):
        return COMPAT if compat else ()
    unknown = sorted(set(compat) - set(COMPAT))
    if unknown:
        raise ValueError(
            f"unknown compat {', '.join(unknown)}; known: {', '.join(COMPAT)}"
        )
    return tuple(compat)


def _spacing(response, channels):
    """Metres between two microphones; NaN where positions are unknown."""
    if response.microphones is None:
        return math.nan
    one, other = response.microphones[channels]
    return float(torch.linalg.vector_norm(one - other))


def _pair_t60(response, channels, room):
    """T60 of two microphones: published as closely as it is, or measured."""
    values = response.published.get("t60")
    if values is not None and bool(values[channels].isfinite().all()):
        return float(values[channels].mean())
    for value in (response.t60, room.t60):
        if value is not None:
            return value
    return float(response.measured["t60"][channels].mean())
