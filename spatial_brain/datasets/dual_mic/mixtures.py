"""Mixtures of speakers in rooms: drawn anew or fixed for good, and read."""

from typing import NamedTuple

import numpy as np
import torch

from spatial_brain.dataio.audio import read_audio
from spatial_brain.dataio.manifest import read_manifest, write_manifest
from spatial_brain.dataio.parallel import progress
from spatial_brain.simulation.noise_field import diffuse_noise

PAIRINGS = ("different_speakers", "any")
CROPS = ("start", "random")
# What a mixture takes over from its room.
_COPIED = (
    "azimuth",
    "elevation",
    "cone_angle",
    "distance",
    "separation",
    "t60",
    "t60_measured",
)


class MixtureDrawer:
    """Decides which utterances meet in which room, at which levels.

    A mixture has ``utterances`` (ids), ``wavs``, ``speakers``, ``starts``
    (samples), ``num_samples`` (how many are there, at most ``length``),
    ``length`` (samples), ``rir`` (id of the room), ``sir`` (level
    of the first source over each other, dB, a list; null keeps the recorded
    levels), ``snr`` (dB; null for no noise), ``mic_gains`` (dB per microphone;
    null for none) and ``seed`` (for what is drawn when the mixture is made,
    such as noise).

    The reference behaviour of github.com/zszheng147/tencent-SSL is
    ``pairing="any", crop="start"`` without ranges.

    Arguments
    ---------
    speech : dict
        Manifest with ``wav``, ``speaker``, ``num_samples``.
    rooms : sequence of str
        Ids of rooms.
    num_talkers : int
        Utterances in a mixture; the rooms must have as many sources.
    num_microphones : int
        Channels of the mixtures.
    length : int
        Length of the dry signals, samples; shorter utterances are padded by
        whoever makes the mixture.
    pairing : str
        ``"different_speakers"``, or ``"any"``: even an utterance with itself.
    crop : str
        ``"start"`` or ``"random"``, for utterances longer than ``length``.
    sir_range : tuple of float
        dB, uniform; None keeps the levels of the recordings.
    snr_range : tuple of float
        dB, uniform; None adds no noise.
    gain_range : tuple of float
        dB, uniform for each microphone; None is no mismatch.

    Raises
    ------
    ValueError
        If there are too few speakers, or an argument is unknown.

    Example
    -------
    >>> speech = {s: {"wav": s, "speaker": s, "num_samples": 9} for s in "ab"}
    >>> drawer = MixtureDrawer(speech, ["room0"], snr_range=(10, 20))
    >>> mixture = drawer.draw(np.random.default_rng(0), "a")
    >>> mixture["speakers"], mixture["rir"], 10 <= mixture["snr"] <= 20
    (['a', 'b'], 'room0', True)
    """

    def __init__(
        self,
        speech,
        rooms,
        *,
        num_talkers=2,
        num_microphones=2,
        length=48000,
        pairing="different_speakers",
        crop="random",
        sir_range=None,
        snr_range=None,
        gain_range=None,
    ):
        if pairing not in PAIRINGS or crop not in CROPS:
            raise ValueError(
                f"pairing must be one of {PAIRINGS} and crop one of {CROPS}, "
                f"got {pairing!r} and {crop!r}"
            )
        if num_talkers < 1 or length < 1:
            raise ValueError(
                "num_talkers and length must be at least 1, got "
                f"{num_talkers} and {length}"
            )
        speakers = {entry["speaker"] for entry in speech.values()}
        if pairing == "different_speakers" and len(speakers) < num_talkers:
            raise ValueError(
                f"the speech has {len(speakers)} speakers, {num_talkers} are "
                "needed in a mixture"
            )
        self.speech, self.ids, self.rooms = speech, list(speech), rooms
        self.num_talkers, self.num_microphones = num_talkers, num_microphones
        self.length, self.pairing, self.crop = length, pairing, crop
        self.ranges = (sir_range, snr_range, gain_range)

    def draw(self, rng, first):
        """Describe one mixture.

        Arguments
        ---------
        rng : numpy.random.Generator
            Source of all choices.
        first : str
            Id of the first source's utterance.

        Returns
        -------
        dict
        """
        speech = self.speech
        utterances = self._utterances(rng, first)
        room = self.rooms[rng.integers(len(self.rooms))]
        starts = [
            self._start(rng, speech[key]["num_samples"]) for key in utterances
        ]
        return {
            "rir": room,
            "utterances": utterances,
            "wavs": [speech[key]["wav"] for key in utterances],
            "speakers": [speech[key]["speaker"] for key in utterances],
            "starts": starts,
            "num_samples": [
                min(self.length, speech[key]["num_samples"] - start)
                for key, start in zip(utterances, starts, strict=True)
            ],
            "length": self.length,
            **self._levels(rng),
            "seed": int(rng.integers(2**62)),
        }

    def _utterances(self, rng, first):
        """Ids of the utterances of one mixture."""
        utterances = [first]
        while len(utterances) < self.num_talkers:
            other = self.ids[rng.integers(len(self.ids))]
            present = {self.speech[key]["speaker"] for key in utterances}
            if (
                self.pairing == "any"
                or self.speech[other]["speaker"] not in present
            ):
                utterances.append(other)
        return utterances

    def _start(self, rng, num_samples):
        """First sample of an utterance."""
        # Always drawn, so that the crop changes nothing else.
        share = rng.random()
        if self.crop == "start" or num_samples <= self.length:
            return 0
        return int(share * (num_samples - self.length + 1))

    def _levels(self, rng):
        """Levels of sources, noise and microphones, dB."""

        def draw(bounds, count):
            values = rng.random(count)
            if bounds is None:
                return None
            low, high = bounds
            return [round(low + v * (high - low), 3) for v in values.tolist()]

        sir_range, snr_range, gain_range = self.ranges
        sir = draw(sir_range, self.num_talkers - 1)
        snr = draw(snr_range, 1)
        return {
            "sir": sir,
            "snr": None if snr is None else snr[0],
            "mic_gains": draw(gain_range, self.num_microphones),
        }


def write_mixture_manifest(
    path, utterances, rirs, *, seed, num_mixtures=None, **options
):
    """Fix the mixtures of a validation or test set, once and for all.

    Mixture ``i`` depends on ``(seed, i)`` alone. Every utterance is first
    source once before any is it twice. An entry is what `MixtureDrawer`
    draws. Directions and acoustics of the room are copied from its entry:
    ``azimuth``, ``elevation``, ``cone_angle``, ``distance``, ``separation``,
    ``t60``, ``t60_measured``.

    Arguments
    ---------
    path : str or Path
        Manifest to write.
    utterances : str or Path
        Manifest with ``wav``, ``speaker``, ``num_samples``; placeholders in
        its paths stay as they are.
    rirs : str or Path
        Manifest of a bank of rooms.
    seed : int
        Not negative.
    num_mixtures : int
        None is one for each utterance.
    **options
        Those of `MixtureDrawer`.

    Raises
    ------
    ValueError
        If there are too few speakers, or an argument is unknown.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> speech = {s: {"wav": s, "speaker": s, "num_samples": 9} for s in "ab"}
    >>> write_manifest(folder / "speech.json", speech)
    >>> room = {"src_pos": [[1, 1, 1], [2, 1, 1]], "mic_pos": [[1, 2, 1]]}
    >>> write_manifest(folder / "rirs.json", {"room0": room})
    >>> write_mixture_manifest(
    ...     folder / "test.json",
    ...     folder / "speech.json",
    ...     folder / "rirs.json",
    ...     seed=0,
    ... )
    >>> sorted(read_manifest(folder / "test.json")["mix000000"]["speakers"])
    ['a', 'b']
    """
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    speech = read_manifest(utterances, keys=("wav", "speaker", "num_samples"))
    rooms = read_manifest(rirs, keys=("src_pos", "mic_pos"))
    channels = len(next(iter(rooms.values()))["mic_pos"])
    drawer = MixtureDrawer(
        speech, list(rooms), num_microphones=channels, **options
    )
    for room, entry in rooms.items():
        if len(entry["src_pos"]) != drawer.num_talkers:
            raise ValueError(
                f"{rirs}: {room!r} has {len(entry['src_pos'])} sources, "
                f"mixtures have {drawer.num_talkers}"
            )
    num_mixtures = len(speech) if num_mixtures is None else num_mixtures
    order = np.random.default_rng(seed).permutation(len(speech))
    ids = list(speech)
    entries = {}
    for index in range(num_mixtures):
        rng = np.random.default_rng([seed, index])
        mixture = drawer.draw(rng, ids[order[index % len(ids)]])
        room = rooms[mixture["rir"]]
        copied = {key: room[key] for key in _COPIED if key in room}
        entries[f"mix{index:06d}"] = mixture | copied
    write_manifest(path, entries)


class MixtureParts(NamedTuple):
    """What a mixture is made of.

    Arguments
    ---------
    dry : torch.Tensor
        Speech, [time, source].
    rirs : torch.Tensor
        Impulse responses, [time, source, microphone].
    noise : torch.Tensor
        Diffuse noise, not scaled, [time, microphone]; one sample of silence
        without ``snr``.
    sir : torch.Tensor
        Level of the first source over each other, dB, [source - 1].
    snr : torch.Tensor
        dB, [1].
    mic_gains : torch.Tensor
        dB, [microphone].
    angles : torch.Tensor
        Targets of the network, degrees in [0, 180], [source].
    cone_angle : torch.Tensor
        Degrees from the axis of the pair, [source].
    distance : torch.Tensor
        Metres, [source].
    t60 : torch.Tensor
        Seconds, [1].
    """

    dry: torch.Tensor
    rirs: torch.Tensor
    noise: torch.Tensor
    sir: torch.Tensor
    snr: torch.Tensor
    mic_gains: torch.Tensor
    angles: torch.Tensor
    cone_angle: torch.Tensor
    distance: torch.Tensor
    t60: torch.Tensor


class RoomMixtureReader:
    """Reads the speech, simulates the noise and looks up the room.

    Mixtures are those of a ``MixtureDrawer``. The parts are returned unmixed,
    so that a training step can mix a whole batch on its accelerator.

    Arguments
    ---------
    rooms : StoredRooms or SimulatedRooms
        Where ``rooms[id]`` gives impulse responses and description.
    microphones : sequence
        The array which receives the noise, metres, [M, 3].
    fs : int
        Sampling rate, Hz.
    target : str
        What the sources' ``angles`` are: ``"cone"``, the angle from the axis
        of the pair, which a pair can observe, or ``"azimuth"``, the azimuth
        folded into [0, 180].
    noise : str
        "white" or "babble", diffuse; for mixtures with an ``snr``.

    Raises
    ------
    ValueError
        If ``target`` is unknown.

    Example
    -------
    >>> class Rooms:
    ...     def __getitem__(self, room):
    ...         return torch.ones(1, 2, 5), {
    ...             "t60": 0.3, "distance": [1.0], "azimuth": [-30.0],
    ...             "cone_angle": [31.0]}
    >>> reader = RoomMixtureReader(Rooms(), [[0, 0, 0], [0.1, 0, 0]], 16000)
    >>> reader.speech["a.wav"] = torch.ones(9)
    >>> parts = reader({
    ...     "wavs": ["a.wav"], "starts": [2], "num_samples": [7],
    ...     "length": 12, "rir": "x",
    ...     "sir": [], "snr": None, "mic_gains": None, "seed": 3})
    >>> parts.dry[:, 0].tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    >>> parts.rirs.shape, parts.angles
    (torch.Size([5, 1, 2]), tensor([31.]))
    """

    def __init__(self, rooms, microphones, fs, target="cone", noise="white"):
        if target not in ("cone", "azimuth"):
            raise ValueError(
                f'target must be "cone" or "azimuth", got {target!r}'
            )
        self.rooms, self.fs = rooms, fs
        self.microphones = torch.as_tensor(microphones, dtype=torch.float32)
        self.target, self.noise = target, noise
        self.speech = {}

    def keep_in_memory(self, paths):
        """Read files once and for all; workers share the memory.

        Arguments
        ---------
        paths : iterable of str
            Audio files, one channel.
        """
        for path in progress(
            sorted(set(paths)), description="reading speech", unit="file"
        ):
            self.speech[path] = read_audio(path)[0][:, 0].clone()

    def angles(self, description):
        """Targets of the network in a room, degrees, [source].

        Arguments
        ---------
        description : dict
            Of the room.

        Returns
        -------
        torch.Tensor
            In [0, 180].
        """
        if self.target == "cone":
            return torch.tensor(description["cone_angle"])
        return torch.tensor(description["azimuth"]).abs()

    def _segment(self, path, start, count, length):
        """``count`` samples of a file, then zeros, [length]."""
        if path in self.speech:
            signal = self.speech[path][start : start + count]
        else:
            signal = read_audio(path, start=start, num_samples=count)[0][:, 0]
        return torch.nn.functional.pad(signal, (0, length - len(signal)))

    def __call__(self, mixture):
        """Parts of a mixture.

        Arguments
        ---------
        mixture : dict
            Its description; levels that are null become zeros.

        Returns
        -------
        MixtureParts
        """
        rirs, room = self.rooms[mixture["rir"]]
        sources, channels = rirs.shape[:2]
        length = mixture["length"]
        dry = [
            self._segment(path, start, count, length)
            for path, start, count in zip(
                mixture["wavs"],
                mixture["starts"],
                mixture["num_samples"],
                strict=True,
            )
        ]
        noise = torch.zeros(1, channels)
        if mixture["snr"] is not None:
            generator = torch.Generator().manual_seed(mixture["seed"])
            noise = diffuse_noise(
                self.microphones,
                length,
                fs=self.fs,
                noise=self.noise,
                generator=generator,
            ).T.contiguous()
        return MixtureParts(
            dry=torch.stack(dry, dim=-1),
            rirs=rirs.permute(2, 0, 1).contiguous(),
            noise=noise,
            sir=torch.tensor(mixture["sir"] or [0.0] * (sources - 1)),
            snr=torch.tensor([mixture["snr"] or 0.0]),
            mic_gains=torch.tensor(mixture["mic_gains"] or [0.0] * channels),
            angles=self.angles(room),
            cone_angle=torch.tensor(room["cone_angle"]),
            distance=torch.tensor(room["distance"]),
            t60=torch.tensor([room["t60"]]),
        )
