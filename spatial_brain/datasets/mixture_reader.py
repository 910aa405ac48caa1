"""From the description of a mixture to the signals it is made of."""

from typing import NamedTuple

import torch

from spatial_brain.dataio.audio import read_audio
from spatial_brain.dataio.progress import progress
from spatial_brain.simulation.noise_field import diffuse_noise


class MixtureParts(NamedTuple):
    """What a mixture is made of.

    Arguments
    ---------
    dry : torch.Tensor
        Speech, [time, talker].
    rirs : torch.Tensor
        Impulse responses, [time, talker, microphone].
    noise : torch.Tensor
        Diffuse noise, not scaled, [time, microphone]; one sample of silence
        without ``snr``.
    sir : torch.Tensor
        Level of the first talker over each other, dB, [talker - 1].
    snr : torch.Tensor
        dB, [1].
    mic_gains : torch.Tensor
        dB, [microphone].
    angles : torch.Tensor
        What the network is to answer, degrees in [0, 180], [talker].
    cone_angle : torch.Tensor
        Degrees from the axis of the pair, [talker].
    distance : torch.Tensor
        Metres, [talker].
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


class MixtureReader:
    """Reads the talkers, simulates the noise and looks up the room.

    A mixture is described as ``spatial_brain.datasets.mixtures`` does. The
    parts are returned unmixed, so that a training step can mix a whole batch
    on its accelerator.

    Arguments
    ---------
    rooms : StoredRooms or SimulatedRooms
        Where ``rooms[id]`` gives impulse responses and description.
    microphones : sequence
        The array which receives the noise, metres, [M, 3].
    fs : int
        Sampling rate, Hz.
    target : str
        What the talkers' ``angles`` are: ``"cone"``, the angle from the axis
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
    >>> reader = MixtureReader(Rooms(), [[0, 0, 0], [0.1, 0, 0]], 16000)
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
        """What the network is to answer in a room, degrees, [S].

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
        talkers, channels = rirs.shape[:2]
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
            sir=torch.tensor(mixture["sir"] or [0.0] * (talkers - 1)),
            snr=torch.tensor([mixture["snr"] or 0.0]),
            mic_gains=torch.tensor(mixture["mic_gains"] or [0.0] * channels),
            angles=self.angles(room),
            cone_angle=torch.tensor(room["cone_angle"]),
            distance=torch.tensor(room["distance"]),
            t60=torch.tensor([room["t60"]]),
        )
