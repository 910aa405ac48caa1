"""Examples of WSJ0-Simu, simulated when they are asked for."""

import numpy as np
import torch

from spatial_brain.datasets.microphone_pairs.examples import DrawnPairs
from spatial_brain.datasets.speech.pool import SpeechPool
from spatial_brain.datasets.wsj0_simu.scenes import (
    SceneDistribution,
    draw_certain_room_scene,
    draw_room_scene,
    seeded,
    stage_seed,
)
from spatial_brain.datasets.wsj0_simu.simulate import (
    SceneBatch,
    anf_noise,
    coherent_signals,
    render_pairs,
)

# Speakers a microphone of babble.
_BABBLE = 10


class SimulatedPairs(DrawnPairs):
    """Examples simulated when they are asked for.

    An example depends on stage, number and (with ``renew``) epoch alone: it
    is the same for any number of workers, ranks and any batch. For what it
    holds see ``spatial_brain.datasets.wsj0_simu.prepare.open_pairs``.

    Arguments
    ---------
    stage : str
        "pretrain", "preval", "pretest", "pretest_ins_<any>", "train", "val"
        or "test".
    size : int, optional
        Number of examples, each in a room of its own. Not with ``rooms``.
    source : str or Path or SpeechPool, optional
        Manifest of speech, from ``prepare_speech``.
    distribution : SceneDistribution or dict, optional
        What scenes are drawn from, or its fields; default: the original's.
    rooms : sequence of int, optional
        First room and number of rooms.
    rirs_per_room : int
        Impulse responses a room.
    signals_per_rir : int
        Examples an impulse response.
    renew : bool
        Draw other examples in every epoch (see ``set_epoch``).
    render : bool
        False leaves the simulation to :func:`render_items`, which does whole
        batches on an accelerator.
    crop : float, optional
        Keep the first seconds of an example only.
    with_direct : bool
        Give the direct sound alone as well.

    Raises
    ------
    ValueError
        If arguments contradict each other.

    Example
    -------
    >>> from spatial_brain.datasets.speech.pool import prepare_speech
    >>> few = {"train-clean-100": 1, "dev-clean": 1, "test-clean": 1}
    >>> speech = prepare_speech(
    ...     None,
    ...     getfixture("tmp_path"),
    ...     num_talkers=few,
    ...     utterances_per_talker=1,
    ... )
    >>> pairs = SimulatedPairs("preval", 10, speech["dt"], {"T": 1.0})
    >>> len(pairs), pairs[3]["id"], pairs[3]["waveform"].shape
    (10, 'preval_000003', torch.Size([16000, 2]))
    """

    def __init__(
        self,
        stage,
        size=None,
        source=None,
        distribution=None,
        *,
        rooms=None,
        rirs_per_room=50,
        signals_per_rir=1,
        renew=False,
        render=True,
        crop=None,
        with_direct=False,
    ):
        if not isinstance(distribution, SceneDistribution):
            distribution = SceneDistribution(**(distribution or {}))
        super().__init__(distribution.fs, renew, crop, with_direct)
        stage_seed(stage)
        if (size is None) == (rooms is None):
            raise ValueError(
                "give either size (a room an example) or rooms (first room, "
                f"number of rooms), got size={size}, rooms={rooms}"
            )
        if rooms is not None:
            size = rooms[1] * rirs_per_room * signals_per_rir
        if size < 1 or (rooms is not None and rooms[0] < 0):
            raise ValueError(
                f"there must be at least one example, got size={size}, "
                f"rooms={rooms}, {rirs_per_room} responses a room and "
                f"{signals_per_rir} signals a response"
            )
        if not isinstance(source, SpeechPool):
            source = SpeechPool(
                source, distribution.num_samples, distribution.fs
            )
        self.stage, self.size, self.source = stage, size, source
        self.distribution = distribution
        self.rooms = None if rooms is None else tuple(rooms)
        self.rirs_per_room = rirs_per_room
        self.signals_per_rir = signals_per_rir
        self.render = render

    def __len__(self):
        return self.size

    @property
    def num_samples(self):
        """Of an example."""
        return self.distribution.num_samples

    @property
    def examples_per_room(self):
        """Where rooms are shared."""
        return self.rirs_per_room * self.signals_per_rir

    def place(self, index):
        """Where an example belongs.

        Arguments
        ---------
        index : int
            Of the example, not negative.

        Returns
        -------
        tuple of int
            Room, impulse response and signal, numbered over the stage.
        """
        if not 0 <= index < self.size:
            raise IndexError(f"no example {index} of {self.size}")
        if self.rooms is None:
            return index, index, index
        number = index + (
            self.rooms[0] * self.rirs_per_room * self.signals_per_rir
        )
        rir = number // self.signals_per_rir
        return rir // self.rirs_per_room, rir, number

    def name(self, index):
        """Id of an example: its stage, room (from R1) and number."""
        room, _, number = self.place(index)
        if self.rooms is None:
            return f"{self.stage}_{number:06d}"
        within = number % (self.rirs_per_room * self.signals_per_rir)
        return f"{self.stage}_R{room + 1}_{within:04d}"

    def scene(self, index):
        """Scene of an example.

        Arguments
        ---------
        index : int
            Of the example.

        Returns
        -------
        PairScene
        """
        room, rir, _ = self.place(index)
        epoch = self.drawn_epoch
        if self.rooms is None:
            return draw_room_scene(self.distribution, self.stage, rir, epoch)
        return draw_certain_room_scene(
            self.distribution,
            self.stage,
            room,
            rir % self.rirs_per_room,
            self.rirs_per_room,
            epoch,
        )

    def ingredients(self, index):
        """What an example is simulated from.

        Arguments
        ---------
        index : int
            Of the example.

        Returns
        -------
        dict
            "id", "room"; "scene" (float64 [20], see ``SceneBatch``),
            "speech" (float32 [time]), "snr" (dB), "seeds" (int64 [2]), and
            "noise" (float32 [2, time]) where it is not drawn by seed.
        """
        room, rir, number = self.place(index)
        scene = self.scene(index)
        rng = seeded(self.stage, number, self.drawn_epoch)
        item = {
            "id": self.name(index),
            "room": room,
            "scene": SceneBatch.of([scene]).pack()[0],
            "speech": self.source.draw(rng),
            "seeds": torch.tensor([self._seed(rir, 0), self._seed(number, 1)]),
        }
        noise = self._noise(rng, scene)
        if noise is not None:
            item["noise"] = noise
        item["snr"] = torch.tensor(
            rng.uniform(*self.distribution.snr_range), dtype=torch.float32
        )
        return item

    def _seed(self, number, purpose):
        """Seed of the noise of one purpose, 32 bits."""
        entropy = [stage_seed(self.stage) + number, self.drawn_epoch, purpose]
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])

    def _noise(self, rng, scene):
        """Noise that is not drawn by its seed, [2, time]."""
        which = self.distribution
        kind = which.noise_type
        if kind == "diffuse_babble":
            babble = [
                sum(self.source.draw(rng) for _ in range(_BABBLE))
                for _ in range(2)
            ]
            return coherent_signals(
                torch.stack([signal / signal.std() for signal in babble]),
                torch.from_numpy(scene.microphones),
                which.fs,
                which.c,
            )
        if kind != "diffuse_white" or not which.has("anf_noise"):
            return None
        spacing = float(np.linalg.norm(np.diff(scene.microphones, axis=0)))
        signals = rng.standard_normal((which.num_samples, 2))
        noise = anf_noise(signals, spacing, which.fs, which.c)
        return torch.from_numpy(noise.T.astype(np.float32))

    def __getitem__(self, index):
        if not self.render:
            return self.ingredients(index)
        return self.finish(self.simulate(index))

    def simulate(self, index):
        """Example in full length, with the direct sound; a dict."""
        [item] = render_items([self.ingredients(index)], self.distribution)
        return item

    def record(self, index):
        """Scene of an example, for people."""
        return {"scene": self.scene(index).info()}

    def options(self):
        """What the examples depend on, for JSON."""
        return {
            "stage": self.stage,
            "size": None if self.rooms else self.size,
            "source": str(self.source.manifest),
            "distribution": self.distribution.options(),
            "rooms": self.rooms and list(self.rooms),
            "rirs_per_room": self.rirs_per_room,
            "signals_per_rir": self.signals_per_rir,
        }


def render_items(items, distribution, device="cpu"):
    """Simulate what ``SimulatedPairs(render=False)`` gave, all at once.

    Arguments
    ---------
    items : list of dict
        From ``SimulatedPairs.ingredients``.
    distribution : SceneDistribution
        That of the data set.
    device : str or torch.device
        Where to compute; noise differs between kinds of devices.

    Returns
    -------
    list of dict
        "id", "room", "waveform" and "direct" (float32 [time, 2]), "labels".

    Example
    -------
    >>> render_items.__name__  # see SimulatedPairs
    'render_items'
    """
    stacked = {
        key: torch.stack([item[key] for item in items])
        for key in ("scene", "speech", "snr", "seeds", "noise")
        if key in items[0]
    }
    noise = stacked.get("noise")
    rendered = render_pairs(
        distribution,
        SceneBatch.unpack(stacked["scene"]),
        stacked["speech"].to(device),
        stacked["snr"].to(device),
        stacked["seeds"],
        None if noise is None else noise.to(device),
    )
    return [
        {
            "id": item["id"],
            "room": item["room"],
            "waveform": rendered.waveform[row],
            "direct": rendered.direct[row],
            "labels": {
                name: value[row] for name, value in rendered.labels.items()
            },
        }
        for row, item in enumerate(items)
    ]
