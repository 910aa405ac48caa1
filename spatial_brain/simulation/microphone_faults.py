"""Faults of microphones: of level, time, place and sign, dead ones, noise.

A fault is a number, the spread among the microphones (each draws its own), or
a list with a value for each of them.
"""

import json
import math
import re
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch

# Samples beside a signal that a fractional delay may reach into.
_MARGIN = 64
# Largest value of each, in its unit, that is not a slip.
_LIMITS = {"gain": 60.0, "delay": 1000.0, "position": 1000.0}


@dataclass(frozen=True)
class MicrophoneFaults:
    """What is wrong with the microphones of an array.

    Arguments
    ---------
    gain : float or sequence
        Decibels: standard deviation, or one value a microphone.
    delay : float or sequence
        Samples by which a channel is late: standard deviation, or one value a
        microphone.
    position : float or sequence
        Millimetres from where the microphone is said to be: standard
        deviation along each axis, or [x, y, z] of each microphone.
    polarity : int or sequence of int
        Reversed channels: how many, or which, from 0.
    dead : int or sequence of int
        Channels without sound: how many, or which, from 0.
    noise : float, optional
        Signal-to-noise ratio of the microphones, dB; independent white noise.

    Raises
    ------
    ValueError
        If a value cannot be meant.

    Example
    -------
    >>> faults = MicrophoneFaults(gain=[0.0, 6.0, 0.0], dead=[2])
    >>> drawn = faults.draw(3)
    >>> drawn.apply(torch.ones(1, 3, 4))[0, :, 0].round(decimals=1)
    tensor([1., 2., 0.])
    """

    gain: float | tuple = 0.0
    delay: float | tuple = 0.0
    position: float | tuple = 0.0
    polarity: int | tuple = 0
    dead: int | tuple = 0
    noise: float | None = None

    def __post_init__(self):
        for name, largest in _LIMITS.items():
            value = getattr(self, name)
            try:
                numbers = torch.as_tensor(value, dtype=torch.float64)
            except (TypeError, ValueError) as problem:
                raise _wrong(name, value) from problem
            shape = (3,) if name == "position" else ()
            ragged = numbers.ndim and numbers.shape[1:] != shape
            spread = not numbers.ndim and numbers < 0
            if ragged or spread or not bool((numbers.abs() <= largest).all()):
                raise _wrong(name, value)
        for name in ("polarity", "dead"):
            value = getattr(self, name)
            listed = value if isinstance(value, list | tuple) else [value]
            if not all(type(one) is int and one >= 0 for one in listed):
                raise _wrong(name, value)
        noise = self.noise
        if noise is not None and not (
            isinstance(noise, int | float) and math.isfinite(noise)
        ):
            raise _wrong("noise", noise)

    @classmethod
    def from_values(cls, values):
        """Faults by name, as a YAML file or a command line has them.

        Arguments
        ---------
        values : dict or str
            Name to value, or text such as ``"gain=1 dead=[0,2]"``.

        Returns
        -------
        MicrophoneFaults

        Raises
        ------
        ValueError
            If there is no such fault, or a value cannot be meant.

        Example
        -------
        >>> MicrophoneFaults.from_values("gain=1 dead=[0,2]").dead
        [0, 2]
        """
        known = [field.name for field in fields(cls)]
        if isinstance(values, str):
            values = parse_faults(values)
        if not isinstance(values, dict):
            raise ValueError(
                f"faults are name: value, names {', '.join(known)}, got "
                f"{values!r}"
            )
        unknown = [str(name) for name in values if name not in known]
        if unknown:
            raise ValueError(
                f"there is no fault {', '.join(unknown)}; known: "
                f"{', '.join(known)}"
            )
        return cls(**values)

    def draw(self, num_channels, generator=None):
        """Faults of each microphone of one array.

        Every fault takes the same random numbers whatever the others are.

        Arguments
        ---------
        num_channels : int
            Microphones.
        generator : torch.Generator, optional
            On the CPU; default: that of torch.

        Returns
        -------
        DrawnFaults

        Raises
        ------
        ValueError
            If a list does not fit the number of microphones.
        """

        def spread(value, name, *shape):
            drawn = torch.randn(num_channels, *shape, generator=generator)
            given = torch.as_tensor(value, dtype=torch.float32)
            if given.ndim and len(given) != num_channels:
                raise ValueError(
                    f"faults: {name} has {len(given)} values for "
                    f"{num_channels} microphones"
                )
            return given if given.ndim else given * drawn

        def chosen(value, name):
            order = torch.randperm(num_channels, generator=generator)
            listed = value if isinstance(value, list | tuple) else None
            count = max(value, default=-1) + 1 if listed is not None else value
            if count > num_channels:
                raise ValueError(
                    f"faults: {name} {value} does not fit {num_channels} "
                    "microphones"
                )
            mask = torch.zeros(num_channels, dtype=torch.bool)
            mask[order[:value] if listed is None else list(listed)] = True
            return mask

        gain = 10 ** (spread(self.gain, "gain") / 20)
        delay = spread(self.delay, "delay")
        offset = spread(self.position, "position", 3) / 1000
        reversed_ = chosen(self.polarity, "polarity")
        dead = chosen(self.dead, "dead")
        gain = torch.where(reversed_, -gain, gain).masked_fill(dead, 0.0)
        return DrawnFaults(gain, delay, offset, self.noise)


class DrawnFaults(NamedTuple):
    """The faults that the microphones of one array have.

    Arguments
    ---------
    gain : torch.Tensor
        Factors, negative where the polarity is reversed, 0 where a channel is
        dead, [channel].
    delay : torch.Tensor
        Samples, [channel].
    offset : torch.Tensor
        From where a microphone is said to be to where it is, metres,
        [channel, 3].
    noise : float or None
        Signal-to-noise ratio, dB.
    """

    gain: torch.Tensor
    delay: torch.Tensor
    offset: torch.Tensor
    noise: float | None

    def apply(self, signals):
        """Levels, signs and delays of signals or of impulse responses.

        Arguments
        ---------
        signals : torch.Tensor
            [..., channel, time].

        Returns
        -------
        torch.Tensor
            Same shape: what is late leaves at the end.
        """
        signals = signals * self.gain.to(signals)[:, None]
        if not self.delay.any():
            return signals
        total = signals.shape[-1]
        margin = _MARGIN + math.ceil(self.delay.abs().max())
        size = total + 2 * margin
        frequency = torch.fft.rfftfreq(size, dtype=torch.float64)
        phase = -2 * math.pi * frequency * self.delay.double()[:, None]
        turn = torch.polar(torch.ones_like(phase), phase)
        turn = turn.to(signals.device, torch.complex64)
        padded = torch.nn.functional.pad(signals, (margin, margin))
        moved = torch.fft.irfft(torch.fft.rfft(padded) * turn, n=size)
        return moved[..., margin : margin + total]

    def record(self, signals, generator=None):
        """What the microphones give for what they should give.

        Arguments
        ---------
        signals : torch.Tensor
            [..., channel, time].
        generator : torch.Generator, optional
            For the noise, on the CPU; default: that of torch.

        Returns
        -------
        torch.Tensor
            Same shape. The noise is measured against the mean power of all
            channels before their faults; a dead channel has it as well.
        """
        recorded = self.apply(signals)
        if self.noise is None:
            return recorded
        power = signals.square().mean((-2, -1), keepdim=True)
        noise = torch.randn(signals.shape, generator=generator).to(signals)
        return recorded + noise * (power * 10 ** (-self.noise / 10)).sqrt()

    def as_dict(self):
        """For JSON: decibels, samples, millimetres and channel numbers.

        Returns
        -------
        dict

        Example
        -------
        >>> drawn = MicrophoneFaults(polarity=[1], dead=[0]).draw(2)
        >>> drawn.as_dict()["polarity"], drawn.as_dict()["dead"]
        ([1], [0])
        """
        level = 20 * self.gain.abs().clamp_min(1e-6).log10()
        return {
            "gain": [round(value, 4) for value in level.tolist()],
            "delay": [round(value, 4) + 0.0 for value in self.delay.tolist()],
            "position": [
                [round(1000 * value, 4) + 0.0 for value in row]
                for row in self.offset.expand(len(self.gain), 3).tolist()
            ],
            "polarity": (self.gain < 0).nonzero().flatten().tolist(),
            "dead": (self.gain == 0).nonzero().flatten().tolist(),
            "noise": self.noise,
        }


def parse_faults(text):
    """Read faults that are given as text.

    Arguments
    ---------
    text : str
        Such as ``"gain=1 dead=[0,2]"``; values as in JSON.

    Returns
    -------
    dict
        Name to value.

    Raises
    ------
    ValueError
        If it is no such text.

    Example
    -------
    >>> parse_faults("gain=1, dead=[0, 2]")
    {'gain': 1, 'dead': [0, 2]}
    """
    start, *parts = re.split(r"[\s,]*\b([a-z]+)=", text)
    try:
        if start.strip() or not parts:
            raise ValueError
        return {
            name: json.loads(value)
            for name, value in zip(parts[::2], parts[1::2], strict=True)
        }
    except ValueError:
        raise ValueError(
            f"faults are given as name=value, such as gain=1 dead=[0,2], got "
            f"{text!r}"
        ) from None


def _wrong(name, value):
    """Error for a value that cannot be meant."""
    kinds = {
        "gain": "dB, a spread of at most 60 or one value a microphone",
        "delay": "samples, a spread of at most 1000 or one value a microphone",
        "position": "mm, a spread of at most 1000 or [x, y, z] a microphone",
        "polarity": "a number of channels or a list of them, from 0",
        "dead": "a number of channels or a list of them, from 0",
        "noise": "a signal-to-noise ratio in dB",
    }
    return ValueError(f"faults: {name} is {kinds[name]}, got {value!r}")
