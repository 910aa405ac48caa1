"""The sound from a direction, of recordings of any array, rate and length."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch

from spatial_brain.dataio.audio import audio_info, read_audio
from spatial_brain.geometry import MicrophoneArray, azel_to_unit
from spatial_brain.geometry.ambisonics import ACN_SN3D, to_acn_sn3d
from spatial_brain.inference.array_checks import (
    check_ambisonics,
    check_recording,
    choose_channels,
)
from spatial_brain.inference.array_checks.ambisonics import FOA, assumed_order
from spatial_brain.inference.beamforming.channel_gains import channel_gains
from spatial_brain.inference.recordings import reading_progress
from spatial_brain.inference.sound_files import SoundFiles
from spatial_brain.processing.beamforming.array_response import (
    AmbisonicResponse,
    FreeFieldResponse,
)
from spatial_brain.processing.beamforming.covariance import masked_covariances
from spatial_brain.processing.beamforming.filters import (
    filter_and_sum,
    filters_of,
)
from spatial_brain.processing.beamforming.weights import (
    delay_and_sum,
    directivity_index,
    gev,
    lcmv,
    mvdr,
    white_noise_gain,
)

METHODS = {
    "delay-and-sum": "channels aligned and averaged",
    "mvdr": "least noise, the direction unchanged",
    "lcmv": "the same, other directions silenced",
    "gev": "largest ratio of the direction to the rest of the recording",
}
NOISES = ("diffuse", "recording")
# Centres of the octaves for which gains are listed, hertz.
OCTAVES = (125, 250, 500, 1000, 2000, 4000, 8000)
# Findings on how directions are searched, not on the sound from one.
_NOT_HERE = ("spacing_aliasing",)
# Share of a segment in which two segments are cross-faded.
_FADE = 0.25


@dataclass
class Beam:
    """What a recording sounds like from a direction.

    Arguments
    ---------
    path : str
        The recording.
    array, method, noise : str
        With what it was made; ``noise`` is None where the method has none.
    azimuth, elevation : float
        Degrees.
    nulls : list of tuple of float
        Azimuth and elevation of what was silenced, degrees.
    nulls_from : float or None
        Lowest frequency from which on the nulls hold, hertz; None without
        nulls, or where they hold at none.
    fs : int
        Hertz.
    duration : float
        Seconds.
    octaves : list of dict
        ``frequency`` (hertz), ``white_noise_gain`` and ``directivity_index``
        (decibels), from the geometry and the weights alone.
    output : str or None
        The file written.
    gain : float
        Factor on all samples: other than 1 where 16 bits would have clipped.
    channel_gains : list of float
        Factors that made the channels equally loud; 0 for those left out.
    findings : list of spatial_brain.inference.array_checks.Finding
        What is suspicious in the recording.

    Example
    -------
    >>> Beam("a.wav", "pair:0.1", "mvdr", "diffuse", 30.0, 0.0).to_dict()[
    ...     "azimuth"]
    30.0
    """

    path: str
    array: str
    method: str
    noise: str | None
    azimuth: float
    elevation: float
    nulls: list = field(default_factory=list)
    nulls_from: float | None = None
    fs: int = 0
    duration: float = 0.0
    octaves: list = field(default_factory=list)
    output: str | None = None
    gain: float = 1.0
    channel_gains: list = field(default_factory=list)
    findings: list = field(default_factory=list)

    def to_dict(self):
        """Everything as plain values for JSON.

        Returns
        -------
        dict
        """
        found = [finding.to_dict() for finding in self.findings]
        return {**vars(self), "findings": found}


class Beamformer:
    """Gives the sound from a direction.

    Filters of 64 ms and all channels at once: ``delay-and-sum``, ``mvdr``,
    ``lcmv`` and ``gev`` of ``spatial_brain.processing.beamforming.weights``.
    What noise is follows from the geometry (``"diffuse"``: equally from
    everywhere) or from the recording: the sound that does not come from the
    direction, in segments that are cross-faded. The gain for a distant source
    in the direction is 1, its time that at the centre of the array.

    Arguments
    ---------
    response : FreeFieldResponse or AmbisonicResponse
        What the channels receive.
    array : MicrophoneArray
        The array; of Ambisonics its name and number of channels count.
    method : str
        A key of ``METHODS``.
    noise : str
        One of ``NOISES``, for ``mvdr`` and ``lcmv``; ``gev`` always takes
        the recording.
    least_gain : float
        Least white noise gain, dB: noise of microphones becomes louder by no
        more than its negative.
    segment : float
        Seconds of a recording for which one noise is estimated.
    equalize : bool
        Whether channels are made equally loud, and left out if they have no
        sound (see ``channel_gains``); never done to Ambisonics.

    Raises
    ------
    ValueError
        If a value is not known or out of range.

    Example
    -------
    >>> beamformer = Beamformer.from_array("circular:6x0.05", "delay-and-sum")
    >>> beamformer.beamform_batch(torch.randn(1, 8000, 6), 8000, 30.0).shape
    torch.Size([1, 8000])
    """

    def __init__(
        self,
        response,
        array,
        method="mvdr",
        *,
        noise="recording",
        least_gain=-10.0,
        segment=8.0,
        equalize=True,
    ):
        if method not in METHODS:
            raise ValueError(
                f"there is no method {method!r}; use one of "
                + ", ".join(METHODS)
            )
        if noise not in NOISES:
            raise ValueError(
                f"noise must be one of {', '.join(NOISES)}, got {noise!r}"
            )
        if not segment > 0 or not math.isfinite(least_gain):
            raise ValueError(
                "segment must be positive and least_gain finite, got "
                f"{segment} and {least_gain}"
            )
        self.response, self.array, self.method = response, array, method
        self.noise = {"delay-and-sum": None, "gev": "recording"}.get(
            method, noise
        )
        self.least_gain = 10 ** (least_gain / 10)
        self.segment = segment
        self.equalize = equalize and isinstance(response, FreeFieldResponse)

    @classmethod
    def from_array(cls, array, method="mvdr", **options):
        """Beamformer of an array.

        Arguments
        ---------
        array : str, Path or MicrophoneArray
            As ``MicrophoneArray.resolve`` takes it, or ``"foa"``: first-order
            Ambisonics, W, Y, Z, X (ACN, SN3D).
        method : str
            A key of ``METHODS``.
        **options
            Further arguments of the class.

        Returns
        -------
        Beamformer

        Raises
        ------
        ValueError
            If the array is not known or has one microphone.
        """
        if array == FOA:
            array = MicrophoneArray(torch.zeros(4, 3), FOA)
            return cls(AmbisonicResponse(), array, method, **options)
        array = MicrophoneArray.resolve(array)
        if len(array) < 2 or not array.aperture > 0:
            raise ValueError(
                f"array {array.name}: sound from a direction needs "
                "microphones at two places at least"
            )
        response = FreeFieldResponse(array.positions)
        return cls(response, array, method, **options)

    def __len__(self):
        """Number of channels."""
        return self.response.num_channels

    def beamform_batch(
        self, waveform, fs, azimuth, elevation=0.0, nulls=(), parts=None
    ):
        """The sound from a direction of each signal of a batch.

        Arguments
        ---------
        waveform : torch.Tensor
            [batch, time, channel].
        fs : float
            Sampling rate, hertz.
        azimuth, elevation : float
            Degrees.
        nulls : sequence
            Azimuths, or pairs of azimuth and elevation, degrees, of what
            ``lcmv`` silences.
        parts : torch.Tensor, optional
            Signals of which the waveform is the sum, [batch, part, time,
            channel]: each of them is given as the beamformer for the sum
            passes it.

        Returns
        -------
        torch.Tensor
            [batch, time], or [batch, part, time] with ``parts``.

        Raises
        ------
        ValueError
            For a wrong shape or direction.
        """
        channels = len(self)
        if waveform.ndim != 3 or waveform.shape[-1] != channels:
            raise ValueError(
                f"expected a waveform [batch, time, {channels} channels], got "
                f"{list(waveform.shape)}"
            )
        where = fs, azimuth, elevation, nulls
        signals = waveform[:, None]
        if parts is not None:
            signals = torch.cat((signals, parts), dim=1)
        signals = signals.float().cpu().mT
        output = torch.stack([self._whole(item, *where) for item in signals])
        return output[:, 0] if parts is None else output[:, 1:]

    def beamform_file(
        self,
        path,
        output,
        azimuth,
        elevation=0.0,
        nulls=(),
        *,
        channels=None,
        channel_order=None,
        subtype="PCM_16",
        show_progress=False,
    ):
        """Write the sound from a direction of a recording.

        The recording is read piece by piece: memory does not grow with it.
        The file equals what ``beamform_batch`` gives for the whole.

        Arguments
        ---------
        path : str or Path
            Recording whose channels are those of the array.
        output : str or Path
            A wav file, of the rate of the recording.
        azimuth, elevation : float
            Degrees.
        nulls : sequence
            As in :meth:`beamform_batch`.
        channels : sequence of int, optional
            Which channels to use, from 0, in the order of the array's. Needed
            if the file has others beside.
        channel_order : str, optional
            Order and gains of Ambisonics, as
            :func:`spatial_brain.geometry.find_channel_order` takes them;
            default: W, Y, Z, X, SN3D.
        subtype : str
            ``"PCM_16"``, where one gain avoids clipping, or ``"FLOAT"``.
        show_progress : bool
            Draw a progress bar on standard error.

        Returns
        -------
        Beam

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it has other channels, holds NaN, or an argument is wrong.
        """
        info = audio_info(path)
        channels = choose_channels(info, self.array, channels)
        if Path(path).resolve() == Path(output).resolve():
            raise ValueError(
                f"{path}: is the recording itself; name another --output"
            )
        order = self._order(channel_order)
        read = _file_part(path, channels, info.num_samples, order)
        gains = self._gains(read, info.num_samples, info.fs)
        aim = _Aim(self, info.fs, azimuth, elevation, nulls, gains)
        if order:
            findings = check_ambisonics(path, channels, order)
            findings.append(assumed_order(order))
        else:
            found = check_recording(path, self.array, channels=channels)
            findings = [one for one in found if one.kind not in _NOT_HERE]
        with (
            SoundFiles([output], info.fs, 1, info.num_samples, subtype) as out,
            reading_progress(read, info.num_samples, show_progress) as part,
        ):
            for block in aim.blocks(part, info.num_samples):
                out.write([block[0, :, None]])
            out.commit()
        return Beam(
            path=str(path),
            array=self.array.name,
            method=self.method,
            noise=self.noise,
            azimuth=float(azimuth),
            elevation=float(elevation),
            nulls=aim.null_angles,
            nulls_from=aim.nulls_from,
            fs=info.fs,
            duration=info.duration,
            octaves=aim.octaves(),
            output=str(output),
            gain=out.gain,
            channel_gains=gains.tolist(),
            findings=findings,
        )

    def _order(self, channel_order):
        """Channel order of Ambisonics, None of an array."""
        if self.array.name == FOA:
            return (channel_order or ACN_SN3D).lower()
        if channel_order is not None:
            raise ValueError(
                f"a channel order is of Ambisonics (array {FOA}), not of the "
                f"array {self.array.name}; --channels orders microphones"
            )
        return None

    def _gains(self, read, total, fs):
        """Gain of each channel of a recording."""
        if not self.equalize:
            return torch.ones(len(self))
        gains = channel_gains(read, total, fs)
        if int((gains > 0).sum()) < 2:
            raise ValueError(
                "one channel at most has sound; check the recording and "
                "--channels"
            )
        return gains

    def _whole(self, signals, fs, azimuth, elevation, nulls):
        """Output [part, time] of signals [part, channel, time]."""
        read, total = _part_of(signals), signals.shape[-1]
        gains = self._gains(read, total, fs)
        aim = _Aim(self, fs, azimuth, elevation, nulls, gains)
        return torch.cat(list(aim.blocks(read, total)), dim=-1)


class _Aim:
    """A beamformer that looks into one direction of one recording."""

    def __init__(self, beamformer, fs, azimuth, elevation, nulls, gains):
        self.beamformer = beamformer
        self.fs = fs
        self.n_fft = 2 ** max(6, round(math.log2(0.064 * fs)))
        self.frequencies = torch.linspace(0, fs / 2, self.n_fft // 2 + 1)
        self.null_angles = _null_angles(beamformer.method, nulls)
        response = beamformer.response
        self.used = gains.nonzero()[:, 0]
        self.gains = gains[self.used, None]
        if len(self.used) < len(gains):
            response = response.select(self.used)
        angles = torch.tensor(
            [_angles((azimuth, elevation)), *self.null_angles],
            dtype=torch.float64,
        )
        self.look, *rest = response.steering(
            azel_to_unit(*angles.T), self.frequencies
        )
        self.nulls = torch.stack(rest) if rest else None
        self.diffuse = response.diffuse_coherence(self.frequencies)
        # What the weights of each segment do, for the summary.
        self._gains, self._held = [], None
        self._fixed = None
        if beamformer.noise != "recording":
            self._fixed = filters_of(self._weights(None))

    @property
    def nulls_from(self):
        """Frequency from which on the nulls hold, or None."""
        if self._held is None or not self._held[-2]:
            return None
        missed = (~self._held[:-1]).nonzero()
        first = int(missed[-1]) + 1 if len(missed) else 0
        return float(self.frequencies[first])

    def octaves(self):
        """Gains of the weights in each octave."""
        gains = torch.stack(self._gains).mean(0)
        found = []
        for centre in OCTAVES:
            inside = (self.frequencies >= centre / 2**0.5) & (
                self.frequencies < centre * 2**0.5
            )
            if centre * 2**0.5 > self.fs / 2 or not inside.any():
                continue
            white, directed = gains[:, inside].mean(-1).tolist()
            found.append(
                {
                    "frequency": centre,
                    "white_noise_gain": white,
                    "directivity_index": directed,
                }
            )
        return found

    def blocks(self, read, total):
        """Output [part, time] piece by piece; ``read`` gives samples.

        ``read(start, stop)`` gives [part, channel, time], zero outside of the
        recording; weights are those of the first part.
        """
        half, tail = self.n_fft // 2, None
        bounds = self._bounds(total)
        for index, (start, stop) in enumerate(bounds):
            piece = read(start - half + 1, stop + half)
            piece = piece[:, self.used] * self.gains
            filters = self._fixed
            if filters is None:
                inside = piece[0, :, half - 1 : half - 1 + stop - start]
                filters = filters_of(self._weights(inside))
            output = filter_and_sum(piece, filters)
            if tail is not None and tail.shape[-1]:
                length = tail.shape[-1]
                fade = (torch.arange(length) + 0.5) / length
                output[:, :length] = torch.lerp(tail, output[:, :length], fade)
            following = (
                bounds[index + 1][0] if index + 1 < len(bounds) else stop
            )
            tail = output[:, following - start :]
            yield output[:, : following - start]

    def _bounds(self, total):
        """First sample of each segment and the one after its last."""
        length = min(total, round(self.beamformer.segment * self.fs))
        fade = 0 if self._fixed is not None else round(_FADE * length)
        number = max(1, math.ceil((total - fade) / (length - fade)))
        if self._fixed is not None:
            edges = [min(total, k * length) for k in range(number + 1)]
            return list(zip(edges[:-1], edges[1:], strict=True))
        step = (total - length) / max(1, number - 1)
        starts = [round(k * step) for k in range(number)]
        return [(start, start + length) for start in starts]

    def _weights(self, waveform):
        """Weights [bin, channel] for a segment [channel, time]."""
        method, least = self.beamformer.method, self.beamformer.least_gain
        signal, noise = None, self.diffuse
        if waveform is not None:
            signal, noise = masked_covariances(
                waveform, self.look, self.diffuse, self.n_fft
            )
        if method == "delay-and-sum":
            weights = delay_and_sum(self.look)
        elif method == "gev":
            weights = gev(self.look, signal, noise, least)
        elif self.nulls is not None:
            weights, self._held = lcmv(self.look, self.nulls, noise, least)
        else:
            weights = mvdr(self.look, noise, least)
        self._gains.append(
            torch.stack(
                (
                    white_noise_gain(weights, self.look),
                    directivity_index(weights, self.look, self.diffuse),
                )
            )
        )
        return weights


def _angles(direction):
    """Azimuth and elevation as numbers."""
    pair = tuple(direction) if isinstance(direction, tuple | list) else None
    azimuth, elevation = pair if pair else (direction, 0.0)
    if not math.isfinite(azimuth) or not -90 <= elevation <= 90:
        raise ValueError(
            "a direction is an azimuth and an elevation from -90 to 90 "
            f"degrees, got {azimuth} and {elevation}"
        )
    return float(azimuth), float(elevation)


def _null_angles(method, nulls):
    """Directions to be silenced, after checking that the method can."""
    angles = [_angles(direction) for direction in nulls]
    if (method == "lcmv") != bool(angles):
        raise ValueError(
            "lcmv silences directions: give some with --null"
            if method == "lcmv"
            else f"{method} silences no directions; use --method lcmv"
        )
    return angles


def _part_of(waveform):
    """Reader of a waveform [part, channel, time]."""
    total = waveform.shape[-1]

    def read(start, stop):
        inside = waveform[..., max(0, start) : min(total, stop)]
        return _padded(inside, start, stop, total)

    return read


def _file_part(path, channels, total, order=None):
    """Reader of channels of a file, of Ambisonics with their order."""

    def read(start, stop):
        first, last = max(0, start), min(total, stop)
        waveform, _ = read_audio(path, first, last - first)
        waveform = waveform[:, channels]
        if order:
            waveform = to_acn_sn3d(waveform, order)
        inside = waveform.T[None]
        return _padded(inside, start, stop, total)

    return read


def _padded(inside, start, stop, total):
    """Samples with zeros where the recording has none."""
    return torch.nn.functional.pad(
        inside, (max(0, -start), max(0, stop - total))
    )
