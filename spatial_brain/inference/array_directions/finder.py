"""Directions of the sources of a recording from its array, without training."""

import math
from contextlib import contextmanager

import numpy as np
import torch

from spatial_brain.dataio.audio import describe, open_audio
from spatial_brain.geometry import (
    MicrophoneArray,
    find_channel_order,
    to_acn_sn3d,
)
from spatial_brain.geometry.ambisonics import ACN_SN3D
from spatial_brain.inference.array_checks import (
    LEVELS_OF_ANY,
    check_ambisonics,
    check_recording,
    choose_channels,
)
from spatial_brain.inference.array_checks.ambisonics import FOA, assumed_order
from spatial_brain.inference.array_checks.finding import Finding
from spatial_brain.inference.array_directions.confidence import (
    NoisePeaks,
    probability,
    summarize_noise,
)
from spatial_brain.inference.array_directions.distances import (
    source_distances,
)
from spatial_brain.inference.array_directions.methods import (
    LIBRARY_METHODS,
    METHODS,
    check_method,
    has_confidence,
)
from spatial_brain.inference.array_directions.mirror import mirror_findings
from spatial_brain.inference.array_directions.sources import follow_sources
from spatial_brain.inference.array_directions.speech import speech_shares
from spatial_brain.inference.localization import (
    DirectionMap,
    Directions,
    Localization,
    median_direction,
)
from spatial_brain.inference.recordings import reading_progress
from spatial_brain.processing.directions.ambisonics import (
    N3D_GAINS,
    AmbisonicMixture,
)
from spatial_brain.processing.directions.block_stream import BlockStream
from spatial_brain.processing.directions.grid import DirectionGrid
from spatial_brain.simulation.noise_field import diffuse_noise

BAND = (300.0, 5500.0)
WINDOW, HOP = 1.0, 0.25
# Sources looked for in a window, at least: heights depend on it.
MOST_SOURCES = 4
# Degrees between two sources.
SEPARATION = 15.0
# Share of a window in which someone speaks, where speech alone is wanted.
_SPOKEN = 0.3
# Windows of noise that show what a peak without source is like.
_NOISE_HOPS = 7
# Columns of a map over time, and azimuths of it.
_MAP_TIMES = 2000
_MAP_AZIMUTHS = 180


class DirectionFinder:
    """Finds the sources of recordings of an array of known geometry.

    Windows of a recording give directions, each with the probability that it
    is right; a tracker follows them. Nothing is trained and any sampling rate
    does.

    Arguments
    ---------
    array : MicrophoneArray, str or Path
        The array, its name (``spatial-brain arrays``), or its file; ``"foa"``
        for first-order Ambisonics.
    method : str
        A key of ``METHODS`` or ``LIBRARY_METHODS`` (``methods``); of
        Ambisonics ``"mixture"``.
    sources : int or str
        How many sources there are, or ``"auto"``.
    band : tuple of float
        Lowest and highest frequency used, hertz.
    window, hop : float
        Length of a window and from one to the next, seconds.
    keep_map : bool
        Whether results have a map.
    channel_order : str, optional
        Of Ambisonics: ``"acn-sn3d"`` (default), ``"acn-n3d"``, ``"fuma"``, or
        letters, see :func:`spatial_brain.geometry.find_channel_order`.
    speech_only : bool
        Only windows in which someone speaks have directions; needs the
        package webrtcvad.
    distance : bool
        Whether ``localize_file`` estimates how far sources are.

    Raises
    ------
    ValueError
        If array, method or an option is none.

    Example
    -------
    >>> from spatial_brain.geometry import azel_to_unit
    >>> finder = DirectionFinder("circular:4x0.05", sources=1)
    >>> finder.array.name, finder.method
    ('circular:4x0.05', 'mixture')
    """

    def __init__(
        self,
        array,
        method="mixture",
        *,
        sources="auto",
        band=BAND,
        window=WINDOW,
        hop=HOP,
        keep_map=False,
        channel_order=None,
        speech_only=False,
        distance=False,
    ):
        self.ambisonic = isinstance(array, str) and array == FOA
        self.array = (
            MicrophoneArray(torch.zeros(4, 3), FOA)
            if self.ambisonic
            else MicrophoneArray.resolve(array)
        )
        self.channel_order = self._check_channel_order(channel_order)
        self._check_method(method, sources)
        if sources != "auto" and not (
            isinstance(sources, int) and 1 <= sources <= 10
        ):
            raise ValueError(
                f'sources must be "auto" or from 1 to 10, got {sources!r}'
            )
        if not 0 < hop <= window:
            raise ValueError(
                "the window must be longer than 0 s and the hop at most a "
                f"window, got {window} s and {hop} s"
            )
        if not 0 <= band[0] < band[1]:
            raise ValueError(
                "the band must go from a lower to a higher frequency, got "
                f"{band[0]:g} to {band[1]:g} Hz"
            )
        self.method, self.sources, self.band = method, sources, tuple(band)
        self.window, self.hop, self.keep_map = window, hop, keep_map
        self.speech_only, self.distance = speech_only, distance
        if distance and self.ambisonic:
            raise ValueError(
                "distances need delays between microphones, which Ambisonics "
                "has not"
            )
        self.library = method in LIBRARY_METHODS
        self.grid = self._grid()
        self._locators, self._noise_peaks = {}, {}

    def _check_method(self, method, sources):
        """Refuse a method that is not known or does not do."""
        check_method(method, sources, self.ambisonic)

    def _grid(self):
        """The directions that can be found."""
        if self.ambisonic:
            return DirectionGrid.sphere()
        if self.library:
            return DirectionGrid.azimuths(self.array.positions)
        return DirectionGrid.for_array(self.array.positions)

    def _check_channel_order(self, name):
        """The channel order of Ambisonics; None of an array."""
        if not self.ambisonic:
            if name is not None:
                raise ValueError(
                    f"a channel order is of Ambisonics (array {FOA}), not of "
                    f"the array {self.array.name}; --channels orders "
                    "microphones"
                )
            return None
        name = name or ACN_SN3D
        find_channel_order(name)
        return name.lower()

    def convert(self, waveform):
        """A waveform as the method takes it.

        Arguments
        ---------
        waveform : torch.Tensor
            [..., channel], of the channel order of the recording.

        Returns
        -------
        torch.Tensor
            Same shape; Ambisonics in SN3D and the order W, Y, Z, X.
        """
        if not self.ambisonic:
            return waveform
        return to_acn_sn3d(waveform, self.channel_order)

    @property
    def target(self):
        """What the degrees mean, a key of ``localization.MEANINGS``."""
        line = not self.ambisonic and self.array.dimensions == 1
        return "line_azimuth" if line else "full_azimuth"

    def localize_file(self, path, channels=None, show_progress=False):
        """Directions of the sources of a recording, over time.

        The file is read piece by piece: memory hardly grows with it.

        Arguments
        ---------
        path : str or Path
            Recording whose channels are the microphones; of any rate.
        channels : sequence of int, optional
            Which channels to use, from 0, in the order of the array's
            microphones. Needed if the file has others beside.
        show_progress : bool
            Draw a progress bar on standard error.

        Returns
        -------
        Localization
            With findings, tracks and elevation, and distances if they are
            wanted.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it has not the array's channels (with the remedy) or is no
            audio.
        """
        with _channels_of(path, self.array, channels) as (read, info, used):
            findings = self._findings(path, used)
            total = info.num_samples
            with reading_progress(read, total, show_progress) as part:
                found = self._localize(
                    lambda *place: self.convert(part(*place)),
                    total,
                    info.fs,
                    str(path),
                    findings,
                )
            if self.distance:
                found.distances = self._distances(read, info.fs, found)
            return found

    def _distances(self, read, fs, found):
        """How far the sources are."""
        windows = np.stack((found.starts, found.stops), 1) * fs
        return source_distances(
            read,
            fs,
            self.array,
            self.band,
            windows.round().astype(int),
            found.directions,
            found.elevation,
        )

    def _findings(self, path, channels):
        """What is suspicious in a recording."""
        if self.ambisonic:
            found = check_ambisonics(path, channels, self.channel_order)
        else:
            found = check_recording(
                path, self.array, channels=channels, band=self.band
            )
        return [*found, *self.limits()]

    def limits(self):
        """What the method does not give, or was not made for.

        Returns
        -------
        list of Finding
        """
        if self.ambisonic:
            return [assumed_order(self.channel_order)]
        if self.library:
            limit = (
                f"{self.method} gives azimuths of sources at the height of the "
                "array, without a confidence: how often they are right is not "
                "known"
            )
        elif self.method == "music" and self.sources == "auto":
            limit = (
                "music often gives sources that are none in rooms, and is too "
                "sure of them; give their number (--sources N), or take mixture"
            )
        else:
            return []
        return [Finding("assumed", "note", (), limit)]

    @torch.no_grad()
    def localize_batch(self, waveform, lengths=None, fs=16000):
        """Directions of the sources of each signal of a batch.

        Arguments
        ---------
        waveform : torch.Tensor
            [batch, time, microphone].
        lengths : torch.Tensor, optional
            Relative lengths in (0, 1], [batch]; what lies behind is ignored.
        fs : float
            Sampling rate, hertz.

        Returns
        -------
        Directions
            ``degrees`` and ``confidence``, both [batch, source]; NaN and 0
            where there are fewer. The confidence of a library's method is
            NaN.

        Raises
        ------
        ValueError
            For a wrong shape or values that are not finite.
        """
        waveform = torch.as_tensor(waveform)
        if waveform.ndim != 3 or waveform.shape[2] != len(self.array):
            raise ValueError(
                f"expected a waveform [batch, time, {len(self.array)} "
                f"microphones], got shape {list(waveform.shape)}"
            )
        if not waveform.isfinite().all():
            raise ValueError("the waveform holds NaN or infinite samples")
        sizes = torch.full((len(waveform),), waveform.shape[1])
        if lengths is not None:
            sizes = (torch.as_tensor(lengths) * waveform.shape[1]).round()
        found = []
        for row, size in zip(waveform, sizes.long().tolist(), strict=True):
            part = self.convert(row[None, :size].cpu())
            result = self._localize(
                lambda start, stop, part=part: part[:, start:stop], size, fs, ""
            )
            found.append(result)
        most = max([1, *(part.directions.shape[1] for part in found)])
        degrees = torch.full((len(found), most), math.nan)
        confidence = torch.zeros(len(found), most)
        for row, part in enumerate(found):
            count = part.directions.shape[1]
            medians = median_direction(part.directions, self.target)
            degrees[row, :count] = torch.from_numpy(medians).float()
            confidence[row, :count] = torch.tensor([
                math.nan if one["confidence"] is None else one["confidence"]
                for one in part.talkers
            ])  # fmt: skip
        return Directions(degrees, confidence)

    def choose_channels(self, info, channels=None):
        """Channels of a recording or a live input that are the array's.

        Arguments
        ---------
        info : AudioInfo
            Its header.
        channels : sequence of int, optional
            Chosen ones, from 0.

        Returns
        -------
        list of int

        Raises
        ------
        ValueError
            If the numbers do not fit, with the remedy.
        """
        return choose_channels(info, self.array, channels)

    @property
    def level_findings(self):
        """Findings on levels that mean something here; None: all."""
        return LEVELS_OF_ANY if self.ambisonic else None

    def stream(self, fs):
        """Directions of live sound, chunk by chunk.

        Arguments
        ---------
        fs : float
            Sampling rate, hertz.

        Returns
        -------
        DirectionStream
            ``push(chunk)`` and ``flush()`` give windows.

        Raises
        ------
        ValueError
            If distances or speech alone are wanted, which need the whole
            recording.
        """
        # Streams need the finder.
        from spatial_brain.inference.array_directions.stream import (
            DirectionStream,
        )

        for wanted, option in (
            (self.distance, "--distance"),
            (self.speech_only, "--speech-only"),
        ):
            if wanted:
                raise ValueError(
                    f"{option} needs the whole recording, not live sound; "
                    "leave it out"
                )
        return DirectionStream(self, fs)

    def locator(self, fs):
        """The method at a sampling rate.

        Arguments
        ---------
        fs : float
            Hertz.

        Returns
        -------
        spatial_brain.processing.directions.blocks.BlockMaps
        """
        if fs not in self._locators:
            options = {
                "block": self.window, "hop": self.hop, "band": self.band
            }  # fmt: skip
            if self.ambisonic:
                locator = AmbisonicMixture(fs, self.grid, **options)
            else:
                if self.library:
                    options["num_sources"] = self.sources
                make = {**METHODS, **LIBRARY_METHODS}[self.method]
                locator = make(self.array.positions, fs, self.grid, **options)
            self._locators[fs] = locator
        return self._locators[fs]

    def block_stream(self, fs):
        """What gives the evidence of live sound, chunk by chunk.

        Arguments
        ---------
        fs : float
            Sampling rate, hertz.

        Returns
        -------
        spatial_brain.processing.directions.block_stream.BlockStream
        """
        return BlockStream(self.locator(fs))

    def noise_peaks(self, fs):
        """Peaks where there is noise alone, of the microphones or diffuse.

        Arguments
        ---------
        fs : float
            Sampling rate, hertz.

        Returns
        -------
        NoisePeaks
            Of the noise, from a fixed seed, that looks more like a source.
        """
        if fs not in self._noise_peaks:
            samples = round((self.window + _NOISE_HOPS * self.hop) * fs)
            found = [
                summarize_noise(*self._peaks_of(one, fs, MOST_SOURCES)[1:])
                for one in self._noises(samples, fs)
            ]
            # A noise alone has nothing to be compared with but itself.
            highest = map(max, *found, found[0])
            self._noise_peaks[fs] = NoisePeaks(*highest)
        return self._noise_peaks[fs]

    def _noises(self, samples, fs):
        """Noises without direction, each [1, time, channel]."""
        generator = torch.Generator().manual_seed(0)
        own = torch.randn(1, samples, len(self.array), generator=generator)
        if self.ambisonic:
            # Powers of a diffuse field, which four equal ones are as well.
            return [own / torch.tensor(N3D_GAINS)]
        diffuse = diffuse_noise(
            self.array.positions, samples, fs=fs, generator=generator
        )
        return [own, diffuse.T[None]]

    @torch.no_grad()
    def _localize(self, read, num_samples, fs, path, findings=()):
        """Result of a recording that ``read`` gives."""
        locator = self.locator(fs)
        maps = _MapPool(self.grid, self.keep_map and self.method != "frida")
        times, azimuth, elevation, height = self._peaks(
            locator, read, num_samples, self._number(), maps
        )
        if self.speech_only:
            length = locator.block_length / fs
            share = speech_shares(read, num_samples, fs, times, length)
            azimuth[share < _SPOKEN] = elevation[share < _SPOKEN] = math.nan
        sources = follow_sources(
            times,
            azimuth,
            elevation,
            self.sure(azimuth, elevation, height, fs),
            self.known_number,
        )
        confidence = sources.confidence
        if not self.has_confidence:
            confidence = np.full_like(confidence, math.nan)
        duration = num_samples / fs
        half = locator.block_length / fs / 2
        return Localization(
            path=path,
            target=self.target,
            duration=duration,
            starts=(times - half).clip(0),
            stops=(times + half).clip(max=duration),
            directions=sources.azimuth,
            confidence=confidence,
            elevation=sources.elevation,
            array=self.array.name,
            method=self.method,
            findings=(
                *findings,
                *mirror_findings(
                    sources.azimuth, sources.elevation, self.grid.normal
                ),
            ),
            tracks=sources.tracks,
            map=maps.result(),
        )

    @property
    def known_number(self):
        """How many sources there are; None where they are counted."""
        return None if self.sources == "auto" else self.sources

    @property
    def has_confidence(self):
        """Whether it is known how often directions of the method are right."""
        return has_confidence(self.method)

    def _number(self):
        """Directions wanted of a window."""
        if self.library:
            return self.sources
        if self.sources == "auto":
            return MOST_SOURCES
        return max(MOST_SOURCES, self.sources)

    def sure(self, azimuth, elevation, height, fs):
        """Probabilities that directions are right.

        Arguments
        ---------
        azimuth, elevation, height : numpy.ndarray
            Of windows, as ``peaks_of`` gives them.
        fs : float
            Sampling rate, hertz.

        Returns
        -------
        numpy.ndarray
            [window, direction]; 1 of a method of which none is known, 0 where
            there is no direction.
        """
        if not self.has_confidence:
            return np.where(np.isnan(azimuth), 0.0, 1.0)
        method = FOA if self.ambisonic else self.method
        found = azimuth, elevation, height
        return probability(method, *found, self.noise_peaks(fs))

    @torch.no_grad()
    def peaks_of(self, waveform, fs, number, separation=SEPARATION):
        """Directions of the windows of a signal as the method gives them.

        Arguments
        ---------
        waveform : torch.Tensor
            [1, time, microphone].
        fs : float
            Sampling rate, hertz.
        number : int
            Directions wanted of a window.
        separation : float
            Smallest angle between two of them, degrees.

        Returns
        -------
        tuple of numpy.ndarray
            Centres of the windows, seconds, [window]; azimuth and elevation,
            degrees, and heights in [0, 1], [window, direction]; NaN where
            there is none.
        """
        return self._peaks_of(self.convert(waveform), fs, number, separation)

    def _peaks_of(self, waveform, fs, number, separation=SEPARATION):
        """See ``peaks_of``; of Ambisonics W, Y, Z, X in SN3D."""
        return self._peaks(
            self.locator(fs),
            lambda start, stop: waveform[:, start:stop],
            waveform.shape[1],
            number,
            _MapPool(self.grid, False),
            separation,
        )

    def _peaks(
        self, locator, read, num_samples, number, maps, separation=SEPARATION
    ):
        """See ``peaks_of``; maps are pooled on the way."""
        times, found = [], []
        for centres, evidence in locator.stream(read, num_samples):
            times.append(centres)
            found.append(self.pick(locator, evidence, number, separation))
            maps.add(centres, locator, evidence)
        return (
            torch.cat(times).numpy(),
            *(np.concatenate(part) for part in zip(*found, strict=True)),
        )

    def pick(self, locator, evidence, number=None, separation=SEPARATION):
        """Directions of windows from their evidence.

        Arguments
        ---------
        locator : BlockMaps
            From ``locator``.
        evidence : torch.Tensor
            Of some windows of a recording, [1, ...].
        number : int, optional
            Directions wanted of a window; default: as many as are needed.
        separation : float
            Smallest angle between two of them, degrees.

        Returns
        -------
        tuple of numpy.ndarray
            Azimuth, elevation and height as ``peaks_of`` gives them.
        """
        number = self._number() if number is None else number
        vectors, height = locator.pick(evidence, number, separation)
        parts = (*self.grid.angles(vectors[0]), height[0])
        return tuple(part.double().numpy() for part in parts)


@contextmanager
def _channels_of(path, array, channels):
    """Reader of the array's channels of a file, its header, the channels."""
    with open_audio(path) as file:
        info = describe(file, path)
        used = choose_channels(info, array, channels)

        def read(start, stop):
            file.seek(start)
            samples = file.read(stop - start, dtype="float32", always_2d=True)
            return torch.from_numpy(samples[:, used])[None]

        yield read, info, used


class _MapPool:
    """Maps over time in a bounded picture."""

    def __init__(self, grid, wanted):
        self.wanted, self.times, self.rows = wanted, [], []
        place = ((grid.azimuth + 180) * (_MAP_AZIMUTHS / 360)).long()
        self.place = place.clamp(0, _MAP_AZIMUTHS - 1)

    def add(self, times, locator, evidence):
        """Add some blocks."""
        if not self.wanted:
            return
        maps = locator.maps(evidence)[0]
        rows = torch.full((len(maps), _MAP_AZIMUTHS), -math.inf)
        place = self.place.expand(len(maps), -1)
        rows.scatter_reduce_(1, place, maps, "amax")
        self.times.append(times)
        self.rows.append(rows)

    def result(self):
        """The map, its times pooled where there are too many."""
        if not self.wanted:
            return None
        times, rows = torch.cat(self.times), torch.cat(self.rows)
        step = math.ceil(len(times) / _MAP_TIMES)
        parts = rows.split(step)
        rows = torch.stack([part.amax(0) for part in parts])
        width = 360 / _MAP_AZIMUTHS
        azimuth = (torch.arange(_MAP_AZIMUTHS) + 0.5) * width - 180
        return DirectionMap(
            times[::step].numpy(),
            azimuth.numpy(),
            rows.numpy(),
        )
